"""Containers of an ordinary user, in a user namespace: started by a child that gave root away."""

import hashlib
import io
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests import archives
from weft.node.linux import ns
from weft.node.linux.cgroups import Group
from weft.node.oci.configuration import Place, Program, configuration
from weft.node.oci.security import Confinement, Identity
from weft.node.oci.unpack import unpack
from weft.node.podhost import oci, spawn
from weft.node.podhost.records import Container
from weft.node.runtime import ContainerSpec, Limits, Rootfs

PR_SET_DUMPABLE = 4
USER = 12_345
"""Nobody's here."""

pytestmark = [
    pytest.mark.skipif(archives.busybox() is None, reason="needs a static busybox"),
    pytest.mark.slow,
]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Which that user may enter; pytest's own are closed to others."""
    found = Path(tempfile.mkdtemp(prefix="weft-oci-"))
    found.chmod(0o755)
    if os.geteuid() == 0:
        os.chown(found, USER, USER)
    yield found
    shutil.rmtree(found, ignore_errors=True)


def spec_of(directory: Path, script: str, **more: Any) -> dict[str, Any]:
    config = configuration(
        Program(("sh", "-c", script), {"PATH": "/bin"}, "/made/here", Identity(1000, 1000)),
        Confinement(**more), Place(hostname="small", rootless=True), (), Limits(),
    )  # fmt: skip
    layers = (str(directory / "layer"),)
    spec = ContainerSpec("c", ("sh",), {}, rootfs=Rootfs(layers, str(directory / "root")),
                         oci=config)  # fmt: skip
    found: dict[str, Any] = json.loads(msgspec.json.encode(spec))
    return found


def as_user(directory: Path, script: str, **more: Any) -> tuple[int, str]:
    """Exit code and output of a container that an ordinary user started."""
    output = directory / "output"
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(USER)
                os.setuid(USER)
                ns.prctl(PR_SET_DUMPABLE, 1)  # /proc/self is its own again
            data = archives.base_layer()
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            unpack(io.BytesIO(data), directory / "layer", digest)
            fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            container = Container(spec_of(directory, script, **more), str(directory))
            container.group = Group({})
            ns.prctl(ns.PR_SET_CHILD_SUBREAPER, 1)
            failed = oci.start(container, (-1, fd, fd), spawn.privilege(str(directory)))
            if failed:
                os.write(fd, failed.encode())
            else:
                code = os.waitstatus_to_exitcode(os.waitpid(container.pid, 0)[1])
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, output.read_text()


def user_namespaces() -> bool:
    limit = Path("/proc/sys/user/max_user_namespaces")
    return limit.exists() and int(limit.read_text()) > 0


@pytest.mark.skipif(not user_namespaces(), reason="needs user namespaces")
def test_an_ordinary_user_runs_containers(directory: Path) -> None:
    script = "id -u; hostname; pwd; echo $$; touch /home/file && echo wrote; ls /dev/pts/ptmx"
    began = time.monotonic()
    assert as_user(directory, script + "; exit 4") == (
        4, "1000\nsmall\n/made/here\n1\nwrote\n/dev/pts/ptmx\n",
    )  # fmt: skip
    assert time.monotonic() - began < spawn.START_TIMEOUT_SECONDS
    assert not (directory / "layer/home/file").exists(), "the image stays as it is"


@pytest.mark.skipif(not user_namespaces(), reason="needs user namespaces")
def test_what_is_read_only_for_an_ordinary_user(directory: Path) -> None:
    code, said = as_user(directory, "touch /home/file", read_only_root=True)
    assert code != 0
    assert "Read-only file system" in said
