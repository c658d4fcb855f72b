"""Usage of pods and nodes, from two readings of each node's counters."""

import asyncio
from collections.abc import Mapping

import pytest

from weft.daemon.usage import Reading, Sample, UsageSampler, missing_seconds, usage

BOUND = {"p1": "a", "p2": "b"}


def reading(at: float, cpu: float, containers: Mapping[str, float]) -> Reading:
    samples = {name: Sample(at, seconds, 1024) for name, seconds in containers.items()}
    return Reading(Sample(at, cpu, 4096), samples)


def test_windows_are_of_each_nodes_own_clock() -> None:
    before = {"a": reading(100, 5, {"p1_web_0": 1}), "b": reading(7, 50, {"p2_web_0": 30})}
    after = {"a": reading(105, 10, {"p1_web_0": 6}), "b": reading(12, 51, {"p2_web_0": 30.5})}
    found = usage(before, after, BOUND)
    assert found.containers["p1"]["web"].cpu_cores == pytest.approx(1.0)
    assert found.containers["p2"]["web"].cpu_cores == pytest.approx(0.1)
    assert found.nodes["b"].cpu_cores == pytest.approx(0.2)
    assert found.seconds == 5


def test_a_node_is_believed_about_its_own_pods_only() -> None:
    before = {"b": reading(7, 50, {"p1_web_0": 0, "p2_web_0": 0})}
    after = {"b": reading(12, 51, {"p1_web_0": 500, "p2_web_0": 1})}
    assert set(usage(before, after, BOUND).containers) == {"p2"}


def test_what_has_no_recent_reading_is_left_out() -> None:
    before = {"a": reading(100, 5, {}), "b": reading(900, 50, {"p2_web_0": 30})}
    after = {"a": reading(105, 5, {"p1_web_0": 80}), "b": reading(3, 1, {"p2_web_0": 1})}
    found = usage(before, after, BOUND)
    assert found.containers == {}, "a new container; a machine that started anew"
    assert set(found.nodes) == {"a"}
    assert missing_seconds(before, after) == 1.0
    assert missing_seconds({"a": after["a"]}, {"a": reading(105.5, 5, {"p1_web_0": 80})}) == 0.5


def test_who_is_patient_gets_a_window_for_what_is_new() -> None:
    """The old window of what was known stays; what is new has one of its own."""
    turns = [
        {"a": reading(100, 0, {"p1_web_0": 0})},
        {"a": reading(110, 0, {"p1_web_0": 10, "p1_new_0": 7})},
        {"a": reading(111, 0, {"p1_web_0": 11, "p1_new_0": 7.5})},
    ]

    async def work() -> None:
        async def measure() -> Mapping[str, Reading]:
            return turns.pop(0)

        sampler = UsageSampler(measure, lambda: BOUND)
        assert (await sampler.read(patient=False)).containers == {}
        found = (await sampler.read()).containers["p1"]
        assert found["web"].cpu_cores == pytest.approx(1.0)
        assert found["new"].cpu_cores == pytest.approx(0.5)
        assert not turns

    asyncio.run(work())
