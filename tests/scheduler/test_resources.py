"""What a pod requests: containers, init containers, overhead, limits, pod-level requests."""

from typing import Any

import msgspec
import pytest

from tests.scheduler.objects import node, pod
from weft.api.k8s.pod_v1 import PodSpec
from weft.scheduler import resources


def container(cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": f"c{cpu}", "resources": {"requests": {"cpu": cpu}}, **more}


@pytest.mark.parametrize(
    ("spec", "millicores"),
    [
        ({"containers": [container("1"), container("500m")]}, 1500),
        ({"containers": [container("0.0001")]}, 1),
        ({"containers": [container("1")], "initContainers": [container("3")]}, 3000),
        ({"containers": [container("2")], "initContainers": [container("1")]}, 2000),
        (
            {
                "containers": [container("1")],
                "initContainers": [container("1", restartPolicy="Always"), container("2")],
            },
            3000,
        ),
        ({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1250),
        ({"containers": [{"name": "c", "resources": {"limits": {"cpu": "2"}}}]}, 2000),
        (
            {
                "containers": [
                    {"name": "c", "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "1"}}}
                ]
            },
            1000,
        ),
        ({"containers": [container("1")], "resources": {"requests": {"cpu": "5"}}}, 5000),
        ({"containers": [container("nonsense")]}, 0),
    ],
)
def test_requested_cpu(spec: dict[str, Any], millicores: int) -> None:
    assert resources.requested(msgspec.convert(spec, PodSpec))["cpu"] == millicores


def test_memory_is_in_bytes() -> None:
    assert resources.requested(pod(memory="1Ki").spec) == {"memory": 1024}
    assert resources.offered(node(memory="1M"))["memory"] == 1_000_000


def test_host_ports_default_to_every_address() -> None:
    assert resources.host_ports(pod(ports=(80,))) == {("0.0.0.0", "TCP", 80)}
