"""Registers the node and keeps it alive in the API: Node, its status, its Lease, gateway ports."""

import asyncio
import json
import logging
import socket
from collections.abc import Iterable
from typing import Any

import msgspec

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.gateway import v1 as gateway_api
from weft.api.istio.networking_v1 import Gateway
from weft.api.k8s.coordination_v1 import Lease
from weft.api.k8s.core_v1 import Node
from weft.api.wellknown import ANNOTATION_NODE_GATEWAY_PORTS
from weft.lib.aio import now
from weft.node.agent_settings import AgentSettings, MachineFacts
from weft.node.node_object import (
    LEASE_NAMESPACE,
    lease_object,
    lease_spec,
    node_metadata,
    node_object,
    node_status,
)
from weft.node.ports import allocate_gateway_ports, gateway_ports, listener_ports
from weft.runtime.client import Client

log = logging.getLogger("weft.node")

HEARTBEAT_SECONDS = 10.0
STATUS_SECONDS = 300.0
"""Kubelet's nodeStatusReportFrequency: an unchanged status is written this often."""
RETRY_SECONDS = 1.0


def can_bind(address: str, port: int) -> bool:
    """Whether a TCP port is free on an address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError:
            return False
    return True


class NodeRegistration:
    """One node. `register` once, then `run` until cancelled."""

    def __init__(self, client: Client, settings: AgentSettings, machine: MachineFacts) -> None:
        self._client = client
        self._settings = settings
        self._machine = machine
        self._node = registry.kind_for(Node)
        self._uid = ""
        self._gateway_ports: dict[int, int] = {}
        self._wanted_ports: tuple[int, ...] | None = None
        self._changed = asyncio.Event()

    async def register(self) -> None:
        """Create the Node, or bring it up to date; then it is ready. ApiError."""
        settings, machine = self._settings, self._machine
        name, before = settings.node_name, await self._existing()
        if not before:
            made = await self._client.create(self._node, node_object(settings, machine))
            before = msgspec.json.decode(made)
        else:
            body = {"metadata": node_metadata(settings, machine)}
            await self._client.patch(self._node, name, body)
        self._uid = str(before["metadata"].get("uid") or "")
        annotations = before["metadata"].get("annotations") or {}
        self._gateway_ports = _ports(annotations.get(ANNOTATION_NODE_GATEWAY_PORTS, ""))
        await self._write_status(before.get("status") or {})
        await self._renew()

    async def run(self) -> None:
        """Heartbeats, and gateway ports as they change."""
        loop = asyncio.get_running_loop()
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
                if self._changed.is_set():
                    self._changed.clear()
                    await self._publish_ports()
                if loop.time() - reported >= STATUS_SECONDS:
                    await self._write_status((await self._existing()).get("status") or {})
                    reported = loop.time()
            except (ApiError, OSError) as error:
                log.warning("node not reported node=%s error=%s", self._settings.node_name, error)
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    def gateways_changed(
        self,
        gateways: Iterable[Gateway],
        others: Iterable[gateway_api.Gateway] = (),
        classes: Iterable[gateway_api.GatewayClass] = (),
    ) -> None:
        """Give host ports to what Gateways ask for, Istio's and the Gateway API's (`others`, of
        weft's `classes`); what has one keeps it."""
        wanted = tuple(sorted({*gateway_ports(gateways), *listener_ports(others, classes)}))
        if wanted != self._wanted_ports:
            self._wanted_ports = wanted
            self._changed.set()

    async def _publish_ports(self) -> None:
        if self._wanted_ports is None:
            return
        address = self._settings.gateway_address
        allocated = allocate_gateway_ports(
            self._wanted_ports, self._gateway_ports, lambda port: can_bind(address, port)
        )
        body = {"metadata": {"annotations": {ANNOTATION_NODE_GATEWAY_PORTS: json.dumps(allocated)}}}
        await self._client.patch(self._node, self._settings.node_name, body)
        self._gateway_ports = allocated

    async def _keep_registered(self) -> None:
        """The heartbeat. A Node that somebody deleted is made again: its pods run here."""
        if not await self._existing():
            log.warning("node was deleted, registering again node=%s", self._settings.node_name)
            await self.register()
            await self._publish_ports()
        else:
            await self._renew()

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
        status = node_status(self._settings, self._machine, before, now())
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
