"""Real container engines for tests: Podman's service and dockerd, each in a directory of its own,
with nothing of the machine's configuration and without any network."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

KINDS = ("podman", "docker")
PROGRAMS = {
    "podman": ("podman", "conmon", "runc"),
    "docker": ("dockerd", "containerd", "containerd-shim-runc-v2", "runc"),
}
START_SECONDS_MAX = 30.0
TOOLS = Path(sys.prefix) / "tools"
SECCOMP = (TOOLS / "usr/share/containers/seccomp.json", Path("/usr/share/containers/seccomp.json"))
MADE = (Path("/etc/docker"), Path("/run/docker"), Path("/run/runc"))
"""What engines make outside of their directories, whatever they are told."""
CGROUPS = Path("/sys/fs/cgroup")
# Without CAP_SYS_RESOURCE limits cannot be raised: engines must not want more than there is.
LIMITS = ("nofile=4096:4096", "nproc=4096:4096")


def search_path() -> str:
    """Where engines look for their helpers, too."""
    found = [str(TOOLS / folder) for folder in ("usr/bin", "usr/sbin")]
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *found])


def unavailable(kind: str) -> str:
    """Why this engine cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "needs root"
    missing = [name for name in PROGRAMS[kind] if shutil.which(name, path=search_path()) is None]
    return f"needs {', '.join(missing)} (tools/get_tools.py fetches them)" if missing else ""


class Engine:
    """One that runs. `stop` and `start` as its users may."""

    def __init__(self, kind: str, directory: Path) -> None:
        self.kind = kind
        self.directory = directory
        self.socket = directory / f"{kind}.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self._made = [path for path in MADE if not path.exists()]

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        command, more = (self._podman if self.kind == "podman" else self._docker)()
        with open(self.directory / "log", "ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "HOME": str(self.directory), **more}, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.answers():
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def said(self) -> str:
        return (self.directory / "log").read_text(errors="replace")[-3000:]

    def answers(self) -> bool:
        return self.ask("GET", "/_ping")[0] == 200

    def ask(self, method: str, path: str, data: bytes | None = None) -> tuple[int, bytes]:
        """One request; status 0 when nobody answers."""
        command = [
            "curl",
            "-s",
            "-X",
            method,
            "--unix-socket",
            str(self.socket),
            "-w",
            "%{http_code}",
        ]
        if data is not None:
            command += ["-H", "Content-Type: application/x-tar", "--data-binary", "@-"]
        done = subprocess.run(
            [*command, f"http://engine{path}"], input=data, capture_output=True, check=False
        )
        return int(done.stdout[-3:] or 0), done.stdout[:-3]

    def names(self) -> list[str]:
        """Of its containers, running or not."""
        status, body = self.ask("GET", "/containers/json?all=true")
        assert status == 200
        return [found["Names"][0].lstrip("/") for found in json.loads(body)]

    def load(self, archive: Path) -> None:
        status, body = self.ask("POST", "/images/load?quiet=1", archive.read_bytes())
        assert status == 200, body

    def stop(self, number: int = signal.SIGTERM) -> None:
        """The service; what containers become of it is the engine's matter."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def destroy(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(Exception):
            for name in self.names():
                self.ask("POST", f"/containers/{name}/kill")
                self.ask("DELETE", f"/containers/{name}?force=true&v=true")
        self.stop()
        self._end_helpers()
        mounts = [line.split(" ")[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted(mounts, reverse=True):
            if Path(mount).is_relative_to(self.directory):
                subprocess.run(["umount", "-l", mount], check=False, capture_output=True)
        for path in (self.directory, *self._made):
            shutil.rmtree(path, ignore_errors=True)
        for parent in ("docker", "libpod_parent/conmon", "libpod_parent"):
            for group in (*CGROUPS.glob(f"*/{parent}"), CGROUPS / parent):
                with contextlib.suppress(OSError):  # not there, or another engine's
                    group.rmdir()

    def _end_helpers(self) -> None:
        """What an engine leaves for later, such as Podman's monitors of commands that ended."""
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{self.directory}/".encode() in (process / "cmdline").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)

    def _podman(self) -> tuple[list[str], dict[str, str]]:
        home, at = self.directory, str(self.directory)
        seccomp = next((str(path) for path in SECCOMP if path.exists()), "")
        limits = json.dumps(list(LIMITS))
        files = {
            "containers.conf": f"""
                [containers]
                default_ulimits = {limits}
                default_sysctls = []
                seccomp_profile = "{seccomp}"
                [engine]
                cgroup_manager = "cgroupfs"
                events_logger = "file"
                exit_command_delay = 20
                runtime = "runc"
                conmon_path = ["{at}/conmon"]
                tmp_dir = "{at}/tmp"
                volume_path = "{at}/volumes"
                [engine.runtimes]
                runc = ["{shutil.which("runc")}"]
                [network]
                network_config_dir = "{at}/net"
                """,
            "storage.conf": f"""
                [storage]
                driver = "overlay"
                graphroot = "{at}/graph"
                runroot = "{at}/run"
                """,
            "registries.conf": 'unqualified-search-registries = ["docker.io"]',
            ".config/containers/policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}',
        }
        for name, text in files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text("\n".join(line.strip() for line in text.splitlines()))
        # conmon starts podman again when a container ends, past the command that has its libraries.
        libraries = ":".join(sorted({str(path.parent) for path in TOOLS.rglob("*.so*")}))
        unpacked, conmon = TOOLS / "usr/bin/conmon", home / "conmon"
        program = unpacked if unpacked.exists() else shutil.which("conmon")
        conmon.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{libraries}" exec {program} "$@"\n')
        conmon.chmod(0o755)
        command = ["podman", "system", "service", "--time", "0", f"unix://{self.socket}"]
        return command, {
            "XDG_CONFIG_HOME": f"{at}/.config",
            "CONTAINERS_CONF": f"{at}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{at}/storage.conf",
            "CONTAINERS_REGISTRIES_CONF": f"{at}/registries.conf",
        }

    def _docker(self) -> tuple[list[str], dict[str, str]]:
        at = self.directory
        (at / "daemon.json").write_text("{}")
        command = [
            "dockerd", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
            "--bridge=none", "--shutdown-timeout", "2", "--config-file", str(at / "daemon.json"),
            "--data-root", str(at / "data"), "--exec-root", str(at / "exec"),
            "--pidfile", str(at / "pid"), "--host", f"unix://{self.socket}",
            *(part for limit in LIMITS for part in ("--default-ulimit", limit)),
        ]  # fmt: skip
        return command, {"PATH": search_path()}


@contextlib.contextmanager
def running(kind: str, directory: Path) -> Iterator[Engine]:
    engine = Engine(kind, directory)
    try:
        engine.start()
        yield engine
    finally:
        engine.destroy()
