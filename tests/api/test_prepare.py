"""What the server sets on create, update and status update."""

import copy
from typing import Any

import pytest

from tests.api.test_structure import DEPLOYMENT, POD, ROUTES, SERVICE, kind_of
from weft.api.defaults import default
from weft.api.prepare import prepare_create, prepare_status_update, prepare_update
from weft.api.validation import validate_create, validate_update

UID = "11111111-2222-3333-4444-555555555555"
JOB: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "j"},
    "spec": {
        "template": {
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}
        }
    },
}


def created(obj: dict[str, Any], **extra: Any) -> dict[str, Any]:
    kind = kind_of(obj)
    made = prepare_create(kind, default(kind, {**copy.deepcopy(obj), **extra}), UID)
    made["metadata"] |= {"uid": UID, "creationTimestamp": "2026-11-21T00:00:00Z"}
    assert validate_create(kind, made) == []
    return made


def updated(new: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    kind = kind_of(new)
    return prepare_update(kind, default(kind, copy.deepcopy(new)), old)


def test_new_pod_is_pending_whatever_its_maker_says() -> None:
    pod = created(POD, status={"phase": "Running", "podIP": "1.2.3.4"})
    assert pod["status"] == {"phase": "Pending", "qosClass": "Guaranteed"}
    assert pod["spec"]["serviceAccountName"] == "default"
    assert pod["spec"]["priority"] == 0
    taints = [t["key"] for t in pod["spec"]["tolerations"]]
    assert taints == ["k", "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    assert pod["metadata"]["generation"] == 1


def test_tolerating_everything_adds_nothing() -> None:
    spec = {**POD["spec"], "tolerations": [{"operator": "Exists"}]}
    assert created(POD, spec=spec)["spec"]["tolerations"] == [{"operator": "Exists"}]


def test_job_gets_selector_and_labels() -> None:
    job = created(JOB)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": UID}}
    assert labels == {
        "batch.kubernetes.io/controller-uid": UID,
        "batch.kubernetes.io/job-name": "j",
        "controller-uid": UID,
        "job-name": "j",
    }


def test_status_cannot_be_created_or_updated_with_the_object() -> None:
    deployment = created(DEPLOYMENT, status={"replicas": 5})
    assert deployment["status"] == {}
    old = {**deployment, "status": {"replicas": 2}}
    new = updated({**DEPLOYMENT, "status": {"replicas": 9}}, old)
    assert new["status"] == {"replicas": 2}
    assert "status" not in created(ROUTES, status={"conditions": []})


def test_generation_follows_the_spec_only() -> None:
    old = created(DEPLOYMENT)
    same = updated({**DEPLOYMENT, "metadata": {"name": "d", "labels": {"a": "b"}}}, old)
    assert same["metadata"]["generation"] == 1
    assert same["metadata"]["uid"] == UID
    more = updated({**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 3}}, old)
    assert more["metadata"]["generation"] == 2
    noted = updated({**DEPLOYMENT, "metadata": {"name": "d", "annotations": {"a": "b"}}}, old)
    assert noted["metadata"]["generation"] == 2
    assert "generation" not in created(SERVICE)["metadata"]


def test_deletion_cannot_be_undone_by_an_update() -> None:
    old = created(POD)
    old["metadata"]["deletionTimestamp"] = "2026-11-21T00:00:01Z"
    assert updated(POD, old)["metadata"]["deletionTimestamp"] == "2026-11-21T00:00:01Z"


def test_sending_a_pods_manifest_again_changes_nothing() -> None:
    old = created(POD)
    old["spec"]["nodeName"] = "n1"
    new = updated(
        {**POD, "spec": {k: v for k, v in POD["spec"].items() if k != "tolerations"}}, old
    )
    assert new["spec"] == old["spec"]
    assert validate_update(kind_of(POD), new, old) == []


def test_status_update_leaves_the_rest() -> None:
    kind, old = kind_of(DEPLOYMENT), created(DEPLOYMENT)
    new = copy.deepcopy(old)
    new["spec"]["replicas"] = 7
    new["metadata"]["labels"] = {"a": "b"}
    new["metadata"]["annotations"] = {"revision": "1"}
    new["metadata"]["resourceVersion"] = "5"
    new["status"] = {"replicas": 1}
    made = prepare_status_update(kind, new, old)
    assert made["spec"] == old["spec"]
    assert made["status"] == {"replicas": 1}
    noted = {"resourceVersion": "5", "annotations": {"revision": "1"}}
    assert made["metadata"] == {**old["metadata"], **noted}, "no new generation, no labels"


def test_the_agent_may_annotate_a_pod_with_its_status() -> None:
    old = created(POD)
    new = copy.deepcopy(old)
    new["metadata"]["annotations"] = {"weft.dev/netns": "x"}
    new["metadata"]["uid"] = "other"
    made = prepare_status_update(kind_of(POD), new, old)
    assert made["metadata"]["annotations"] == {"weft.dev/netns": "x"}
    assert made["metadata"]["uid"] == UID


def test_service_keeps_its_addresses() -> None:
    node_port = {**SERVICE, "spec": {**SERVICE["spec"], "type": "NodePort"}}
    old = created(node_port)
    old["spec"] |= {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]}
    old["spec"]["ports"][0]["nodePort"] = 30080
    new = updated(node_port, old)
    assert new["spec"]["clusterIPs"] == ["10.0.0.1"]
    assert new["spec"]["ports"][0]["nodePort"] == 30080
    assert new["spec"] == old["spec"]


def test_service_that_is_no_longer_external_loses_what_went_with_it() -> None:
    kind = kind_of(SERVICE)
    external = copy.deepcopy(SERVICE)
    external["spec"]["type"] = "LoadBalancer"
    old = prepare_create(kind, default(kind, external), "u")
    assert old["spec"]["externalTrafficPolicy"] == "Cluster"
    new = copy.deepcopy(old)
    new["spec"]["type"] = "ClusterIP"
    assert "externalTrafficPolicy" not in prepare_update(kind, default(kind, new), old)["spec"]


def test_secrets_fold_plain_text() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"a": "eA==", "b": "eQ=="},
        "stringData": {"b": "hi"},
    }
    made = created(secret)
    assert made["data"] == {"a": "eA==", "b": "aGk="}
    assert "stringData" not in made


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}},
            "Guaranteed",
        ),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
    ],
)
def test_quality_of_service(resources: dict[str, Any], qos: str) -> None:
    container = {"name": "c", "image": "i:1", "resources": resources}
    pod = created(POD, spec={"containers": [container]})
    assert pod["status"]["qosClass"] == qos
