"""Fetch programs that tests and the demo use: `python tools/get_tools.py redis-server curl ...`.

What this machine lacks is unpacked from the distribution's packages into the virtual environment:
no root is needed, nothing is installed or started on the machine, and `make clean` removes it.
A program that cannot be had costs one line; what needs it is then skipped.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGES = {
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "ip": "iproute2",
    "nft": "nftables",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "ps": "procps",
    "redis-server": "redis-server",
}
SELF_CONTAINED = frozenset(("prometheus",))
"""Programs without shared libraries: what their packages depend on is for services and pages."""
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
        packages = missing_packages(PACKAGES[program])
        if program in SELF_CONTAINED:
            packages = [PACKAGES[program]]
        run("apt-get", "download", "-qq", *packages, cwd=Path(directory))
        for archive in sorted(Path(directory).glob("*.deb")):
            run("dpkg-deb", "--extract", str(archive), str(UNPACKED))
    places = [UNPACKED / folder / program for folder in FOLDERS]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        raise Unavailable(f"package {PACKAGES[program]} does not hold it")
    libraries = ":".join(sorted({str(path.parent) for path in UNPACKED.rglob("*.so*")}))
    command = ENVIRONMENT / "bin" / program
    command.write_text(
        WRAPPER.format(libraries=shlex.quote(libraries), program=shlex.quote(str(found)))
    )
    command.chmod(0o755)


def main() -> int:
    path = f"{ENVIRONMENT / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    for program in sys.argv[1:] or PACKAGES:
        if shutil.which(program, path=path):
            continue
        try:
            fetch(program)
        except Unavailable as error:
            print(f"-    {program} cannot be had ({error}): what needs it is skipped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
