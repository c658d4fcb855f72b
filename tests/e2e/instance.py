"""A whole weft for tests: started as a user starts it, driven as a user drives it."""

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import aiohttp

from tests.e2e import commands
from weft.lib.instance import Running, read_running, run_dir_of
from weft.runtime import kubeconfig
from weft.runtime.kubeconfig import Connection

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
KUBECTL_FOLDERS = ("/usr/lib/google-cloud-sdk/bin",)
WEFT = [sys.executable, "-m", "weft.cli"]
WAIT_SECONDS = 40.0
GATEWAY_KNOWN_SECONDS = 1.0
"""A Gateway that is deleted and made again may be bound elsewhere."""


def kubectl_binary() -> str | None:
    """A real kubectl no newer than two minors from ours; version dispatchers hide behind it."""
    for folder in KUBECTL_FOLDERS:
        for minor in ("1.33", "1.32", "1.31", "1.30"):
            if os.access(f"{folder}/kubectl.{minor}", os.X_OK):
                return f"{folder}/kubectl.{minor}"
    return shutil.which("kubectl")


class Instance:
    """One data directory; `up` and `down` as the command line does them."""

    def __init__(self, data_dir: Path, isolation: str = "auto") -> None:
        self.data_dir = data_dir
        self.isolation = isolation
        self.kubeconfig = data_dir / "kubeconfig"
        self._known: tuple[int, Connection, ssl.SSLContext] | None = None
        self._gateways: dict[tuple[int, int, str, str], tuple[float, tuple[str, int]]] = {}
        """Looked up when, and what was found."""

    # --- life
    def weft(self, *args: str, check: bool = True, stdin: str | None = None) -> str:
        """Run `weft ARGS` for this instance; its standard output."""
        done = self.run(*args, stdin=stdin)
        if check and done.returncode != 0:
            log = self.data_dir / "log/weft.log"
            said = log.read_text()[-2000:] if log.exists() else ""
            raise AssertionError(f"weft {args}: {done.stdout}{done.stderr}\n{log}: {said}")
        return done.stdout

    def run(self, *args: str, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
        verb = [*WEFT, *args[:1]]
        if args[0] in ("image", "queue"):
            verb = [*WEFT, *args[:2]]
        rest = list(args[len(verb) - len(WEFT) :])
        command = [*verb, "--data-dir", str(self.data_dir), *rest]
        if args[0] == "rollout":  # has commands below its commands
            command = [*WEFT, *args, "--data-dir", str(self.data_dir)]
        env = {**os.environ, "NO_COLOR": "1"}
        if args[0] in commands.COPIED:
            done: subprocess.CompletedProcess[str] = commands.run(
                command[len(WEFT) :], env, stdin, 120
            )
            return done
        return subprocess.run(
            command, capture_output=True, text=True, timeout=120, env=env, input=stdin, check=False
        )

    def up(self, *files: Path | str, options: tuple[str, ...] = ()) -> None:
        args = [*options, *(part for file in files for part in ("-f", str(file)))]
        port = str(self._port) if hasattr(self, "_port") else "0"
        self.weft("up", "--detach", "--port", port, "--isolation", self.isolation, *args)
        self._port = self.running.port

    def down(self) -> None:
        self.run("down")

    def kill_9(self) -> None:
        os.kill(self.running.pid, signal.SIGKILL)
        wait_for(lambda: read_running(str(self.data_dir)) is None, "daemon gone")

    @property
    def running(self) -> Running:
        found = read_running(str(self.data_dir))
        assert found, (self.data_dir / "log/weft.log").read_text()[-3000:]
        return found

    @property
    def run_dir(self) -> Path:
        return Path(run_dir_of(str(self.data_dir)))

    def image(self, name: str, folder: Path, *command: str) -> None:
        end = ["--", *command] if command else []
        self.weft("image", "add", name, "--dir", str(folder), *end)

    # --- asking
    def kubectl(self, *args: str, check: bool = True, stdin: str | None = None) -> str:
        binary = kubectl_binary()
        assert binary
        done = subprocess.run(
            [binary, "--kubeconfig", str(self.kubeconfig), *args],
            capture_output=True,
            text=True,
            timeout=120,
            input=stdin,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"kubectl {args}: {done.stdout}{done.stderr}"
        return done.stdout + ("" if check else done.stderr)

    def get(self, *what: str) -> Any:
        return json.loads(self.weft("get", *what, "-o", "json"))

    def api(self, path: str, method: str = "GET", body: Any = None) -> tuple[int, bytes]:
        """One request to the API server; much cheaper than a command."""
        connection, context = self._connection()
        headers = {
            "Authorization": f"Bearer {connection.token}",
            "Content-Type": "application/merge-patch+json"
            if method == "PATCH"
            else "application/json",
        }
        request = urllib.request.Request(
            connection.server + path,
            method=method,
            headers=headers,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def _connection(self) -> tuple[Connection, ssl.SSLContext]:
        """From the kubeconfig; read again when it was written again."""
        written = self.kubeconfig.stat().st_mtime_ns
        if self._known is None or self._known[0] != written:
            connection = kubeconfig.read(self.kubeconfig)
            context = ssl.create_default_context(cadata=connection.ca)
            self._known = (written, connection, context)
        return self._known[1:]

    def read(self, path: str) -> Any:
        """The JSON at a path of the API server."""
        status, body = self.api(path)
        assert status == 200, (path, status, body[:500])
        return json.loads(body)

    def pod(self, name: str, namespace: str = "default") -> Any:
        return self.read(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def status(self) -> Any:
        return self.read("/weft/v1/status")

    def items(self, kind: str, selector: str = "", namespace: str = "default") -> list[Any]:
        if kind == "pods":
            query = "?labelSelector=" + urllib.parse.quote(selector) if selector else ""
            of_pods: list[Any] = self.read(f"/api/v1/namespaces/{namespace}/pods{query}")["items"]
            return of_pods
        args = ["-n", namespace] + (["-l", selector] if selector else [])
        found: list[Any] = self.get(kind, *args)["items"]
        return found

    def ready_pods(self, selector: str) -> list[Any]:
        return [p for p in self.items("pods", selector) if is_ready(p)]

    def wait_ready(self, selector: str, count: int) -> list[Any]:
        wait_for(lambda: len(self.ready_pods(selector)) == count, f"{count} of {selector} ready")
        return self.ready_pods(selector)

    def pid_of(self, pod_name: str) -> int:
        pods = self.status()["pods"]
        return int(next(p["pid"] for p in pods if p["name"] == pod_name))

    def gateway(self, port: int = 80, name: str = "") -> str:
        """Where a gateway port is bound. `name` (`<namespace>/<name>`) is a Gateway of the Gateway
        API; without it, the port at the shared address is meant, else the first that has it."""
        address, bound = self.bound(port, name)
        return f"http://{address}:{bound}"

    def bound(self, port: int, name: str = "", transport: str = "ports") -> tuple[str, int]:
        running = self.running

        def found() -> tuple[str, int] | None:
            notes = self.read("/api/v1/nodes")["items"][0]["metadata"]["annotations"]
            shared = json.loads(notes.get("weft.dev/gateway-ports", "{}"))
            if not name and str(port) in shared:
                return running.gateway_address, shared[str(port)]
            for gateway, own in json.loads(notes.get("weft.dev/gateway-bindings", "{}")).items():
                if name in ("", gateway) and str(port) in own.get(transport, {}):
                    return own["addresses"][0], own[transport][str(port)]
            return None

        key = (running.pid, port, name, transport)
        known = self._gateways.get(key)
        if known is None or time.monotonic() - known[0] > GATEWAY_KNOWN_SECONDS:
            place = wait_for(found, f"gateway port {port} of {name or 'all'} bound")
            known = self._gateways[key] = (time.monotonic(), place)
        return known[1]


def ask(
    weft: Instance, path: str, host: str, *, method: str = "GET", body: bytes | None = None,
    port: int = 80, gateway: str = "", **headers: str,
) -> tuple[int, str]:  # fmt: skip
    """One request through the gateway; redirects are not followed."""
    status, text, _ = ask_all(
        weft, path, host, method=method, body=body, port=port, gateway=gateway, headers=headers
    )
    return status, text


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def ask_all(
    weft: Instance, path: str, host: str, *, method: str = "GET", body: bytes | None = None,
    port: int = 80, gateway: str = "", headers: dict[str, str] | None = None,
) -> tuple[int, str, dict[str, str]]:  # fmt: skip
    """Status, body and headers (lower case)."""
    request = urllib.request.Request(
        weft.gateway(port, gateway) + path,
        headers={"Host": host, **(headers or {})},
        method=method,
        data=body,
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)
    try:
        with opener.open(request, timeout=20) as answer:
            found = {k.lower(): v for k, v in answer.headers.items()}
            return answer.status, answer.read().decode(), found
    except urllib.error.HTTPError as error:
        found = {k.lower(): v for k, v in error.headers.items()}
        return error.code, error.read().decode(), found


def run_inside(weft: Instance, host: str, program: str) -> Any:
    """Run a program (`async def main()`) in the pod that answers for `host` at the gateway."""
    status, text = ask(
        weft, "/run", host, method="POST", body=dedent(program).encode(),
        **{"Content-Type": "text/plain"},
    )  # fmt: skip
    assert status == 200, text
    return json.loads(text)


def is_ready(pod: Any) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS) -> Any:
    """Poll until the condition is truthy; its value. What takes long to look at, or to come, is
    looked at less often: commands, one after the other, would take a processor for themselves."""
    started = asked = time.monotonic()
    while asked < started + seconds:
        if value := condition():
            return value
        now = time.monotonic()
        time.sleep(min(max(0.05, 2 * (now - asked), 0.03 * (now - started)), 0.5))
        asked = time.monotonic()
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Load:
    """Requests made side by side for as long as the `with` block runs; every answer is kept.

    Each client rests `pause` seconds after an answer: without, they take all of the machine, and
    what they watch takes several times as long. They run only while the test awaits something.
    """

    def __init__(
        self, url: str, clients: int = 8, headers: dict[str, str] | None = None, pause: float = 0.02
    ) -> None:
        self.url, self.clients, self.headers, self.pause = url, clients, headers or {}, pause
        self.statuses: Counter[int] = Counter()
        self.errors: list[str] = []
        self.bodies: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def total(self) -> int:
        return sum(self.statuses.values()) + len(self.errors)

    @property
    def failed(self) -> int:
        return self.total - self.statuses[200]

    def report(self) -> str:
        return f"{self.total} requests, {dict(self.statuses)}, {self.errors[:5]}"

    async def __aenter__(self) -> "Load":
        connector = aiohttp.TCPConnector(limit=self.clients)
        timeout = aiohttp.ClientTimeout(total=15)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        loop = asyncio.get_running_loop()
        self._stop = False
        self._tasks = [loop.create_task(self._client()) for _ in range(self.clients)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop = True
        await asyncio.gather(*self._tasks)
        await self._session.close()

    async def _client(self) -> None:
        while not self._stop:
            try:
                async with self._session.get(self.url, headers=self.headers) as answer:
                    body = await answer.text()
                    self.statuses[answer.status] += 1
                    if answer.status != 200 and len(self.errors) < 5:
                        self.errors_sample = body[:200]
                    self.bodies[body] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                self.errors.append(repr(error))
            await asyncio.sleep(self.pause)

    async def until(self, total: int, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while self.total < total:
            assert time.monotonic() < deadline, f"only {self.report()} in {seconds} s"
            await asyncio.sleep(0.05)


def stopping(instance: Instance) -> Iterator[Instance]:
    """Fixture body: hand out, and always bring down."""
    try:
        yield instance
    finally:
        instance.down()
