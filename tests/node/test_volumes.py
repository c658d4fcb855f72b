"""Volumes: what files pods get."""

import base64
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.node.pods import pod
from weft.api.k8s.core_v1 import ConfigMap, Secret
from weft.api.objects import decode
from weft.api.snapshot import ObjectSnapshot
from weft.node.downward import PodFacts, TokenKey
from weft.node.environment import Refusal
from weft.node.runtime import Mount
from weft.node.volume_files import prepare, write_atomically
from weft.node.volumes import File, VolumePlan, mounts, plan_volumes

FACTS = PodFacts(address="10.244.0.5", memory_bytes=2**30, tokens={TokenKey("vault"): "T"})
CONFIG = decode(
    ConfigMap,
    {"metadata": {"name": "cfg", "namespace": "default"}, "data": {"a": "1", "b": "2"},
     "binaryData": {"raw": base64.b64encode(b"\x00\xff").decode()}},
)  # fmt: skip
SECRET = decode(
    Secret, {"metadata": {"name": "key", "namespace": "default"}, "data": {"k": "aHVudGVyMg=="}}
)


def planned(**source: Any) -> Any:
    made = plan_volumes(
        pod(volumes=[{"name": "v"} | source], meta={"labels": {"app": "web"}}),
        ObjectSnapshot([CONFIG, SECRET]), FACTS,
    )  # fmt: skip
    return made if isinstance(made, Refusal) else made[0]


def test_config_map_as_files() -> None:
    plan = planned(configMap={"name": "cfg"})
    assert {f.path: f.data for f in plan.files} == {"a": b"1", "b": b"2", "raw": b"\x00\xff"}
    items = [{"key": "a", "path": "sub/x", "mode": 0o400}]
    (file,) = planned(configMap={"name": "cfg", "items": items}).files
    assert file == File("sub/x", b"1", 0o400)


def test_secret_is_kept_in_memory() -> None:
    plan = planned(secret={"secretName": "key", "defaultMode": 0o600})
    assert plan.in_memory
    assert plan.files == (File("k", b"hunter2", 0o600),)


def test_downward_api_and_projection() -> None:
    labels = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
    assert planned(downwardAPI={"items": [labels]}).files == (File("labels", b'app="web"'),)
    sources = [
        {"configMap": {"name": "cfg", "items": [{"key": "a", "path": "a"}]}},
        {"secret": {"name": "key"}},
        {"downwardAPI": {"items": [labels]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
    ]
    plan = planned(projected={"sources": sources})
    assert [f.path for f in plan.files] == ["a", "k", "labels", "token"]
    assert plan.files[-1].data == b"T"
    assert plan.in_memory, "a part of it is secret"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "no"}}, 'volume "v": configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'volume "v": secret "no" not found'),
        ({"configMap": {"name": "cfg", "items": [{"key": "z", "path": "z"}]}},
         'volume "v": configmap references non-existent key: z'),
        ({"configMap": {"name": "cfg", "items": [{"key": "a", "path": "../x"}]}},
         'volume "v": path "../x" must stay inside the volume'),
        ({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
         'volume "v": its service account token is not there yet'),
        ({"nfs": {"server": "s", "path": "/"}},
         'volume "v": its type is not supported (supported: emptyDir, configMap, secret, '
         "downwardAPI, projected, hostPath, persistentVolumeClaim, ephemeral)"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    assert planned(**source) == Refusal("CreateContainerConfigError", message)


def test_optional_sources_may_be_absent() -> None:
    assert planned(configMap={"name": "no", "optional": True}).files == ()


def test_mounts_with_sub_paths_and_read_only_sources() -> None:
    found = pod(
        containers=[{"name": "web", "volumeMounts": [
            {"name": "c", "mountPath": "/etc/app/x", "subPath": "a"},
            {"name": "e", "mountPath": "/data"},
            {"name": "e", "mountPath": "/var/$(POD)", "subPathExpr": "$(POD)", "readOnly": True},
        ]}],
        volumes=[{"name": "c", "configMap": {"name": "cfg"}}, {"name": "e", "emptyDir": {}}],
    )  # fmt: skip
    made = mounts(found, found.spec.containers[0], {"c": "/v/c", "e": "/v/e"}, {"POD": "p0"})
    assert made == (
        Mount("/v/e", "/data"),
        Mount("/v/e/p0", "/var/$(POD)", read_only=True),
        Mount("/v/c/a", "/etc/app/x", read_only=True),
    )
    bad = pod(containers=[{"name": "web", "volumeMounts": [
        {"name": "e", "mountPath": "/d", "subPath": "../up"}]}])  # fmt: skip
    assert isinstance(mounts(bad, bad.spec.containers[0], {"e": "/v/e"}, {}), Refusal)


def test_the_whole_machine_is_mounted_below_a_root_of_ones_own_only() -> None:
    found = pod(containers=[{"name": "web", "volumeMounts": [
        {"name": "h", "mountPath": "/host"},
        {"name": "h", "mountPath": "/e", "subPath": "etc", "readOnly": True}]}])  # fmt: skip
    made = mounts(found, found.spec.containers[0], {"h": "/"}, {}, own_root=True)
    assert made == (Mount("/", "/host"), Mount("/etc", "/e", read_only=True))
    refused = mounts(found, found.spec.containers[0], {"h": "/"}, {})
    assert isinstance(refused, Refusal)
    assert "or a container image, which gets them at its mountPath" in refused.message


def test_files_change_together_and_stale_ones_go(tmp_path: Path) -> None:
    assert write_atomically(tmp_path, [File("a", b"1"), File("sub/b", b"2", 0o400)])
    assert (tmp_path / "a").read_text() == "1"
    assert (tmp_path / "sub/b").read_text() == "2"
    assert stat.S_IMODE((tmp_path / "sub/b").stat().st_mode) == 0o400
    before = os.readlink(tmp_path / "..data")
    assert not write_atomically(tmp_path, [File("a", b"1"), File("sub/b", b"2", 0o400)])
    assert os.readlink(tmp_path / "..data") == before
    assert write_atomically(tmp_path, [File("a", b"9")])
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("..")) == ["a"]
    assert (tmp_path / "a").read_text() == "9"
    assert len(list(tmp_path.glob("..*"))) == 2, "the old set is gone"


def test_empty_dir_survives_and_host_paths_are_checked(tmp_path: Path) -> None:
    empty = VolumePlan("e", "empty")
    where = Path(prepare(empty, tmp_path / "e"))
    (where / "kept").touch()
    prepare(empty, tmp_path / "e")
    assert (where / "kept").exists()
    assert stat.S_IMODE(where.stat().st_mode) == 0o777
    missing = VolumePlan("h", "host", host_path=str(tmp_path / "no"), host_type="Directory")
    with pytest.raises(ValueError, match="is not a Directory"):
        prepare(missing, tmp_path / "h")
    made = VolumePlan("h", "host", host_path=str(tmp_path / "no"), host_type="DirectoryOrCreate")
    assert prepare(made, tmp_path / "h") == str(tmp_path / "no")
