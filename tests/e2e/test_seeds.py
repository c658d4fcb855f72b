"""The seeds' manifests, word for word: the valid ones run, the others change nothing."""

import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import APPS, ISOLATIONS, fresh
from tests.e2e.instance import Instance, wait_for
from weft.api.manifests import diagnose

pytestmark = pytest.mark.e2e

SEEDS = sorted((Path(__file__).parent.parent / "seeds").glob("*.yaml"))
VALID = [p for p in SEEDS if diagnose(p.read_text(), p.name).ok]
INVALID = [p for p in SEEDS if p not in VALID]
PROGRAMS = (
    "my-image",
    "nginx",
    "weather-frontend:latest",
    "weather-backend:latest",
    "user-service:1.0",
    "order-service:1.0",
)
BUSYBOX = "gcr.io/google_containers/busybox"


@pytest.fixture(scope="module")
def seeded() -> Iterator[Instance]:
    """Every valid seed applied, one after the other, as its reader would."""
    for weft in fresh(ISOLATIONS[0]):
        for name in PROGRAMS:
            weft.image(name, APPS / "echo", sys.executable, "app.py")
        weft.image(BUSYBOX, APPS)
        weft.up()
        for path in VALID:
            weft.weft("apply", "-f", str(path))
        yield weft


def test_both_sorts_are_there() -> None:
    assert len(VALID) >= 10
    assert len(INVALID) >= 4


def test_valid_seeds_run(seeded: Instance) -> None:
    seeded.wait_ready("app=nginx", 2)
    seeded.wait_ready("app=user-service", 2)
    seeded.wait_ready("app=order-service", 2)
    seeded.wait_ready("app=weather-frontend", 1)
    wait_for(lambda: seeded.get("job", "pi")["status"].get("ready") == 1, "the job's pod runs")
    wait_for(lambda: seeded.get("pod", "my-app")["status"]["phase"] == "Running", "my-app runs")


def test_the_job_says_how_it_fares(seeded: Instance) -> None:
    (pod,) = seeded.items("pods", "job-name=pi")
    assert pod["status"]["phase"] == "Running"
    assert "pi" in seeded.weft("get", "jobs")


def test_the_gateway_leads_to_the_weather_back_end(seeded: Instance) -> None:
    """Article 4 routes everything to `weather-backend`, but forgets its Service."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "weather-backend"},
        "spec": {
            "selector": {"app": "weather-backend"},
            "ports": [{"port": 80, "targetPort": 8080}],
        },
    }
    seeded.weft("apply", "-f", "-", stdin=json.dumps(service))
    seeded.wait_ready("app=weather-backend", 1)

    def answer() -> str:
        try:
            with urllib.request.urlopen(seeded.gateway() + "/forecast", timeout=5) as page:
                return str(json.loads(page.read())["pod"])
        except OSError:
            return ""

    assert wait_for(answer, "the gateway answers").startswith("weather-backend-")


@pytest.mark.parametrize("path", INVALID, ids=lambda p: p.name)
def test_invalid_seeds_are_refused_and_change_nothing(seeded: Instance, path: Path) -> None:
    before = seeded.weft("get", "virtualservices,destinationrules,gateways,services", "-o", "name")
    done = seeded.run("apply", "-f", str(path))
    assert done.returncode == 1
    assert f"{path.name}:" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr
    after = seeded.weft("get", "virtualservices,destinationrules,gateways,services", "-o", "name")
    assert after == before
