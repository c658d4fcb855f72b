"""One Envoy, listeners inside pods' network namespaces, driven by the server over a Unix socket."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.xds.support import NetnsNode, run, service, table, to, virtual_host
from weft.mesh.model import (
    Endpoint,
    HttpMatch,
    InboundPort,
    NamedMatch,
    OutboundPort,
    RetryPolicy,
    StringMatch,
    TcpRoute,
    WeightedDestination,
)
from weft.telemetry.exposition import unfolded

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.tools("curl", "ip", "nft", "nsenter"),
]

WEB = "http://10.96.0.10/"
HOST = ("-H", "Host: web")


@pytest.fixture
async def node() -> AsyncIterator[NetnsNode]:
    """A caller in pod 1, pods 2 and 3 that can serve, a service `web`."""
    node = NetnsNode()
    try:
        for number in (1, 2, 3):
            node.pod(number)
        await node.start_server()
        node.start_envoy()
        yield node
    finally:
        await node.close()


def endpoint(
    number: int, health: str = "HEALTHY", name: str = "web", version: str = ""
) -> Endpoint:
    return Endpoint(
        address=f"10.244.9.{10 + number}",
        port=8080,
        health=health,  # type: ignore[arg-type]
        pod_uid=f"uid-{number}",
        workload=name,
        namespace="default",
        version=version,
    )


def pods(node: NetnsNode, *numbers: int) -> tuple:
    return tuple(
        node.workload(
            number,
            "caller" if number == 1 else "web",
            outbound=(OutboundPort(80, "80"),),
            inbound=(InboundPort(8080, "http"),),
        )
        for number in numbers
    )


async def simple(node: NetnsNode, *endpoints: Endpoint) -> None:
    web = service("web", endpoints or (endpoint(2), endpoint(3)))
    await node.apply(
        workloads=pods(node, 1, 2, 3),
        destinations=(web,),
        route_tables=(table(virtual_host("web", to(web), addresses=("10.96.0.10",))),),
    )


async def test_one_hop_carries_the_call_and_hides_itself(node: NetnsNode) -> None:
    node.serve(2, "web-2")
    await simple(node, endpoint(2))
    assert node.server.listeners_ready(node.tag, "uid-1")

    spoofed = ("-H", "x-forwarded-for: 1.2.3.4", "-H", "x-forwarded-client-cert: By=me")
    seen = await node.call(1, *HOST, *spoofed, f"{WEB}a/../b?q=1")

    assert seen["name"] == "web-2"
    assert seen["line"] == "GET /b?q=1 HTTP/1.1"
    assert seen["peer"] == "10.244.9.1", "calls come from the address that pods trust"
    assert "x-forwarded-client-cert" not in seen["headers"]
    assert not [name for name in seen["headers"] if name.startswith("x-envoy")]
    answer = await node.curl(1, "-i", *HOST, WEB)
    assert "server: app" in answer
    assert "x-envoy" not in answer

    by_address = await node.call(1, WEB)
    assert by_address["name"] == "web-2", "Host is the service's address"
    foreign = await node.call(1, "-H", "Host: other.example", WEB)
    assert foreign["name"] == "web-2", "a service address that only the mesh can reach"

    past_the_service = await node.call(1, "http://10.244.9.12:8080/")
    assert past_the_service["name"] == "web-2"
    metrics = unfolded(await node.ask_admin("/stats/prometheus?filter=istio"))
    counted = [line for line in metrics.splitlines() if line.startswith("istio_requests_total")]
    assert any(
        'reporter="source",source_workload="caller"' in line
        and 'destination_workload="web"' in line
        and 'destination_service_name="web"' in line
        and 'response_code="200"' in line
        for line in counted
    ), counted


async def test_weights_and_header_routes(node: NetnsNode) -> None:
    node.serve(2, "v1")
    node.serve(3, "v2")
    v1 = service("web", (endpoint(2, version="v1"),), subset="v1")
    v2 = service("web", (endpoint(3, version="v2"),), subset="v2")
    canary = HttpMatch(headers=(NamedMatch("x-canary", StringMatch("exact", "yes")),))
    await node.apply(
        workloads=pods(node, 1),
        destinations=(v1, v2),
        route_tables=(
            table(virtual_host("web", to(v2, matches=(canary,)), to((v1, 80), (v2, 20)))),
        ),
    )
    assert (await node.call(1, *HOST, "-H", "x-canary: yes", WEB))["name"] == "v2"
    async with node.load(1, WEB, "--host", "web", "--pause", "0", "--seconds", "2") as result:
        pass
    assert not result["failures"]
    share = result["counts"]["v2"] / sum(result["counts"].values())
    total = sum(result["counts"].values())
    assert total > 300
    deviation = 4 * (0.2 * 0.8 / total) ** 0.5
    assert abs(share - 0.2) < deviation, (share, total)


async def test_calls_survive_a_killed_back_end(node: NetnsNode) -> None:
    node.serve(2, "web-2")
    node.serve(3, "web-3")
    web = service("web", (endpoint(2), endpoint(3)))
    retry = RetryPolicy(3, ("connect-failure",), safe_method_conditions=("reset",))
    await node.apply(
        workloads=pods(node, 1),
        destinations=(web,),
        route_tables=(table(virtual_host("web", to(web, retry=retry))),),
    )
    async with node.load(1, WEB, "--host", "web", "--seconds", "3") as result:
        while (await node.call(1, WEB, "-H", "Host: web"))["name"] != "web-2":
            pass
        await asyncio.sleep(1)
        node.kill("web-2")
    assert result["failures"] == []
    assert result["counts"]["web-3"] > result["counts"]["web-2"] > 0


async def test_draining_loses_no_request(node: NetnsNode) -> None:
    """DRAINING, acknowledged, no request in flight twice, then killed: without any retry."""
    node.serve(2, "web-2", 8080, "--delay", "0.05")
    node.serve(3, "web-3", 8080, "--delay", "0.05")
    web = service("web", (endpoint(2), endpoint(3)))
    hosts = table(virtual_host("web", to(web, retry=None)))
    await node.apply(workloads=pods(node, 1), destinations=(web,), route_tables=(hosts,))
    assert not node.server.endpoint_draining("uid-2")
    async with node.load(1, WEB, "--host", "web", "--seconds", "3", "--callers", "8") as result:
        await asyncio.sleep(0.5)
        node.offer(destinations=(service("web", (endpoint(2, "DRAINING"), endpoint(3))),))
        await node.until(lambda server: server.endpoint_draining("uid-2"))
        idle = 0
        while idle < 2:
            idle = idle + 1 if await node.requests_active("10.244.9.12:8080") == 0 else 0
            await asyncio.sleep(0.02)
        node.kill("web-2")
        await node.apply(destinations=(service("web", (endpoint(3),)),))
    assert result["failures"] == []
    assert result["counts"]["web-2"] > 0
    assert result["counts"]["web-3"] > result["counts"]["web-2"]


async def test_a_refused_resource_stops_nothing_else(node: NetnsNode) -> None:
    node.serve(2, "web-2")
    await simple(node, endpoint(2))
    web = service("web", (endpoint(2),))
    broken = to(web, matches=(HttpMatch(path=StringMatch("regex", "*(")),))
    other = service("other", (endpoint(2),))
    await node.apply(
        destinations=(web, other),
        route_tables=(
            table(virtual_host("web", broken)),
            table(virtual_host("other", to(other)), name="81"),
        ),
        workloads=tuple(
            node.workload(n, "caller", outbound=(OutboundPort(80, "80"), OutboundPort(81, "81")))
            for n in (1, 2, 3)
        ),
    )
    reports = node.server.nacks(node.tag)
    assert [report.name for report in reports] == ["80"]
    assert "regex" in reports[0].error or "no argument" in reports[0].error
    assert (await node.call(1, *HOST, WEB))["name"] == "web-2", "the last good routes serve"
    new = await node.call(1, "-H", "Host: other", "http://10.96.0.11:81/")
    assert new["name"] == "web-2", "what is good takes effect"
    assert node.server.listeners_ready(node.tag, "uid-1")

    await node.apply(route_tables=(table(virtual_host("web", to(web))),), workloads=pods(node, 1))
    assert node.server.nacks(node.tag) == ()


async def test_a_restarted_control_plane_loses_no_request(node: NetnsNode) -> None:
    node.serve(2, "web-2")
    await simple(node, endpoint(2))
    before = await node.ask_admin(
        "/stats?filter=listener_manager.listener_added|cds.update_success"
    )
    async with node.load(1, WEB, "--host", "web", "--seconds", "3") as result:
        await asyncio.sleep(0.5)
        await node.server.close()
        await asyncio.sleep(0.5)
        await node.start_server()
        await node.until(lambda server: server.connected(node.tag))
        await asyncio.sleep(0.2)
        assert not node.server.in_sync(node.tag), "it has no answer yet, so it gives none"
        await node.apply()
    assert result["failures"] == []
    assert result["counts"]["web-2"] > 100
    after = await node.ask_admin("/stats?filter=listener_manager.listener_added|cds.update_success")
    assert before == after, "an unchanged control plane sends nothing again"
    assert node.server.listeners_ready(node.tag, "uid-1")


async def test_a_killed_envoy_comes_back_with_everything(node: NetnsNode) -> None:
    node.serve(2, "web-2")
    await simple(node, endpoint(2))
    node.stop_envoy()
    await node.until(lambda server: not server.connected(node.tag))
    assert node.server.endpoint_draining("uid-9"), "an absent proxy blocks no drain"
    node.start_envoy()
    await node.until(lambda server: server.in_sync(node.tag))
    assert (await node.call(1, *HOST, WEB))["name"] == "web-2"


async def test_a_pod_comes_and_goes(node: NetnsNode) -> None:
    node.serve(2, "web-2")
    await simple(node, endpoint(2))
    await node.apply(workloads=pods(node, 1, 2))
    assert node.server.listeners_removed(node.tag, "uid-3")
    assert not node.server.listeners_removed(node.tag, "uid-2")
    for _ in range(50):  # Envoy acknowledges, then its workers close the sockets
        ports = run(*node.inside(3), "ss", "-Hltn")
        if not ports:
            break
        await asyncio.sleep(0.02)
    assert ports == ""

    node.pod(4)
    node.offer(workloads=pods(node, 1, 2, 4))
    await node.until(lambda server: server.listeners_ready(node.tag, "uid-4"))
    assert (await node.call(4, *HOST, WEB))["name"] == "web-2"


async def test_a_network_namespace_that_comes_late(node: NetnsNode) -> None:
    """Its listeners are refused first, and accepted once it is there."""
    node.serve(2, "web-2")
    await simple(node, endpoint(2))
    node.offer(workloads=pods(node, 1, 2, 3, 5))
    await node.until(lambda server: len(server.nacks(node.tag)) == 2)
    assert not node.server.listeners_ready(node.tag, "uid-5")
    node.pod(5)
    await node.until(lambda server: server.listeners_ready(node.tag, "uid-5"))
    assert node.server.nacks(node.tag) == ()
    assert (await node.call(5, *HOST, WEB))["name"] == "web-2"


async def test_bytes_pass_as_bytes(node: NetnsNode) -> None:
    """A protocol in which the server speaks first is not held up by looking for HTTP."""
    node.serve(2, "mail", 2525, "--greet")
    mail = service("mail", (Endpoint("10.244.9.12", 2525, pod_uid="uid-2"),), 25, protocol="tcp")
    route = TcpRoute(("10.96.0.25",), 25, (WeightedDestination(mail.name),))
    caller = node.workload(1, "caller", outbound=(OutboundPort(80, "80"),), tcp=(route,))
    await node.apply(workloads=(caller,), destinations=(mail,), route_tables=(table(),))
    script = (
        "import socket, time; t = time.monotonic();"
        "s = socket.create_connection(('10.96.0.25', 25));"
        "print(s.recv(99).decode().strip(), time.monotonic() - t)"
    )
    out = run(*node.inside(1), "python3", "-c", script).split()
    assert out[:2] == ["220", "mail"]
    assert float(out[2]) < 0.5


async def test_undeclared_ports_are_looked_at(node: NetnsNode) -> None:
    """On a port of protocol `auto` HTTP is routed as HTTP, anything else as bytes."""
    node.serve(2, "web-2")
    node.serve(3, "echo", 9000, "--greet")
    web = service("web", (endpoint(2),), 9000, protocol="auto")
    echo = service("echo", (Endpoint("10.244.9.13", 9000),), 9000, subset="tcp", protocol="tcp")
    route = TcpRoute(
        ("10.96.0.10",),
        9000,
        (WeightedDestination(echo.name),),
        server_first=False,
        http_table="9000",
    )
    ports = (OutboundPort(9000, "9000", declared=False),)
    await node.apply(
        workloads=(node.workload(1, "caller", outbound=ports, tcp=(route,)),),
        destinations=(web, echo),
        route_tables=(table(virtual_host("web", to(web)), name="9000"),),
    )
    assert (await node.call(1, *HOST, "http://10.96.0.10:9000/"))["name"] == "web-2"
    script = (
        "import socket; s = socket.create_connection(('10.96.0.10', 9000));"
        "s.sendall(b'\\x00\\x01\\n'); f = s.makefile('rb'); print(f.readline(), f.readline())"
    )
    assert "220 echo" in run(*node.inside(1), "python3", "-c", script)


async def test_routes_by_the_callers_namespace(node: NetnsNode) -> None:
    node.serve(2, "blue")
    node.serve(3, "green")
    blue, green = service("blue", (endpoint(2),)), service("green", (endpoint(3),))
    theirs = (HttpMatch(source_namespaces=("shop", "bank")),)
    await node.apply(
        workloads=tuple(
            node.workload(n, "c", namespace=ns, outbound=(OutboundPort(80, "80"),))
            for n, ns in ((1, "default"), (2, "shop"))
        ),
        destinations=(blue, green),
        route_tables=(table(virtual_host("web", to(green, matches=theirs), to(blue))),),
    )
    assert (await node.call(1, *HOST, WEB))["name"] == "blue"
    assert (await node.call(2, *HOST, WEB))["name"] == "green"


async def test_a_connection_to_the_proxys_own_port_goes_nowhere(node: NetnsNode) -> None:
    node.serve(2, "web-2")
    await simple(node, endpoint(2))
    for url in ("http://10.244.9.12:15006/", "http://127.0.0.1:15001/"):
        out = await node.curl(1, "-o", "/dev/null", "-w", "%{http_code}", url)
        assert out == "000", url
    assert json.loads(await node.ask_admin("/server_info"))["state"] == "LIVE"
