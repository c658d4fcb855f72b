"""Images from files, and what is wrong with some."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import archives
from weft.node.images import ImageStore, layers_in_use
from weft.node.oci.documents import (
    Descriptor,
    ImageError,
    Index,
    Platform,
    choose,
    platform_of,
    read_manifest,
)
from weft.node.oci.references import parse

LAYERS = [archives.layer([("a", b"1", 0o644)]), archives.layer([("b", b"2", 0o644)])]
SETTINGS: dict[str, Any] = {
    "Entrypoint": ["/a"], "Cmd": ["x"], "Env": ["A=1=2"], "User": "web", "WorkingDir": "/w",
    "StopSignal": "SIGQUIT", "ExposedPorts": {"80/tcp": {}}, "Volumes": None, "Labels": None,
}  # fmt: skip


def check(store: ImageStore, name: str) -> None:
    image = store.resolve(name)
    assert image is not None
    assert image.oci is not None
    assert (image.command, image.args, image.env) == (("/a",), ("x",), {"A": "1=2"})
    assert (image.directory, image.oci.user, image.oci.stop_signal) == ("/w", "web", "SIGQUIT")
    directories = store.layers(image.oci)
    assert [sorted(p.name for p in Path(d).iterdir()) for d in directories] == [["b"], ["a"]]
    by_digest = store.resolve(f"{name.partition(':')[0]}@{image.oci.digest}")
    assert by_digest == image
    assert store.id_of(name) == f"docker.io/{name.partition(':')[0]}@{image.oci.digest}"


@pytest.mark.parametrize("packing", ["", "+gzip", "+zstd"])
def test_layouts_as_directory_and_as_archive(tmp_path: Path, packing: str) -> None:
    layout = archives.oci_layout(tmp_path / "layout", "shop/web:1", LAYERS, SETTINGS, packing)
    store = ImageStore(tmp_path / "one")
    store.import_from(layout)
    check(store, "shop/web:1")
    subprocess.run(["tar", "-C", layout, "-czf", tmp_path / "layout.tgz", "."], check=True)
    store = ImageStore(tmp_path / "two")
    store.import_from(tmp_path / "layout.tgz", ("shop/other",))
    check(store, "shop/other:latest")


def test_docker_save_and_pruning(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "data")
    for tag in ("1", "2"):
        layers = [*LAYERS[: int(tag)]]
        archive = archives.docker_archive(tmp_path / tag, f"shop/web:{tag}", layers, SETTINGS)
        store.import_from(archive)
    check(store, "shop/web:2")
    assert store.prune(()) == 0
    image = store.resolve("shop/web:2")
    assert image is not None
    assert image.oci is not None
    used = store.layers(image.oci)
    (tmp_path / "run/containers/c").mkdir(parents=True)
    state = {"spec": {"rootfs": {"layers": used}}}
    (tmp_path / "run/containers/c/state.json").write_text(json.dumps(state))
    assert layers_in_use(tmp_path / "run") == used
    store.remove("shop/web:2")
    assert store.prune(used) > 0
    assert all(Path(path).exists() for path in used), "a container runs from them"
    store.prune(())
    assert [Path(path).exists() for path in used] == [False, True]
    assert store.resolve("shop/web:1") is not None


def broken(tmp_path: Path, change: Any) -> Path:
    layout = archives.oci_layout(tmp_path / "broken", "shop/web:1", LAYERS, SETTINGS)
    change(layout)
    return layout


def blob(layout: Path, words: str) -> Path:
    return next(p for p in (layout / "blobs/sha256").iterdir() if words.encode() in p.read_bytes())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda d: (d / "index.json").write_text("[]"), "cannot be read"),
        (lambda d: (d / "index.json").unlink(), "neither"),
        (lambda d: blob(d, "rootfs").write_text("{}"), "came with other content"),
        (lambda d: blob(d, "schemaVersion").write_text("{}"), "has other content"),
        (lambda d: blob(d, "rootfs").unlink(), "has no blobs/sha256/"),
        (lambda d: (d / "index.json").write_text(
            (d / "index.json").read_text().replace("shop/web:1", "Shop/web:1")), "lower case"),
        (lambda d: (d / "index.json").write_text(
            (d / "index.json").read_text().replace("sha256:", "sha256:../")), "no sha256 digest"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_nothing_is_added(tmp_path: Path, change: Any, why: str) -> None:
    store = ImageStore(tmp_path / "data")
    with pytest.raises(ImageError, match=why):
        store.import_from(broken(tmp_path, change))
    assert store.names() == ()


def test_platforms() -> None:
    def entry(architecture: str, variant: str = "") -> Descriptor:
        return Descriptor(
            "sha256:" + "0" * 64, 1, platform=Platform(architecture, "linux", variant)
        )

    index = Index((entry("amd64"), entry("arm64"), entry("arm", "v6"), entry("arm", "v7")))
    assert choose(index, platform_of("x86_64")) == index.manifests[0]
    assert choose(index, platform_of("aarch64")) == index.manifests[1]
    assert choose(index, platform_of("armv7l")) == index.manifests[3]
    with pytest.raises(ImageError, match="no matching manifest for linux/s390x"):
        choose(index, platform_of("s390x"))
    with pytest.raises(ImageError, match="schema version 1"):
        read_manifest(msgspec.json.encode({"schemaVersion": 1, "fsLayers": []}))


@pytest.mark.parametrize(
    "name", ["A/b", "a b", "a:", "a@sha256:12", "-x/y.z", "a/../b", "a//b", "a:b:c", "x" * 300]
)
def test_bad_names(name: str) -> None:
    if name == "a:":
        assert parse(name).tag == "latest"
        return
    with pytest.raises(ValueError, match="name"):
        parse(name)


def test_commands(tmp_path: Path) -> None:
    archive = archives.docker_archive(tmp_path / "a.tar", "shop/web:1", LAYERS, SETTINGS)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "weft.cli", "image", words[0], "--data-dir",
                   str(tmp_path / "data"), *words[1:]]  # fmt: skip
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert "sha256:" in run("import", str(archive)).stderr
    listed = run("list").stdout
    assert "container" in listed
    assert json.loads(run("inspect", "shop/web:1").stdout)["oci"]["user"] == "web"
    failed = run("import", str(tmp_path / "nothing"))
    assert (failed.returncode, "nothing was imported" in failed.stderr) == (1, True)
