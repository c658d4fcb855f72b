"""Rollouts as tables and trees."""

from typing import Any

from weft.telemetry.signals import EdgeTraffic, TrafficDocument
from weft.telemetry.traffic import Counts, EdgeKey
from weft.views.rollouts import Parts, lines, list_lines


def owned(kind: str, name: str, uid: str, owner: str, revision: int = 0, **more: Any) -> Any:
    notes = {"rollout.argoproj.io/revision": str(revision)} if revision else {}
    meta = {"name": name, "uid": uid, "ownerReferences": [{"uid": owner}], "annotations": notes}
    meta |= {"creationTimestamp": "1970-01-01T00:00:00Z", "labels": more.pop("labels", {})}
    return {"kind": kind, "metadata": meta, **more}


ROLLOUT: Any = {
    "metadata": {"name": "web", "namespace": "shop", "uid": "r"},
    "spec": {"replicas": 2, "strategy": {"canary": {"steps": [
        {"setWeight": 20}, {"pause": {"duration": "10m"}}]}}},
    "status": {"pauseConditions": [{"startTime": "1970-01-01T00:00:00Z"}],
               "phase": "Paused", "message": "CanaryPauseStep", "currentStepIndex": 1,
               "stableRS": "a", "currentPodHash": "b", "replicas": 3, "readyReplicas": 3,
               "canary": {"weights": {"canary": {"weight": 20}}}},
}  # fmt: skip


def replica_set(name: str, digest: str, revision: int, replicas: int) -> Any:
    template = {"spec": {"containers": [{"image": f"web:{revision}"}]}}
    return owned(
        "ReplicaSet", name, name, "r", revision, labels={"rollouts-pod-template-hash": digest},
        spec={"replicas": replicas, "template": template},
        status={"availableReplicas": replicas},
    )  # fmt: skip


def test_the_tree() -> None:
    pod = owned("Pod", "web-b-1", "p", "web-b", status={"phase": "Running"},
                spec={"containers": [{}]})  # fmt: skip
    counts = [{"successful": 3, "failed": 1}, {"successful": 1}]
    running = {"phase": "Running", "metricResults": counts}
    run = owned("AnalysisRun", "web-b-2", "a", "r", 2, status=running)
    sets = [replica_set("web-a", "a", 1, 2), replica_set("web-b", "b", 2, 1)]
    text = "\n".join(lines(Parts(ROLLOUT, sets, [pod], [run]), 60.0))
    assert "Status:     ॥ Paused" in text
    assert "Step:       1/2: pause 10m, 9m left" in text
    assert "α web-b-2  AnalysisRun  ◌ Running  60s  ✔ 4 ✖ 1" in text
    assert "Weight:     20% of requests" in text
    assert "web:1 (stable)" in text
    tree = text[text.index("⟳") :].splitlines()
    assert [line.strip("│├└─ ").split("  ")[0] for line in tree] == [
        "⟳ web", "# revision:2", "⧉ web-b", "□ web-b-1", "α web-b-2", "# revision:1", "⧉ web-a",
    ]  # fmt: skip
    assert tree[2].endswith("✔ Healthy  60s  canary")


def test_a_pod_that_does_not_start_says_why() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "Back-off pulling " + "x" * 100}
    pulling = {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}
    placed = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: …"}
    unplaced = {"phase": "Pending", "conditions": [placed]}
    spec = {"containers": [{}]}
    pods = [owned("Pod", f"web-b-{n}", f"p{n}", "web-b", status=status, spec=spec)
            for n, status in enumerate((pulling, unplaced))]  # fmt: skip
    first, second = lines(Parts(ROLLOUT, [replica_set("web-b", "b", 2, 2)], pods), 60.0)[-2:]
    assert "⚠ ImagePullBackOff  60s  ready:0/1  Back-off pulling xxx" in first
    assert first.endswith("x…")
    assert second.endswith("◌ Pending  60s  ready:0/1  0/1 nodes are available: …")


def test_calls_are_told_by_version() -> None:
    def calls(version: str, count: float, errors: float, name: str = "web") -> EdgeTraffic:
        edge = EdgeKey("ui", "shop", "v1", name, "shop", version, "web", "shop", "web", "http", "")
        return EdgeTraffic(edge, Counts(requests=count, errors=errors), (count / 30,))

    sets = [replica_set("web-a", "a", 1, 2), replica_set("web-b", "b", 2, 1)]
    for each in sets:
        digest = each["metadata"]["labels"]["rollouts-pod-template-hash"]
        each["spec"]["template"]["metadata"] = {"labels": {"version": f"v{digest}"}}
    edges = (calls("va", 240, 0), calls("vb", 60, 3), calls("v9", 30, 0, "other"))
    found = lines(Parts(ROLLOUT, sets, traffic=TrafficDocument(30.0, 5, edges)), 60.0)
    at = found.index("Calls of the last 30 s:")
    rows = [line.split() for line in found[at + 2 : at + 4]]
    assert rows == [
        ["va", "stable", "8.0/s", "0.0%", "-", "-"], ["vb", "canary", "2.0/s", "5.0%", "-", "-"],
    ]  # fmt: skip
    assert found[at + 4] == ""


def test_the_list() -> None:
    head, row = list_lines([ROLLOUT])
    assert head.split() == [
        "NAME", "STRATEGY", "STATUS", "STEP", "WEIGHT", "READY", "DESIRED", "UP-TO-DATE",
        "AVAILABLE",
    ]  # fmt: skip
    assert row.split() == ["web", "Canary", "Paused", "1/2", "20", "3/2", "2", "0", "0"]
