"""Host isolation and gateways with a real Envoy, as any user."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import grpc
import pytest
from aiohttp import ClientSession, web

from tests.xds.certificates import make_certificate
from tests.xds.support import APPS, Proxy, free_port, run_async, service, table, to, virtual_host
from weft.mesh.model import (
    Destination,
    Endpoint,
    Fault,
    GatewayListener,
    GatewayServer,
    GatewayTls,
    HashKey,
    Header,
    HeaderOperations,
    HttpMatch,
    LoadBalancer,
    NodeSettings,
    OutboundPort,
    OutlierDetection,
    Redirect,
    Rewrite,
    ServiceListener,
    StringMatch,
    TcpRoute,
    VirtualHost,
    WeightedDestination,
    Workload,
)
from weft.telemetry.exposition import unfolded
from weft.xds.resource import LISTENER

pytestmark = [pytest.mark.slow, pytest.mark.tools("curl")]


class HostNode(Proxy):
    """A node in host isolation with back ends on free ports."""

    def __init__(self) -> None:
        self.http_port, self.https_port = free_port(), free_port()
        ports = ((80, self.http_port), (443, self.https_port))
        super().__init__(NodeSettings("host-node", isolation="host", gateway_ports=ports))
        self.apps: list[asyncio.subprocess.Process] = []

    async def serve(self, name: str, *options: str) -> Endpoint:
        """Start a back end; returns its endpoint."""
        port = free_port()
        command = (sys.executable, "-S", APPS, "serve", "127.0.0.1", str(port), name, *options)
        app = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert app.stdout is not None
        assert await app.stdout.readline() == b"ready\n"
        self.apps.append(app)
        return Endpoint("127.0.0.1", port, pod_uid=name, workload=name, namespace="default")

    async def curl(self, *options: str) -> str:
        return await run_async("curl", "-s", "-m", "5", *options)

    async def call(self, *options: str) -> dict:
        answer = await self.curl(*options)
        try:
            return json.loads(answer)
        except ValueError:
            raise AssertionError(f"{answer!r}; Envoy: {self.log()}") from None

    async def close(self) -> None:
        await super().close()
        for app in self.apps:
            app.kill()
            await app.wait()


@pytest.fixture
async def node() -> AsyncIterator[HostNode]:
    node = HostNode()
    try:
        await node.start_server()
        node.start_envoy()
        yield node
    finally:
        await node.close()


async def test_service_addresses_and_the_pods_own_proxy(node: HostNode) -> None:
    web_port, mail_port, proxy_port = free_port(), free_port(), free_port()
    web = service("web", (await node.serve("web"),))
    other = service("other", (await node.serve("other"),))
    mail = service("mail", (await node.serve("mail", "--greet"),), protocol="tcp")
    mail_route = TcpRoute(("127.0.0.1",), mail_port, (WeightedDestination(mail.name),))
    proxy = table(
        virtual_host("web", to(web)),
        virtual_host("other", to(other)),
        name="proxy",
    )
    caller = Workload(
        *("uid-1", "caller-1", "default", "host-node", "127.0.0.1", "caller", "spiffe://x/caller"),
        proxy_address=f"127.0.0.1:{proxy_port}",
        outbound=(OutboundPort(0, "proxy"),),
    )
    await node.apply(
        workloads=(caller,),
        destinations=(web, other, mail),
        route_tables=(proxy, table(virtual_host("web", to(web)), virtual_host("other", to(other)))),
        service_listeners=(
            ServiceListener("127.0.0.1", web_port, "80", host="web.default"),
            ServiceListener("127.0.0.1", mail_port, tcp=mail_route),
        ),
    )
    assert node.server.listeners_ready("host-node", "uid-1")

    address = f"http://127.0.0.1:{web_port}/"
    assert (await node.call(address))["name"] == "web", "Host is the address"
    assert (await node.call("-H", "Host: other", address))["name"] == "other"

    via = ("-x", f"http://127.0.0.1:{proxy_port}")
    seen = await node.call(*via, "http://other:80/path?q=1")
    assert (seen["name"], seen["line"]) == ("other", "GET /path?q=1 HTTP/1.1")
    elsewhere = await node.serve("elsewhere")
    seen = await node.call(*via, f"http://localhost:{elsewhere.port}/")
    assert seen["name"] == "elsewhere", "what the mesh does not know is resolved and passed on"

    reader, writer = await asyncio.open_connection("127.0.0.1", mail_port)
    assert await asyncio.wait_for(reader.readline(), 2) == b"220 mail\r\n"
    writer.close()

    metrics = unfolded(await node.ask_admin("/stats/prometheus?filter=istio"))
    assert 'source_workload="caller"' in metrics
    assert "istio_tcp_connections_opened_total" in metrics


async def test_callers_over_the_limit_are_sent_away_at_once() -> None:
    """So many connections, of all callers together, and no more; who leaves makes room."""
    node = HostNode()
    node.connections_max = 20
    try:
        await node.start_server()
        node.start_envoy()
        web = service("web", (await node.serve("web"),))
        server = GatewayServer("default/gw/http", ("*",), "http.80")
        await node.apply(
            destinations=(web,),
            route_tables=(table(virtual_host("*", to(web)), name="http.80"),),
            gateways=(GatewayListener(80, "http", (server,)),),
        )

        async def open_to(count: int) -> list[asyncio.StreamWriter]:
            """Those of so many connections that are answered."""
            made = []
            for _ in range(count):
                reader, writer = await asyncio.open_connection("127.0.0.1", node.http_port)
                writer.write(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
                try:
                    line = await asyncio.wait_for(reader.readline(), 10)
                except ConnectionError:
                    line = b""
                if line:
                    made.append(writer)
                else:
                    writer.close()
            return made

        held = await open_to(30)
        assert len(held) == 20
        assert await open_to(3) == []
        for writer in held[:5]:
            writer.close()
        more: list[asyncio.StreamWriter] = []
        for _ in range(200):  # Envoy hears of it a moment later
            if more := await open_to(1):
                break
            await asyncio.sleep(0.05)
        assert more
        for writer in (*held[5:], *more):
            writer.close()
    finally:
        await node.close()


async def test_gateway_http_and_https(node: HostNode) -> None:
    web = service("web", (await node.serve("web"),))
    certificate, key = make_certificate("shop.example")
    other_certificate, other_key = make_certificate("other.example")

    def server(host: str, pem: str, private: str) -> GatewayServer:
        secret = GatewayTls(pem, private, secret=f"kubernetes://default/{host}")
        return GatewayServer(f"default/gw/{host}", (host,), "https.443.gw", tls=secret)

    gateways = (
        GatewayListener(
            80,
            "http",
            (
                GatewayServer("default/gw/0", ("shop.example",), "http.80.gw", https_redirect=True),
                GatewayServer("default/gw/1", ("*",), "http.80.gw"),
            ),
        ),
        GatewayListener(
            443,
            "https",
            (
                server("shop.example", certificate, key),
                server("other.example", other_certificate, other_key),
            ),
        ),
    )
    hosts = virtual_host("web", to(web))
    secure = VirtualHost("shop", ("shop.example", "other.example"), (to(web),))
    await node.apply(
        destinations=(web,),
        gateways=gateways,
        route_tables=(
            table(hosts, name="http.80.gw", passthrough=False),
            table(secure, name="https.443.gw", passthrough=False),
        ),
    )
    plain = f"http://127.0.0.1:{node.http_port}/"
    seen = await node.call("-H", "Host: web", plain)
    assert seen["name"] == "web"
    assert "x-forwarded-for" in seen["headers"], "an edge names the caller"
    moved = await node.curl(
        "-o", "/dev/null", "-w", "%{http_code} %{redirect_url}", "-H", "Host: shop.example", plain
    )
    assert moved == "301 https://shop.example/"
    unknown = await node.curl(
        "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: no.where", plain
    )
    assert unknown == "404"

    for host, authority in (("shop.example", certificate), ("other.example", other_certificate)):
        ca = node.directory / "ca.pem"
        ca.write_text(authority)
        resolve = f"{host}:{node.https_port}:127.0.0.1"
        url = f"https://{host}:{node.https_port}/"
        seen = await node.call("--cacert", str(ca), "--resolve", resolve, url)
        assert seen["name"] == "web"
        version = await node.curl(
            *("--cacert", str(ca), "--resolve", resolve, url),
            *("-o", "/dev/null", "-w", "%{http_version}"),
        )
        assert version == "2"

    new_certificate, new_key = make_certificate("shop.example")
    before = node.server.acked_names("host-node", LISTENER)
    renewed = server("shop.example", new_certificate, new_key)
    changed = GatewayListener(443, "https", (renewed, gateways[1].servers[1]))
    await node.apply(gateways=(gateways[0], changed))
    (node.directory / "ca.pem").write_text(new_certificate)
    resolve = f"shop.example:{node.https_port}:127.0.0.1"
    url = f"https://shop.example:{node.https_port}/"
    seen = await node.call("--cacert", str(node.directory / "ca.pem"), "--resolve", resolve, url)
    assert seen["name"] == "web"
    assert node.server.acked_names("host-node", LISTENER) == before, "only the secret changed"


async def gateway(node: HostNode, *routes, destinations: tuple[Destination, ...]) -> str:
    """Serve routes on the gateway's HTTP port; returns its URL."""
    listener = GatewayListener(80, "http", (GatewayServer("default/gw/0", ("*",), "t"),))
    await node.apply(
        destinations=destinations,
        gateways=(listener,),
        route_tables=(table(virtual_host("web", *routes), name="t", passthrough=False),),
    )
    return f"http://127.0.0.1:{node.http_port}"


async def test_what_routes_do(node: HostNode) -> None:
    web = service("web", (await node.serve("web"),))
    slow = service("slow", (await node.serve("slow", "--delay", "2"),))
    path = lambda text: (HttpMatch(path=StringMatch("prefix", text)),)  # noqa: E731
    operations = HeaderOperations((Header("x-set", "a%b"),), (Header("x-add", "1"),), ("x-gone",))
    url = await gateway(
        node,
        to(web, matches=path("/api/"), rewrite=Rewrite(prefix="/", authority="inner")),
        to(web, matches=path("/re/"), rewrite=Rewrite(regex="^/re/(.*)", substitution=r"/\1/x")),
        to(web, matches=path("/headers"), request_headers=operations),
        to(matches=path("/moved"), redirect=Redirect(host="new", code=308)),
        to(web, matches=path("/abort"), fault=Fault(abort_status=418, abort_percent=100)),
        to(web, matches=path("/late"), fault=Fault(delay=0.4, delay_percent=100)),
        to(slow, matches=path("/timeout"), timeout=0.2, retry=None),
        to(web),
        destinations=(web, slow),
    )
    host = ("-H", "Host: web")
    seen = await node.call(*host, f"{url}/api/v1")
    assert (seen["line"], seen["headers"]["host"]) == ("GET /v1 HTTP/1.1", "inner")
    assert (await node.call(*host, f"{url}/re/a"))["line"] == "GET /a/x HTTP/1.1"
    headers = (await node.call(*host, "-H", "x-gone: 1", f"{url}/headers"))["headers"]
    assert (headers["x-set"], headers["x-add"]) == ("a%b", "1")
    assert "x-gone" not in headers
    status = ("-o", "/dev/null", "-w", "%{http_code} %{redirect_url} %{time_total}")
    assert (await node.curl(*host, *status, f"{url}/moved")).startswith("308 http://new/moved")
    assert (await node.curl(*host, *status, f"{url}/abort")).startswith("418 ")
    assert (await node.curl(*host, *status, f"{url}/timeout")).startswith("504 ")
    late = float((await node.curl(*host, *status, f"{url}/late")).split()[-1])
    normal = float((await node.curl(*host, *status, f"{url}/")).split()[-1])
    assert late > 0.35 > normal


async def test_grpc_and_websocket_pass(node: HostNode) -> None:
    async def echo(data: bytes, _: grpc.aio.ServicerContext) -> bytes:
        return data[::-1]

    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.T", {"M": handler}),))
    grpc_port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def talk(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    app = web.Application()
    app.router.add_get("/socket", talk)
    runner = web.AppRunner(app)
    await runner.setup()
    socket_port = free_port()
    await web.TCPSite(runner, "127.0.0.1", socket_port).start()

    api = service("api", (Endpoint("127.0.0.1", grpc_port),), protocol="grpc")
    chat = service("chat", (Endpoint("127.0.0.1", socket_port),))
    methods = (HttpMatch(path=StringMatch("prefix", "/t.T/")),)
    await gateway(node, to(api, matches=methods), to(chat), destinations=(api, chat))
    options = (("grpc.default_authority", "web"),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{node.http_port}", options) as channel:
        assert await channel.unary_unary("/t.T/M")(b"abc", timeout=5) == b"cba"
    async with (
        ClientSession() as session,
        session.ws_connect(
            f"http://127.0.0.1:{node.http_port}/socket", headers={"Host": "web"}
        ) as socket,
    ):
        await socket.send_str("hello")
        assert (await socket.receive(timeout=5)).data == "HELLO"
    await runner.cleanup()
    await server.stop(None)


async def test_a_failing_endpoint_is_ejected(node: HostNode) -> None:
    good, bad = await node.serve("good"), await node.serve("bad", "--status", "500")
    outlier = OutlierDetection(consecutive_5xx=3, interval=0.2, ejection_percent_max=10)
    balancer = LoadBalancer("round_robin")
    web = service("web", (good, bad), outlier=outlier, load_balancer=balancer)
    url = await gateway(node, to(web, retry=None), destinations=(web,))
    names = [(await node.call("-H", "Host: web", url))["name"] for _ in range(12)]
    assert names.count("bad") == 3
    assert set(names[-5:]) == {"good"}


async def test_consistent_hashing_keeps_a_user_on_a_pod(node: HostNode) -> None:
    endpoints = tuple([await node.serve(f"web-{n}") for n in range(3)])
    balancer = LoadBalancer("ring_hash", HashKey("header", "x-user"))
    web = service("web", endpoints, load_balancer=balancer)
    url = await gateway(node, to(web), destinations=(web,))
    answers: dict[str, set[str]] = {}
    for user in "abcdefgh" * 2:
        seen = await node.call("-H", "Host: web", "-H", f"x-user: {user}", url)
        answers.setdefault(user, set()).add(seen["name"])
    assert all(len(pods) == 1 for pods in answers.values()), answers
    assert len(set.union(*answers.values())) > 1
