"""Rollouts as tables and trees."""

from typing import Any

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
    "status": {"phase": "Paused", "message": "CanaryPauseStep", "currentStepIndex": 1,
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
    run = owned("AnalysisRun", "web-b-2", "a", "r", 2, status={"phase": "Running"})
    sets = [replica_set("web-a", "a", 1, 2), replica_set("web-b", "b", 2, 1)]
    text = "\n".join(lines(Parts(ROLLOUT, sets, [pod], [run]), 60.0))
    assert "Status:     ॥ Paused" in text
    assert "Step:       1/2: pause 10m" in text
    assert "Weight:     20 of requests" in text
    assert "web:1 (stable)" in text
    tree = text[text.index("⟳") :].splitlines()
    assert [line.strip("│├└─ ").split("  ")[0] for line in tree] == [
        "⟳ web", "# revision:2", "⧉ web-b", "□ web-b-1", "α web-b-2", "# revision:1", "⧉ web-a",
    ]  # fmt: skip
    assert tree[2].endswith("✔ Healthy  60s  canary")


def test_the_list() -> None:
    head, row = list_lines([ROLLOUT])
    assert head.split() == [
        "NAME", "STRATEGY", "STATUS", "STEP", "WEIGHT", "READY", "DESIRED", "UP-TO-DATE",
        "AVAILABLE",
    ]  # fmt: skip
    assert row.split() == ["web", "Canary", "Paused", "1/2", "20", "3/2", "2", "0", "0"]
