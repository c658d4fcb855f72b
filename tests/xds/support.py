"""A node for tests: real network namespaces, a real Envoy, real processes as pods."""

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from weft.lib.envoy_binary import envoy_path
from weft.mesh.model import (
    Destination,
    Endpoint,
    HttpRoute,
    NodeModel,
    NodeSettings,
    RetryPolicy,
    RouteTable,
    VirtualHost,
    WeightedDestination,
    Workload,
)
from weft.xds.bootstrap import (
    DOWNSTREAM_CONNECTIONS_MAX,
    BootstrapSettings,
    arguments,
    bootstrap,
)
from weft.xds.server import AdsServer
from weft.xds.translate import Translator

APPS = str(Path(__file__).parent / "apps.py")
SYNC_SECONDS = 10.0
_numbers = itertools.count()

NFT_POD = """
table ip mesh {
  chain out {
    type nat hook output priority -100; policy accept;
    oifname "lo" return
    ip daddr 127.0.0.0/8 return
    meta l4proto tcp redirect to :15001
  }
  chain in {
    type nat hook prerouting priority -100; policy accept;
    iifname "lo" return
    ip saddr NETWORK.1 return
    meta l4proto tcp redirect to :15006
  }
}
"""


def run(*command: str, text: str = "") -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


async def run_async(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return out.decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Proxy:
    """The Envoy of a node and the control plane it is connected to."""

    def __init__(self, node: NodeSettings, prefix: tuple[str, ...] = ()) -> None:
        self.node = node
        self.prefix = prefix
        self.directory = Path(tempfile.mkdtemp(prefix="wx", dir="/tmp"))
        self.translator = Translator()
        self.server = AdsServer()
        self.envoy: subprocess.Popen[bytes] | None = None
        self.model = NodeModel(node)
        self.connections_max = DOWNSTREAM_CONNECTIONS_MAX

    @property
    def admin(self) -> str:
        return str(self.directory / "admin.sock")

    async def start_server(self) -> None:
        self.server = AdsServer()
        await self.server.start(str(self.directory / "xds.sock"))

    def start_envoy(self) -> None:
        config = self.directory / "bootstrap.json"
        settings = BootstrapSettings(
            *(self.node.name, str(self.directory / "xds.sock"), self.admin),
            downstream_connections_max=self.connections_max,
        )
        config.write_text(json.dumps(bootstrap(settings)))
        own = "--use-dynamic-base-id"  # there may be others in the same network namespace
        command = [*self.prefix, envoy_path(), "-c", str(config), *arguments(), own]
        with (self.directory / "envoy.log").open("ab") as log:
            self.envoy = subprocess.Popen(command, stdout=log, stderr=log)

    def stop_envoy(self) -> None:
        if self.envoy is not None:
            self.envoy.kill()
            self.envoy.wait()
            self.envoy = None

    def offer(self, **changes: Any) -> None:
        """Change parts of the node model and hand it to the server."""
        fields = {f: getattr(self.model, f) for f in self.model.__struct_fields__}
        self.model = NodeModel(**(fields | changes))
        self.server.update(self.node.name, self.translator.translate(self.model))

    async def apply(self, **changes: Any) -> None:
        """`offer`, and wait until Envoy has answered for everything."""
        self.offer(**changes)
        await self.until(lambda server: server.in_sync(self.node.name))

    async def until(self, condition: Callable[[AdsServer], bool]) -> None:
        try:
            await asyncio.wait_for(self.server.wait(condition), SYNC_SECONDS)
        except TimeoutError:
            raise AssertionError(
                f"no such state; refused: {self.server.nacks(self.node.name)}; Envoy: {self.log()}"
            ) from None

    def log(self) -> str:
        path = self.directory / "envoy.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    async def ask_admin(self, path: str) -> str:
        return await run_async("curl", "-s", "--unix-socket", self.admin, f"http://admin{path}")

    async def requests_active(self, address: str) -> int:
        """Requests in flight to an endpoint, over all clusters."""
        lines = (await self.ask_admin("/clusters")).splitlines()
        return sum(
            int(line.rpartition("::")[2]) for line in lines if f"::{address}::rq_active::" in line
        )

    async def close(self) -> None:
        self.stop_envoy()
        await self.server.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class NetnsNode(Proxy):
    """A node in a network namespace of its own, with pods on a bridge. Needs root."""

    def __init__(self, number: int = 9) -> None:
        """`number` is that of its pods' network, 10.244.NUMBER.0/24."""
        self.network = f"10.244.{number}"
        self.tag = f"wx{os.getpid() % 10000}x{next(_numbers)}"
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.namespaces: list[str] = []
        self._namespace(self.tag)
        for command in (
            "link set lo up",
            "link add br0 type bridge",
            f"addr add {self.network}.1/24 dev br0",
            f"addr add {self.network}.254/24 dev br0",
            "link set br0 up",
        ):
            run("ip", "-n", self.tag, *command.split())
        node = NodeSettings(
            name=self.tag,
            address=f"{self.network}.1",
            passthrough_address=f"{self.network}.254",
        )
        super().__init__(node, ("nsenter", f"--net=/run/netns/{self.tag}"))

    def _namespace(self, name: str) -> None:
        run("ip", "netns", "add", name)
        self.namespaces.append(name)

    def pod(self, number: int, mesh: bool = True) -> str:
        """Make a pod's network; returns its address."""
        name, address = self.netns(number), f"{self.network}.{10 + number}"
        self._namespace(name)
        for command in (
            f"link add eth0 netns {name} type veth peer name v{number} netns {self.tag}",
            f"-n {self.tag} link set v{number} master br0 up",
            f"-n {name} link set lo up",
            f"-n {name} addr add {address}/24 dev eth0",
            f"-n {name} link set eth0 up",
            f"-n {name} route add default via {self.network}.1",
        ):
            run("ip", *command.split())
        if mesh:
            run(
                "nsenter",
                f"--net=/run/netns/{name}",
                "nft",
                "-f",
                "-",
                text=NFT_POD.replace("NETWORK", self.network),
            )
        return address

    def netns(self, number: int) -> str:
        return f"{self.tag}p{number}"

    def inside(self, number: int) -> tuple[str, ...]:
        return ("nsenter", f"--net=/run/netns/{self.netns(number)}")

    def workload(self, number: int, name: str, **fields: Any) -> Workload:
        return Workload(
            uid=f"uid-{number}",
            name=f"{name}-{number}",
            namespace=fields.pop("namespace", "default"),
            node=self.tag,
            address=f"{self.network}.{10 + number}",
            workload=name,
            principal=f"spiffe://cluster.local/ns/default/sa/{name}",
            netns=f"/run/netns/{self.netns(number)}",
            **fields,
        )

    def serve(self, number: int, name: str, port: int = 8080, *options: str) -> None:
        """Start a back end in a pod and wait until it listens."""
        command = [*self.inside(number), sys.executable, "-S", APPS, "serve", "0.0.0.0"]
        process = subprocess.Popen(
            [*command, str(port), name, *options], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self.processes[name] = process

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()

    async def curl(self, number: int, *options: str) -> str:
        return await run_async(*self.inside(number), "curl", "-s", "-m", "5", *options)

    async def call(self, number: int, *options: str) -> Any:
        """The JSON that a back end answers a pod's call with."""
        answer = await self.curl(number, *options)
        try:
            return json.loads(answer)
        except ValueError:
            raise AssertionError(f"{answer!r}; Envoy: {self.log()}") from None

    @contextlib.asynccontextmanager
    async def load(self, number: int, url: str, *options: str) -> AsyncIterator[dict[str, Any]]:
        """Traffic from a pod while the block runs and until its time is over."""
        command = [*self.inside(number), sys.executable, "-S", APPS, "load", url, *options]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        result: dict[str, Any] = {}
        yield result
        out, _ = await asyncio.wait_for(process.communicate(), 30)
        result.update(json.loads(out))

    async def close(self) -> None:
        await super().close()
        for name in list(self.processes):
            self.kill(name)
        for name in self.namespaces:
            run("ip", "netns", "del", name)


def service(
    name: str,
    endpoints: tuple[Endpoint, ...],
    port: int = 80,
    subset: str = "",
    **fields: Any,
) -> Destination:
    host = f"{name}.default.svc.cluster.local"
    return Destination(
        name=f"outbound|{port}|{subset}|{host}",
        host=host,
        port=port,
        subset=subset,
        protocol=fields.pop("protocol", "http"),
        service=name,
        namespace="default",
        endpoints=endpoints,
        **fields,
    )


def virtual_host(name: str, *routes: HttpRoute, **fields: Any) -> VirtualHost:
    host = f"{name}.default.svc.cluster.local"
    return VirtualHost(
        name=f"{host}:80", domains=(host, f"{name}.default", name), routes=routes, **fields
    )


def to(*parts: Destination | tuple[Destination, int], **fields: Any) -> HttpRoute:
    """A route to destinations, weighted or not, with harmless retries."""
    weighted = tuple(
        WeightedDestination(part[0].name, part[1])
        if isinstance(part, tuple)
        else WeightedDestination(part.name)
        for part in parts
    )
    fields.setdefault("retry", RetryPolicy(2, ("connect-failure", "refused-stream")))
    return HttpRoute(name=fields.pop("name", "default"), destinations=weighted, **fields)


def table(*hosts: VirtualHost, name: str = "80", **fields: Any) -> RouteTable:
    return RouteTable(name=name, virtual_hosts=hosts, ignore_port=True, **fields)
