"""StatefulSets, DaemonSets, CronJobs, Jobs and budgets, as kubectl and the pods see them."""

import contextlib
import json
import re
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.callers import Caller
from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.growing_load import REPLICAS_MOST, GrowingLoad
from tests.e2e.instance import Instance, is_ready, wait_for

pytestmark = pytest.mark.e2e
OBEDIENT = "trap 'kill $!; exit 0' TERM; sleep 1000 & wait"


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh(ISOLATIONS[0]):
        instance.up()
        instance.image("sh:1", Path("/tmp"), "/bin/sh")
        yield instance


def apply(weft: Instance, *objects: Any) -> None:
    text = "\n---\n".join(json.dumps(o) for o in objects)
    weft.kubectl("apply", "-f", "-", stdin=text)


def sh(script: str, **more: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "sh:1", "args": ["-c", script]}
    return {"containers": [container | more], "terminationGracePeriodSeconds": 5}


def echoing(version: str = "v1") -> dict[str, Any]:
    probe = {"httpGet": {"path": "/who", "port": 8080}, "periodSeconds": 1}
    container = {
        "name": "echo", "image": "echo:1", "env": [{"name": "VERSION", "value": version}],
        "ports": [{"name": "http", "containerPort": 8080}], "readinessProbe": probe,
    }  # fmt: skip
    return {"containers": [container], "terminationGracePeriodSeconds": 5}


def workload(kind: str, name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **more},
    }  # fmt: skip


PATHS = {
    "cronjob": "batch/v1/namespaces/default/cronjobs",
    "deployment": "apps/v1/namespaces/default/deployments",
    "hpa": "autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "job": "batch/v1/namespaces/default/jobs",
    "pdb": "policy/v1/namespaces/default/poddisruptionbudgets",
}
CORE_PATHS = {
    "pv": "persistentvolumes",
    "pvc": "namespaces/default/persistentvolumeclaims",
    "resourcequota": "namespaces/default/resourcequotas",
}


def read(weft: Instance, kind: str, name: str) -> Any:
    """Without a command where the path is known: many wait for what they read."""
    if kind in PATHS:
        return weft.read(f"/apis/{PATHS[kind]}/{name}")
    if kind in CORE_PATHS:
        return weft.read(f"/api/v1/{CORE_PATHS[kind]}/{name}")
    return json.loads(weft.kubectl("get", kind, name, "-o", "json"))


def pods(weft: Instance, app: str) -> dict[str, Any]:
    found = weft.items("pods", f"app={app}")
    return {p["metadata"]["name"]: p for p in found if "deletionTimestamp" not in p["metadata"]}


def versions(weft: Instance, app: str) -> dict[str, str]:
    return {
        name: p["spec"]["containers"][0]["env"][0]["value"] for name, p in pods(weft, app).items()
    }


def events(weft: Instance, name: str) -> list[tuple[str, str]]:
    found = weft.read(
        f"/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3D{name}"
    )
    return [(e["reason"], e["message"]) for e in found["items"]]


def test_stateful_set(weft: Instance) -> None:
    """Names that stay, a DNS name for each, order, update, undo, restart, repair, scale."""
    headless = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
        "spec": {"clusterIP": "None", "selector": {"app": "db"},
                 "ports": [{"name": "http", "port": 8080}]},
    }  # fmt: skip
    apply(weft, headless, workload("StatefulSet", "db", echoing(), replicas=3, serviceName="db"))
    assert "3 new pods have been updated" in weft.kubectl(
        "rollout", "status", "statefulset/db", "--timeout=60s"
    )
    made = pods(weft, "db")
    assert list(made) == ["db-0", "db-1", "db-2"]
    born = [made[f"db-{i}"]["metadata"]["creationTimestamp"] for i in range(3)]
    assert born == sorted(born)
    caller = Caller(weft)
    for number in (0, 2):
        body = caller.settles(f"http://db-{number}.db:8080/x", 200)
        assert json.loads(body)["pod"] == f"db-{number}"
    weft.kubectl("set", "env", "statefulset/db", "VERSION=v2")
    weft.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert set(versions(weft, "db").values()) == {"v2"}
    assert "REVISION" in weft.kubectl("rollout", "history", "statefulset/db")
    # A rollout that cannot work stops at the highest pod, and undo mends it without help.
    weft.kubectl("set", "image", "statefulset/db", "echo=missing:1")
    wait_for(lambda: image(weft, "db-2") == "missing:1", "the bad pod is there")
    weft.kubectl("rollout", "undo", "statefulset/db")
    weft.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert set(versions(weft, "db").values()) == {"v2"}
    assert image(weft, "db-2") == "echo:1"
    before = {p["metadata"]["uid"] for p in pods(weft, "db").values()}
    weft.kubectl("rollout", "restart", "statefulset/db")
    weft.kubectl("rollout", "status", "statefulset/db", "--timeout=60s")
    assert not before & {p["metadata"]["uid"] for p in pods(weft, "db").values()}
    weft.kubectl("scale", "statefulset/db", "--replicas=1")
    wait_for(lambda: list(pods(weft, "db")) == ["db-0"], "scaled down")
    assert "1/1" in weft.kubectl("get", "statefulset", "db")
    weft.kubectl("delete", "statefulset/db", "service/db")


def image(weft: Instance, pod: str) -> str:
    found = pods(weft, "db").get(pod)
    return str(found["spec"]["containers"][0]["image"]) if found else ""


def test_daemon_set(weft: Instance) -> None:
    """One pod per node, replaced on update, also where nothing else may run."""
    node = weft.read("/api/v1/nodes")["items"][0]["metadata"]["name"]
    weft.kubectl("cordon", node)
    try:
        apply(weft, workload("DaemonSet", "logs", echoing()))
        weft.kubectl("rollout", "status", "daemonset/logs", "--timeout=60s")
    finally:
        weft.kubectl("uncordon", node)
    (pod,) = pods(weft, "logs").values()
    assert pod["spec"]["nodeName"] == node
    weft.kubectl("set", "env", "daemonset/logs", "VERSION=v2")
    weft.kubectl("rollout", "status", "daemonset/logs", "--timeout=60s")
    assert list(versions(weft, "logs").values()) == ["v2"]
    weft.kubectl("rollout", "undo", "daemonset/logs")
    weft.kubectl("rollout", "status", "daemonset/logs", "--timeout=60s")
    assert list(versions(weft, "logs").values()) == ["v1"]
    weft.kubectl("label", "node", node, "off=yes")
    try:
        patch = {"spec": {"template": {"spec": {"nodeSelector": {"off": "no"}}}}}
        weft.kubectl("patch", "daemonset", "logs", "-p", json.dumps(patch))
        wait_for(lambda: not pods(weft, "logs"), "the node does not suit any more")
    finally:
        weft.kubectl("label", "node", node, "off-")
    weft.kubectl("delete", "daemonset/logs")


def job(name: str, spec: dict[str, Any], **more: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never"} | spec
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": pod}, **more},
    }  # fmt: skip


def test_cron_job(weft: Instance) -> None:
    """Runs by its schedule and by hand; each Job ends and is noted."""
    template = {"spec": job("x", sh("echo ran"))["spec"]}
    cron = {
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "tick"},
        "spec": {"schedule": "@every 2s", "timeZone": "Asia/Tokyo", "jobTemplate": template,
                 "concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 1},
    }  # fmt: skip
    apply(weft, cron)
    weft.kubectl("create", "job", "by-hand", "--from=cronjob/tick")
    weft.kubectl("wait", "--for=condition=complete", "job/by-hand", "--timeout=30s")

    def ran() -> bool:
        return bool(read(weft, "cronjob", "tick")["status"].get("lastSuccessfulTime"))

    wait_for(ran, "a run by schedule", 20)
    wait_for(lambda: "SawCompletedJob" in dict(events(weft, "tick")), "its end is noted")
    weft.kubectl("patch", "cronjob", "tick", "-p", '{"spec":{"suspend":true}}')
    wait_for(lambda: not read(weft, "cronjob", "tick")["status"].get("active"), "quiet")
    assert "True" in weft.kubectl("get", "cronjob", "tick")
    weft.kubectl("delete", "cronjob/tick")
    wait_for(lambda: not weft.items("jobs"), "its Jobs go with it")


def test_job_policies(weft: Instance) -> None:
    """An exit code that fails at once, an index that fails alone, a leader that ends it all."""
    rules = [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]
    fatal = job("fatal", sh("exit 42"), backoffLimit=5, podFailurePolicy={"rules": rules})
    odd = job(
        "odd", sh("exit $(( JOB_COMPLETION_INDEX % 2 ))"), completions=4, parallelism=4,
        completionMode="Indexed", backoffLimitPerIndex=0,
    )  # fmt: skip
    leader = job(
        "leader", sh("[ $JOB_COMPLETION_INDEX = 0 ] && exit 0; " + OBEDIENT), completions=3,
        parallelism=3, completionMode="Indexed",
        successPolicy={"rules": [{"succeededIndexes": "0"}]},
    )  # fmt: skip
    apply(weft, fatal, odd, leader)
    weft.kubectl("wait", "--for=condition=failed", "job/fatal", "job/odd", "--timeout=30s")
    weft.kubectl("wait", "--for=condition=complete", "job/leader", "--timeout=30s")
    found = read(weft, "job", "fatal")["status"]
    assert found["conditions"][-1]["reason"] == "PodFailurePolicy"
    assert found["failed"] == 1
    found = read(weft, "job", "odd")["status"]
    assert (found["completedIndexes"], found["failedIndexes"]) == ("0,2", "1,3")
    assert read(weft, "job", "leader")["status"]["conditions"][-1]["reason"] == "SuccessPolicy"
    weft.kubectl("delete", "job", "fatal", "odd", "leader")


def test_jobs_end_and_wait_as_their_fields_say(weft: Instance) -> None:
    """Deadline, time to live, failed indexes, another manager, replacement, suspension."""
    stubborn = "trap 'sleep 2; exit 1' TERM; while :; do sleep 0.05; done"
    apply(
        weft,
        job("late", sh(OBEDIENT), activeDeadlineSeconds=1),
        job("brief", sh("exit 0"), ttlSecondsAfterFinished=1),
        job("broken", sh("exit 1"), completions=6, parallelism=2, completionMode="Indexed",
            backoffLimitPerIndex=0, maxFailedIndexes=1),
        job("theirs", sh("exit 0"), managedBy="example.com/other"),
        job("patient", sh(stubborn), podReplacementPolicy="Failed", backoffLimit=3),
        job("later", sh(OBEDIENT), suspend=True),
    )  # fmt: skip
    (first,) = wait_for(lambda: of_job(weft, "patient"), "it runs")
    wait_for(lambda: weft.pod(first)["status"].get("phase") == "Running", "it runs")
    weft.kubectl("delete", "pod", first, "--wait=false")
    wait_for(lambda: "deletionTimestamp" in weft.pod(first)["metadata"], "it is to end")
    assert of_job(weft, "patient") == [first], "no replacement while it ends"
    weft.kubectl("wait", "--for=condition=failed", "job/late", "job/broken", "--timeout=30s")
    reasons = {name: read(weft, "job", name)["status"]["conditions"][-1]["reason"]
               for name in ("late", "broken")}  # fmt: skip
    assert reasons == {"late": "DeadlineExceeded", "broken": "MaxFailedIndexesExceeded"}
    wait_for(lambda: not of_job(weft, "late"), "its pods have ended")
    assert len(read(weft, "job", "broken")["status"]["failedIndexes"].split(",")) <= 3
    left = lambda: {j["metadata"]["name"] for j in weft.items("jobs")}  # noqa: E731
    wait_for(lambda: "brief" not in left() and not of_job(weft, "brief"), "its time is over")
    wait_for(lambda: of_job(weft, "patient") not in ([], [first]), "replaced once it ended")
    assert of_job(weft, "theirs") == of_job(weft, "later") == []
    for suspended, wanted in ((False, 1), (True, 0)):
        weft.kubectl("patch", "job", "later", "-p", json.dumps({"spec": {"suspend": suspended}}))
        wait_for(lambda wanted=wanted: len(of_job(weft, "later")) == wanted, "as it is told")
    assert "startTime" not in read(weft, "job", "later")["status"]
    weft.kubectl("delete", "job", "late", "broken", "theirs", "patient", "later")


def of_job(weft: Instance, name: str) -> list[str]:
    """Its pods that have not failed or succeeded."""
    found = weft.items("pods", f"batch.kubernetes.io/job-name={name}")
    return [p["metadata"]["name"] for p in found
            if p["status"].get("phase") not in ("Failed", "Succeeded")]  # fmt: skip


def test_sets_by_their_further_fields(weft: Instance) -> None:
    """First ordinal, all at once, partition (counted from the first, as in Kubernetes), claims that
    go; a DaemonSet that surges."""
    asked = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claim = {"metadata": {"name": "data"}, "spec": asked}
    pod = echoing()
    pod["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/tmp/data"}]
    numbered = workload(
        "StatefulSet", "part", pod, replicas=3, serviceName="part", ordinals={"start": 5},
        podManagementPolicy="Parallel", volumeClaimTemplates=[claim],
        updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
        persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete", "whenScaled": "Delete"},
    )  # fmt: skip
    surge = {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    apply(weft, numbered, workload("DaemonSet", "surge", echoing(), updateStrategy=surge))
    names = ["part-5", "part-6", "part-7"]
    wait_for(lambda: [n for n in names if is_ready(pods(weft, "part").get(n, {}))] == names, "all")
    weft.wait_ready("app=surge", 1)
    weft.kubectl("set", "env", "statefulset/part", "VERSION=v2")
    (old,) = pods(weft, "surge")
    weft.kubectl("set", "env", "daemonset/surge", "VERSION=v2")
    gaps: list[str] = []

    def surged() -> bool:
        ready = [p["metadata"]["name"] for p in weft.ready_pods("app=surge")]
        gaps.extend([] if ready else ["nobody serves"])
        return len(ready) == 1 and ready != [old] and len(pods(weft, "surge")) == 1

    wait_for(surged, "the new one is there")
    assert not gaps, "the old one stays until the new one serves"
    wanted = {"part-5": "v1", "part-6": "v1", "part-7": "v2"}
    wait_for(lambda: versions(weft, "part") == wanted and is_ready(weft.pod("part-7")), "from 7 on")
    weft.kubectl("scale", "statefulset/part", "--replicas=1")
    wait_for(lambda: claims(weft) == ["data-part-5"], "claims of pods that are gone go")
    weft.kubectl("delete", "statefulset/part", "daemonset/surge")
    wait_for(lambda: not claims(weft), "and the rest with the set")


def claims(weft: Instance) -> list[str]:
    found = weft.items("persistentvolumeclaims")
    return sorted(c["metadata"]["name"] for c in found)


def test_drain_respects_budgets(weft: Instance) -> None:
    """`kubectl drain` takes one pod after another, as the budget allows."""
    budget = {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "maxUnavailable": 1},
    }  # fmt: skip
    apply(weft, workload("Deployment", "web", echoing(), replicas=3), budget)
    weft.wait_ready("app=web", 3)

    def allowed() -> Any:
        return read(weft, "pdb", "web").get("status", {}).get("disruptionsAllowed")

    wait_for(lambda: allowed() == 1, "one may go")
    names = sorted(pods(weft, "web"))
    codes = []

    def evict(name: str) -> None:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/default/pods/{name}/eviction"
        codes.append(weft.api(path, "POST", body)[0])

    threads = [threading.Thread(target=evict, args=(n,)) for n in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [201, 429, 429]
    weft.wait_ready("app=web", 3)
    weft.kubectl("delete", "deployment/web", "pdb/web")


# --- autoscaling


BUSY = """
i=0; while :; do i=$((i+1)); [ $((i % 10000)) = 0 ] && sleep 0.05; done
"""


def start_busy(weft: Instance) -> None:
    """A Deployment that uses some times the processor time it asks for, and its autoscaler."""
    spec = sh(BUSY, resources={"requests": {"cpu": "50m"}})
    target = {"type": "Utilization", "averageUtilization": 100}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    found = scaler("busy", "busy", 2, metric)
    apply(weft, workload("Deployment", "busy", spec, replicas=1), found)


def scaler(
    name: str, target: str, most: int, metric: dict[str, Any], **notes: str
) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "annotations": notes},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "maxReplicas": most, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
            "metrics": [metric],
        },
    }  # fmt: skip


LATENCY = {"name": "request_duration_milliseconds_p90"}
LATE = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "late-v1"}


class Others:
    """Autoscalers by calls under way, by latency and by memory, all of real pods."""

    def __init__(self, weft: Instance) -> None:
        self.weft = weft
        for name in ("flight", "late"):
            text = m.echo(name) + m.service(name) + m.gateway(name, f"{name}.test")
            text += m.routes(name, m.to(name), f"{name}.test", name)
            weft.kubectl("apply", "-f", "-", stdin=text)
        pods_ = {"metric": {"name": "requests_in_flight"},
                 "target": {"type": "AverageValue", "averageValue": "2"}}  # fmt: skip
        latency = {"metric": LATENCY, "describedObject": LATE,
                   "target": {"type": "Value", "value": "100"}}  # fmt: skip
        apply(
            weft,
            workload("Deployment", "memory", sh(OBEDIENT), replicas=1),
            scaler("flight", "flight-v1", 3, {"type": "Pods", "pods": pods_}),
            scaler("late", "late-v1", 2, {"type": "Object", "object": latency}),
            self._memory("10Ki"),
        )
        for name in ("flight", "late"):
            weft.wait_ready(f"app={name}", 1)

    @staticmethod
    def _memory(average: str) -> dict[str, Any]:
        goal = {"name": "memory", "target": {"type": "AverageValue", "averageValue": average}}
        return scaler("memory", "memory", 2, {"type": "Resource", "resource": goal})

    def calls(self, stop: threading.Event) -> list[threading.Thread]:
        """Six at a time of half a second to one, two at a time to the other."""

        def call(host: str) -> None:
            request = urllib.request.Request(f"{self.weft.gateway()}/slow?seconds=0.5")
            request.add_header("Host", host)
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(request, timeout=10).read()

        hosts = ["flight.test"] * 6 + ["late.test"] * 2
        return [threading.Thread(target=call, args=(host,)) for host in hosts]

    def sizes(self) -> tuple[int, ...]:
        return tuple(len(pods(self.weft, app)) for app in ("flight", "late", "memory"))

    def grow(self) -> None:
        wait_for(lambda: self.sizes() == (3, 2, 2), "all have grown", 60)
        again = self.weft.kubectl("apply", "-f", "-", stdin=m.echo("flight"), check=False)
        assert "spec.replicas stays 3: HorizontalPodAutoscaler flight decides it" in again
        assert read(self.weft, "deployment", "flight-v1")["spec"]["replicas"] == 3
        apply(self.weft, self._memory("1Gi"))

    def shrink(self) -> None:
        wait_for(lambda: self.sizes() == (1, 1, 1), "all are small again", 60)
        for name in ("flight", "late", "memory"):
            assert "SuccessfulRescale" in dict(events(self.weft, name))
        names = ("hpa/flight", "hpa/late", "hpa/memory", "deployment/flight-v1",
                 "deployment/late-v1", "deployment/memory")  # fmt: skip
        self.weft.kubectl("delete", *names)


def let_busy_rest(weft: Instance) -> None:
    wait_for(lambda: len(pods(weft, "busy")) == 2, "two replicas", 60)
    patch = {"spec": {"template": {"spec": sh(OBEDIENT, resources={"requests": {"cpu": "50m"}})}}}
    weft.kubectl("patch", "deployment", "busy", "-p", json.dumps(patch))


@pytest.fixture(scope="module")
def growing(weft: Instance) -> Iterator[GrowingLoad]:
    with GrowingLoad(weft, "ahead") as load:
        yield load


@pytest.mark.usefixtures("growing")  # a minute of it is what the last test needs
def test_autoscaling(weft: Instance) -> None:
    """Up under load and down after it, by calls per second that Envoy counts; and at the same
    time by the processor, memory, calls under way and latency."""
    start_busy(weft)
    others = Others(weft)
    goal = {"type": "AverageValue", "averageValue": "5"}
    rate = {"metric": {"name": "requests_per_second"}, "target": goal}
    text = m.echo("web") + m.service("web") + m.gateway("web", "web.test")
    text += m.routes("web", m.to("web"), "web.test", "web")
    weft.kubectl("apply", "-f", "-", stdin=text)
    apply(weft, scaler("web", "web-v1", 3, {"type": "Pods", "pods": rate}))
    weft.wait_ready("app=web", 1)
    url = weft.gateway() + "/who"
    stop = threading.Event()

    def call() -> None:
        request = urllib.request.Request(url, headers={"Host": "web.test"})
        while not stop.is_set():
            with contextlib.suppress(OSError):
                urllib.request.urlopen(request, timeout=10).read()
            time.sleep(0.05)

    threads = [threading.Thread(target=call) for _ in range(3)] + others.calls(stop)
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: len(weft.ready_pods("app=web")) == 3, "three replicas", 60)
        others.grow()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    let_busy_rest(weft)
    reasons = dict(events(weft, "web"))
    assert "above target" in reasons["SuccessfulRescale"]
    wait_for(lambda: len(pods(weft, "web")) == 1, "one replica again", 60)
    shown = weft.kubectl("get", "hpa", "web")
    assert "Deployment/web-v1" in shown
    others.shrink()
    conditions = {c["type"]: c["status"] for c in read(weft, "hpa", "web")["status"]["conditions"]}
    assert conditions["ScalingActive"] == conditions["AbleToScale"] == "True"
    weft.kubectl("delete", "hpa/web", "deployment/web-v1", "service/web")
    wait_for(lambda: len(pods(weft, "busy")) == 1, "idle: one replica", 60)
    assert all(is_ready(p) for p in pods(weft, "busy").values())
    weft.kubectl("delete", "hpa/busy", "deployment/busy")


def resources(cpu: str, memory: str, request: str = "50m") -> dict[str, Any]:
    asked = {"cpu": request, "memory": "16Mi"}
    return {"requests": asked, "limits": {"cpu": cpu, "memory": memory}}


def in_force(pid: int) -> tuple[float, int]:
    """CPU cores and bytes of memory that the kernel gives a process."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {
        name: p for _, names, p in (x.split(":", 2) for x in lines) for name in names.split(",")
    }
    root = Path("/sys/fs/cgroup")
    if "memory" in paths:
        cpu = root / f"cpu{paths['cpu']}"
        quota = int((cpu / "cpu.cfs_quota_us").read_text())
        memory = int((root / f"memory{paths['memory']}" / "memory.limit_in_bytes").read_text())
        return quota / int((cpu / "cpu.cfs_period_us").read_text()), memory
    group = root / paths[""].lstrip("/")
    quota, period = (group / "cpu.max").read_text().split()
    return int(quota) / int(period), int((group / "memory.max").read_text())


def test_containers_are_resized_while_they_run(weft: Instance) -> None:
    """CPU and memory of a running process change without a restart; what the node has no room
    for, a LimitRange or quota forbids, or would change the class of the pod, does not."""
    restart = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    spec = sh(OBEDIENT, resources=resources("200m", "64Mi"))
    other = sh(OBEDIENT, resources=resources("200m", "64Mi"), resizePolicy=restart)
    spec["containers"] += [other["containers"][0] | {"name": "other"}]
    labels = {"app": "sized"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "sized", "labels": labels}}
    apply(weft, pod | {"spec": spec})
    weft.wait_ready("app=sized", 1)
    pid = weft.pid_of("sized")

    def resize(container: str, wanted: dict[str, Any], check: bool = True) -> str:
        body = {"spec": {"containers": [{"name": container, "resources": wanted}]}}
        return weft.kubectl(
            "patch", "pod", "sized", "--subresource", "resize", "-p", json.dumps(body), check=check
        )

    def shown(name: str) -> dict[str, Any]:
        found = weft.pod("sized")["status"]["containerStatuses"]
        return next(c for c in found if c["name"] == name)

    def conditions() -> dict[str, str]:
        found = weft.pod("sized")["status"]["conditions"]
        return {c["type"]: c.get("reason", "") for c in found if "Resize" in c["type"]}

    assert in_force(pid) == (0.2, 64 << 20)
    resize("main", resources("300m", "96Mi", "60m"))
    wait_for(lambda: in_force(pid) == (0.3, 96 << 20), "more of both")
    wanted = resources("300m", "96Mi", "60m")
    wait_for(lambda: shown("main")["resources"] == wanted, "the status says so")
    assert shown("main")["allocatedResources"] == wanted["requests"]
    assert (shown("main")["restartCount"], conditions()) == (0, {})
    # No room, now and ever; then some that is there.
    resize("main", resources("900", "96Mi", "900"))
    wait_for(lambda: conditions() == {"PodResizePending": "Infeasible"}, "refused by the node")
    assert in_force(pid) == (0.3, 96 << 20)
    resize("main", resources("250m", "64Mi"))
    wait_for(lambda: in_force(pid) == (0.25, 64 << 20), "less again")
    wait_for(lambda: conditions() == {}, "nothing is pending")
    # A policy that asks for a restart.
    resize("other", resources("200m", "80Mi"))
    wait_for(lambda: shown("other")["restartCount"] == 1, "restarted")
    wait_for(lambda: shown("other").get("resources") == resources("200m", "80Mi"), "with more")
    assert (weft.pid_of("sized"), shown("main")["restartCount"]) == (pid, 0)
    # What may not be.
    said = resize("main", {"limits": {"cpu": None}}, check=False)
    assert "resource limits cannot be removed" in said
    said = resize("main", {"limits": {"example.com/x": "1"}}, check=False)
    assert "only cpu and memory resources are mutable" in said
    limits = [{"type": "Container", "max": {"cpu": "400m"}}]
    hard = {"requests.cpu": "150m"}
    meta = {"metadata": {"name": "sized"}}
    apply(
        weft, {"apiVersion": "v1", "kind": "LimitRange", **meta, "spec": {"limits": limits}},
        {"apiVersion": "v1", "kind": "ResourceQuota", **meta, "spec": {"hard": hard}},
    )  # fmt: skip
    said = resize("main", resources("500m", "64Mi"), check=False)
    assert "maximum cpu usage per Container is 400m, but limit is 500m" in said
    wait_for(
        lambda: read(weft, "resourcequota", "sized").get("status", {}).get("used"), "usage counted"
    )
    assert "exceeded quota" in resize("main", resources("400m", "64Mi", "300m"), check=False)
    weft.kubectl("delete", "pod/sized", "limitrange/sized", "resourcequota/sized", "--wait=false")


def test_autoscaling_ahead_of_a_growing_load(weft: Instance, growing: GrowingLoad) -> None:
    """More replicas run than calls ask for yet; a warning says that even the most are too few."""
    assert growing.foreseen.wait(120), read(weft, "hpa", "ahead")["status"]
    wait_for(lambda: "DemandAboveMaximum" in dict(events(weft, "ahead")), "a warning", 60)
    said = str(events(weft, "ahead"))
    assert f"more than the maximum of {REPLICAS_MOST}" in said
    assert "reason: forecast of the demand in 120 s" in said
    shown = weft.kubectl("describe", "hpa", "ahead")
    assert re.search(r"AbleToForecast +True +ForecastReady.*Warning +DemandAbove", shown, re.S)
    assert not growing.failures
