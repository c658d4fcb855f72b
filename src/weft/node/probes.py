"""Carries out probes and lifecycle hooks: HTTP, TCP, exec, gRPC, sleep. When is the machine's.

Each function returns "" for success, else what failed, in kubelet's words.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping

import aiohttp
import grpc
from yarl import URL

from weft.api.k8s.container_v1 import (
    Container,
    ExecAction,
    GRPCAction,
    HTTPGetAction,
    LifecycleHandler,
    Probe,
)
from weft.node.dialing import HERE, Dialer
from weft.node.pod_probes import tcp_ports
from weft.node.runtime import ContainerRuntime

USER_AGENT = "kube-probe/1.33"
REDIRECTS_MAX = 10
OUTPUT_SHOWN_BYTES = 1024
"""Of what a command printed, in the message of its failure."""
TIMEOUT_DEFAULT_SECONDS = 1
TCP_TIMEOUT_SECONDS = 1.0
_HEALTH_METHOD = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
_NOT_SERVING = {b"": "UNKNOWN", b"\x08\x02": "NOT_SERVING", b"\x08\x03": "SERVICE_UNKNOWN"}


class Address:
    """Where a container's ports are reached from the node."""

    def __init__(self, host: str, ports: Mapping[int, int]) -> None:
        self.host = host
        self._ports = ports

    def port(self, container: Container, wanted: int | str | None) -> int | None:
        """The number to connect to; None when a name is no port's."""
        if isinstance(wanted, str) and not wanted.isdecimal():
            named = (p.container_port for p in container.ports if p.name == wanted)
            number = next(named, None)
        else:
            number = int(wanted or 0) or None
        return None if number is None else self._ports.get(number, number)


class Prober:
    """One per agent. `close` when done."""

    def __init__(self, runtime: ContainerRuntime, dialer: Dialer = HERE) -> None:
        self._runtime = runtime
        self._dialer = dialer
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def probe(
        self, probe: Probe, container: Container, container_id: str, at: Address
    ) -> str:
        """Run a probe once, within its timeout."""
        within = float(probe.timeout_seconds or TIMEOUT_DEFAULT_SECONDS)
        if probe.exec is not None:
            return await self.run(container_id, probe.exec, within)
        if probe.grpc is not None:
            return await self.grpc(probe.grpc, container, at, within)
        if probe.http_get is not None:
            return await self.http(probe.http_get, container, at, within)
        if probe.tcp_socket is not None:
            port = at.port(container, probe.tcp_socket.port)
            return await self.tcp(probe.tcp_socket.host or at.host, port, within)
        return "the probe names no action"

    async def hook(
        self, hook: LifecycleHandler, container: Container, container_id: str, at: Address,
        within: float,
    ) -> str:  # fmt: skip
        """Run a lifecycle hook, at most `within` seconds."""
        if hook.sleep is not None:
            await asyncio.sleep(min(float(hook.sleep.seconds or 0), within))
            return ""
        if hook.exec is not None:
            return await self.run(container_id, hook.exec, within)
        if hook.http_get is not None:
            return await self.http(hook.http_get, container, at, within)
        return ""  # tcpSocket hooks are accepted and do nothing, as in Kubernetes

    async def listening(self, container: Container, at: Address) -> str:
        """Whether every declared TCP port accepts connections."""
        for number in tcp_ports(container):
            failed = await self.tcp(at.host, at.port(container, number), TCP_TIMEOUT_SECONDS)
            if failed:
                return failed
        return ""

    async def run(self, container_id: str, action: ExecAction, within: float) -> str:
        """A command inside the container; success is exit code 0."""
        shown = " ".join(action.command)
        try:
            result = await self._runtime.exec(container_id, action.command, within)
        except TimeoutError:
            return f'command timed out: "{shown}" timed out after {within:g}s'
        except Exception as error:  # the container may just have ended
            return f'command "{shown}" could not run: {error}'
        if result.exit_code == 0:
            return ""
        output = result.output[:OUTPUT_SHOWN_BYTES].decode(errors="replace").strip()
        return output or f'command "{shown}" exited with {result.exit_code}'

    async def tcp(self, host: str, port: int | None, within: float) -> str:
        """Whether the port accepts a connection."""
        if port is None:
            return "the port's name is none of the container's ports"
        try:
            async with asyncio.timeout(within):
                _, writer = await self._dialer.open_connection(host, port)
        except TimeoutError:
            return f"dial tcp {host}:{port}: i/o timeout"
        except OSError as error:
            why = os.strerror(error.errno).lower() if error.errno else str(error)
            return f"dial tcp {host}:{port}: connect: {why}"
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return ""

    async def http(
        self, action: HTTPGetAction, container: Container, at: Address, within: float
    ) -> str:
        """GET; success is a status from 200 to 399. Redirects are followed on the same host."""
        port = at.port(container, action.port)
        if port is None:
            return f"the port `{action.port}` is none of the container's ports"
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
        for header in action.http_headers:
            headers[header.name] = header.value
        scheme = (action.scheme or "HTTP").lower()
        path = action.path if action.path.startswith("/") else f"/{action.path}"
        url = URL(f"{scheme}://{action.host or at.host}:{port}{path}", encoded=True)
        try:
            async with asyncio.timeout(within):
                status = await self._status(url, headers)
        except TimeoutError:
            return f'Get "{url}": context deadline exceeded (timed out after {within:g}s)'
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f'Get "{url}": {error}'
        good = 200 <= status < 400
        return "" if good else f"HTTP probe failed with statuscode: {status}"

    async def _status(self, url: URL, headers: Mapping[str, str]) -> int:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=False,
                force_close=True,
                limit=0,
                socket_factory=self._dialer.socket_factory,
            )
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)
        status = 0
        for _ in range(REDIRECTS_MAX):
            async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
                status = answer.status
                location = answer.headers.get("Location", "")
            following = url.join(URL(location)) if location else url
            if not 300 <= status < 400 or not location or following.host != url.host:
                return status
            url = following
        return status

    async def grpc(
        self, action: GRPCAction, container: Container, at: Address, within: float
    ) -> str:
        """grpc.health.v1.Health/Check; success is SERVING."""
        port = at.port(container, action.port) or 0
        async with self._dialer.target(at.host, port) as target:
            return await self._health(action.service, target, f"{at.host}:{port}", within)

    async def _health(self, service: str, target: str, shown: str, within: float) -> str:
        # HealthCheckRequest: field 1, a string shorter than 128 bytes.
        name = service.encode()[:127]
        request = b"\x0a" + bytes([len(name)]) + name if name else b""
        options = [("grpc.primary_user_agent", USER_AGENT), ("grpc.enable_http_proxy", 0)]
        try:
            async with grpc.aio.insecure_channel(target, options=options) as channel:
                call: Callable[..., grpc.aio.UnaryUnaryCall[bytes, bytes]]
                call = channel.unary_unary(_HEALTH_METHOD)
                answer: bytes = await call(request, timeout=within, wait_for_ready=False)
        except grpc.aio.AioRpcError as error:
            return f"gRPC probe of {shown} failed: {error.code().name}: {error.details()}"
        if answer == _SERVING:
            return ""
        word = _NOT_SERVING.get(answer, "UNKNOWN")
        return f'service unhealthy (responded with "{word}")'
