"""Profiles of the scheduler: packing and spreading, as a KubeSchedulerConfiguration says."""

from collections import Counter
from typing import Any

import msgspec
import pytest
import yaml

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import ObjectSnapshot
from weft.offline import simulation
from weft.runtime.plan import Bind
from weft.scheduler.cycle import schedule
from weft.scheduler.profiles import BadProfiles, Profiles, interpolated, parse

PACK = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
  - schedulerName: packing
    pluginConfig:
      - name: NodeResourcesFit
        args:
          scoringStrategy:
            type: MostAllocated
            resources: [{name: cpu, weight: 1}, {name: memory, weight: 1}]
  - schedulerName: gpus
    pluginConfig:
      - name: NodeResourcesFit
        args:
          scoringStrategy:
            type: RequestedToCapacityRatio
            resources: [{name: example.com/gpu, weight: 5}]
            requestedToCapacityRatio:
              shape: [{utilization: 0, score: 0}, {utilization: 100, score: 10}]
"""


def profiles() -> Profiles:
    return parse(yaml.safe_load(PACK))


def nodes(count: int, **more: str) -> list[Node]:
    found = simulation.nodes(count, 1, "4", "8Gi")
    return [
        msgspec.structs.replace(
            n,
            status=msgspec.structs.replace(n.status, allocatable={**n.status.allocatable, **more}),
        )
        for n in found
    ]


def pods(count: int, scheduler: str, **more: str) -> list[Pod]:
    requests = {"cpu": "1", "memory": "1Gi", **more}
    return [
        msgspec.convert(
            {
                "metadata": {"name": f"p{n}", "namespace": "default", "uid": f"u{n}"},
                "spec": {
                    "schedulerName": scheduler,
                    "containers": [{"name": "c", "resources": {"requests": requests}}],
                },
            },
            Pod,
        )
        for n in range(count)
    ]


def per_node(objects: list[Any], found: Profiles) -> list[int]:
    plan = schedule(ObjectSnapshot(objects), 0.0, found)
    counts = Counter(a.node for a in plan.actions if isinstance(a, Bind))
    return sorted(counts.values(), reverse=True)


def test_the_default_spreads_and_a_profile_packs():
    assert per_node([*nodes(4), *pods(8, "default-scheduler")], profiles()) == [2, 2, 2, 2]
    assert per_node([*nodes(4), *pods(8, "packing")], profiles()) == [4, 4]


def test_extended_resources_are_packed_and_never_overbooked():
    some = nodes(3, **{"example.com/gpu": "2"})
    mine = pods(5, "gpus", **{"example.com/gpu": "1"})
    assert per_node([*some, *mine], profiles()) == [2, 2, 1]


def test_pods_of_a_scheduler_that_nobody_configured_are_left_alone():
    assert per_node([*nodes(1), *pods(1, "mine")], profiles()) == []


def test_between_the_points_of_a_shape_the_line_counts():
    shape = ((0.0, 0.0), (50.0, 10.0), (100.0, 0.0))
    assert [interpolated(shape, at) for at in (-1, 0, 25, 50, 75, 100, 120)] == [
        *(0.0, 0.0, 5.0, 10.0, 5.0, 0.0, 0.0),
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("MostAllocated", "Tetris", "profiles[0].pluginConfig[0].args.scoringStrategy.type: must"),
        ("weight: 5", "weight: 500", "resources[0].weight: must be between 1 and 100"),
        ("score: 10", "score: 11", "shape[1].score: must be between 0 and 10"),
        ("utilization: 100", "utilization: 0", "shape[1].utilization: must be greater"),
        ("name: NodeResourcesFit", "name: Other", "weft takes the configuration of"),
        ("schedulerName: gpus", "schedulerName: packing", "that no other profile has"),
        ("kind: Kube", "kind: Cube", "kind: must be KubeSchedulerConfiguration"),
        ("pluginConfig:", "plugins:", "profiles[0].plugins: weft knows"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, said: str):
    with pytest.raises(BadProfiles) as caught:
        parse(yaml.safe_load(PACK.replace(old, new)))
    assert said in str(caught.value)
