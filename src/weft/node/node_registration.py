"""Registers the node and keeps it alive in the API: Node, its status, its Lease, gateway ports."""

import asyncio
import json
import logging
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from weft.api import registry, service_places
from weft.api.errors import ApiError
from weft.api.gateway import v1 as gateway_api
from weft.api.gateway_bindings import Binding, decode, encode
from weft.api.istio.networking_v1 import Gateway
from weft.api.k8s.coordination_v1 import Lease
from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.pod_v1 import Pod
from weft.api.service_places import Held
from weft.api.snapshot import Snapshot
from weft.api.wellknown import (
    ANNOTATION_NODE_GATEWAY_BINDINGS,
    ANNOTATION_NODE_GATEWAY_PORTS,
    ANNOTATION_NODE_RELAYED,
    ANNOTATION_NODE_SERVICE_PLACES,
)
from weft.lib.aio import now
from weft.node.agent_settings import AgentSettings, MachineFacts
from weft.node.gateway_bindings import Wanted, bind, named_addresses, wanted_bindings
from weft.node.node_object import (
    LEASE_NAMESPACE,
    kept,
    lease_object,
    lease_spec,
    node_metadata,
    node_object,
    node_spec,
    node_status,
)
from weft.node.node_ports import Asked, asked_places, bind_places, load_balancers
from weft.node.port_claims import Claim, PortClaims
from weft.node.ports import allocate_gateway_ports, gateway_ports
from weft.runtime.client import Client

log = logging.getLogger("weft.node")

HEARTBEAT_SECONDS = 10.0
STATUS_SECONDS = 300.0
"""Kubelet's nodeStatusReportFrequency: an unchanged status is written this often."""
RETRY_SECONDS = 1.0


def can_bind(address: str, port: int, transport: str = "tcp") -> bool:
    """Whether a port is free on an address; port 0 asks whether the machine has the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    with socket.socket(family, kind | socket.SOCK_CLOEXEC) as probe:
        if transport == "tcp":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            if transport == "tcp":
                probe.listen(1)
        except OSError:
            return False
    return True


class NodeRegistration:
    """One node. `register` once, then `run` until cancelled."""

    def __init__(
        self,
        client: Client,
        settings: AgentSettings,
        machine: MachineFacts,
        owner: Client | None = None,
    ) -> None:
        """`owner` may remove the Node."""
        self._client = client
        self._owner = owner or client
        self._settings = settings
        self._machine = machine
        self._node = registry.kind_for(Node)
        self._uid = ""
        self._shared_ports: dict[int, int] = {}
        """Of Istio's Gateways, which share the node's gateway address."""
        self._bindings: dict[str, Binding] = {}
        self._places: dict[str, Held] = {}
        self._claims = PortClaims()
        self._wanted: tuple[tuple[int, ...], tuple[Wanted, ...]] | None = None
        self._objects: Snapshot | None = None
        self._balanced: tuple[Wanted, ...] = ()
        self._asked: tuple[Asked, ...] = ()
        self._published: dict[str, str] = {}
        """Annotations as they were written last."""
        self._changed = asyncio.Event()
        self._pressures: tuple[str, ...] = ()
        self._unreported = False

    async def register(self) -> None:
        """Create the Node, or bring it up to date; then it is ready. ApiError."""
        settings, machine = self._settings, self._machine
        name, before = settings.node_name, await self._existing()
        wanted = node_object(settings, machine)
        if before and self._moved(before):
            await self._owner.delete(self._node, name)
            wanted, before = kept(wanted, before), {}
        if not before:
            made = await self._client.create(self._node, wanted)
            before = msgspec.json.decode(made)
        else:
            metadata = node_metadata(settings, machine)
            metadata["annotations"].setdefault(ANNOTATION_NODE_RELAYED, None)  # of an earlier start
            body = {"metadata": metadata, "spec": node_spec(settings)}
            await self._client.patch(self._node, name, body)
        self._uid = str(before["metadata"].get("uid") or "")
        annotations = before["metadata"].get("annotations") or {}
        self._bindings = decode(annotations.get(ANNOTATION_NODE_GATEWAY_BINDINGS, ""))
        self._places = service_places.decode(annotations.get(ANNOTATION_NODE_SERVICE_PLACES, ""))
        ports = _ports(annotations.get(ANNOTATION_NODE_GATEWAY_PORTS, ""))
        of_others = self._ports_at_shared()
        self._shared_ports = {p: bound for p, bound in ports.items() if of_others.get(p) != bound}
        await self._write_status(before.get("status") or {})
        await self._renew()

    async def run(self) -> None:
        """Heartbeats, and gateway ports as they change."""
        loop = asyncio.get_running_loop()
        while not self._uid:
            try:
                await self.register()
            except (ApiError, OSError) as error:
                log.info("node not registered yet error=%s", error)
                await asyncio.sleep(RETRY_SECONDS)
        renewed = reported = loop.time()
        while True:
            wait = max(renewed + HEARTBEAT_SECONDS - loop.time(), 0.0)
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass
            try:
                if loop.time() - renewed >= HEARTBEAT_SECONDS:
                    await self._keep_registered()
                    renewed = loop.time()
                    if any(held.lacking for held in self._places.values()):
                        self._changed.set()
                if self._changed.is_set():
                    self._changed.clear()
                    await self._publish_ports()
                if self._unreported or loop.time() - reported >= STATUS_SECONDS:
                    self._unreported = False
                    await self._write_status((await self._existing()).get("status") or {})
                    reported = loop.time()
            except (ApiError, OSError) as error:
                log.warning("node not reported node=%s error=%s", self._settings.node_name, error)
                self._unreported = True
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    def gateways_changed(
        self,
        gateways: Iterable[Gateway],
        others: Iterable[gateway_api.Gateway] = (),
        classes: Iterable[gateway_api.GatewayClass] = (),
        sets: Iterable[gateway_api.ListenerSet] = (),
    ) -> None:
        """Give addresses and ports to what Gateways ask for, Istio's and the Gateway API's
        (`others`, of weft's `classes`, with their `sets`); what has some keeps them."""
        gateways = tuple(gateways)
        own = (*wanted_bindings(others, classes, sets), *named_addresses(gateways))
        wanted = gateway_ports(gateways), own
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()

    def pressed(self, pressures: tuple[str, ...]) -> None:
        """Conditions of the node that hold now; reported at once."""
        self._pressures = pressures
        self._unreported = True
        self._changed.set()

    def listeners_changed(self, objects: Snapshot) -> None:
        """Give addresses and ports to Services that listen on nodes, and to containers, as they
        are when it is their turn."""
        self._objects = objects
        self._changed.set()

    def _read_services(self) -> None:
        if self._objects is None:
            return
        settings, services = self._settings, self._objects.list(Service)
        # A node in a network of its own has its address there, where no caller from outside is.
        host = () if settings.home else (settings.host_ip,)
        own = tuple(dict.fromkeys((*host, settings.gateway_address)))
        self._balanced = load_balancers(services)
        pods = self._objects.list(Pod)
        self._asked = asked_places(services, pods, settings.node_name, own)

    async def _publish_ports(self) -> None:
        if self._wanted is None:
            return
        self._read_services()
        shared, wanted = self._settings.gateway_address, self._wanted
        ports = allocate_gateway_ports(
            wanted[0], self._shared_ports, lambda port: self._free(shared, port, "tcp")
        )

        def free(address: str, port: int, transport: str) -> bool:
            of_istio = address == shared and transport == "tcp" and port in ports.values()
            return not of_istio and self._free(address, port, transport)

        every = (*wanted[1], *self._balanced)
        bindings = bind(every, self._bindings, shared, self._settings.gateway_pool, free)
        places = bind_places(self._asked, self._places, free)
        self._shared_ports, self._bindings, self._places = ports, bindings, places
        self._claims.keep(self._claimed())
        annotations = {
            ANNOTATION_NODE_GATEWAY_PORTS: json.dumps(self._ports_at_shared() | ports),
            ANNOTATION_NODE_GATEWAY_BINDINGS: encode(bindings),
            ANNOTATION_NODE_SERVICE_PLACES: service_places.encode(places),
        }
        if annotations == self._published:
            return
        body = {"metadata": {"annotations": annotations}}
        await self._client.patch(self._node, self._settings.node_name, body)
        self._published = annotations

    def _free(self, address: str, port: int, transport: str) -> bool:
        if transport == "udp" and self._settings.home:
            return False  # there is no way on for datagrams
        if not port:
            return can_bind(address, port, transport)
        return self._claims.take(address, port, transport) and can_bind(address, port, transport)

    def _claimed(self) -> Iterator[Claim]:
        shared = self._settings.gateway_address
        yield from ((shared, port, "tcp") for port in self._shared_ports.values())
        for binding in self._bindings.values():
            for address in binding.addresses:
                yield from ((address, port, "tcp") for port in binding.ports.values())
                yield from ((address, port, "udp") for port in binding.udp_ports.values())
        for held in self._places.values():
            yield from ((place.address, place.bound, place.transport) for place in held.places)

    def _ports_at_shared(self) -> dict[int, int]:
        """Ports that Gateways of the Gateway API have at the address that Istio's share."""
        shared = self._settings.gateway_address
        found = [b.ports for b in self._bindings.values() if shared in b.addresses]
        return {port: bound for ports in found for port, bound in ports.items()}

    async def _keep_registered(self) -> None:
        """The heartbeat. A Node that somebody deleted is made again: its pods run here."""
        if not await self._existing():
            log.warning("node was deleted, registering again node=%s", self._settings.node_name)
            await self.register()
            self._published = {}
            await self._publish_ports()
        else:
            await self._renew()

    def _moved(self, node: dict[str, Any]) -> bool:
        """Whether the machine's pod network is another one than the Node says, which nobody may
        change: while weft was down somebody else took it."""
        said = (node.get("spec") or {}).get("podCIDR") or ""
        return bool(said and self._settings.pod_cidr) and said != self._settings.pod_cidr

    async def _existing(self) -> dict[str, Any]:
        try:
            found = await self._client.get(self._node, self._settings.node_name)
        except ApiError as error:
            if error.code != 404:
                raise
            return {}
        body: dict[str, Any] = msgspec.json.decode(found)
        return body

    async def _write_status(self, before: dict[str, Any]) -> None:
        status = node_status(self._settings, self._machine, before, now(), self._pressures)
        await self._client.patch(
            self._node, self._settings.node_name, {"status": status}, subresource="status"
        )

    async def _renew(self) -> None:
        kind, name = registry.kind_for(Lease), self._settings.node_name
        try:
            body = {"spec": lease_spec(name, now())}
            await self._client.patch(kind, name, body, LEASE_NAMESPACE)
        except ApiError as error:
            if error.code != 404:
                raise
            lease = lease_object(name, self._uid, now())
            await self._client.create(kind, lease, LEASE_NAMESPACE)


def _ports(text: str) -> dict[int, int]:
    try:
        return msgspec.json.decode(text, type=dict[int, int]) if text else {}
    except msgspec.MsgspecError:
        return {}
