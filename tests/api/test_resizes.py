"""What may change of a running pod's resources."""

from typing import Any

import pytest

from weft.api.validate.resizes import resized, validate


def pod(*containers: Any, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **more}}


def container(cpu: str = "1", memory: str = "1Gi", **more: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}, "limits": {"memory": memory}}
    return {"name": "main", "image": "a", "resources": resources, **more}


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (pod(container("2", "2Gi")), ""),
        (pod(container("2", image="b")), "only cpu and memory"),
        (pod(container(), nodeName="x"), "only cpu and memory"),
        (pod(), "only cpu and memory"),
        (pod(container(resources={"requests": {"cpu": "1"}})), "limits cannot be removed"),
        (pod(container(resources={"requests": {"cpu": "1"}, "limits": {
            "memory": "1Gi", "example.com/x": "1"}})), "only cpu and memory"),
        (pod(container(resources={"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {
            "cpu": "1", "memory": "1Gi"}})), "QOS Class may not change"),
    ],
)  # fmt: skip
def test_changes(new: Any, said: str) -> None:
    found = [e.detail for e in validate(new, pod(container()))]
    assert bool(found) == bool(said)
    assert all(said in text for text in found)


def test_init_containers_stay_as_they_are_and_sidecars_do_not() -> None:
    def with_init(cpu: str, **more: Any) -> Any:
        return pod(container(), initContainers=[container(cpu, **more)])

    assert validate(with_init("2"), with_init("1"))
    assert not validate(with_init("2", restartPolicy="Always"),
                        with_init("1", restartPolicy="Always"))  # fmt: skip


def test_only_resources_are_taken_over() -> None:
    made = resized(pod(container()), pod(container("2", image="b"), nodeName="x"))
    assert made == pod(container("2"))
