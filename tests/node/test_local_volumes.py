"""Which directories a node removes, and which it never does."""

from typing import Any

import msgspec
import pytest

from weft.api.k8s.core_v1 import Node
from weft.api.k8s.persistent_volume_v1 import PersistentVolume
from weft.api.snapshot import ObjectSnapshot
from weft.node.local_volumes import _remove_tree, due

NODE = msgspec.convert(
    {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1"}}}, Node
)
OURS = {"pv.kubernetes.io/provisioned-by": "weft.dev/local"}


def volume(phase: str, policy: str = "Delete", host: str = "n1", **metadata: Any) -> Any:
    need = {"key": "kubernetes.io/hostname", "operator": "In", "values": [host]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [need]}]}
    base = {"name": "v", "annotations": OURS, "finalizers": ["weft.dev/local-volume"]}
    body = {
        "metadata": base | metadata,
        "spec": {"persistentVolumeReclaimPolicy": policy, "nodeAffinity": {"required": required}},
        "status": {"phase": phase},
    }
    return msgspec.convert(body, PersistentVolume)


@pytest.mark.parametrize(
    ("found", "goes"),
    [
        (volume("Released"), True),
        (volume("Bound"), False),
        (volume("Released", "Retain"), False),
        (volume("Released", "Retain", deletionTimestamp="2026-01-01T00:00:00Z"), True),
        (volume("Bound", deletionTimestamp="2026-01-01T00:00:00Z"), False),
        (volume("Released", host="n2"), False),
        (volume("Released", annotations={}), False),
        (volume("Released", finalizers=[]), False),
    ],
)
def test_what_is_over(found: PersistentVolume, goes: bool) -> None:
    assert bool(list(due(ObjectSnapshot([NODE, found]), "n1"))) == goes


def test_only_directories_that_weft_named_are_removed(tmp_path: Any) -> None:
    for name in ("pvc-1", "home"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
        _remove_tree(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == ["home"]
