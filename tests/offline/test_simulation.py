"""Simulated clusters, and what comes of scheduling on them."""

import pytest

from weft.api.snapshot import ObjectSnapshot
from weft.offline import simulation
from weft.offline.simulation import SHAPES, Outcome, Shape
from weft.scheduler.cycle import schedule


def run(count: int, shape: Shape = "basic", nodes: int = 12, cpu: str = "100m") -> Outcome:
    made = simulation.nodes(nodes, 3, "4", "32Gi")
    waiting = simulation.pods(count, shape, cpu, "500Mi")
    plan = schedule(ObjectSnapshot([*made, *waiting]), 0.0)
    return simulation.outcome(plan, made, count)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_placed(shape: Shape) -> None:
    found = run(12, shape)
    assert (found.bound, found.waiting) == (12, 0)
    zones = {z: n for z, n in found.per_zone.items() if n}
    if shape in ("affinity", "node-affinity"):
        assert len(zones) == 1
    else:
        assert list(zones.values()) == [4, 4, 4]
    if shape == "anti-affinity":
        assert (found.emptiest, found.fullest) == (1, 1)


def test_what_does_not_fit_says_why() -> None:
    found = run(50, nodes=1, cpu="100m")
    assert (found.bound, found.waiting) == (40, 10)
    (reason,) = found.reasons
    assert "1 Insufficient cpu" in reason
