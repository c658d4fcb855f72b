"""Takes the spans of applications: OTLP over HTTP and gRPC, at the node's address for its pods.

Whoever reaches the address may send: in a network of their own these are this node's pods, without
one the programs of this machine. So what is taken is bounded, and spans are all that is taken.
"""

import asyncio
import logging
from collections.abc import Callable
from socket import SOCK_STREAM
from typing import Any

import grpc
import msgspec
from aiohttp import web

from weft.lib.aio import ticks
from weft.node.dialing import HERE, Dialer, relay
from weft.telemetry import otlp_json
from weft.telemetry.collector import span_count, trace_handler, trace_request

log = logging.getLogger("weft.telemetry")

GRPC_PORT, HTTP_PORT = 4317, 4318
"""As OpenTelemetry has registered them."""
BODY_BYTES_MAX = 4 * 1024 * 1024
SPANS_PER_SECOND_MAX = 5000
"""In all; more are refused, and senders try again later."""
PROTOBUF, JSON = "application/x-protobuf", "application/json"
RETRY_SECONDS = "1"


class SpanBudget:
    """How many spans are taken in a second."""

    def __init__(self, spans_per_second_max: int = SPANS_PER_SECOND_MAX) -> None:
        self._max = spans_per_second_max
        self._second, self._taken = 0, 0

    def admit(self, spans: int) -> bool:
        """Whether so many are taken now."""
        second = int(ticks())
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken and self._taken + spans > self._max:
            return False
        self._taken += spans
        return True


class OtlpReceiver:
    """`start`, then `close`. `take` gets each ExportTraceServiceRequest."""

    def __init__(
        self, take: Callable[[Any], None], address: str, body_bytes_max: int = BODY_BYTES_MAX,
        dialer: Dialer = HERE,
    ) -> None:  # fmt: skip
        self._dialer = dialer
        self._take = take
        self._address = address
        self._body_bytes_max = body_bytes_max
        self._budget = SpanBudget()
        self._http: web.AppRunner | None = None
        self._grpc: grpc.aio.Server | None = None
        self._relay: asyncio.Server | None = None
        self.endpoint = ""
        """Where applications send to, over HTTP; empty when it could not be opened."""

    async def start(self) -> None:
        """Listen, on free ports when others have OpenTelemetry's. Without it weft runs as well."""
        app = web.Application(client_max_size=self._body_bytes_max)
        app.router.add_post("/v1/traces", self._http_traces)
        self._http = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._http.setup()
        for port in (HTTP_PORT, 0):
            try:
                listener = await self._dialer.bound_socket(SOCK_STREAM, self._address, port)
                await web.SockSite(self._http, listener).start()
            except OSError as error:
                log.info("spans of applications not on port=%s error=%s", port, error)
                continue
            bound = self._http.addresses[0][1]
            self.endpoint = f"http://{self._address}:{bound}"
            break
        self._grpc = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", self._body_bytes_max),
                ("grpc.so_reuseport", 0),
            ]
        )
        self._grpc.add_generic_rpc_handlers((trace_handler(self._take, self._budget.admit),))
        try:
            await self._listen_grpc(self._grpc)
        except RuntimeError as error:
            log.info("spans of applications not over gRPC error=%s", error)
            self._grpc = None

    async def _listen_grpc(self, server: grpc.aio.Server) -> None:
        """RuntimeError."""
        if not self._dialer.namespace:
            server.add_insecure_port(f"{self._address}:{GRPC_PORT}")
            await server.start()
            return
        path = self._dialer.socket_path()  # gRPC listens in this process' network only
        server.add_insecure_port(f"unix:{path}")
        await server.start()
        try:
            listener = await self._dialer.bound_socket(SOCK_STREAM, self._address, GRPC_PORT)
        except OSError as error:
            raise RuntimeError(str(error)) from error

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await relay((reader, writer), await asyncio.open_unix_connection(path))

        self._relay = await asyncio.start_server(serve, sock=listener)

    async def close(self) -> None:
        if self._relay is not None:
            self._relay.close()
        if self._http is not None:
            await self._http.cleanup()
        if self._grpc is not None:
            await self._grpc.stop(None)

    async def _http_traces(self, request: web.Request) -> web.Response:
        kind = request.content_type
        body = await request.read()
        try:
            if kind == PROTOBUF:
                found = trace_request(body)
            elif kind == JSON:
                found = otlp_json.trace_request(msgspec.json.decode(body))
            else:
                return web.Response(status=415, text=f"send {PROTOBUF} or {JSON}\n")
        except (ValueError, msgspec.DecodeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        if not self._budget.admit(span_count(found)):
            return web.Response(status=429, headers={"Retry-After": RETRY_SECONDS})
        self._take(found)
        answer: Any = b"{}" if kind == JSON else b""
        return web.Response(body=answer, content_type=kind)
