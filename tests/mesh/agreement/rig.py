"""A real Envoy that gets one configuration after another, callers in pods, a back end that has
every address."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from tests.mesh.agreement.configurations import node_ports
from tests.xds.support import NetnsNode
from weft.lib.envoy_binary import envoy_path
from weft.mesh.model import GatewayBinding, MeshModel, NodePlace
from weft.mesh.scope import scope
from weft.xds.bootstrap import BootstrapSettings, arguments, bootstrap

APPS = str(Path(__file__).parent / "apps.py")
NETWORKS = ("10.96.0.0/16", "10.245.0.0/16", "240.240.0.0/16")
"""All addresses of services and endpoints: the node answers for every one of them."""
ECHO_PORTS = (80, 443, 3306, 5432, 7777, 8080, 8443, 9090)
GATEWAY_PORTS = ((80, 18080), (8081, 18081), (443, 18443), (9443, 19443), (5432, 15432))
SERVICES = "10.96.0.0/16"
REDIRECT = f"""
import contextlib
from weft.node.linux import netlink, nft
with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as kernel:
    nft.install(kernel, "mesh", nft.pod_table("10.244.9.1", 53, 15001, 15006, {SERVICES!r}))
"""
"""What every pod's network gets, by weft's own means: a program `nft` is not needed."""
LOG_SECONDS_MAX = 3.0
FLUSH_MILLISECONDS = 20


class Call(Struct):
    """Bytes to send, from a pod (its number) or from outside (-1), to an address."""

    caller: int
    address: str
    port: int
    data: bytes
    datagram: bool = False


class Rig(NetnsNode):
    """The node, its back end and its callers."""

    def __init__(self) -> None:
        super().__init__()
        self.callers: dict[int, asyncio.subprocess.Process] = {}
        self.echo: subprocess.Popen[str] | None = None
        log = str(self.directory / "access.log")
        self.node = structs.replace(
            self.node,
            gateway_address="10.244.9.1",
            gateway_ports=GATEWAY_PORTS,
            gateway_bindings=(GatewayBinding("default/gtw", ("10.244.9.1",), GATEWAY_PORTS),),
            places=tuple(
                NodePlace(owner, "10.244.9.1", bound, port, "udp" if transport == "udp" else "tcp")
                for bound, (owner, port, transport) in node_ports().items()
            ),
            access_log=log,
        )
        self._log_read = 0

    def prepare(self, pods: int) -> None:
        """The network, the back end, the pods."""
        for network in NETWORKS:
            self.run_inside("ip", "route", "add", "local", network, "dev", "lo")
        self.echo = subprocess.Popen(
            [*self.prefix, sys.executable, "-S", APPS, "echo", *map(str, ECHO_PORTS)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.echo.stdout is not None
        assert self.echo.stdout.readline() == "ready\n"
        for number in range(pods):
            address = self.pod(number, mesh=False)
            command = [*self.inside(number), sys.executable, "-c", REDIRECT]
            subprocess.run(command, check=True, timeout=20)
            own = ("ip", "route", "add", "local", SERVICES, "dev", "lo", "src", address)
            subprocess.run([*self.inside(number), *own], check=True, timeout=20)

    async def start(self, pods: int) -> None:
        """The callers, the control plane, Envoy."""
        for number in range(-1, pods):
            where = self.inside(number) if number >= 0 else self.prefix
            self.callers[number] = await asyncio.create_subprocess_exec(
                *(*where, sys.executable, "-S", APPS, "call"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=2**26,
            )
        await self.start_server()
        self.start_envoy()

    def run_inside(self, *command: str) -> None:
        subprocess.run([*self.prefix, *command], check=True, timeout=20)

    def start_envoy(self) -> None:
        config = self.directory / "bootstrap.json"
        settings = BootstrapSettings(self.node.name, str(self.directory / "xds.sock"), self.admin)
        config.write_text(json.dumps(bootstrap(settings)))
        flush = ("--file-flush-interval-msec", str(FLUSH_MILLISECONDS))
        command = [*self.prefix, envoy_path(), "-c", str(config), *arguments(), *flush]
        with (self.directory / "envoy.log").open("ab") as log:
            self.envoy = subprocess.Popen(command, stdout=log, stderr=log)

    async def configure(self, model: MeshModel) -> None:
        """Give Envoy a whole model and wait until it has all of it."""
        self.server.update(self.node.name, self.translator.translate(scope(model, self.node)))
        await self.until(lambda server: server.in_sync(self.node.name))
        refused = self.server.nacks(self.node.name)
        assert not refused, "\n".join(f"{r.name}: {r.error[-600:]}" for r in refused)

    async def send(self, calls: list[Call]) -> list[bytes | None]:
        """The answer of each call; None when there was no connection."""
        answers: list[bytes | None] = [None] * len(calls)

        async def by(number: int) -> None:
            mine = [i for i, call in enumerate(calls) if call.caller == number]
            if not mine:
                return
            process = self.callers[number]
            assert process.stdin is not None
            assert process.stdout is not None
            batch = [
                {
                    "address": c.address,
                    "port": c.port,
                    "bytes": c.data.hex(),
                    "datagram": c.datagram,
                }
                for c in (calls[i] for i in mine)
            ]
            process.stdin.write(json.dumps(batch).encode() + b"\n")
            found = json.loads(await process.stdout.readline())
            for i, text in zip(mine, found, strict=True):
                answers[i] = None if text.startswith("error") else bytes.fromhex(text)

        await asyncio.gather(*(by(number) for number in self.callers))
        return answers

    async def logged(self, steps: dict[str, int]) -> dict[str, list[dict[str, Any]]]:
        """What the proxy logged about requests, by id; `steps`: how many lines each should have."""
        found: dict[str, list[dict[str, Any]]] = {}
        path = Path(self.node.access_log)
        loop = asyncio.get_running_loop()
        until = loop.time() + LOG_SECONDS_MAX
        while loop.time() < until and any(len(found.get(i, ())) < n for i, n in steps.items()):
            found.clear()
            text = path.read_bytes()[self._log_read :] if path.exists() else b""
            whole, _, _ = text.rpartition(b"\n")
            for line in whole.splitlines():
                entry = json.loads(line)
                if entry.get("request_id") in steps:
                    found.setdefault(entry["request_id"], []).append(entry)
            await asyncio.sleep(0.01)
        self._log_read = path.stat().st_size if path.exists() else 0
        return found

    async def close(self) -> None:
        for process in self.callers.values():
            process.kill()
            await process.wait()
        if self.echo is not None:
            self.echo.kill()
            self.echo.wait()
            assert self.echo.stdout is not None
            self.echo.stdout.close()
        await super().close()
