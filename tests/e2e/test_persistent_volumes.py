"""Persistent volumes on the node's directories: data outlives pods, and kill -9 of weft."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, wait_for
from tests.e2e.test_workloads import OBEDIENT, apply, pods, read, sh, workload

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh(ISOLATIONS[0]):
        instance.up()
        instance.image("sh:1", Path("/tmp"), "/bin/sh")
        yield instance


def claim(name: str, size: str = "1Gi", **spec: Any) -> Any:
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    return {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
        "spec": base | spec,
    }  # fmt: skip


def phase(weft: Instance, name: str) -> str:
    return str(read(weft, "pvc", name)["status"]["phase"])


def test_data_outlives_pods_and_the_daemon(weft: Instance) -> None:
    mounts = [{"name": "data", "mountPath": "/data"}]
    spec = sh(f"echo $HOSTNAME >> /data/log; {OBEDIENT}", volumeMounts=mounts)
    apply(
        weft,
        workload("StatefulSet", "db", spec, replicas=1, serviceName="db",
                 volumeClaimTemplates=[{"metadata": {"name": "data"}, "spec": claim("x")["spec"]}]),
    )  # fmt: skip
    weft.wait_ready("app=db", 1)
    assert phase(weft, "data-db-0") == "Bound"
    assert "Bound" in weft.kubectl("get", "pvc", "data-db-0")
    name = read(weft, "pvc", "data-db-0")["spec"]["volumeName"]
    directory = Path(read(weft, "pv", name)["spec"]["local"]["path"])
    assert (directory / "log").read_text() == "db-0\n"
    uid = pods(weft, "db")["db-0"]["metadata"]["uid"]
    weft.kubectl("delete", "pod", "db-0")
    wait_for(lambda: (directory / "log").read_text() == "db-0\ndb-0\n", "a second start")
    weft.kill_9()
    weft.up()
    weft.wait_ready("app=db", 1)
    assert pods(weft, "db")["db-0"]["metadata"]["uid"] != uid
    # A claim in use stays, and goes with its data when nobody uses it any more.
    weft.kubectl("delete", "pvc", "data-db-0", "--wait=false")
    assert read(weft, "pvc", "data-db-0")["metadata"]["deletionTimestamp"]
    weft.kubectl("delete", "statefulset", "db")
    wait_for(lambda: not weft.items("pvc"), "the claim is gone")
    wait_for(lambda: not directory.exists(), "its directory is gone")
    wait_for(lambda: "No resources" in weft.kubectl("get", "pv", check=False), "and the volume")


def test_a_claim_waits_grows_and_keeps_what_people_made(weft: Instance, tmp_path: Path) -> None:
    (tmp_path / "hello").write_text("hi")
    labels = {"kubernetes.io/hostname": weft.read("/api/v1/nodes")["items"][0]["metadata"]["name"]}
    need = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(labels.values())}
    mine = {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "mine"},
        "spec": {
            "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"],
            "storageClassName": "by-hand", "local": {"path": str(tmp_path)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [need]}]}},
        },
    }  # fmt: skip
    apply(weft, mine, claim("mine", storageClassName="by-hand"), claim("grow"))
    wait_for(lambda: phase(weft, "mine") == "Bound", "bound to the volume of people")
    assert phase(weft, "grow") == "Pending"
    assert "waiting for first consumer" in weft.kubectl("describe", "pvc", "grow")
    volumes = [{"name": n, "persistentVolumeClaim": {"claimName": n}} for n in ("mine", "grow")]
    mounts = [{"name": "mine", "mountPath": "/mine"}, {"name": "grow", "mountPath": "/grow"}]
    script = "cp /mine/hello /grow/hello && cat /grow/hello"
    spec = sh(script, volumeMounts=mounts) | {"volumes": volumes, "restartPolicy": "Never"}
    apply(weft, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "user"}, "spec": spec})
    wait_for(lambda: weft.pod("user")["status"]["phase"] == "Succeeded", "the pod has ended")
    assert weft.kubectl("logs", "user").strip() == "hi"
    bigger = {"spec": {"resources": {"requests": {"storage": "5Gi"}}}}
    weft.kubectl("patch", "pvc", "grow", "-p", json.dumps(bigger))
    wait_for(lambda: read(weft, "pvc", "grow")["status"]["capacity"]["storage"] == "5Gi", "grown")
    weft.kubectl("delete", "pod/user", "pvc/mine", "pvc/grow")
    wait_for(lambda: read(weft, "pv", "mine")["status"]["phase"] == "Released", "released")
    assert (tmp_path / "hello").read_text() == "hi"


def test_describe_says_what_is_missing(weft: Instance) -> None:
    spec = sh(OBEDIENT) | {
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "nowhere"}}]
    }
    apply(weft, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits"}, "spec": spec})
    wait_for(
        lambda: (
            'persistentvolumeclaim "nowhere" not found' in weft.kubectl("describe", "pod", "waits")
        ),
        "the reason",
    )
    apply(weft, claim("nowhere"))
    wait_for(lambda: weft.pod("waits")["status"]["phase"] == "Running", "it runs", 20)
    weft.kubectl("delete", "pod/waits", "pvc/nowhere")
