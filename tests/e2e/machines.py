"""Several machines for tests: network namespaces on one bridge, each with a weft of its own."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from tests.e2e import commands
from tests.e2e.instance import WEFT, Instance, kubectl_binary

T = TypeVar("T")
NETWORK = "172.31.9"
SERVICES = "10.98.0.0/16"
APPS = Path(__file__).parent / "apps"


def inside(netns: str, work: Callable[[], T]) -> "Future[T]":
    """Run something in a thread that lives in a network namespace."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            commands.enter(netns)
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {args}: {done.stderr}"


class Fabric:
    """A bridge that machines hang on."""

    def __init__(self) -> None:
        self.name = f"wt{secrets.token_hex(3)}"
        self.machines: list[Machine] = []
        ip("netns", "add", self.name)
        ip("-n", self.name, "link", "add", "br0", "type", "bridge")
        ip("-n", self.name, "link", "set", "br0", "up")

    def machine(self, name: str) -> "Machine":
        made = Machine(self, name, len(self.machines) + 1)
        self.machines.append(made)
        return made

    def close(self) -> None:
        for machine in reversed(self.machines):
            machine.close()
        ip("netns", "del", self.name)


class Machine(Instance):
    """One machine: its network namespace, its data directory, and what runs there."""

    def __init__(self, fabric: Fabric, name: str, number: int) -> None:
        super().__init__(Path(tempfile.mkdtemp(prefix=f"weft-e2e-{name}-")), "netns")
        self.fabric, self.name, self.number = fabric, name, number
        self.address = f"{NETWORK}.{number}"
        self.netns = f"{fabric.name}-{name}"
        self.link = f"m{number}"
        ip("netns", "add", self.netns)
        ip("link", "add", "eth0", "netns", self.netns, "type", "veth",
           "peer", "name", self.link, "netns", fabric.name)  # fmt: skip
        ip("-n", self.netns, "link", "set", "lo", "up")
        ip("-n", self.netns, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.netns, "link", "set", "eth0", "up")
        ip("-n", fabric.name, "link", "set", self.link, "master", "br0", "up")
        self.sysctl("net.ipv4.ip_forward=1")
        self.image("echo:1", APPS / "echo", sys.executable, "app.py")

    def sysctl(self, setting: str) -> None:
        name, _, value = setting.partition("=")
        path = Path("/proc/sys") / name.replace(".", "/")
        inside(self.netns, lambda: path.write_text(value)).result(10)

    def plug(self, into: bool) -> None:
        """The network cable."""
        ip("-n", self.fabric.name, "link", "set", self.link, "up" if into else "down")

    # --- commands run on the machine
    def enter(self) -> list[str]:
        return ["nsenter", f"--net=/run/netns/{self.netns}", "--"]

    def run(self, *args: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        words = 2 if args[0] in ("image", "token", "node", "ca") else 1
        command = [*WEFT, *args[:words], "--data-dir", str(self.data_dir), *args[words:]]
        env = {**os.environ, "NO_COLOR": "1"}
        if args[0] in commands.COPIED:
            done: subprocess.CompletedProcess[str] = commands.run(
                command[len(WEFT) :], env, stdin, 120, self.netns
            )
            return done
        return subprocess.run(
            [*self.enter(), *command], capture_output=True, text=True, timeout=120, env=env,
            input=stdin, check=False,
        )  # fmt: skip

    def kubectl(self, *args: str, check: bool = True, stdin: str | None = None) -> str:
        binary = kubectl_binary()
        assert binary
        done = subprocess.run(
            [*self.enter(), binary, "--kubeconfig", str(self.kubeconfig), *args],
            capture_output=True, text=True, timeout=120, input=stdin, check=False,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, f"kubectl {args}: {done.stdout}{done.stderr}"
        return done.stdout + ("" if check else done.stderr)

    def kubectl_beside(self, *args: str) -> "subprocess.Popen[str]":
        """kubectl that runs while others do."""
        binary = kubectl_binary()
        assert binary
        command = [*self.enter(), binary, "--kubeconfig", str(self.kubeconfig), *args]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def kubectl_plain(self, *args: str) -> str:
        """kubectl without a kubeconfig: all that it says."""
        command = [*self.enter(), str(kubectl_binary()), "--kubeconfig", "/dev/null", *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def do(self, work: Callable[[], T], seconds: float = 120) -> T:
        """Run something in this machine's network."""
        return inside(self.netns, work).result(seconds)

    def go(self, work: Callable[[], Coroutine[Any, Any, T]], seconds: float = 120) -> T:
        """The same for a coroutine."""
        return self.do(lambda: asyncio.run(work()), seconds)

    def api(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, bytes]:
        return self.do(lambda: Instance.api(self, path, method, body))

    def fetch(self, url: str, host: str = "", timeout: float = 10) -> tuple[int, str]:
        """A request from this machine."""

        def ask() -> tuple[int, str]:
            request = urllib.request.Request(url, headers={"Host": host} if host else {})
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            try:
                with opener.open(request, timeout=timeout) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except OSError as error:
                return 0, str(error)

        return self.do(ask)

    def trusted(self) -> str:
        """Roots of servers that this node believes (PEM)."""
        return (self.data_dir / "node-pki/ca.crt").read_text()

    # --- life
    def serve(self, *options: str) -> None:
        self.weft(
            "server", "--listen", self.address, "--name", self.name, "--detach",
            "--service-cidr", SERVICES,  # unlike the usual one: joined nodes are told
            "--isolation", "netns", "--gateway-address", self.address, *options,
        )  # fmt: skip

    def join(self, server: "Machine", token: str = "", *options: str) -> None:
        more = ["--token", token] if token else []
        self.weft(
            "agent", "--join", f"https://{server.address}:6443", "--name", self.name, "--detach",
            *more, *options,
        )  # fmt: skip

    def down(self) -> None:
        if (self.data_dir / "weft.json").exists() or self.run_dir.exists():
            self.run("down")

    def close(self) -> None:
        self.down()
        ip("netns", "del", self.netns)
        shutil.rmtree(self.data_dir, ignore_errors=True)
