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


def job(name: str, script: str, cpu: str = "500m", queue: str = "tight", **more: Any) -> str:
    container = {
        "name": "main", "image": "sh:1", "args": ["-c", script],
        "resources": {"requests": {"cpu": cpu}},
    }  # fmt: skip
    spec = {"restartPolicy": "Never", "containers": [container], **more.pop("spec", {})}
    metadata = {"name": name, "labels": {"weft.dev/queue": queue}, **more}
    return json.dumps({
        "apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": spec}},
        "metadata": metadata,
    })  # fmt: skip


def read(weft: Instance, name: str) -> Any:
    return weft.read(f"/apis/batch/v1/namespaces/default/jobs/{name}")


def complete(weft: Instance, name: str) -> bool:
    return bool(read(weft, name)["status"].get("succeeded"))


def test_the_manifests_of_the_documentation_run(weft: Instance) -> None:
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(MANIFESTS))
    wait_for(lambda: complete(weft, "report"), "the Job ran")
    wait_for(lambda: (read(weft, "sample")["status"].get("succeeded") or 0) == 3, "all pods ran")
    assert read(weft, "sample")["spec"]["parallelism"] == 2
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
    assert "WEFT2451" not in weft.weft("status")  # nobody is blamed for what weft writes
    stop.touch()
    wait_for(lambda: complete(weft, "second"), "it ran")
    assert "waits-for" not in json.dumps(read(weft, "second")["metadata"]["annotations"])


class Turns:
    """Queues for one Job at a time, and the order in which Jobs ran in them."""

    def __init__(self, weft: Instance, place: Path) -> None:
        self.weft, self.place, self.ran = weft, place, place / "ran"
        for name, spec in (
            ("short", {"policy": "ShortestJobFirst"}),
            ("ranked", {"policy": "Priority", "preemption": True}),
            ("shared", {"policy": "FairShare", "quota": {"cpu": "200m"}}),
            ("filled", {"policy": "FirstComeFirstServed", "quota": {"cpu": "200m"}}),
        ):
            kind = {"apiVersion": "queue.weft.dev/v1alpha1", "kind": "Queue"}
            spec = {"quota": {"cpu": "100m"}, **spec}
            self.apply(json.dumps({**kind, "metadata": {"name": name}, "spec": spec}))
        for name, value in (("vip", 1000), ("low", -5)):
            kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
            self.apply(json.dumps({**kind, "metadata": {"name": name}, "value": value}))
        weft.kubectl("create", "namespace", "other")

    def apply(self, *objects: str) -> None:
        self.weft.weft("apply", "-f", "-", stdin="\n---\n".join(objects))

    def holds(self, queue: str, name: str, cpu: str = "100m", **more: Any) -> None:
        """A Job that keeps the queue until it is let go."""
        script = f"while [ ! -e {self.place}/{name} ]; do sleep 0.05; done"
        self.apply(job(name, script, cpu, queue, **more))
        wait_for(lambda: read(self.weft, name)["status"].get("ready"), f"{name} runs")

    def let_go(self, name: str) -> None:
        (self.place / name).touch()

    def job(self, queue: str, name: str, cpu: str = "100m", **more: Any) -> str:
        return job(name, f"echo {name} >> {self.ran}", cpu, queue, **more)

    def order(self, *names: str) -> None:
        """Those ran, in this order."""
        said = lambda: self.ran.read_text().split() if self.ran.exists() else []  # noqa: E731
        wait_for(lambda: len(said()) >= len(names), f"{names} run")
        assert said() == list(names)
        self.ran.unlink()


def test_each_policy_has_its_order(weft: Instance, tmp_path: Path) -> None:
    turns = Turns(weft, tmp_path)
    long, brief = {"weft.dev/duration": "1h"}, {"weft.dev/duration": "1m"}

    # Shortest first: as declared; and as Jobs of the name took before.
    turns.holds("short", "report-1")
    turns.apply(turns.job("short", "long", annotations=long))
    turns.apply(turns.job("short", "brief", annotations=brief), turns.job("short", "report-2"))
    turns.let_go("report-1")
    turns.order("report-2", "brief", "long")

    # Priority: what runs with less gives way, says so, and comes again.
    turns.holds("ranked", "humble", spec={"priorityClassName": "low"})
    turns.apply(turns.job("ranked", "mighty", spec={"priorityClassName": "vip"}))
    turns.order("mighty")
    assert "Preempted" in weft.kubectl("describe", "job", "humble")
    wait_for(lambda: read(weft, "humble")["status"].get("ready"), "it runs again")
    turns.let_go("humble")

    # Fair share: whoever has less is next, also when it came later.
    turns.holds("shared", "one")
    turns.holds("shared", "two")
    turns.apply(turns.job("shared", "three"), turns.job("shared", "other", namespace="other"))
    wait_for(lambda: "is next" in weft.weft("queue", "get", "shared"), "they wait")
    turns.let_go("one")
    turns.order("other", "three")
    turns.let_go("two")

    # Back-fill: what ends before the next one can begin passes it.
    turns.holds("filled", "half", annotations={"weft.dev/duration": "1h"})
    turns.apply(turns.job("filled", "whole", "200m"))
    wait_for(lambda: "is next in queue" in weft.kubectl("describe", "job", "whole"), "it waits")
    turns.apply(turns.job("filled", "endless", annotations={"weft.dev/duration": "2h"}))
    turns.apply(turns.job("filled", "passes", annotations=brief))
    turns.order("passes")
    turns.let_go("half")
    turns.order("whole", "endless")


def test_a_profile_schedules_the_pods_that_name_it(weft: Instance) -> None:
    spec = {"schedulerName": "packing", "containers": [{"name": "c", "image": "sh:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "packed"}, "spec": spec}
    weft.weft("apply", "-f", "-", stdin=json.dumps(pod))
    wait_for(lambda: weft.pod("packed")["spec"].get("nodeName"), "it has a node")


def pod(name: str, **resources: str) -> str:
    script = "trap 'kill $!; exit 0' TERM; sleep 1000 & wait"
    container = {"name": "c", "image": "sh:1", "args": ["-c", script],
                 "resources": {"requests": resources, "limits": resources}}  # fmt: skip
    spec = {"containers": [container], "priorityClassName": name}
    return json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "ranks"},
        "spec": spec,
    })  # fmt: skip


def test_pods_give_way_to_more_important_ones_and_devices_are_counted(weft: Instance) -> None:
    """A resource that only this node has, as a device plugin would tell of it."""
    weft.kubectl("create", "namespace", "ranks")
    for name, value in (("weak", 1), ("strong", 2000), ("equal", 2000)):
        kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        weft.weft("apply", "-f", "-", stdin=json.dumps(
            {**kind, "metadata": {"name": name}, "value": value}))  # fmt: skip
    (node,) = weft.read("/api/v1/nodes")["items"]
    status = {"status": {k: {"example.com/gpu": "2"} for k in ("capacity", "allocatable")}}
    command = ("patch", "node", node["metadata"]["name"], "--subresource=status", "--type=merge")
    weft.kubectl(*command, "-p", json.dumps(status))
    in_ranks = ("-n", "ranks")
    runs = lambda name: weft.pod(name, "ranks")["status"].get("phase") == "Running"  # noqa: E731
    weft.weft("apply", "-f", "-", stdin=pod("weak", **{"example.com/gpu": "2"}))
    wait_for(lambda: runs("weak"), "it has both")
    weft.weft("apply", "-f", "-", stdin=pod("strong", **{"example.com/gpu": "1"}))
    wait_for(lambda: runs("strong"), "it takes one")
    events = weft.kubectl("get", "events", *in_ranks)
    assert "preempting" in weft.kubectl("get", "events", *in_ranks) or "Preempted" in events
    assert "weak" not in weft.kubectl("get", "pods", *in_ranks), "it had to go"
    weft.weft("apply", "-f", "-", stdin=pod("equal", **{"example.com/gpu": "2"}))
    helps = "It would fit node {} with 1 less example.com/gpu".format(node["metadata"]["name"])
    said = lambda: weft.kubectl("describe", "pod", "equal", *in_ranks)  # noqa: E731
    wait_for(lambda: "1 Insufficient example.com/gpu. " + helps in said(), "it says what helps")
    weft.kubectl("delete", "pod", "strong", *in_ranks)
    wait_for(lambda: runs("equal"), "it has both now")
    assert "example.com/gpu" in weft.kubectl("describe", "node")


def test_a_wrong_queue_is_refused_with_its_field(weft: Instance) -> None:
    kind = {"apiVersion": "queue.weft.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "odd"}}
    body = json.dumps(kind | {"spec": {"quota": {"cpu": "many"}}})
    done = weft.run("apply", "-f", "-", stdin=body)
    assert done.returncode != 0
    assert "spec.quota.cpu" in done.stderr + done.stdout


# --- Kueue's objects

TEAMS = """
apiVersion: v1
kind: Namespace
metadata: {name: teams}
---
apiVersion: kueue.x-k8s.io/v1beta1
kind: ResourceFlavor
metadata: {name: plain}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: ResourceFlavor
metadata: {name: labelled}
spec: {nodeLabels: {kueue-test: here}}
---
apiVersion: kueue.x-k8s.io/v1beta2
kind: WorkloadPriorityClass
metadata: {name: urgent}
value: 100
"""


def kueue(weft: Instance, name: str, flavor: str = "plain", cpu: str = "200m", **spec: Any) -> None:
    """A ClusterQueue and a LocalQueue."""
    quota = {"name": flavor, "resources": [{"name": "cpu", "nominalQuota": cpu}]}
    group = {"coveredResources": ["cpu"], "flavors": [quota]}
    cluster = {
        "apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ClusterQueue", "metadata": {"name": name},
        "spec": {"namespaceSelector": {}, "resourceGroups": [group], **spec},
    }  # fmt: skip
    local = {
        "apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "LocalQueue",
        "metadata": {"name": name, "namespace": "teams"}, "spec": {"clusterQueue": name},
    }  # fmt: skip
    weft.weft("apply", "-f", "-", stdin=f"{TEAMS}\n---\n{json.dumps(cluster)}")
    weft.weft("apply", "-f", "-", stdin=json.dumps(local))


def team_job(
    weft: Instance, name: str, queue: str, until: Path, cpu: str = "100m", **labels: str
) -> None:
    """It runs until the file is there."""
    made = json.loads(job(name, f"while [ ! -e {until} ]; do sleep 0.2; done", cpu))
    labels = {"queue-name": queue, **{k.replace("_", "-"): v for k, v in labels.items()}}
    made["metadata"] = {
        "name": name, "namespace": "teams",
        "labels": {f"kueue.x-k8s.io/{key}": value for key, value in labels.items() if value},
    }  # fmt: skip
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 1
    status, answer = weft.api("/apis/batch/v1/namespaces/teams/jobs", "POST", made)
    assert status == 201, answer


def workloads(weft: Instance) -> dict[str, dict[str, Any]]:
    """By the name of their Job."""
    found = weft.read("/apis/kueue.x-k8s.io/v1beta2/namespaces/teams/workloads")["items"]
    return {w["metadata"]["ownerReferences"][0]["name"]: w for w in found}


def state(weft: Instance, name: str, kind: str = "Admitted") -> dict[str, Any]:
    """A condition of the Workload of a Job."""
    found = workloads(weft).get(name, {}).get("status", {}).get("conditions", [])
    return next((c for c in found if c["type"] == kind), {"status": "", "message": ""})


def running(weft: Instance, *names: str) -> bool:
    """Whether of all Jobs just these have pods that run."""
    pods = weft.items("pods", namespace="teams")
    on = {p["metadata"]["labels"]["job-name"] for p in pods
          if p["status"].get("phase") == "Running"}  # fmt: skip
    return on == set(names)


def test_teams_lend_each_other_their_quota_and_take_it_back(weft: Instance, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    back = {"reclaimWithinCohort": "Any"}
    kueue(weft, "red", cohort="all", preemption=back)
    kueue(weft, "blue", cohort="all", preemption=back)
    red = [f"red-{n}" for n in range(4)]
    for name in red:
        team_job(weft, name, "red", stop)
    wait_for(lambda: running(weft, *red), "red runs on what blue does not use")
    wide = weft.kubectl("get", "cq", "red", "-o", "wide").splitlines()
    assert wide[0].split("   ")[0] == "NAME"
    assert wide[1].split() == ["red", "all", "BestEffortFIFO", "0", "4"]
    status = json.loads(weft.kubectl("get", "cq", "red", "-o", "json"))["status"]
    usage = {"name": "cpu", "total": "400m", "borrowed": "200m"}
    assert status["flavorsUsage"] == [{"name": "plain", "resources": [usage]}]
    team_job(weft, "blue", "blue", stop)
    wait_for(lambda: running(weft, *red[:3], "blue"), "blue has its own back")
    assert state(weft, "red-3", "Preempted")["reason"] == "InCohortReclamation"
    assert state(weft, "red-3", "Evicted")["status"] == "True"
    stop.touch()
    wait_for(lambda: state(weft, "red-3", "Finished")["status"] == "True", "it came back")
    assert state(weft, "red-3", "Evicted")["status"] == "False"


def test_who_may_pass_the_one_that_finds_no_room(weft: Instance, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    for name, strategy in (("strict", "StrictFIFO"), ("loose", "BestEffortFIFO")):
        kueue(weft, name, queueingStrategy=strategy)
        team_job(weft, f"{name}-first", name, stop)
        wait_for(lambda n=name: state(weft, f"{n}-first")["status"] == "True", "it is admitted")
        team_job(weft, f"{name}-large", name, stop, "200m")
        wait_for(lambda n=name: state(weft, f"{n}-large", "QuotaReserved")["message"], "it waits")
        team_job(weft, f"{name}-small", name, stop)
    wait_for(lambda: state(weft, "loose-small")["status"] == "True", "it passes")
    turn = "waits for its turn in ClusterQueue strict, after teams/strict-large"
    wait_for(lambda: state(weft, "strict-small", "QuotaReserved")["message"] == turn, "it does not")
    lacks = "insufficient unused quota in ClusterQueue loose: 200m cpu of flavor plain more needed"
    wait_for(lambda: lacks in state(weft, "loose-large", "QuotaReserved")["message"], "it says why")
    team_job(weft, "never", "loose", stop, "300m")
    never = "insufficient quota for 300m cpu of flavor plain: 200m cpu at most"
    wait_for(lambda: never in state(weft, "never", "QuotaReserved")["message"], "it never fits")
    assert never in weft.kubectl("describe", "job", "never", "-n", "teams")
    weft.kubectl("delete", "job", "never", "-n", "teams")
    wait_for(lambda: "never" not in workloads(weft), "its Workload goes with it")
    listed = weft.weft("queue", "get", "strict").splitlines()
    states = {line.split()[3]: line.split()[0] for line in listed if "teams" in line.split()[2:3]}
    assert states == {
        "strict-first": "admitted", "strict-large": "next", "strict-small": "waits",
    }  # fmt: skip
    assert "BestEffortFIFO" in weft.weft("queue", "get", "loose")
    assert "strict" in weft.weft("queue", "list")
    stop.touch()
    wait_for(lambda: state(weft, "strict-small", "Finished")["status"] == "True", "all but one ran")


def test_the_urgent_one_runs_on_nodes_of_its_flavor(weft: Instance, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    node = weft.items("nodes")[0]["metadata"]["name"]
    weft.kubectl("label", "node", node, "kueue-test=here", "--overwrite")
    kueue(weft, "one", "labelled", "100m", preemption={"withinClusterQueue": "LowerPriority"})
    team_job(weft, "idle", "one", stop)
    wait_for(lambda: running(weft, "idle"), "it runs")
    team_job(weft, "hurry", "one", stop, priority_class="urgent")
    wait_for(lambda: running(weft, "hurry"), "it runs instead")
    pods = json.loads(weft.kubectl("get", "pods", "-n", "teams", "-l", "job-name=hurry",
                                   "-o", "json"))["items"]  # fmt: skip
    assert pods[0]["spec"]["nodeSelector"] == {"kueue-test": "here"}
    assert state(weft, "idle", "Preempted")["reason"] == "InClusterQueue"
    rows = weft.kubectl("get", "workloads", "-n", "teams").splitlines()
    assert re.split(r"\s{2,}", rows[0].strip()) == [
        "NAME", "QUEUE", "RESERVED IN", "ADMITTED", "FINISHED", "AGE",
    ]  # fmt: skip
    (row,) = (r.split() for r in rows if r.startswith("job-hurry-"))
    assert row[1:4] == ["one", "one", "True"]
    explained = weft.kubectl("explain", "clusterqueue.spec.preemption")
    assert "reclaimWithinCohort" in explained
    old = json.loads(weft.kubectl("get", "workloads.v1beta1.kueue.x-k8s.io", row[0], "-n", "teams",
                                  "-o", "json"))  # fmt: skip
    assert old["spec"]["priorityClassName"] == "urgent"
    stop.touch()
    wait_for(lambda: state(weft, "idle", "Finished")["status"] == "True", "it came back")


def test_groups_of_pods_and_jobs_that_name_no_queue(weft: Instance, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    kueue(weft, "default", "labelled", "300m")
    node = weft.items("nodes")[0]["metadata"]["name"]
    weft.kubectl("label", "node", node, "kueue-test=here", "--overwrite")
    team_job(weft, "plain", "", stop)
    wait_for(lambda: state(weft, "plain")["status"] == "True", "it waited in queue `default`")
    for n in (0, 1):
        if n == 1:
            alone = "1 of 2 pods of the group are there"
            wait_for(lambda text=alone: text in weft.kubectl("describe", "pods", "-n", "teams"),
                     "the first one waits for the other")  # fmt: skip
        labels = {"queue-name": "default", "pod-group-name": "gang"}
        made = json.loads(job("any", f"while [ ! -e {stop} ]; do sleep 0.2; done", "100m"))
        pod = {
            "apiVersion": "v1", "kind": "Pod", "spec": made["spec"]["template"]["spec"],
            "metadata": {
                "name": f"gang-{n}", "namespace": "teams",
                "labels": {f"kueue.x-k8s.io/{k}": v for k, v in labels.items()},
                "annotations": {"kueue.x-k8s.io/pod-group-total-count": "2"},
            },
        }  # fmt: skip
        weft.kubectl("create", "-f", "-", stdin=json.dumps(pod))

    def of_gang(field: str) -> str:
        return weft.kubectl("get", "workload", "gang", "-n", "teams", "-o", f"jsonpath={field}",
                            check=False)  # fmt: skip

    flavor = "{.status.admission.podSetAssignments[0].flavors.cpu}"
    wait_for(lambda: of_gang(flavor) == "labelled", "the group is admitted as one")
    selector = "jsonpath={.items[*].spec.nodeSelector.kueue-test}"
    assert weft.kubectl("get", "pods", "-n", "teams", "-l", "kueue.x-k8s.io/pod-group-name=gang",
                        "-o", selector) == "here here"  # fmt: skip
    template = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "sh:1", "args": ["-c", "sleep 600"],
                                 "resources": {"requests": {"cpu": "900m"}}}]},
    }  # fmt: skip
    served = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "teams",
                     "labels": {"kueue.x-k8s.io/queue-name": "default"}},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": template},
    }  # fmt: skip
    weft.kubectl("create", "-f", "-", stdin=json.dumps(served))
    wait_for(
        lambda: (
            "insufficient quota for 900m cpu"
            in weft.kubectl("describe", "pods", "-n", "teams", "-l", "app=web")
        ),
        "pods of a Deployment wait, too",
    )
    weft.kubectl("delete", "deployment", "web", "-n", "teams")
    stop.touch()
    finished = '{.status.conditions[?(@.type=="Finished")].reason}'
    wait_for(lambda: of_gang(finished) == "Succeeded", "all its pods ended")


def test_what_weft_has_not_of_kueue_is_refused(weft: Instance) -> None:
    body = {
        "apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ClusterQueue", "metadata": {"name": "odd"},
        "spec": {"admissionChecks": ["provisioning"]},
    }  # fmt: skip
    done = weft.run("apply", "-f", "-", stdin=json.dumps(body))
    assert done.returncode != 0
    assert "weft runs no AdmissionChecks" in done.stderr + done.stdout
