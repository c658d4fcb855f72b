"""What a container says of its end is in its status."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ISOLATIONS
from tests.e2e.instance import Instance, wait_for

pytestmark = pytest.mark.e2e

ROOT = ISOLATIONS[0] == "netns"


def pod(name: str, script: str, policy: str = "Never", **container: Any) -> str:
    main = {"name": "main", "image": "sh:1", "args": ["-c", script], **container}
    spec = {"containers": [main], "restartPolicy": policy, "terminationGracePeriodSeconds": 1}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})


SAY = "echo -n 'no disk' > /dev/termination-log; exit 3"
LOGS = {"terminationMessagePolicy": "FallbackToLogsOnError"}
PODS = [
    pod("says", SAY),
    pod("says-as-nobody", SAY, securityContext={"runAsUser": 65534}),
    pod("says-elsewhere", "echo -n here > /weft-words/last; exit 0",
        terminationMessagePath="/weft-words/last"),
    pod("talks", "head -c 9000 /dev/zero | tr '\\0' x > /dev/termination-log"),
    pod("logs", "seq 1 1000; echo trouble >&2; exit 1", **LOGS),
    pod("logs-fine", "echo trouble; exit 0", **LOGS),
    pod("again", SAY, "OnFailure"),
]  # fmt: skip
NEEDS_ROOT = pytest.mark.skipif(not ROOT, reason="files below /dev need root")


@pytest.fixture(scope="module")
def talkers(weft: Instance) -> Instance:
    weft.image("sh:1", Path("/tmp"), "/bin/sh")
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(PODS))
    return weft


def message(weft: Instance, name: str) -> str:
    def state() -> Any:
        found = weft.pod(name)["status"].get("containerStatuses") or [{}]
        return found[0].get("state", {}).get("terminated")

    return str(wait_for(state, f"{name} ended").get("message", ""))


@NEEDS_ROOT
@pytest.mark.parametrize("name", ["says", "says-as-nobody"])
def test_file(talkers: Instance, name: str) -> None:
    assert message(talkers, name) == "no disk"
    assert not Path("/dev/termination-log").exists()


def test_file_elsewhere(talkers: Instance) -> None:
    assert message(talkers, "says-elsewhere") == "here"
    assert not Path("/weft-words").exists()


@NEEDS_ROOT
def test_long_file(talkers: Instance) -> None:
    assert message(talkers, "talks") == "x" * 4096


def test_log_of_a_failure(talkers: Instance) -> None:
    found = message(talkers, "logs").splitlines()
    assert len(found) == 80
    assert "trouble" in found[-2:]  # two streams: their order is not kept exactly
    assert message(talkers, "logs-fine") == ""


@NEEDS_ROOT
def test_last_state(talkers: Instance) -> None:
    def last() -> Any:
        status = talkers.pod("again")["status"]["containerStatuses"][0]
        return status["restartCount"] and status["lastState"].get("terminated")

    assert wait_for(last, "restarted")["message"] == "no disk"
    assert "no disk" in talkers.weft("describe", "pod", "again")
