"""The ADS server: streams of Envoys over gRPC, each driven by the protocol in `delta`.

The transport carries bytes; a faster one needs only this file's `_serve`.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import grpc
from msgspec import Struct

from weft.lib.aio import Tasks
from weft.lib.histogram import Histogram
from weft.xds import acks, progress
from weft.xds.delta import (
    WILDCARD,
    Acked,
    Event,
    Nacked,
    Outcome,
    Request,
    Response,
    Retry,
    StreamState,
    Update,
    settled,
    step,
)
from weft.xds.progress import Pending
from weft.xds.resource import CLUSTER, LISTENER, Resource, World, changes, world_of
from weft.xds.wire import MalformedRequest, decode_request, encode_response

log = logging.getLogger("weft.xds")

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD = "DeltaAggregatedResources"
COALESCE_SECONDS = 0.010
"""Updates that follow one within this time are sent together; the first one is sent at once."""
REQUEST_BYTES_MAX = 64 * 1024 * 1024
"""A reconnecting Envoy lists all it has."""
STREAMS_MAX = 10_000
EARLY_REQUESTS_MAX = 256
"""Requests of a proxy whose resources are not known yet; one that sends more is disconnected."""
UNANSWERED_MAX = 5
"""Of resources that a proxy has not answered for, so many are named."""
RELAY_SUFFIX = "|relay"
"""Ends the name under which the relay of a node is known; no node is called so."""
RETRY_SECONDS_MIN = 0.25
RETRY_SECONDS_MAX = 30.0
"""Between the attempts to have a refused listener accepted."""


def relay_of(node: str) -> str:
    """The name under which a node's relay (`weft.xds.relay`) asks for its resources."""
    return f"{node}{RELAY_SUFFIX}"


class NackReport(Struct, frozen=True):
    """A resource that a node's proxy refused, for people."""

    node: str
    type_url: str
    name: str
    version: str
    error: str
    between: tuple[int, int] = (0, 0)
    """Numbers of updates: the cause came after the first, at the latest with the second. Zeros
    when the proxy has not acknowledged the resource in any version since weft started."""


class _Stream:
    """One connected proxy: its protocol state and what waits to be written."""

    def __init__(self) -> None:
        self.node = ""
        self.certified = ""
        """The node of its certificate; empty for the proxy on our own socket."""
        self.state = StreamState(world_of(()))
        self.early: list[Request] = []
        """Requests that came before the node's resources were known."""
        self.outbox: deque[Response] = deque()
        self.wake = asyncio.Event()
        self.closed = False
        self.retry_seconds = RETRY_SECONDS_MIN
        self.retrying = False


class _Node:
    """What a node shall have, and its streams, the newest last."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.offered: World | None = None
        """A newer world that waits for the end of the coalescing window."""
        self.coalescing = False
        self.streams: list[_Stream] = []
        self.nacks: dict[tuple[str, str], NackReport] = {}
        self.number = 0
        """Of `world`, or of `offered` while there is one."""
        self.applied = 0
        """Of `world`."""
        self.pending: Pending = {}
        self.answered = 0
        self.updated_at: float | None = None
        self.convergence: float | None = None


class AdsServer:
    """Serves every node the resources last given for it and tracks what its proxy acknowledged.

    `on_ack(node)` is called after each acknowledgement, `on_nack(report)` for each resource that
    a proxy refuses. All methods are for the event loop that `start` ran in.

    A proxy of a node for which `update` was never called gets no answer, so it keeps what it has:
    a control plane that has just started must not empty the proxies it finds.
    """

    def __init__(
        self,
        on_ack: Callable[[str], None] | None = None,
        on_nack: Callable[[NackReport], None] | None = None,
        node_of: Callable[[bytes], str] = lambda _: "",
    ) -> None:
        """`node_of` tells which node a client's certificate (PEM) is for; "" for none."""
        self._node_of = node_of
        self._nodes: dict[str, _Node] = {}
        self._relayed: set[str] = set()
        self._on_ack = on_ack
        self.on_nack = on_nack
        self.converged = Histogram()
        """Seconds from updates until proxies had answered for all of them."""
        self.rejects = 0
        """Resources that proxies refused so far."""
        self.on_missing: Callable[[str, tuple[str, ...]], None] = lambda *_: None
        """Called with a node and the clusters that its proxy asks for and nobody has."""
        self._waiters: list[tuple[Callable[[AdsServer], bool], asyncio.Future[None]]] = []
        self._tasks = Tasks()
        self._grpc: Any = None

    async def start(
        self,
        socket_path: str = "",
        tcp_address: str = "",
        handlers: Iterable[Any] = (),
        credentials: grpc.ServerCredentials | None = None,
    ) -> int:
        """Listen on a Unix socket (mode 0600) and, or, on `host:port`. Returns the TCP port, 0
        without. With `credentials`, which must ask for certificates, TCP is for nodes' proxies:
        each is the node of its certificate. `handlers` are gRPC handlers of further services for
        proxies. Raises OSError when one of the addresses cannot be opened."""
        self._grpc = grpc.aio.server(
            options=_OPTIONS,
            maximum_concurrent_rpcs=STREAMS_MAX,
            interceptors=(NodesOnly(self._node_of),),
        )
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        service = grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})
        self._grpc.add_generic_rpc_handlers((service, *handlers))
        port = 0
        umask = os.umask(0o177)
        try:
            if socket_path:
                Path(socket_path).unlink(missing_ok=True)
                self._grpc.add_insecure_port(f"unix:{socket_path}")
            if tcp_address and credentials is not None:
                port = int(self._grpc.add_secure_port(tcp_address, credentials))
            elif tcp_address:
                port = int(self._grpc.add_insecure_port(tcp_address))
            await self._grpc.start()
        except RuntimeError as error:
            raise OSError(f"cannot listen for proxies: {error}") from error
        finally:
            os.umask(umask)
        return port

    async def close(self) -> None:
        """End all streams; proxies keep serving what they have."""
        if self._grpc is not None:
            await self._grpc.stop(grace=None)
            self._grpc = None
        await self._tasks.close()

    def update(self, node: str, resources: Iterable[Resource], number: int = 0) -> None:
        """What the node's proxy shall have from now on, in full.

        Takes effect at once; further updates within COALESCE_SECONDS are taken together. `number`
        grows from update to update: `answered` speaks of it.
        """
        known = self._nodes.setdefault(node, _Node())
        known.offered = world_of(resources)
        known.number = number or known.number + 1
        if not known.coalescing:
            self._apply(known)

    def forget(self, node: str) -> None:
        """The node is gone: its streams are ended, nothing waits for it any more."""
        for name in self._proxies(node):
            known = self._nodes.pop(name, None)
            for stream in known.streams if known is not None else ():
                stream.closed = True
                stream.wake.set()
        self._notify()

    def cut(self, node: str) -> None:
        """End the streams of a node's proxy; it may come back if its certificate counts."""
        for stream in self._nodes[node].streams if node in self._nodes else ():
            stream.closed = True
            stream.wake.set()

    def nodes(self) -> tuple[str, ...]:
        return tuple(name for name in self._nodes if not name.endswith(RELAY_SUFFIX))

    def expect_relay(self, node: str) -> None:
        """The node has two proxies from now on: what it answers is what both do."""
        self._relayed.add(node)

    def has_relay(self, node: str) -> bool:
        return node in self._relayed

    def _proxies(self, node: str) -> tuple[str, ...]:
        """The node's proxy, and its relay when it has one."""
        return (node, relay_of(node)) if node in self._relayed else (node,)

    def connected(self, node: str) -> bool:
        known = self._nodes.get(node)
        return known is not None and bool(known.streams)

    def in_sync(self, node: str) -> bool:
        """Whether the node's proxies have answered for all that they shall have."""
        return all(map(self._in_sync, self._proxies(node)))

    def _in_sync(self, node: str) -> bool:
        stream = self._newest(node)
        known = self._nodes.get(node)
        if stream is None or known is None or known.offered is not None or known.world is None:
            return False
        return acks.listening(stream.state) and settled(stream.state)

    def answered(self, node: str) -> int:
        """The number of the update up to which the node's proxies have answered for everything,
        acknowledged or refused; 0 before the first. It never shrinks."""
        return min(map(self._answered, self._proxies(node)))

    def _answered(self, node: str) -> int:
        known = self._nodes.get(node)
        if known is None:
            return 0
        stream = self._newest(node)
        if stream is not None and known.world is not None and acks.listening(stream.state):
            known.pending = progress.answered(known.pending, stream.state)
            last = known.number - (known.offered is not None)
            known.answered = max(known.answered, progress.number(known.pending, last))
        return known.answered

    def unanswered(self, node: str) -> tuple[str, ...]:
        """What `answered` waits for, for people: the first few resources, the oldest first."""
        behind = min(self._proxies(node), key=self._answered)
        known = self._nodes.get(behind)
        if known is None or not known.streams:
            return ("its proxy is not connected",)
        left = sorted((entries[0].number, *key) for key, entries in known.pending.items())
        return tuple(f"{url.rpartition('.')[2]} {name}" for _, url, name in left[:UNANSWERED_MAX])

    def convergence_seconds(self, node: str) -> float | None:
        """From the last update until the proxy had answered for all of it; None when pending."""
        known = self._nodes.get(node)
        return None if known is None else known.convergence

    def acked_names(self, node: str, type_url: str) -> dict[str, str]:
        """name -> version that the node's proxy has acknowledged."""
        stream = self._newest(node)
        return {} if stream is None else acks.acked_versions(stream.state, type_url)

    def resource_state(self, node: str, type_url: str, name: str) -> acks.ResourceState:
        """How far the node's proxies are with one resource."""
        known = self._nodes.get(relay_of(node))
        both = known is not None and known.world is not None and name in known.world[type_url]
        proxies = (node, relay_of(node)) if both else (node,)
        states = {self.state_at(proxy, type_url, name) for proxy in proxies}
        return next(state for state in acks.WORST_FIRST if state in states)

    def state_at(self, proxy: str, type_url: str, name: str) -> acks.ResourceState:
        """How far one proxy is with one resource."""
        stream = self._newest(proxy)
        return "pending" if stream is None else acks.resource_state(stream.state, type_url, name)

    def nacks(self, node: str) -> tuple[NackReport, ...]:
        """The resources that the node's proxies refuse at present."""
        known = (self._nodes[name] for name in self._proxies(node) if name in self._nodes)
        return tuple(report for each in known for report in each.nacks.values())

    def listeners_ready(self, node: str, pod_uid: str) -> bool:
        """Whether a pod's calls will be routed: `acks.listeners_ready` of the node's proxy."""
        stream = self._newest(node)
        return stream is not None and acks.listeners_ready(stream.state, pod_uid)

    def listeners_removed(self, node: str, pod_uid: str) -> bool:
        """Whether the node's proxy has given up a pod's listeners; it closes the sockets within
        milliseconds of saying so."""
        known = self._nodes.get(node)
        streams = known.streams if known is not None else []
        return bool(streams) and all(acks.listeners_removed(s.state, pod_uid) for s in streams)

    def endpoint_draining(self, pod_uid: str) -> bool:
        """Whether no connected proxy sends the pod new requests any more.

        False as long as the wanted resources themselves let it serve: whoever asks has to have
        said before that the pod ends.
        """
        for known in self._nodes.values():
            for world in (known.world, known.offered):
                if world is not None and acks.world_serves(world, pod_uid):
                    return False
            if not all(acks.endpoint_draining(s.state, pod_uid) for s in known.streams):
                return False
        return True

    async def wait(self, condition: Callable[["AdsServer"], bool]) -> None:
        """Return when the condition holds; it is asked again whenever something changed."""
        if condition(self):
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (condition, future)
        self._waiters.append(waiter)
        try:
            await future
        finally:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)

    def _newest(self, node: str) -> _Stream | None:
        known = self._nodes.get(node)
        return known.streams[-1] if known is not None and known.streams else None

    def _notify(self) -> None:
        for waiter in list(self._waiters):
            condition, future = waiter
            if not future.done() and condition(self):
                future.set_result(None)

    def _apply(self, known: _Node) -> None:
        """Make the offered world the wanted one and open a coalescing window."""
        world, known.offered = known.offered, None
        known.coalescing = world is not None
        if world is None:
            return
        loop = asyncio.get_running_loop()
        loop.call_later(COALESCE_SECONDS, self._apply, known)
        previous, known.world = known.world, world
        changed = changes(previous or {}, world)
        since, known.applied = known.applied, known.number
        if previous is not None and not changed:
            return
        known.pending = progress.offered(known.pending, (since, known.number), world, changed)
        known.updated_at, known.convergence = loop.time(), None
        known.nacks = {
            key: report
            for key, report in known.nacks.items()
            if key[1] in world[key[0]] and world[key[0]][key[1]].version == report.version
        }
        for stream in known.streams:
            self._advance(stream, known, Update(world, changed))
            early, stream.early = stream.early, []
            for request in early:
                self._take(stream, known, request)
        self._notify()

    def _advance(self, stream: _Stream, known: _Node, event: Event) -> None:
        stream.state, responses, outcomes = step(stream.state, event)
        if responses:
            stream.outbox.extend(responses)
            stream.wake.set()
        for outcome in outcomes:
            self._learn(stream.node, known, outcome)
            if isinstance(outcome, Nacked) and outcome.type_url == LISTENER:
                self._retry_later(stream, known)
            elif isinstance(outcome, Acked) and not acks.refuses(stream.state, LISTENER):
                stream.retry_seconds = RETRY_SECONDS_MIN
        if known.updated_at is not None and settled(stream.state):
            known.convergence = asyncio.get_running_loop().time() - known.updated_at
            self.converged.add(known.convergence)
            known.updated_at = None

    def _retry_later(self, stream: _Stream, known: _Node) -> None:
        """A listener depends on more than its configuration: it is offered again, ever slower."""
        if stream.retrying:
            return
        stream.retrying = True
        wait = stream.retry_seconds
        stream.retry_seconds = min(2 * wait, RETRY_SECONDS_MAX)

        def retry() -> None:
            stream.retrying = False
            if not stream.closed:
                self._advance(stream, known, Retry(LISTENER))
                self._notify()

        asyncio.get_running_loop().call_later(wait, retry)

    def _learn(self, node: str, known: _Node, outcome: Outcome) -> None:
        if isinstance(outcome, Acked):
            for resource in outcome.response.resources:
                known.nacks.pop((resource.type_url, resource.name), None)
            if self._on_ack is not None:
                self._on_ack(node)
            return
        fields = _fields(outcome)
        between = progress.refused_between(known.pending, *fields[:3])
        report = NackReport(node, *fields, between)
        if known.nacks.get((report.type_url, report.name)) == report:
            return
        known.nacks[report.type_url, report.name] = report
        log.warning(
            "proxy refused a resource node=%s type=%s name=%s error=%s",
            *(node, report.type_url, report.name, report.error),
        )
        self.rejects += 1
        if self.on_nack is not None:
            self.on_nack(report)

    async def _serve(self, requests: AsyncIterator[bytes], context: Any) -> None:
        """One stream: requests are read in a task of their own, responses written here."""
        stream = _Stream()
        try:
            stream.certified = certified_node(context, self._node_of)
        except NoNode as error:
            log.warning("proxy refused peer=%s error=%s", context.peer(), error)
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        reader = self._tasks.spawn(self._read(stream, requests), "xds stream")
        try:
            while not stream.closed:
                stream.wake.clear()
                while stream.outbox:
                    await context.write(encode_response(stream.outbox.popleft()))
                await stream.wake.wait()
        finally:
            reader.cancel()
            self._detach(stream)

    async def _read(self, stream: _Stream, requests: AsyncIterator[bytes]) -> None:
        try:
            async for data in requests:
                self._receive(stream, decode_request(data))
        except MalformedRequest as error:
            log.warning("malformed request node=%s error=%s", stream.node, error)
        except grpc.RpcError as error:
            log.info("stream ended node=%s error=%s", stream.node, error)
        finally:
            stream.closed = True
            stream.wake.set()

    def _receive(self, stream: _Stream, request: Request) -> None:
        if not stream.node:
            if not request.node:
                raise MalformedRequest("the first request names no node")
            # What a certificate says counts; the request's own word only on our own socket.
            stream.node = stream.certified or request.node
            known = self._nodes.setdefault(stream.node, _Node())
            known.streams.append(stream)
            if known.world is not None:
                stream.state = StreamState(known.world)
            log.info("proxy connected node=%s", stream.node)
        known = self._nodes.setdefault(stream.node, _Node())
        if known.world is None:
            if len(stream.early) >= EARLY_REQUESTS_MAX:
                raise MalformedRequest("too many requests before the first answer")
            stream.early.append(request)
        else:
            self._take(stream, known, request)
        self._notify()

    def _take(self, stream: _Stream, known: _Node, request: Request) -> None:
        self._advance(stream, known, request)
        if request.type_url == CLUSTER and request.subscribe and known.world is not None:
            there = known.world[CLUSTER]
            missing = tuple(n for n in request.subscribe if n != WILDCARD and n not in there)
            if missing:
                self.on_missing(stream.node, missing)

    def _detach(self, stream: _Stream) -> None:
        known = self._nodes.get(stream.node)
        if known is not None and stream in known.streams:
            known.streams.remove(stream)
            if not known.streams and known.world is None and known.offered is None:
                del self._nodes[stream.node]  # nobody told us of such a node
            log.info("proxy disconnected node=%s", stream.node)
        self._notify()


class NoNode(PermissionError):
    """The certificate of a client is for no node."""


def certified_node(context: Any, node_of: Callable[[bytes], str]) -> str:
    """The node that a client's certificate is for; "" for clients without TLS, who are on our own
    socket or on loopback. Raises NoNode."""
    shown = context.auth_context()
    if b"ssl" not in shown.get("transport_security_type", ()):
        return ""
    pem = next(iter(shown.get("x509_pem_cert", ())), b"")
    node = node_of(pem)
    if not node:
        raise NoNode("the certificate is for no node")
    return node


class NodesOnly(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Lets nodes and our own socket call the further services; streams look for themselves."""

    def __init__(self, node_of: Callable[[bytes], str]) -> None:
        self._node_of = node_of

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        handler = await continuation(details)
        answer = handler.unary_unary if handler is not None else None
        if answer is None:
            return handler

        async def checked(request: Any, context: Any) -> Any:
            try:
                certified_node(context, self._node_of)
            except NoNode as error:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
            return await answer(request, context)

        return grpc.unary_unary_rpc_method_handler(
            checked,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


def _fields(nacked: Nacked) -> tuple[str, str, str, str]:
    return nacked.type_url, nacked.name, nacked.version, nacked.error


_OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    # Envoy pings to notice a dead control plane; gRPC would take that for abuse.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    # A proxy that is cut off must not count as connected for long: others wait for its word.
    ("grpc.keepalive_time_ms", 5000),
    ("grpc.keepalive_timeout_ms", 5000),
    ("grpc.http2.max_pings_without_data", 0),
)
