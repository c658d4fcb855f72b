"""What a pod counts for while it waits for other resources."""

from weft.api.k8s.container_v1 import Container, ResourceRequirements
from weft.api.k8s.pod_v1 import ContainerStatus, Pod, PodCondition, PodSpec, PodStatus
from weft.api.pod_resizes import counted_spec


def test_what_it_never_gets_does_not_count() -> None:
    asks, has = (ResourceRequirements(requests={"cpu": cpu}) for cpu in ("900", "1"))
    spec = PodSpec(containers=(Container(name="main", resources=asks),))
    shown = (ContainerStatus(name="main", resources=has),)

    def cpu(*conditions: PodCondition) -> object:
        pod = Pod(spec=spec, status=PodStatus(conditions=conditions, container_statuses=shown))
        (container,) = counted_spec(pod).containers
        assert container.resources is not None
        return container.resources.requests["cpu"]

    assert cpu() == "900"
    assert cpu(PodCondition(type="PodResizePending", reason="Deferred")) == "900"
    assert cpu(PodCondition(type="PodResizePending", reason="Infeasible")) == "1"
