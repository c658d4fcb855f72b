"""A running weft for benchmarks: its own process and data directory, asked over HTTPS."""

import asyncio
import atexit
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from benchmarks.harness import Process
from weft.api import registry
from weft.api.gateway_bindings import decode
from weft.api.wellknown import ANNOTATION_NODE_GATEWAY_BINDINGS
from weft.cli.connection import Connection, connect
from weft.cli.up import daemon_command
from weft.lib.envoy_binary import envoy_path
from weft.lib.instance import Settings, read_running, run_dir_of
from weft.node.images import ImageStore

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 60.0
WAIT_SECONDS_MAX = 60.0
LOOK_SECONDS = 0.005
LIST_SECONDS = 0.02
"""Between two lists of all pods, which cost the server time."""
STATUS = "/weft/v1/status"
T = TypeVar("T")


@cache
def bytecode_directory() -> Path:
    """Where this run keeps bytecode, so that a start costs what it costs once installed. Filled by
    a first import: a process that compiles is slower, and larger, for all its life."""
    directory = Path(tempfile.mkdtemp(prefix="weft-bench-pyc-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    program = "import weft.daemon.__main__, weft.daemon.instance"
    subprocess.run([sys.executable, "-c", program], env=environment(directory), check=True)
    return directory


def environment(bytecode: Path | None = None) -> dict[str, str]:
    """Of the daemon: Python keeps what it compiled."""
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(bytecode or bytecode_directory())}


class Weft:
    """One data directory. `start`, work through `connection`, `stop`."""

    def __init__(self, isolation: str = "auto", log_level: str = "warning") -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="weft-bench-"))
        self.settings = Settings(
            data_dir=str(self.directory),
            run_dir=run_dir_of(str(self.directory)),
            port=0,
            isolation=isolation,
            node_name="bench",
            log_level=log_level,
        )
        self.connection: Connection
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.AsyncExitStack()

    def image(self, name: str, directory: Path, *command: str) -> None:
        """Define a process image."""
        environment = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        ImageStore(self.directory).add(name, directory, command, environment)

    async def start(self, *files: Path, bytecode: Path | None = None) -> float:
        """Start it; the seconds until it said that it is up."""
        started = time.monotonic()
        self._process = self._spawn(files, bytecode)
        while (running := read_running(str(self.directory))) is None:
            if self._process.poll() is not None or time.monotonic() - started > START_SECONDS_MAX:
                raise RuntimeError(
                    f"weft did not start: {self.settings.log_file.read_text()[-2000:]}"
                )
            await asyncio.sleep(LOOK_SECONDS)
        seconds = time.monotonic() - started
        self.isolation = running.isolation
        self.connection = await self._stack.enter_async_context(connect(str(self.directory)))
        return seconds

    def _spawn(self, files: Sequence[Path], bytecode: Path | None) -> "subprocess.Popen[bytes]":
        self.settings.log_file.parent.mkdir(parents=True, exist_ok=True)
        with open(self.settings.log_file, "ab") as log:
            return subprocess.Popen(
                daemon_command("run", self.settings, *map(str, files)),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment(bytecode),
                start_new_session=True,
            )

    async def stop(self) -> None:
        """Stop it gracefully; the data directory stays."""
        await self._stack.aclose()
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            await asyncio.to_thread(self._process.wait, STOP_SECONDS_MAX)

    def remove(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def daemon(self) -> Process:
        assert self._process is not None
        return Process(self._process.pid)

    async def processes(self) -> dict[str, Process]:
        """By what they are: daemon, Envoy, pod host, log writer."""
        status = await self.connection.json("GET", STATUS)
        found = {"daemon": self.daemon, "Envoy": Process(status["proxies"][0]["pid"])}
        for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*")):
            with contextlib.suppress(OSError):
                command = Process(pid).command().split()
                if command[-1:] == [self.settings.run_dir]:
                    name = {"podhost": "pod host", "logwriter": "log writer"}
                    found[name[Path(command[-2]).name]] = Process(pid)
        return found

    async def pod_rows(self) -> list[dict[str, Any]]:
        """Names, addresses and process ids of all pods."""
        found: list[dict[str, Any]] = (await self.connection.json("GET", STATUS))["pods"]
        return found

    async def pod_pid(self, name: str) -> int:
        return next(int(pod["pid"]) for pod in await self.pod_rows() if pod["name"] == name)

    # --- objects

    async def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create objects, in order."""
        for obj in objects:
            await self.connection.client.create(kind_of(obj), obj, "default")

    async def pods(self, selector: str = "") -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/default/pods?labelSelector={selector}"
        found: list[dict[str, Any]] = (await self.connection.json("GET", path))["items"]
        return found

    async def ready(self, selector: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many pods, and no others, are there and ready."""

        async def look() -> list[dict[str, Any]] | None:
            pods = await self.pods(selector)
            done = len(pods) == count and all(is_ready(pod) for pod in pods)
            return pods if done else None

        return await until(look, f"{count} ready pods of {selector}", LIST_SECONDS) if count else []

    async def gateway(self, port: int = 80) -> str:
        """The URL of a gateway's port, once it is bound."""

        async def look() -> str | None:
            node = await self.connection.json("GET", "/api/v1/nodes/bench")
            annotations = node["metadata"].get("annotations", {})
            ports = json.loads(annotations.get("weft.dev/gateway-ports", "{}"))
            bound = ports.get(str(port))
            if bound:
                return f"http://{self.settings.gateway_address}:{bound}"
            # Where something else has the port, a Gateway of the Gateway API has another address.
            own = decode(annotations.get(ANNOTATION_NODE_GATEWAY_BINDINGS, ""))
            having = ((b.addresses[0], b.ports.get(port)) for b in own.values() if b.addresses)
            return next((f"http://{host}:{at}" for host, at in having if at), None)

        return await until(look, "gateway bound")


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def kind_of(obj: Mapping[str, Any]) -> Any:
    kind = registry.by_name(str(obj["kind"]).lower())
    assert kind is not None
    return kind


@contextlib.asynccontextmanager
async def unstarted(isolation: str = "auto") -> AsyncIterator[Weft]:
    """An instance to be started by whoever asks, gone afterwards."""
    instance = Weft(isolation)
    try:
        yield instance
    finally:
        await instance.stop()
        instance.remove()


@contextlib.asynccontextmanager
async def weft(*files: Path, isolation: str = "auto") -> AsyncIterator[Weft]:
    """A running instance that is gone afterwards."""
    instance = Weft(isolation)
    try:
        await instance.start(*files)
        yield instance
    finally:
        await instance.stop()
        instance.remove()


async def until(
    look: Callable[[], Awaitable[T | None]], what: str, every: float = LOOK_SECONDS
) -> T:
    """Look until there is something; TimeoutError names what never came."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        if found := await look():
            return found
        await asyncio.sleep(every)
    raise TimeoutError(f"not within {WAIT_SECONDS_MAX:.0f} s: {what}")


async def first_answer(url: str, host: str = "") -> None:
    """Ask until the answer is 200. `host` goes into the Host header."""
    headers = {"host": host} if host else {}
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=timeout) as session:

        async def look() -> bool | None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url, headers=headers) as answer:
                    return answer.status == 200
            return None

        await until(look, f"200 from {url}")


# --- manifests


def pod(
    name: str, image: str, labels: Mapping[str, str], command: Sequence[str] = (), port: int = 0
) -> dict[str, Any]:
    """A pod of one container that may be killed at once."""
    container: dict[str, Any] = {"name": "main", "image": image}
    if command:
        container["command"] = list(command)
    if port:
        container["ports"] = [{"name": "http", "containerPort": port}]
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }


def service(name: str, port: int = 80) -> dict[str, Any]:
    """Of the pods labelled `app=<name>`."""
    ports = [{"name": "http", "port": port, "targetPort": "http"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": ports},
    }


def istio(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": dict(spec),
    }


def envoy_back_end(weft: Weft, body: str = "ok") -> None:
    """An image `answer:1` whose program answers every request on port 8080: a plain Envoy, since
    that is installed wherever weft is, and fast enough not to be what is measured."""
    folder = weft.directory / "answer"
    folder.mkdir()
    (folder / "envoy.json").write_text(json.dumps(answering(body)))
    command = f"exec {envoy_path()} -c envoy.json --concurrency 1 --disable-hot-restart -l error"
    weft.image("answer:1", folder, "sh", "-c", command)


def answering(body: str, ports: Sequence[int] = (8080,)) -> dict[str, Any]:
    """The configuration of an Envoy that answers everything at once, HTTP/1.1 and HTTP/2 alike."""
    types = "type.googleapis.com/envoy.extensions.filters"
    direct = {"status": 200, "body": {"inline_string": body}}
    answer = {"match": {"prefix": "/"}, "direct_response": direct}
    # Bodies are read to their end: proxies take an earlier answer for a failure.
    whole = {"@type": f"{types}.http.buffer.v3.Buffer", "max_request_bytes": 65536}
    router = {"name": "router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "answer",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [answer]}]},
        "http_filters": [{"name": "buffer", "typed_config": whole}, router],
    }
    listeners = [
        {
            "name": f"answer-{port}",
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        for port in ports
    ]
    return {"static_resources": {"listeners": listeners}}
