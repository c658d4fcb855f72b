"""`make demo-broken`, solved as docs/find-a-fault.md says: in the terminal and in the dashboard."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import ROOT, Instance, stopping, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PAGE = (ROOT / "docs/find-a-fault.md").read_text()
FAULT = "no reading for /forecast/lima: sensor timed out"
SOLVED_SECONDS_MAX = 60.0
CROWDED_FACTOR = 3
"""Other tests run beside this one."""


@pytest.fixture(scope="module")
def broken() -> Iterator[Instance]:
    """What `make demo-broken` leaves running, found by what it prints."""
    command = [sys.executable, "-m", "weft.cli", "demo", "--broken"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    directory = re.search(r"weft down --data-dir (\S+)", done.stdout)
    assert directory is not None, done.stdout
    assert "docs/find-a-fault.md" in done.stdout
    yield from stopping(Instance(Path(directory[1]), ""))
    shutil.rmtree(directory[1], ignore_errors=True)


def commands() -> Iterator[list[str]]:
    """The terminal's way, as it is written."""
    (block,) = re.findall(r"```\n(weft alerts.*?)```", PAGE, re.S)
    for line in block.splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def says(weft: Instance, words: list[str]) -> str:
    env = {**os.environ, "WEFT_HOME": str(weft.data_dir), "NO_COLOR": "1"}
    program = [sys.executable, "-m", "weft.cli"] if words[0] == "weft" else [words[0]]
    done = subprocess.run(
        [*program, *words[1:]], capture_output=True, text=True, timeout=60, env=env, check=False
    )
    return done.stdout


def test_in_the_terminal(broken: Instance) -> None:
    """Each command says what the page says that it says, and all together take a minute."""
    alerts, top, graph, tap, trace, why, logs, undo = commands()
    began = time.monotonic()
    wait_for(lambda: "weather-backend " in broken.run("alerts").stdout, "the alert", 90)
    told = says(broken, alerts)
    assert "weather-backend " in told
    assert "weather-frontend" in told
    rows = {line.split()[1]: line for line in says(broken, top).splitlines()[1:]}
    shares = {
        name: float(re.search(r"([\d.]+)%", rows[f"weather-backend-{name}"])[1])  # type: ignore[index]
        for name in ("v1", "v2")
    }
    assert shares["v2"] > 20, rows
    assert shares["v1"] < 5, rows
    assert re.search(r"weather-backend-v2 v2 .*errors", says(broken, graph))
    requests = says(broken, tap).splitlines()
    assert len(requests) == 3
    assert all("500" in each and "weather-backend-v2" in each for each in requests), requests
    failed = says(broken, trace).splitlines()[1:]
    assert len(failed) == 3
    assert all(line.endswith("Error") for line in failed), failed
    # The examples pass the context on: what the frontend called is below what called it.
    below = r"\ningress-gateway\.weft-system: GET .*\n +weather-frontend\.default.*: GET weather-b"
    shown = [*trace[:2], failed[-1].split()[0]]
    wait_for(lambda: re.search(below, says(broken, shown)), "the frontend's call in its trace")
    assert "weather-backend-v2" in says(broken, why)
    assert FAULT in says(broken, logs)
    took = time.monotonic() - began
    print(f"found in the terminal within {took:.1f} s")
    assert took < SOLVED_SECONDS_MAX * CROWDED_FACTOR
    assert undo[0] == "kubectl"


@pytest.mark.tools("chromium", "chromedriver")
def test_in_the_dashboard(broken: Instance) -> None:
    pytest.importorskip("selenium")
    from tests.e2e.browser import Browser

    page = Browser()
    try:
        began = time.monotonic()
        page.open(broken.weft("dashboard", "--print").strip())
        page.shows("weather-backend fails", "It is version v2 (weather-backend-v2)", seconds=90)
        page.go("/services/default/weather-backend")
        page.shows("the application itself answered 500", seconds=60)
        page.find('a[href*="/pods/default/weather-backend-v2"]').click()
        page.shows(FAULT, seconds=60)
        took = time.monotonic() - began
        print(f"found in the dashboard within {took:.1f} s")
        assert took < SOLVED_SECONDS_MAX * CROWDED_FACTOR
    finally:
        page.close()
