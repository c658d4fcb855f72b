"""What Deployments may ask for beyond Kubernetes: going back by themselves, rolling when their
configuration changes, starting after what they need."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS, ISOLATIONS, fresh
from tests.e2e.instance import ROOT, Instance, Load, wait_for
from tests.e2e.test_workloads import (
    OBEDIENT,
    apply,
    echoing,
    events,
    pods,
    read,
    sh,
    versions,
    workload,
)

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


def test_the_manifests_of_the_documentation_run(weft: Instance) -> None:
    """docs/workloads.md as it is."""
    text = (ROOT / "docs/workloads.md").read_text()
    manifests = "---\n".join(re.findall(r"```yaml\n(.*?)```", text, re.S))
    weft.image("web:1", APPS / "echo", sys.executable, "app.py")
    said = weft.run("apply", "-f", "-", "--wait", "--timeout", "40s", stdin=manifests)
    assert said.returncode == 0, said
    assert "warning" not in said.stdout + said.stderr
    assert read(weft, "job", "migrate")["status"]["succeeded"] == 1
    (shop,) = pods(weft, "shop")
    assert [text for _, text in events(weft, shop) if "waits for job/migrate" in text]
    active = lambda: {c["type"]: c["status"] for c in  # noqa: E731
                      read(weft, "hpa", "api")["status"].get("conditions", [])}  # fmt: skip
    wait_for(lambda: active().get("ScalingActive") == "True", "all its metrics are known")
    weft.weft("delete", "-f", "-", stdin=manifests)
    assert not weft.items("deployments")


# --- Kubernetes' own fields, under calls


class Rolling:
    """A Deployment that is called from outside, and what its fields do to it."""

    def __init__(self, weft: Instance) -> None:
        self.weft = weft
        strategy = {"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 0}}
        body = workload(
            *("Deployment", "roll", echoing()), replicas=2, minReadySeconds=2, strategy=strategy,
            revisionHistoryLimit=1,
        )  # fmt: skip
        apply(weft, body)
        text = m.service("roll") + m.gateway("roll", "roll.test")
        text += m.routes("roll", m.to("roll"), "roll.test", "roll")
        weft.kubectl("apply", "-f", "-", stdin=text)
        weft.wait_ready("app=roll", 2)

    def set(self, version: str) -> None:
        self.weft.kubectl("set", "env", "deployment/roll", f"VERSION={version}")

    def deadline(self, seconds: int) -> None:
        patch = json.dumps({"spec": {"progressDeadlineSeconds": seconds}})
        self.weft.kubectl("patch", "deployment", "roll", "-p", patch)

    def sets(self) -> list[dict[str, Any]]:
        """Its ReplicaSets, oldest first."""
        found = self.weft.items("replicasets", "app=roll")
        number = "deployment.kubernetes.io/revision"
        return sorted(found, key=lambda s: int(s["metadata"]["annotations"][number]))

    def sizes(self) -> list[int]:
        return [s["spec"]["replicas"] for s in self.sets() if s["spec"]["replicas"]]

    def paused(self) -> None:
        """Nothing rolls, but it scales."""
        self.weft.kubectl("rollout", "pause", "deployment/roll")
        self.set("v2")
        self.weft.kubectl("scale", "deployment/roll", "--replicas=3")
        self.weft.wait_ready("app=roll", 3)
        assert set(versions(self.weft, "roll").values()) == {"v1"}
        self.weft.kubectl("scale", "deployment/roll", "--replicas=2")
        self.weft.kubectl("rollout", "resume", "deployment/roll")

    def not_yet_available(self) -> None:
        """A new pod counts once it has been ready for a while; until then no old one goes."""

        def waits() -> bool:
            ready = [s["status"].get("readyReplicas", 0) for s in self.sets()]
            available = [s["status"].get("availableReplicas", 0) for s in self.sets()]
            return len(ready) == 2 and ready[1] > available[1] and ready[0] == 2

        wait_for(waits, "a pod that is ready and does not count yet")
        self.weft.kubectl("rollout", "status", "deployment/roll", "--timeout=60s")
        assert set(versions(self.weft, "roll").values()) == {"v2"}

    def stuck(self) -> None:
        """Scaled in the middle, old and new grow in proportion; kubectl says that time is over."""
        self.weft.kubectl("set", "image", "deployment/roll", "echo=missing:1")
        wait_for(lambda: self.sizes() == [2, 2], "two beside two")
        self.weft.kubectl("scale", "deployment/roll", "--replicas=4")
        wait_for(lambda: self.sizes() == [3, 3], "each gets its part of six")
        self.deadline(3)  # only now: others may keep a pod from starting within it
        said = self.weft.kubectl("rollout", "status", "deployment/roll", check=False)
        assert "exceeded its progress deadline" in said
        self.deadline(600)
        self.weft.kubectl("rollout", "undo", "deployment/roll")

        def over() -> bool:  # until the first progress the old verdict stands
            status = ("rollout", "status", "deployment/roll", "--timeout=60s")
            return "successfully" in self.weft.kubectl(*status, check=False)

        wait_for(over, "the way back is over")
        wait_for(lambda: len(self.sets()) == 2, "one old revision is kept")


async def test_the_fields_of_a_deployment_hold_under_calls(weft: Instance) -> None:
    rolling = await asyncio.to_thread(Rolling, weft)
    url = weft.gateway() + "/who"
    async with Load(url, clients=2, headers={"Host": "roll.test"}) as load:
        for step in (rolling.paused, rolling.not_yet_available, rolling.stuck):
            await asyncio.to_thread(step)
        await load.until(load.total + 20)
    assert load.failed == 0, load.report()
    assert set(load.bodies) == {"v1", "v2"}
    weft.kubectl("patch", "deployment", "roll", "-p", RECREATE)
    rolling.set("v3")

    def alone() -> bool:
        """Also those that end count: the new ones start when the last old one has ended."""
        over = ("Succeeded", "Failed")
        found = [p for p in weft.items("pods", "app=roll") if p["status"].get("phase") not in over]
        there = {p["spec"]["containers"][0]["env"][0]["value"] for p in found}
        assert there != {"v2", "v3"}
        return there == {"v3"}

    wait_for(alone, "the new ones come when the old ones are gone")
    weft.kubectl("delete", "deployment/roll", "service/roll", "vs/roll", "gw/roll")


RECREATE = '{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}'
