"""Pod networks in host isolation: a loopback address and ports on the host for each pod.

On Linux all of 127.0.0.0/8 can be bound without configuration. A program that binds 0.0.0.0 takes
its port on every address, so ports must differ between pods even though addresses do; they come
from a range that services do not use.
"""

import asyncio
import hashlib
import ipaddress
import json
import socket
from pathlib import Path
from typing import Any

from weft.lib.files import replace_file
from weft.node.ports import HOST_PORT_FIRST, HOST_PORT_LAST, allocate_host_ports
from weft.node.runtime import PodNetwork

POD_RANGE_FIRST = int(ipaddress.IPv4Address("127.128.0.2"))
POD_RANGE_SIZE = 127 * 65536
"""127.128.0.2 to about 127.254.255.255; ClusterIPs of host isolation lie below."""
_PROXY_KEY = 0


class PortsExhaustedError(Exception):
    """No free port is left in the range for pods."""


class HostNetwork:
    """Network. Addresses and ports are kept on disk, so that a restarted agent finds them."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / "network-host.json"
        digest = hashlib.sha256(str(run_dir).encode()).digest()
        self._start = int.from_bytes(digest[:4], "big")
        """Instances on one machine begin at different places, so they rarely meet."""
        self._pods: dict[str, dict[str, Any]] = {}
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Find the pods of before."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            self._pods = json.loads(self._file.read_text())
        except (OSError, ValueError):
            self._pods = {}

    async def create(self, pod_uid: str) -> PodNetwork:
        """A loopback address that no other pod of this instance has."""
        pod = self._pods.get(pod_uid)
        if pod is None:
            pod = {"address": self._free_address(), "ports": {}}
            self._pods[pod_uid] = pod
            self._save()
        return PodNetwork(pod["address"])

    async def delete(self, pod_uid: str) -> None:
        if self._pods.pop(pod_uid, None) is not None:
            self._save()

    async def list(self) -> dict[str, PodNetwork]:
        return {uid: PodNetwork(pod["address"]) for uid, pod in self._pods.items()}

    async def destroy(self) -> None:
        """Forget everything."""
        self._pods = {}
        self._file.unlink(missing_ok=True)

    async def allocate_ports(
        self, pod_uid: str, container_ports: tuple[int, ...]
    ) -> dict[int, int]:
        """A host port for each container port of a pod with a network; the same ones when asked
        again. PortsExhaustedError; LookupError for a pod without a network."""
        # Searching takes time: two pods that search at once would find the same ports.
        async with self._lock:
            return await self._allocate(pod_uid, container_ports)

    async def _allocate(self, pod_uid: str, container_ports: tuple[int, ...]) -> dict[int, int]:
        pod = self._pods[pod_uid]
        ports: dict[str, int] = pod["ports"]
        missing = tuple(port for port in container_ports if str(port) not in ports)
        if missing:
            taken = frozenset(p for other in self._pods.values() for p in other["ports"].values())
            found = await asyncio.to_thread(
                allocate_host_ports, missing, taken, self._start, _free_port
            )
            if len(found) < len(missing):
                text = f"no free port is left from {HOST_PORT_FIRST} to {HOST_PORT_LAST}"
                raise PortsExhaustedError(text)
            ports.update({str(port): host_port for port, host_port in found.items()})
            self._save()
        return {port: ports[str(port)] for port in container_ports}

    async def proxy_port(self, pod_uid: str) -> int:
        """The port on 127.0.0.1 of the pod's own HTTP proxy listener, which tells who calls."""
        return (await self.allocate_ports(pod_uid, (_PROXY_KEY,)))[_PROXY_KEY]

    def _free_address(self) -> str:
        used = {pod["address"] for pod in self._pods.values()}
        for offset in range(POD_RANGE_SIZE):
            number = POD_RANGE_FIRST + (self._start * 256 + offset) % POD_RANGE_SIZE
            address = str(ipaddress.IPv4Address(number))
            if address not in used and not address.endswith((".0", ".255")):
                return address
        raise PortsExhaustedError("every loopback address for pods is in use")

    def _save(self) -> None:
        replace_file(self._file, json.dumps(self._pods).encode())


def _free_port(port: int) -> bool:
    """Whether a program could bind it on every address, for connections and for datagrams."""
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104
                if kind == socket.SOCK_STREAM:
                    probe.listen(1)
            except OSError:
                return False
    return True
