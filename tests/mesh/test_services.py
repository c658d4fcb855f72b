"""Which endpoints take part, and how: the drain contract's first half."""

import pytest
from msgspec.structs import replace

from weft.api.k8s.core_v1 import ObjectReference, Service, ServicePort, ServiceSpec
from weft.api.k8s.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod, PodSpec, PodStatus
from weft.mesh.services import build_host, health
from weft.mesh.workloads import PodFacts, pod_facts

POD = pod_facts(
    Pod(
        metadata=ObjectMeta(name="web-1", namespace="default", uid="u", labels={"v": "1"}),
        spec=PodSpec(node_name="node-a"),
        status=PodStatus(phase="Running", pod_ip="10.0.0.1"),
    ),
    "cluster.local",
)


@pytest.mark.parametrize(
    ("conditions", "pod", "expected"),
    [
        (None, None, "HEALTHY"),
        (EndpointConditions(ready=True), POD, "HEALTHY"),
        (EndpointConditions(ready=False), POD, None),
        (EndpointConditions(ready=False, serving=True, terminating=True), POD, "DRAINING"),
        (EndpointConditions(ready=False, serving=False, terminating=True), POD, "DRAINING"),
        # The pod's own deletion is known before the slice is written anew.
        (EndpointConditions(ready=True), replace(POD, terminating=True), "DRAINING"),
        (EndpointConditions(ready=True), replace(POD, terminal=True), None),
        (EndpointConditions(terminating=True), replace(POD, terminal=True), None),
    ],
)
def test_health(
    conditions: EndpointConditions | None, pod: PodFacts | None, expected: str | None
) -> None:
    assert health(conditions, pod) == expected


def test_endpoints_without_pods_serve_as_well() -> None:
    service = Service(
        metadata=ObjectMeta(name="legacy", namespace="default"),
        spec=ServiceSpec(cluster_ip="10.96.0.1", ports=(ServicePort(name="db", port=5432),)),
    )
    by_hand = EndpointSlice(
        address_type="IPv4",
        ports=(EndpointPort(name="db", port=15432),),
        endpoints=(
            Endpoint(addresses=("192.0.2.2",)),
            Endpoint(addresses=("192.0.2.1",), target_ref=ObjectReference(kind="Pod", name="gone")),
        ),
    )
    (port,) = build_host(service, (by_hand,), (None, None)).ports
    assert [(e.address, e.port, e.principal) for e in port.endpoints] == [
        ("192.0.2.1", 15432, ""),
        ("192.0.2.2", 15432, ""),
    ]
