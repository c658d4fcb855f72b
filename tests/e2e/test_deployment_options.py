"""What Deployments may ask for beyond Kubernetes: going back by themselves, rolling when their
configuration changes, starting after what they need."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, wait_for
from tests.e2e.test_workloads import OBEDIENT, apply, echoing, events, pods, sh, workload

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh(ISOLATIONS[0]):
        instance.up()
        instance.image("sh:1", Path("/tmp"), "/bin/sh")
        yield instance


def test_a_rollout_without_progress_goes_back(weft: Instance) -> None:
    body = workload("Deployment", "back", echoing(), replicas=2, progressDeadlineSeconds=3)
    body["metadata"]["annotations"] = {"weft.dev/auto-rollback": "true"}
    apply(weft, body)
    weft.wait_ready("app=back", 2)
    weft.kubectl("set", "image", "deployment/back", "echo=missing:1")
    wait_for(lambda: "AutomaticRollback" in dict(events(weft, "back")), "going back")
    weft.kubectl("rollout", "status", "deployment/back", "--timeout=30s")
    found = {p["spec"]["containers"][0]["image"] for p in pods(weft, "back").values()}
    assert found == {"echo:1"}
    weft.kubectl("delete", "deployment/back")


def test_a_changed_config_map_replaces_the_pods(weft: Instance) -> None:
    settings = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"},
        "data": {"COLOUR": "red"},
    }  # fmt: skip
    source = [{"configMapRef": {"name": "settings"}}]
    body = workload("Deployment", "conf", sh(f"echo $COLOUR; {OBEDIENT}", envFrom=source))
    body["metadata"]["annotations"] = {"weft.dev/roll-on-config-change": "true"}
    apply(weft, settings, body)
    weft.wait_ready("app=conf", 1)
    (before,) = pods(weft, "conf")
    weft.kubectl("patch", "cm", "settings", "-p", json.dumps({"data": {"COLOUR": "blue"}}))
    wait_for(lambda: weft.ready_pods("app=conf") and before not in pods(weft, "conf"), "a new pod")
    (after,) = pods(weft, "conf")
    wait_for(lambda: weft.kubectl("logs", after).strip() == "blue", "the new colour")
    weft.kubectl("delete", "deployment/conf", "cm/settings")


def test_pods_start_after_what_they_need(weft: Instance) -> None:
    late = workload("Deployment", "late", echoing())
    template = late["spec"]["template"]["metadata"]
    template["annotations"] = {"weft.dev/start-after": "deployment/first"}
    apply(weft, late)
    wait_for(lambda: pods(weft, "late"), "the pod is made")
    (name,) = pods(weft, "late")
    wait_for(lambda: ("StartAfter", "waits for deployment/first") in events(weft, name), "told")
    assert "SchedulingGated" in weft.kubectl("get", "pod", name)
    apply(weft, workload("Deployment", "first", echoing()))
    weft.wait_ready("app=late", 1)
    ready = {
        p["metadata"]["labels"]["app"]: next(
            c["lastTransitionTime"] for c in p["status"]["conditions"] if c["type"] == "Ready"
        )
        for p in weft.items("pods")
    }
    assert ready["first"] <= ready["late"]
    weft.kubectl("delete", "deployment/late", "deployment/first")
