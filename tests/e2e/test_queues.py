"""Queues: Jobs and gangs of real processes, held and let go."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import ROOT, Instance, wait_for

pytestmark = pytest.mark.e2e
WRITTEN = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/scheduling.md").read_text(), re.S)
MANIFESTS = [text for text in WRITTEN if not text.startswith("# file:")]
(SCHEDULER_CONFIG,) = (text for text in WRITTEN if text.startswith("# file:"))


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh(ISOLATIONS[0]):
        config = instance.data_dir / "scheduler.yaml"
        config.write_text(SCHEDULER_CONFIG)
        instance.weft(*("up", "--detach", "--port", "0", "--isolation", instance.isolation),
                      *("--scheduler-config", str(config)))  # fmt: skip
        instance.image("sh:1", Path("/tmp"), "/bin/sh")
        yield instance


def job(name: str, script: str, cpu: str = "500m") -> str:
    container = {
        "name": "main", "image": "sh:1", "args": ["-c", script],
        "resources": {"requests": {"cpu": cpu}},
    }  # fmt: skip
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    body = {
        "apiVersion": "batch/v1", "kind": "Job", "spec": {"template": template},
        "metadata": {"name": name, "labels": {"weft.dev/queue": "tight"}},
    }  # fmt: skip
    return json.dumps(body)


def read(weft: Instance, name: str) -> Any:
    return json.loads(weft.kubectl("get", "job", name, "-o", "json"))


def complete(weft: Instance, name: str) -> bool:
    return bool(read(weft, name)["status"].get("succeeded"))


def test_the_manifests_of_the_documentation_run(weft: Instance) -> None:
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(MANIFESTS))
    wait_for(lambda: complete(weft, "report"), "the Job ran")
    ended = [p for p in weft.items("pods") if p["metadata"]["name"].startswith("worker-")]
    assert len(ended) == 2
    wait_for(
        lambda: {weft.pod(f"worker-{n}")["status"].get("phase") for n in (0, 1)} == {"Succeeded"},
        "the gang ran",
    )
    assert "research" in weft.weft("queue", "list")


def test_a_job_waits_says_why_and_runs_when_there_is_room(weft: Instance, tmp_path: Path) -> None:
    spec = {"quota": {"cpu": "500m"}}
    kind = {"apiVersion": "queue.weft.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "tight"}}
    weft.weft("apply", "-f", "-", stdin=json.dumps(kind | {"spec": spec}))
    stop = tmp_path / "stop"
    until = f"while [ ! -e {stop} ]; do sleep 0.05; done"
    weft.weft("apply", "-f", "-", stdin=job("first", until))
    weft.weft("apply", "-f", "-", stdin=job("second", "true"))
    why = "is next in queue tight and lacks 500m cpu; runs when default/first ends"
    wait_for(lambda: why in weft.kubectl("describe", "job", "second"), "it says why it waits")
    assert read(weft, "second")["spec"]["suspend"] is True
    table = weft.weft("queue", "get", "tight").splitlines()
    states = {line.split()[3]: line.split()[0] for line in table if "default" in line.split()[2:3]}
    assert states == {"first": "admitted", "second": "next"}
    assert why in "\n".join(table)
    stop.touch()
    wait_for(lambda: complete(weft, "second"), "it ran")
    assert "waits-for" not in json.dumps(read(weft, "second")["metadata"]["annotations"])


def test_a_profile_schedules_the_pods_that_name_it(weft: Instance) -> None:
    spec = {"schedulerName": "packing", "containers": [{"name": "c", "image": "sh:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "packed"}, "spec": spec}
    weft.weft("apply", "-f", "-", stdin=json.dumps(pod))
    wait_for(lambda: weft.pod("packed")["spec"].get("nodeName"), "it has a node")


def test_a_wrong_queue_is_refused_with_its_field(weft: Instance) -> None:
    kind = {"apiVersion": "queue.weft.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "odd"}}
    body = json.dumps(kind | {"spec": {"quota": {"cpu": "many"}}})
    done = weft.run("apply", "-f", "-", stdin=body)
    assert done.returncode != 0
    assert "spec.quota.cpu" in done.stderr + done.stdout
