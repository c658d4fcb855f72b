"""What will be full soon: told with its numbers, and of nothing else."""

import math
from random import Random

import pytest

from weft.telemetry.alerting.growth import (
    DISK,
    MEMORY,
    POINTS,
    POINTS_MIN,
    Growth,
    Level,
    Vessel,
)

MIB = 1 << 20
POD = Vessel(MEMORY, "Pod", "shop", "web-0", "main")
LIMIT = 1000.0


def grown(*levels: float, vessel: Vessel = POD, limit: float = LIMIT) -> Growth:
    found = Growth()
    for level in levels:
        found.measured([Level(vessel, level * MIB, limit * MIB)])
    return found


def test_a_leak_is_told_with_when_and_how_fast() -> None:
    (told,) = grown(*(500 + 10 * i for i in range(POINTS))).findings()
    assert told.key[:4] == (MEMORY, "shop", "Pod", "web-0")
    assert told.summary == (
        "container main of pod shop/web-0 will reach its memory limit in about 14 min"
    )
    assert told.evidence == ("730 of 1,000 MiB, growing by 20.0 MiB a minute over the last 12 min")
    assert told.severity == "warning"


def test_a_disk_that_fills_is_told_of_its_node() -> None:
    disk = Vessel(DISK, "Node", "", "vm")
    (told,) = grown(*(600 + 5 * i for i in range(POINTS)), vessel=disk).findings()
    assert told.summary == "node vm will run out of disk in about 28 min"


@pytest.mark.parametrize(
    "levels",
    [
        [500.0] * POINTS,
        [900 - 400 * math.exp(-i / 4) for i in range(POINTS)],  # warms up and levels off
        [500 + 10 * (i % 6) for i in range(POINTS)],  # grows and is collected
        [500 + i for i in range(POINTS)],  # the end is hours away
        [100 + 10 * i for i in range(POINTS)],  # mostly empty
        [500 + 10 * i for i in range(POINTS_MIN - 1)],  # too short to tell
        [900 - 10 * i for i in range(POINTS)],
    ],
)
def test_what_is_no_leak_is_not(levels: list[float]) -> None:
    assert grown(*levels).findings() == []


def test_a_container_that_started_anew_begins_anew() -> None:
    found = grown(*(500 + 10 * i for i in range(POINTS)))
    anew = POD._replace(start="another")
    for _ in range(POINTS_MIN - 1):
        found.measured([Level(anew, 800 * MIB, LIMIT * MIB)])
        assert found.findings() == []
    assert set(found.vessels()) == {anew}


def test_one_reading_that_fails_loses_nothing() -> None:
    found = grown(*(500 + 10 * i for i in range(POINTS - 1)))
    found.measured([])
    found.measured([Level(POD, 740 * MIB, LIMIT * MIB)])
    assert found.findings()


def test_another_limit_begins_anew() -> None:
    found = grown(*(500 + 10 * i for i in range(POINTS)))
    found.measured([Level(POD, 740 * MIB, 2 * LIMIT * MIB)])
    assert found.findings() == []


def test_made_up_series_are_told_apart() -> None:
    """Leaks among noise are found; noise, waves and steps are not taken for leaks."""
    random, missed, false = Random(7), 0, 0
    for _ in range(200):
        noise = random.uniform(1, 20)
        slope = random.uniform(8, 25)
        leak = [min(999, 400 + slope * i + random.gauss(0, noise)) for i in range(POINTS)]
        missed += not grown(*leak).findings()
        period, height = random.uniform(6, 30), random.uniform(10, 150)
        turn = random.uniform(0, 2 * math.pi)
        jump = random.randrange(POINTS)
        for harmless in (
            [600 + random.gauss(0, noise) for _ in range(POINTS)],
            [600 + height * math.sin(turn + i * 2 * math.pi / period) + random.gauss(0, noise)
             for i in range(POINTS)],
            [600 + height * (i >= jump) + random.gauss(0, noise) for i in range(POINTS)],
        ):  # fmt: skip
            false += bool(grown(*harmless).findings())
    assert missed <= 20, f"{missed} of 200 leaks missed"
    assert false <= 30, f"{false} of 600 harmless series told"
    print(f"{missed} of 200 leaks missed, {false} of 600 harmless series told")
