"""Claims and the choice of a node."""

from typing import Any

import msgspec

from tests.scheduler.objects import node, pod
from tests.scheduler.test_cycle import bound, complaint, run
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.k8s.storage_v1 import StorageClass
from weft.runtime.plan import Patch

SELECTED = "volume.kubernetes.io/selected-node"


def claim(bound_to: str = "", storage_class: str = "local", **more: Any) -> Any:
    body = {
        "metadata": {"name": "data", "namespace": "default", **more.pop("metadata", {})},
        "spec": {"storageClassName": storage_class, "volumeName": bound_to,
                 "resources": {"requests": {"storage": "1Gi"}}, **more},
        "status": {"phase": "Bound" if bound_to else "Pending"},
    }  # fmt: skip
    return msgspec.convert(body, PersistentVolumeClaim)


def volume(where: str, storage_class: str = "local") -> Any:
    need = {"key": "kubernetes.io/hostname", "operator": "In", "values": [where]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [need]}]}
    spec = {"capacity": {"storage": "1Gi"}, "nodeAffinity": {"required": required},
            "storageClassName": storage_class}  # fmt: skip
    return msgspec.convert({"metadata": {"name": "v"}, "spec": spec}, PersistentVolume)


def storage_class(provisioner: str = "weft.dev/local", mode: str = "WaitForFirstConsumer") -> Any:
    body = {"metadata": {"name": "local"}, "provisioner": provisioner, "volumeBindingMode": mode}
    return msgspec.convert(body, StorageClass)


def user(**more: Any) -> Any:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    return pod("p", volumes=volumes, **more)


NODES = [node(n, labels={"kubernetes.io/hostname": n}) for n in ("n1", "n2")]


def test_a_pod_follows_its_volume() -> None:
    assert bound(run(*NODES, claim("v"), volume("n2"), user())) == {"p": "n2"}
    plan = run(NODES[0], claim("v"), volume("n2"), user())
    assert complaint(plan) == (
        "0/1 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity."
    )


def test_a_claim_is_told_the_node_before_the_pod_is_bound() -> None:
    plan = run(*NODES, claim(), storage_class(), user())
    assert bound(plan) == {}
    (patch,) = [a for a in plan.actions if isinstance(a, Patch)]
    assert patch.cls is PersistentVolumeClaim
    assert patch.body["metadata"]["annotations"][SELECTED] in ("n1", "n2")


def test_a_choice_is_kept() -> None:
    chosen = claim(metadata={"annotations": {SELECTED: "n2"}})
    assert run(*NODES, chosen, storage_class(), user()).actions == ()


def test_without_a_provisioner_a_volume_has_to_be_there() -> None:
    static = storage_class("kubernetes.io/no-provisioner")
    plan = run(*NODES, claim(), static, volume("n2"), user())
    (patch,) = [a for a in plan.actions if isinstance(a, Patch)]
    assert patch.body["metadata"]["annotations"][SELECTED] == "n2"
    plan = run(*NODES, claim(), static, user())
    assert "2 node(s) didn't find available persistent volumes to bind" in complaint(plan)


def test_what_is_missing_is_told() -> None:
    assert 'persistentvolumeclaim "data" not found' in complaint(run(*NODES, user()))
    plan = run(*NODES, claim(), storage_class(mode="Immediate"), user())
    assert "pod has unbound immediate PersistentVolumeClaims" in complaint(plan)


def test_a_claim_for_one_pod_takes_no_second() -> None:
    single = claim("v", accessModes=["ReadWriteOncePod"])
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    other = pod("other", nodeName="n2", phase="Running", volumes=volumes)
    assert "ReadWriteOncePod" in complaint(run(*NODES, single, volume("n2"), other, user()))
