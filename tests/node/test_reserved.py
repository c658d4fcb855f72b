"""What of a node is not for pods."""

import pytest

from weft.node.reserved import PodLimits, parse, pod_limits, together


def test_what_is_reserved() -> None:
    assert parse("cpu=500m,memory=1Ki,pid=9") == {"cpu": 0.5, "memory": 1024.0, "pid": 9.0}
    assert together("memory=1", "memory=2,pid=1") == {"memory": 3.0, "pid": 1.0}
    assert parse("") == {}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("gpu=1", "there are cpu, memory, ephemeral-storage, pid"),
        ("memory", "is no quantity"),
        ("memory=much", "is no quantity"),
        ("memory=-1", "out of range"),
        ("memory=1Gi,memory=2Gi", "memory stands twice"),
    ],
)
def test_what_cannot_be_reserved_says_so(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse(text)


def test_pods_get_the_rest() -> None:
    assert pod_limits({}, 100, 10) == PodLimits()
    assert pod_limits({"memory": 30.0, "cpu": 1.0}, 100, 10) == PodLimits(70)
    assert pod_limits({"pid": 4.0}, 100, 10) == PodLimits(None, 6)
    with pytest.raises(ValueError, match="100 of memory is reserved, the node has 100"):
        pod_limits({"memory": 100.0}, 100, 10)
