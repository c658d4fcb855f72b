"""What a gateway speaks besides HTTP/1.1 and HTTP/2: HTTP/3, gRPC-web, WebSocket."""

import asyncio
import base64
import ssl
import sys
import urllib.parse
from typing import Any

import aiohttp
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
from tests.e2e.instance import Instance, ask, ask_all, wait_for
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


@pytest.fixture(scope="module")
def edge(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("grpcecho:1", APPS / "grpcecho", sys.executable, "app.py")
    rpc = (
        m.echo("rpc", port=9000)
        .replace("echo:1", "grpcecho:1")
        .replace("name: http,", "name: grpc,")
    )
    rpc = rpc.replace("httpGet: {path: /who, port: http}", "grpc: {port: 9000}")
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
