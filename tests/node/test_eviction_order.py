"""Which pod goes first, and what it is told."""

import pytest

from weft.node.eviction_order import (
    Candidate,
    Requests,
    StorageLimits,
    Use,
    message,
    over_limit,
    rank,
)
from weft.node.pressure import (
    MEMORY,
    NODEFS,
    NODEFS_INODES,
    PIDS,
    Observation,
    Options,
    Signal,
    thresholds,
)

MI = 1024.0 * 1024
MEMORY_VOLUMES = {"m": Use(disk=99.0)}


def pod(
    uid: str, used: float, request: float = 0, priority: int = 0, processes: int = 1
) -> Candidate:
    return Candidate(uid, priority, {"c": Requests(request * MI)}, {"c": Use(used * MI, processes)})


def order(signal: Signal, *pods: Candidate) -> list[str]:
    return [p.uid for p in rank(signal, pods)]


def test_memory_is_taken_from_whoever_has_more_than_they_asked_for() -> None:
    """Then by priority, then by how much more."""
    pods = (
        pod("modest", used=500, request=600),
        pod("greedy", used=300, request=100),
        pod("greediest", used=400, request=100),
        pod("greedy-but-important", used=900, request=100, priority=5),
        pod("critical", used=999, priority=2_000_001_000),
    )
    assert order(MEMORY, *pods) == ["greediest", "greedy", "greedy-but-important", "modest"]


def test_process_ids_are_taken_by_priority_and_number() -> None:
    pods = (
        pod("few", 9, processes=2), pod("many", 1, processes=90),
        pod("important", 1, processes=999, priority=1),
    )  # fmt: skip
    assert order(PIDS, *pods) == ["many", "few", "important"]


def on_disk(
    uid: str, logs: float, volumes: float, request: float = 0, inodes: int = 1
) -> Candidate:
    return Candidate(
        uid, 0, {"c": Requests(disk=request * MI)},
        {"c": Use(disk=logs * MI, inodes=inodes)}, Use(disk=volumes * MI),
    )  # fmt: skip


def test_disks_are_freed_by_what_pods_have_beyond_their_requests() -> None:
    pods = (
        on_disk("asked", 10, 90, request=200), on_disk("logs", 50, 0),
        on_disk("volumes", 10, 60), on_disk("files", 1, 1, inodes=5000),
    )  # fmt: skip
    assert order(NODEFS, *pods) == ["volumes", "logs", "files", "asked"]
    assert order(NODEFS_INODES, *pods)[0] == "files"


def test_a_pod_that_goes_is_told_why() -> None:
    (threshold,) = thresholds(Options("memory.available<100Mi"))
    seen = Observation(50 * MI, 1000 * MI)
    assert message(threshold, seen, pod("a", used=30, request=10)).strip() == (
        "The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki."
        " Container c was using 30720Ki, request is 10240Ki, has larger consumption of memory."
    )
    (threshold,) = thresholds(Options("pid.available<95%"))
    text = message(threshold, Observation(900, 1000), pod("a", 1))
    assert text.strip().endswith("pids. Threshold quantity: 950, available: 900.")
    (threshold,) = thresholds(Options("nodefs.available<100Mi"))
    text = message(threshold, seen, on_disk("a", 2, 9))
    assert text.strip().endswith(
        "Container c was using 2048Ki, request is 0, has larger consumption of ephemeral-storage."
    )


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (StorageLimits(), ""),
        (StorageLimits({"v": (9.0, "9")}), 'Usage of EmptyDir volume "v" exceeds the limit "9". '),
        (StorageLimits({"v": (10.0, "10")}), ""),
        (StorageLimits({"m": (1.0, "1")}), 'Usage of EmptyDir volume "m" exceeds the limit "1". '),
        (
            StorageLimits({}, {"a": (14.0, "14")}),
            "Pod ephemeral local storage usage exceeds the total limit of containers 14. ",
        ),
        (
            StorageLimits({}, {"a": (4.0, "4"), "b": (90.0, "90")}),
            'Container a exceeded its local ephemeral storage limit "4". ',
        ),
        (StorageLimits({}, {"a": (5.0, "5"), "b": (90.0, "90")}), ""),
    ],
)
def test_limits_of_local_storage(limits: StorageLimits, said: str) -> None:
    assert over_limit(limits, {"a": Use(disk=5.0)}, {"v": Use(disk=10.0)}, MEMORY_VOLUMES) == said
