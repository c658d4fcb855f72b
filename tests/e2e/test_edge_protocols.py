"""What a gateway speaks besides HTTP/1.1 and HTTP/2: HTTP/3, gRPC, gRPC-web, WebSocket."""

import asyncio
import base64
import ssl
import sys
import urllib.parse
from typing import Any

import aiohttp
import grpc
import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from h2.connection import H2Connection
from h2.events import DataReceived as DataReceivedOverHttp2
from h2.events import RemoteSettingsChanged, ResponseReceived, StreamReset

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, ask_all, run_inside, wait_for
from tests.xds.certificates import make_certificate

pytestmark = pytest.mark.e2e

ISTIO, API = "istio.example", "api.example"
PORTS = {ISTIO: 8443, API: 9443}


def secret(name: str, host: str) -> str:
    certificate, key = make_certificate(host)
    values = {"tls.crt": certificate, "tls.key": key}
    lines = "".join(f"  {k}: {base64.b64encode(v.encode()).decode()}\n" for k, v in values.items())
    return f"""
---
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
type: kubernetes.io/tls
data:
{lines}"""


GATEWAYS = f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, annotations: {{weft.dev/http3: "true"}}}}
spec:
  selector: {{istio: ingressgateway}}
  servers:
    - port: {{number: {PORTS[ISTIO]}, name: https, protocol: HTTPS}}
      hosts: ["{ISTIO}"]
      tls: {{mode: SIMPLE, credentialName: istio}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, annotations: {{weft.dev/http3: "true"}}}}
spec:
  gatewayClassName: weft
  listeners:
    - name: https
      port: {PORTS[API]}
      protocol: HTTPS
      hostname: {API}
      tls: {{certificateRefs: [{{name: api}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: web}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [{API}]
  rules: [{{backendRefs: [{{name: web, port: 80}}]}}]
"""


def rpc_pod(name: str) -> str:
    pod = m.echo(name, port=9000).replace("echo:1", "grpcecho:1")
    pod = pod.replace("name: http,", "name: grpc,")
    return pod.replace("httpGet: {path: /who, port: http}", "grpc: {port: 9000}")


@pytest.fixture(scope="module")
def edge(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("grpcecho:1", APPS / "grpcecho", sys.executable, "app.py")
    rpc = rpc_pod("rpc") + "---" + rpc_pod("other-rpc")
    rpc_service = m.service("rpc").replace("name: http,", "name: grpc-web,")
    rpc_service = rpc_service.replace("targetPort: http", "targetPort: grpc")
    text = m.echo("web") + m.service("web") + "---" + rpc + rpc_service
    text += m.gateway("front", "*.example") + GATEWAYS
    text += secret("istio", ISTIO) + secret("api", API)
    text += m.routes("istio", m.to("web"), ISTIO, "edge")
    text += m.routes("rpc-front", m.to("rpc"), "rpc.example", "front")
    text += m.routes("web-front", m.to("web"), "web.example", "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=web", 1)
    weft.wait_ready("app=rpc", 1)
    weft.wait_ready("app=other-rpc", 1)
    wait_for(lambda: ask(weft, "/who", "web.example")[0] == 200, "web answers")
    return weft


# --- HTTP/3


class Client(QuicConnectionProtocol):
    """One request over HTTP/3."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.headers: dict[str, str] = {}
        self.body = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def quic_event_received(self, event: QuicEvent) -> None:
        for each in self.http.handle_event(event):
            if isinstance(each, HeadersReceived):
                self.headers |= {k.decode(): v.decode() for k, v in each.headers}
            elif isinstance(each, DataReceived):
                self.body += each.data
            if getattr(each, "stream_ended", False) and not self.done.done():
                self.done.set_result(None)

    async def get(self, host: str, path: str, body: bytes = b"") -> None:
        stream = self._quic.get_next_available_stream_id()
        method = b"POST" if body else b"GET"
        head = ((b":method", method), (b":scheme", b"https"), (b":authority", host.encode()))
        self.http.send_headers(stream, [*head, (b":path", path.encode())], end_stream=not body)
        if body:
            self.http.send_data(stream, body, end_stream=True)
        self.transmit()
        await asyncio.wait_for(self.done, 10)


def over_quic(net: Instance, host: str, path: str, body: bytes = b"") -> tuple[str, str]:
    place = urllib.parse.urlsplit(net.gateway(PORTS[host]))

    async def talk() -> tuple[str, str]:
        settings = QuicConfiguration(
            is_client=True, alpn_protocols=H3_ALPN, verify_mode=ssl.CERT_NONE, server_name=host
        )
        async with connect(
            place.hostname, place.port, configuration=settings, create_protocol=Client
        ) as client:
            await client.get(host, path, body)
            return client.headers[":status"], client.body.decode()

    return asyncio.run(asyncio.wait_for(talk(), 20))


def over_tls(net: Instance, host: str) -> tuple[int, str]:
    """Status and `alt-svc` over TCP."""
    place = urllib.parse.urlsplit(net.gateway(PORTS[host]))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    async def talk() -> tuple[int, str]:
        url = f"https://{place.netloc}/who"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Host": host}, ssl=context, server_hostname=host) as answer,
        ):
            return answer.status, answer.headers.get("alt-svc", "")

    return asyncio.run(talk())


@pytest.mark.parametrize("host", [ISTIO, API])
def test_http3(edge: Instance, host: str) -> None:
    """Clients are told, and served: Gateways of Istio and of the Gateway API."""
    port = urllib.parse.urlsplit(edge.gateway(PORTS[host])).port
    wait_for(lambda: over_tls(edge, host)[0] == 200, "HTTPS answers")
    assert over_tls(edge, host) == (200, f'h3=":{port}"; ma=86400')
    assert over_quic(edge, host, "/who") == ("200", "v1")
    status, text = over_quic(edge, host, "/digest", b"x" * 300_000)
    assert status == "200"
    assert len(text) == 64


NO_GATEWAY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-gateway}
spec:
  selector: {matchLabels: {app: web}}
  action: DENY
  rules: [{from: [{source: {namespaces: [istio-system]}}]}]
"""


def test_who_calls_over_http3_is_the_gateway(edge: Instance) -> None:
    """Policies on gateways hold for its callers as for those over TCP."""
    edge.weft("apply", "-f", "-", stdin=NO_GATEWAY)
    try:
        wait_for(lambda: over_tls(edge, API)[0] == 403, "refused over TCP")
        assert over_quic(edge, API, "/who")[0] == "403"
    finally:
        edge.weft("delete", "-f", "-", stdin=NO_GATEWAY)
    wait_for(lambda: over_quic(edge, API, "/who") == ("200", "v1"), "let through again")


def test_plain_servers_say_nothing_of_http3(edge: Instance) -> None:
    assert "alt-svc" not in ask_all(edge, "/who", "web.example")[2]


# --- gRPC-web


def frames(body: bytes) -> list[tuple[int, bytes]]:
    """(flags, content) of the frames of a gRPC-web body."""
    found = []
    while body:
        length = int.from_bytes(body[1:5], "big")
        found.append((body[0], body[5 : 5 + length]))
        body = body[5 + length :]
    return found


def grpc_web(net: Instance, method: str, message: bytes, text: bool = False) -> Any:
    async def talk() -> Any:
        kind = "application/grpc-web-text" if text else "application/grpc-web"
        body = b"\0" + len(message).to_bytes(4, "big") + message
        headers = {"Host": "rpc.example", "Content-Type": kind, "Accept": kind, "X-Grpc-Web": "1"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                net.gateway() + method,
                data=base64.b64encode(body) if text else body,
                headers=headers,
            ) as answer,
        ):
            got = await answer.read()
            return answer.status, answer.content_type, dict(answer.headers), got

    return asyncio.run(talk())


def test_grpc_web(edge: Instance) -> None:
    """A browser's call, over HTTP/1.1, of a service that speaks gRPC only; status in the body."""
    wait_for(lambda: grpc_web(edge, "/test.Echo/Who", b"x")[0] == 200, "rpc answers", 15)
    status, kind, _, body = grpc_web(edge, "/test.Echo/Who", b"hello")
    assert (status, kind) == (200, "application/grpc-web+proto")
    (flags, message), (last, trailers) = frames(body)
    assert (flags, last) == (0, 0x80)
    assert message.endswith(b":hello")
    assert b"grpc-status:0" in trailers.replace(b" ", b"")
    status, kind, _, body = grpc_web(edge, "/test.Echo/Who", b"hello", text=True)
    assert (status, kind) == (200, "application/grpc-web-text+proto")


def test_grpc_web_streams_and_errors(edge: Instance) -> None:
    body = grpc_web(edge, "/test.Echo/Count", b"5")[3]
    assert len([f for f, _ in frames(body) if f == 0]) == 5
    status, _, headers, _ = grpc_web(edge, "/test.Echo/Fail", b"")
    assert status == 200
    assert {k.lower(): v for k, v in headers.items()}.get("grpc-status") == "9"


# --- WebSocket


def test_websocket_through_the_gateway(edge: Instance) -> None:
    """Kept open while silent; messages of both ends arrive."""

    async def talk() -> list[str]:
        url = edge.gateway() + "/ws"
        headers = {"Host": "web.example"}
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, headers=headers) as socket,
        ):
            answers = []
            for number in range(5):
                await socket.send_str(f"{number}:" + "x" * number * 1000)
                answers.append(await socket.receive_str(timeout=5))
            await asyncio.sleep(0.5)
            await socket.send_str("late")
            answers.append(await socket.receive_str(timeout=5))
            return [answer.partition(":")[2][:4] for answer in answers]

    assert asyncio.run(talk()) == ["0:", "1:xx", "2:xx", "3:xx", "4:xx", "late"]


async def over_http2(place: urllib.parse.SplitResult) -> tuple[str, bytes]:
    """A WebSocket as a stream of HTTP/2 (RFC 8441): the status, and the bytes that come back for a
    text frame."""
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    http = H2Connection()
    http.initiate_connection()
    stream = http.get_next_available_stream_id()
    status, body, asked = "", b"", False
    try:
        while len(body) < 4:
            writer.write(http.data_to_send())
            events = http.receive_data(await asyncio.wait_for(reader.read(65536), 5))
            for event in events:
                if isinstance(event, RemoteSettingsChanged) and not asked:
                    asked = True
                    head = {
                        ":method": "CONNECT", ":protocol": "websocket", ":scheme": "http",
                        ":path": "/ws", ":authority": "web.example", "sec-websocket-version": "13",
                    }  # fmt: skip
                    http.send_headers(stream, list(head.items()))
                elif isinstance(event, ResponseReceived):
                    status = dict(event.headers)[b":status"].decode()
                    if status != "200":
                        return status, b""
                    # A masked frame with the text `hi`; the mask is zero.
                    http.send_data(stream, b"\x81\x82\0\0\0\0hi")
                elif isinstance(event, DataReceivedOverHttp2):
                    body += event.data
                elif isinstance(event, StreamReset):
                    return f"reset {event.error_code}", body
    finally:
        writer.close()
    return status, body


def test_websocket_over_http2(edge: Instance) -> None:
    place = urllib.parse.urlsplit(edge.gateway())
    status, frame = asyncio.run(over_http2(place))
    assert status == "200"
    assert frame[0] == 0x81
    assert frame.endswith(b":hi")


# --- routes of the Gateway API


ROUTED = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: routed}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: v1
kind: Service
metadata: {name: other-rpc}
spec:
  selector: {app: other-rpc}
  ports: [{name: grpc, port: 80, targetPort: grpc}]
---
apiVersion: v1
kind: Service
metadata: {name: typed}
spec:
  selector: {app: rpc}
  ports:
    - {name: h2c, port: 80, targetPort: grpc, appProtocol: kubernetes.io/h2c}
    - {name: http, port: 81, targetPort: grpc}
---
apiVersion: v1
kind: Service
metadata: {name: sockets}
spec:
  selector: {app: web}
  ports: [{name: talk, port: 80, targetPort: http, appProtocol: kubernetes.io/ws}]
"""

RULES = """
    - name: counted
      matches: [{method: {service: test.Echo, method: Count}}]
      backendRefs: [{name: other-rpc, port: 80}]
    - name: chosen
      matches: [{method: {service: test.Echo, method: Who}, headers: [{name: x-to, value: other}]}]
      backendRefs: [{name: other-rpc, port: 80}]
    - name: shared
      matches: [{method: {service: test.Echo, method: Who}}]
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier: {set: [{name: x-test, value: routed}]}
      backendRefs: [{name: rpc, port: 80, weight: 3}, {name: other-rpc, port: 80, weight: 1}]
"""


def api_route(name: str, rules: str, parent: str = "{name: routed}", kind: str = "") -> str:
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: {kind or "HTTPRoute"}
metadata: {{name: {name}}}
spec:
  parentRefs: [{parent}]
  {"hostnames: [" + name + ".test]" if "Service" not in parent else ""}
  rules:{rules}
"""


@pytest.fixture(scope="module")
def routed(edge: Instance) -> Instance:
    edge.weft("apply", "-f", "-", stdin=ROUTED)
    return edge


def place_of(net: Instance) -> str:
    address, port = net.bound(80, "default/routed")
    return f"{address}:{port}"


def parents_of(net: Instance, kind: str, name: str) -> list[dict[str, tuple[str, str]]]:
    path = f"/apis/gateway.networking.k8s.io/v1/namespaces/default/{kind}/{name}"
    parents = net.read(path).get("status", {}).get("parents", [])
    return [{c["type"]: (c["status"], c["reason"]) for c in p["conditions"]} for p in parents]


CALLS = """
import asyncio, grpc
from collections import Counter

async def main():
    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", {host!r})]
    async with grpc.aio.insecure_channel({target!r}, options) as channel:
        who, count = channel.unary_unary("/test.Echo/Who"), channel.unary_stream("/test.Echo/Count")
        pods, seen = Counter(), set()
        async def ask(metadata=()):
            call = who(b"x", metadata=metadata, timeout=5)
            pod = (await call).decode().partition("-v1-")[0]
            return pod, dict(await call.trailing_metadata()).get("x-seen")
        for _ in range(60):
            pod, header = await ask()
            pods[pod] += 1
            seen.add(header)
        chosen = [await ask((("x-to", "other"),)) for _ in range(5)]
        counted = [m.decode().partition("-v1-")[0] async for m in count(b"4", timeout=5)]
        try:
            await channel.unary_unary("/test.Echo/Fail")(b"", timeout=5)
        except grpc.aio.AioRpcError as error:
            none = error.code().name
        return [pods, sorted(seen), chosen, counted, none]
"""


def calls(net: Instance, target: str, host: str, inside: bool) -> Any:
    program = CALLS.format(host=host, target=target)
    if inside:
        return run_inside(net, "web.example", program)
    names: dict[str, Any] = {}
    exec(compile(program, "<calls>", "exec"), names)
    return asyncio.run(names["main"]())


@pytest.mark.parametrize("inside", [False, True], ids=["gateway", "service"])
def test_grpc_routes(routed: Instance, inside: bool) -> None:
    """Methods, headers, changes of headers, shares and what no rule takes: of the callers of a
    Gateway, and of a pod that calls the Service which is the route's parent."""
    name = "inside" if inside else "outside"
    parent = "{group: '', kind: Service, name: rpc}" if inside else "{name: routed}"
    routed.weft("apply", "-f", "-", stdin=api_route(name, RULES, parent, "GRPCRoute"))
    target, host = ("rpc:80", "rpc") if inside else (place_of(routed), f"{name}.test")

    def routes() -> Any:
        try:
            found = calls(routed, target, host, inside)
        except (grpc.RpcError, AssertionError):
            return None
        return found if found[1] == ["routed"] else None

    pods, _, chosen, counted, none = wait_for(routes, "calls that are routed", 20)
    assert set(pods) == {"rpc", "other-rpc"}
    assert 33 <= pods["rpc"] <= 56, pods
    assert [pod for pod, _ in chosen] == ["other-rpc"] * 5
    assert {seen for _, seen in chosen} == {""}, "the other rule changes no header"
    assert counted == ["other-rpc"] * 4
    assert none == "UNIMPLEMENTED"
    (found,) = parents_of(routed, "grpcroutes", name)
    assert found["Accepted"] == ("True", "Accepted")
    assert found["ResolvedRefs"] == ("True", "ResolvedRefs")
    if inside:
        routed.weft("delete", "grpcroute", name)


def test_a_grpc_route_without_its_back_end(routed: Instance) -> None:
    """gRPC callers are told UNAVAILABLE, as the Gateway API asks for."""
    rules = " [{backendRefs: [{name: nobody, port: 80}]}]"
    routed.weft("apply", "-f", "-", stdin=api_route("lost", rules, kind="GRPCRoute"))
    options = [("grpc.enable_http_proxy", 0), ("grpc.default_authority", "lost.test")]

    def code() -> str:
        with grpc.insecure_channel(place_of(routed), options) as channel:
            try:
                channel.unary_unary("/test.Echo/Who")(b"x", timeout=5)
            except grpc.RpcError as error:
                return str(error.code().name)
        return "OK"

    wait_for(lambda: code() != "UNIMPLEMENTED", "the route", 20)
    assert code() == "UNAVAILABLE"
    (found,) = parents_of(routed, "grpcroutes", "lost")
    assert found["Accepted"] == ("True", "Accepted")
    assert found["ResolvedRefs"] == ("False", "BackendNotFound")


def test_back_ends_that_say_what_they_speak(routed: Instance) -> None:
    """By `appProtocol`: a call over HTTP/1.1 reaches a program that knows HTTP/2 only, and does not
    where the port says HTTP; a WebSocket reaches a port that says `kubernetes.io/ws`."""
    text = api_route("h2c", " [{backendRefs: [{name: typed, port: 80}]}]")
    text += api_route("plain", " [{backendRefs: [{name: typed, port: 81}]}]")
    text += api_route("ws", " [{backendRefs: [{name: sockets, port: 80}]}]")
    routed.weft("apply", "-f", "-", stdin=text)
    base = f"http://{place_of(routed)}"

    async def call(host: str) -> tuple[int, bytes]:
        headers = {"Host": host, "Content-Type": "application/grpc", "TE": "trailers"}
        body = b"\0\0\0\0\5hello"
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{base}/test.Echo/Who", data=body, headers=headers) as answer,
        ):
            return answer.status, await answer.read()

    async def talk() -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"{base}/ws", headers={"Host": "ws.test"}) as socket,
        ):
            await socket.send_str("hello")
            return await socket.receive_str(timeout=5)

    wait_for(lambda: ask(routed, "/who", "ws.test", gateway="default/routed")[0] == 200, "routes")
    status, body = asyncio.run(call("h2c.test"))
    assert status == 200
    assert body.endswith(b":hello")
    assert b":hello" not in asyncio.run(call("plain.test"))[1]
    assert asyncio.run(talk()).endswith(":hello")
