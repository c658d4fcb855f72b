"""Connections that are open while what their caller may reach changes. Needs root."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest

from tests.mesh.agreement.rig import REDIRECT
from tests.xds.support import NetnsNode, run, service
from weft.mesh.model import Destination, Endpoint, TcpRoute, WeightedDestination
from weft.xds import bootstrap

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.tools("ip", "nsenter"),
]

DRAIN_SECONDS = 1
ECHO = """
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
lines = peer.makefile("rw", buffering=1)
print(lines.readline().strip(), flush=True)
for line in sys.stdin:
    lines.write(line)
    print(lines.readline().strip() or "closed", flush=True)
"""


class Connection:
    """A connection from a pod to a server that greets and repeats what it is told."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def open(cls, node: NetnsNode, number: int, address: str, port: int) -> "Connection":
        process = await asyncio.create_subprocess_exec(
            *(*node.inside(number), sys.executable, "-S", "-c", ECHO, address, str(port)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        made = cls(process)
        assert (await made._line()).startswith("220 ")
        return made

    async def _line(self) -> str:
        assert self._process.stdout is not None
        return (await asyncio.wait_for(self._process.stdout.readline(), 5)).decode().strip()

    async def repeats(self, text: str) -> bool:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
        return await self._line() == text

    async def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()


@pytest.fixture
async def node(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NetnsNode]:
    """A caller in pod 1, servers in pods 2 and 3; what drains has a second."""
    monkeypatch.setattr(bootstrap, "DRAIN_SECONDS", DRAIN_SECONDS)
    node = NetnsNode()
    try:
        for number in (1, 2, 3):
            node.pod(number, mesh=False)
        run(*node.inside(1), sys.executable, "-c", REDIRECT)
        await node.start_server()
        node.start_envoy()
        yield node
    finally:
        await node.close()


def route(number: int, to: Destination) -> TcpRoute:
    return TcpRoute((f"10.96.0.{number}",), 25, (WeightedDestination(to.name),))


async def test_what_is_denied_now_cuts_no_other_connection(node: NetnsNode) -> None:
    """Policies and routes for bytes are in the listener of the caller; only the part of it that
    changed is replaced."""
    found = {}
    for number, name in ((2, "mail"), (3, "news")):
        node.serve(number, name, 8080, "--greet")
        endpoint = Endpoint(f"10.244.9.{10 + number}", 8080, pod_uid=f"uid-{number}", workload=name)
        found[name] = service(name, (endpoint,), 25, protocol="tcp")
    mail, news = found["mail"], found["news"]

    def caller(*routes: TcpRoute, denied: tuple[str, ...] = ()) -> dict[str, object]:
        return {"workloads": (node.workload(1, "caller", tcp=routes, denied=denied),)}

    both = (route(2, mail), route(3, news))
    await node.apply(destinations=(mail, news), **caller(*both))
    connection = await Connection.open(node, 1, "10.96.0.2", 25)
    try:
        await node.apply(**caller(*both, denied=(news.name,)))
        await asyncio.sleep(2.0 * DRAIN_SECONDS)
        assert await connection.repeats("after a policy")
        await node.apply(**caller(*both, route(4, news)))
        await asyncio.sleep(2.0 * DRAIN_SECONDS)
        assert await connection.repeats("after another route")
        await node.apply(**caller(*both, denied=(mail.name,)))
        await asyncio.sleep(2.0 * DRAIN_SECONDS)
        assert not await connection.repeats("after its own policy")
    finally:
        await connection.close()
