"""Writes pods' files: volumes, /etc. Blocking; small files only."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from weft.node.linux import userns
from weft.node.volumes import File, VolumePlan

DATA = "..data"
DIRECTORY_MODE = 0o755


def prepare(plan: VolumePlan, directory: Path) -> str:
    """Make the volume, or bring it up to date; its path on the host. OSError tells what failed,
    ValueError what a hostPath should have been."""
    if plan.kind == "host":
        return _host_path(plan)
    if plan.kind == "local":
        directory = _local(plan)
    directory.mkdir(parents=True, exist_ok=True)
    if plan.kind == "empty":
        # Any user of the pod may write here, as with kubelet's emptyDir.
        directory.chmod(0o777)
    elif plan.kind == "files":
        write_atomically(directory, plan.files)
    if plan.group is not None and os.geteuid() == 0 and not userns.is_mapped():
        os.chown(directory, -1, plan.group)
        directory.chmod(0o2775)
    return str(directory)


def _host_path(plan: VolumePlan) -> str:
    path, kind = Path(plan.host_path), plan.host_type
    if kind == "DirectoryOrCreate":
        path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    elif kind == "FileOrCreate":
        path.touch(mode=0o644, exist_ok=True)
    checks = {"Directory": path.is_dir, "File": path.is_file, "Socket": path.is_socket}
    if not path.exists() or not checks.get(kind, path.exists)():
        raise ValueError(f"hostPath {path} is not a {kind or 'path that exists'}")
    return str(path)


def _local(plan: VolumePlan) -> Path:
    """The directory of a persistent volume. A new one is open to any user of the pod."""
    path = Path(plan.host_path)
    if plan.host_type == "DirectoryOrCreate" and not path.exists():
        path.mkdir(parents=True)
        path.chmod(0o777)
    if not path.is_dir():
        raise ValueError(f"local volume {path} is no directory of this node")
    return path


def write_atomically(directory: Path, files: Iterable[File]) -> bool:
    """Replace all files at one moment: readers see the old set or the new one. False: no change.

    The layout is kubelet's: real files in a hidden directory that the link `..data` names.
    """
    wanted = {f.path: f for f in files}
    if _present(directory) == {p: (f.data, f.mode) for p, f in wanted.items()}:
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=directory))
    fresh.chmod(DIRECTORY_MODE)
    for file in wanted.values():
        target = fresh / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, file.mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, file.mode)
            stream.write(file.data)
    old = directory / DATA
    before = os.readlink(old) if old.is_symlink() else ""
    link = directory / "..data_next"
    with contextlib.suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(fresh.name)
    link.rename(old)
    _link_names(directory, {path.split("/", 1)[0] for path in wanted})
    if before:
        shutil.rmtree(directory / before, ignore_errors=True)
    return True


def _present(directory: Path) -> dict[str, tuple[bytes, int]] | None:
    data = directory / DATA
    if not data.is_dir():
        return None
    return {
        str(p.relative_to(data)): (p.read_bytes(), p.stat().st_mode & 0o7777)
        for p in data.rglob("*")
        if p.is_file()
    }


def _link_names(directory: Path, names: set[str]) -> None:
    """Links from the names that programs use into `..data`; stale ones go."""
    for entry in directory.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
    for name in names:
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(f"{DATA}/{name}")


def write_plain(directory: Path, files: Iterable[File]) -> None:
    """Plain files in a directory, for the /etc overlay."""
    directory.mkdir(parents=True, exist_ok=True)
    for file in files:
        target = directory / file.path
        target.write_bytes(file.data)
        target.chmod(file.mode)
