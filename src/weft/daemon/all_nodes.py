"""One face for this machine's node and for all that joined: logs, streams, requests in flight."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec

from weft.api.errors import ApiError
from weft.apiserver.logs import LogOptions
from weft.apiserver.streams import Connection, Options, Place, Process
from weft.daemon.machine import Machine
from weft.daemon.node import LocalStreams, NodeLogs
from weft.daemon.node_link import Handler, LinkDownError
from weft.daemon.node_links import NodeLinks
from weft.daemon.proxy_gate import AdsGate, InForce
from weft.node.envoy import EnvoyError
from weft.node.runtime import ContainerState
from weft.xds.server import AdsServer

WAIT_SECONDS_MAX = 30.0
"""How long a node's question waits for its answer; it asks again then."""
FACTS_SECONDS_MAX = 2.0


class AllLogs:
    """LogSource of the API server; `local` is None where this machine is no node."""

    def __init__(self, own: str, local: NodeLogs | None, links: NodeLinks) -> None:
        self._own, self._local, self._links = own, local, links

    def read(
        self, node: str, namespace: str, pod: str, uid: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        if self._local is not None and node == self._own:
            return self._local.read(node, namespace, pod, uid, options)
        return self._links.read_log(Place(node, namespace, pod, uid, options.container), options)


class AllStreams:
    """NodeStreams of the API server."""

    def __init__(self, own: str, local: LocalStreams | None, links: NodeLinks) -> None:
        self._own, self._local, self._links = own, local, links

    async def exec(self, where: Place, options: Options) -> Process:
        if self._local is not None and where.node == self._own:
            return await self._local.exec(where, options)
        return await self._links.exec(where, options)

    async def attach(self, where: Place, options: Options) -> Process:
        if self._local is not None and where.node == self._own:
            return await self._local.attach(where, options)
        return await self._links.exec(where, options, "attach")

    async def connect(self, where: Place, port: int) -> Connection:
        if self._local is not None and where.node == self._own:
            return await self._local.connect(where, port)
        return await self._links.connect(where, port)


class AllInFlight:
    """Counts at every proxy that can be asked. A node whose link and proxy are both gone carries
    nothing that we could wait for."""

    def __init__(self, machine: Machine, links: NodeLinks, ads: AdsServer) -> None:
        self._machine, self._links, self._ads = machine, links, ads

    async def active(
        self, address: str, ports: tuple[int, ...] = (), *, connections: bool = False
    ) -> int:
        """Requests in flight; with `connections`, open connections that carry bytes as well."""
        nodes = self._links.nodes()
        ignored = frozenset[str]() if connections else self._machine.byte_streams()
        counts = await asyncio.gather(
            self._machine.active(address, ports, connections=connections),
            *(self._remote(node, address, ports, ignored) for node in nodes),
        )
        return sum(counts)

    async def _remote(
        self, node: str, address: str, ports: tuple[int, ...], ignored: frozenset[str]
    ) -> int:
        try:
            found = await self._links.call(node, "active", address=address, ports=list(ports))
        except (LinkDownError, TimeoutError) as error:
            if not self._ads.connected(node):
                return 0
            raise EnvoyError(f"node {node} does not answer: {error}") from error
        except ApiError as error:
            raise EnvoyError(f"node {node}: {error.message}") from error
        return sum(count for cluster, count in found.items() if cluster not in ignored)


def handlers_of(
    ads: AdsServer, inflight: Callable[[], AllInFlight], in_force: InForce
) -> Callable[[str], Mapping[str, Handler]]:
    """What nodes may ask."""

    def of(node: str) -> Mapping[str, Handler]:
        gate = AdsGate(ads, node, in_force)
        waits = {
            "listeners_ready": gate.listeners_ready,
            "endpoint_draining": gate.endpoint_draining,
            "listeners_removed": gate.listeners_removed,
        }

        async def wait(args: Mapping[str, Any]) -> bool:
            try:
                async with asyncio.timeout(WAIT_SECONDS_MAX):
                    await waits[args["what"]](str(args["pod"]))
            except TimeoutError:
                return False
            return True

        async def active(args: Mapping[str, Any]) -> int:
            try:
                ports = tuple(int(port) for port in args["ports"])
                return await inflight().active(str(args["address"]), ports)
            except EnvoyError as error:
                raise OSError(str(error)) from error

        return {"wait": wait, "active": active}

    return of


class NodeFacts(msgspec.Struct, frozen=True):
    """What a node's machine says of itself."""

    containers: tuple[ContainerState, ...] = ()
    envoy_pid: int = 0


async def facts(links: NodeLinks) -> dict[str, NodeFacts]:
    """Of every node that answers in time."""

    async def one(node: str) -> NodeFacts:
        try:
            async with asyncio.timeout(FACTS_SECONDS_MAX):
                return msgspec.convert(await links.call(node, "facts"), NodeFacts)
        except (LinkDownError, ApiError, TimeoutError, msgspec.ValidationError):
            return NodeFacts()

    nodes = links.nodes()
    return dict(zip(nodes, await asyncio.gather(*(one(n) for n in nodes)), strict=True))
