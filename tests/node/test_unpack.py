"""Layers: what lands where, and that nothing lands anywhere else."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
import zstandard

from tests.archives import Member, layer
from weft.node.oci.documents import ImageError
from weft.node.oci.unpack import read_text, unpack


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def into(target: Path, data: bytes, packed: bytes | None = None, bytes_max: int = 0) -> int:
    return unpack(io.BytesIO(packed if packed is not None else data), target, digest(data),
                  bytes_max)  # fmt: skip


def hard_link(name: str, target: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        content = tarfile.TarInfo("file")
        content.size = 4
        archive.addfile(content, io.BytesIO(b"text"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = tarfile.LNKTYPE, target
        archive.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_files_links_modes_and_directories(tmp_path: Path, pack: "type[bytes]") -> None:
    members: list[Member] = [
        ("./", None, 0o755), ("bin", None, 0o755), ("bin/tool", b"x" * 100_000, 0o4755),
        ("bin/other", "tool", 0o777), ("locked", None, 0o500), ("locked/in", b"", 0o400),
        ("deep/er/file", b"d", 0o644),
    ]  # fmt: skip
    data = layer(members)
    assert into(tmp_path / "root", data, pack(data)) == 100_001
    root = tmp_path / "root"
    assert stat.S_IMODE((root / "bin/tool").stat().st_mode) == 0o4755
    assert os.readlink(root / "bin/other") == "tool"
    assert stat.S_IMODE((root / "locked").stat().st_mode) == 0o500
    assert (root / "locked/in").exists()
    assert read_text((str(root),), "deep/er/file") == "d"


def test_whiteouts_become_what_overlayfs_knows(tmp_path: Path) -> None:
    members: list[Member] = [
        ("gone", b"first", 0o644), (".wh.gone", b"", 0o644), ("dir/.wh..wh..opq", b"", 0o644),
        ("dir/new", b"n", 0o644), (".wh..wh.plnk", b"", 0o644),
    ]  # fmt: skip
    into(tmp_path / "root", layer(members))
    status = (tmp_path / "root/gone").lstat()
    assert (stat.S_ISCHR(status.st_mode), status.st_rdev) == (True, 0)
    name = "trusted.overlay.opaque" if os.geteuid() == 0 else "user.overlay.opaque"
    assert os.getxattr(tmp_path / "root/dir", name) == b"y"
    assert sorted(os.listdir(tmp_path / "root")) == ["dir", "gone"]


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x", 0o644)],
        [("a/../../evil", b"x", 0o644)],
        [("a/.wh...", b"", 0o644)],
        [(".wh...", b"", 0o644)],
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, members: list[Member]) -> None:
    with pytest.raises(ImageError):
        into(tmp_path / "root", layer(members))
    assert os.listdir(tmp_path) == [], "and nothing stays"


@pytest.mark.parametrize("link", ["/", "..", "../..", "{outside}", "../outside"])
def test_links_are_followed_inside_only(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = link.format(outside=outside)
    members: list[Member] = [
        ("door", target, 0o777), ("door/evil", b"x", 0o644), ("door/.wh.evil2", b"", 0o644),
        ("two", "door", 0o777), ("two/more/evil", b"x", 0o644),
    ]  # fmt: skip
    into(tmp_path / "root", layer(members))
    assert os.listdir(outside) == []
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    found = [f for _, _, files in os.walk(tmp_path / "root") for f in files]
    assert found.count("evil") == 2


def test_absolute_names_are_below_the_root(tmp_path: Path) -> None:
    into(tmp_path / "root", layer([("/etc/x", b"1", 0o644)]))
    assert (tmp_path / "root/etc/x").read_text() == "1"


def test_hard_links(tmp_path: Path) -> None:
    into(tmp_path / "good", hard_link("same", "file"))
    good = tmp_path / "good"
    assert (good / "same").stat().st_ino == (good / "file").stat().st_ino
    for index, target in enumerate(("../outside", "missing", "/")):
        with pytest.raises(ImageError):
            into(tmp_path / f"bad{index}", hard_link("same", target))


def test_a_link_in_the_way_is_replaced_by_a_file(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("before")
    into(tmp_path / "root", layer([("f", str(outside), 0o777), ("f", b"after", 0o644)]))
    assert outside.read_text() == "before"
    assert (tmp_path / "root/f").read_text() == "after"


def test_content_is_checked_and_bounded(tmp_path: Path) -> None:
    data = layer([("f", b"0" * 1_000_000, 0o644)])
    with pytest.raises(ImageError, match="more than 50000 bytes"):
        into(tmp_path / "a", data, gzip.compress(data), bytes_max=50_000)
    with pytest.raises(ImageError, match="the image says"):
        unpack(io.BytesIO(data), tmp_path / "b", digest(b"other"))
    for broken in (gzip.compress(data)[:-2000], b"no archive at all" * 100):
        with pytest.raises(ImageError):
            into(tmp_path / "c", data, broken)
    assert os.listdir(tmp_path) == []


def test_device_nodes_are_not_made(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("disk")
        info.type, info.devmajor, info.devminor = tarfile.BLKTYPE, 8, 0
        archive.addfile(info)
    into(tmp_path / "root", buffer.getvalue())
    assert os.listdir(tmp_path / "root") == []
