"""Calls from node to node: two Envoys, mutual TLS in the names of the callers."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from tests.xds.support import NetnsNode, run_async, service, table, to, virtual_host
from tests.xds.two_nodes import DOMAIN, TwoNodes, spiffe
from weft.daemon.mesh_identity import MeshIdentity
from weft.lib.aio import Tasks, now
from weft.mesh.model import (
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Destination,
    Endpoint,
    InboundPort,
    OutboundPort,
    StringMatch,
    TcpRoute,
    WeightedDestination,
    Workload,
    entrance_name,
)
from weft.pki.ca import Authority
from weft.pki.identity import parse
from weft.pki.mesh_ca import OwnRoots
from weft.pki.rotation import Lives

pytestmark = [
    pytest.mark.slow,
    pytest.mark.root,
    pytest.mark.tools("curl", "ip", "nft", "nsenter"),
]

WEB = "http://10.96.0.10/"
HOST = ("-H", "Host: web")
GATE = entrance_name("b-uid-1", 8080)


@pytest.fixture
async def nodes() -> AsyncIterator[TwoNodes]:
    """Callers `app1` and `app3` in pods 1 and 3 of node A, `web` in pod 1 of node B."""
    both = TwoNodes()
    try:
        both.a.pod(1)
        both.a.pod(3)
        both.b.pod(1)
        await both.start()
        yield both
    finally:
        await both.close()


def pod(node: NetnsNode, number: int, name: str, **fields: Any) -> Workload:
    fields.setdefault("outbound", (OutboundPort(80, "80"),))
    found = node.workload(number, name, inbound=(InboundPort(8080, "http"),), **fields)
    letter = "a" if node.network.endswith(".9") else "b"
    return Workload(
        **{f: getattr(found, f) for f in found.__struct_fields__} | {"uid": f"{letter}-{found.uid}"}
    )


def on(node: NetnsNode, number: int, account: str = "web", port: int = 8080) -> Endpoint:
    letter = "a" if node.network.endswith(".9") else "b"
    return Endpoint(
        address=f"{node.network}.{10 + number}", port=port, node=node.tag,
        pod_uid=f"{letter}-uid-{number}", workload="web", namespace="default",
        principal=spiffe(account),
    )  # fmt: skip


def web_of(nodes: TwoNodes, **fields: Any) -> Destination:
    return service("web", (on(nodes.b, 1),), **fields)


def only(principal: str, action: str = "allow", **more: Any) -> tuple[AccessPolicy, ...]:
    text = StringMatch("exact", principal.removeprefix("spiffe://"))
    rule = AccessRule((((AccessCondition("principal", texts=(text,)),),),))
    return (AccessPolicy("default/only", action, (rule,), **more),)  # type: ignore[arg-type]


async def serve_web(nodes: TwoNodes, *policies: AccessPolicy, **fields: Any) -> None:
    nodes.b.serve(1, "web-b")
    web = web_of(nodes, **fields)
    await nodes.apply(
        workloads=(
            pod(nodes.a, 1, "app1"), pod(nodes.a, 3, "app3"),
            pod(nodes.b, 1, "web", access=policies),
        ),
        destinations=(web,),
        route_tables=(table(virtual_host("web", to(web), addresses=("10.96.0.10",))),),
    )  # fmt: skip


async def status(node: NetnsNode, number: int, *options: str) -> str:
    return await node.curl(number, "-o", "/dev/null", "-w", "%{http_code}", *options)


@pytest.mark.parametrize("protocol", ["http", "auto"])
async def test_a_call_reaches_the_pod_in_the_callers_name(nodes: TwoNodes, protocol: str) -> None:
    await serve_web(nodes, *only(spiffe("app1")), protocol=protocol)
    seen = await nodes.a.call(1, *HOST, WEB)
    assert seen["name"] == "web-b"
    assert seen["peer"] == f"{nodes.b.network}.1", "from the address that pods of B trust"
    assert "x-forwarded-client-cert" not in seen["headers"]
    assert await status(nodes.a, 3, *HOST, WEB) == "403"
    for account in ("app1", "app3"):
        await counted(nodes.b, f"destination;mutual_tls;unknown|unknown|{spiffe(account)}|")


async def counted(node: NetnsNode, edge: str) -> None:
    """Until the proxy has counted a request of this edge."""
    for _ in range(60):
        metrics = await node.ask_admin("/stats/prometheus?filter=istio")
        if edge in metrics:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(metrics)


async def test_no_identity_rides_on_anothers_connection(nodes: TwoNodes) -> None:
    """Interleaved calls of two workloads: each is known by its own certificate every time."""
    await serve_web(nodes, *only(spiffe("app1")))
    for _ in range(20):
        assert await status(nodes.a, 1, *HOST, WEB) == "200"
        assert await status(nodes.a, 3, *HOST, WEB) == "403"
    held = json.loads(
        await nodes.b.ask_admin("/stats?format=json&filter=http.inbound.downstream_cx_total")
    )
    (total,) = [s["value"] for s in held["stats"]]
    assert total == 2, "a connection for each identity, and no more"


async def test_the_server_must_be_who_it_shall_be(nodes: TwoNodes) -> None:
    await serve_web(nodes)
    assert await status(nodes.a, 1, *HOST, WEB) == "200"
    stranger = service("web", (on(nodes.b, 1, account="bank"),))
    await nodes.apply(destinations=(stranger,))
    assert await status(nodes.a, 1, *HOST, WEB) == "503"


async def test_wrong_certificates_are_refused(nodes: TwoNodes) -> None:
    await serve_web(nodes)
    at = now()

    def of(authority: Authority, name: str, when: float = at) -> tuple[str, str]:
        made = authority.workload(parse(name), when, 600.0)
        return made.certificate, made.key

    good = of(nodes.authority, spiffe("app1"))
    assert "200" in await nodes.connect(GATE, good)
    other = Authority.create(DOMAIN, at)
    refused = {
        "no certificate": None,
        "another authority": of(other, spiffe("app1")),
        "another trust domain": of(nodes.authority, spiffe("app1", "elsewhere")),
        "neither workload nor node": of(nodes.authority, f"spiffe://{DOMAIN}/user/a"),
        "expired": of(nodes.authority, spiffe("app1"), at - 3600.0),
        "not yet valid": of(nodes.authority, spiffe("app1"), at + 3600.0),
    }
    for what, credential in refused.items():
        answer = await nodes.connect(GATE, credential)
        assert answer.startswith("refused") or answer == "answer b''\n", (what, answer)
    for name in ("web", "", entrance_name("b-uid-9", 8080), entrance_name("b-uid-1", 22)):
        answer = await nodes.connect(name or "x", good)
        assert answer.startswith("refused") or answer == "answer b''\n", (name, answer)


async def test_requests_as_bytes_get_past_no_policy(nodes: TwoNodes) -> None:
    """Who offers no protocol gets the chain for bytes, where only whole identities are let in."""
    get = AccessCondition("method", texts=(StringMatch("exact", "GET"),))
    who = AccessCondition("principal", texts=(StringMatch("exact", spiffe("app1")[9:]),))
    rule = AccessRule((((who,),), ((get,),)))
    await serve_web(nodes, AccessPolicy("default/get", "allow", (rule,)))
    made = nodes.authority.workload(parse(spiffe("app1")), now(), 600.0)
    own = (made.certificate, made.key)
    post = "POST / HTTP/1.1\\r\\nHost: web\\r\\nContent-Length: 0\\r\\n\\r\\n"
    assert "200" in await nodes.connect(GATE, own)
    assert "403" in await nodes.connect(GATE, own, request=post)
    answer = await nodes.connect(GATE, own, request=post, alpn="")
    assert answer.startswith("refused") or answer == "answer b''\n", answer


async def test_bytes_and_servers_that_speak_first(nodes: TwoNodes) -> None:
    nodes.b.serve(1, "mail", 2525, "--greet")
    mail = service("mail", (on(nodes.b, 1, port=2525),), port=25, protocol="tcp")
    route = TcpRoute(("10.96.0.25",), 25, (WeightedDestination(mail.name),))
    callers = (pod(nodes.a, 1, "app1", tcp=(route,)), pod(nodes.a, 3, "app3", tcp=(route,)))
    server = pod(nodes.b, 1, "web", access=only(spiffe("app1")))
    await nodes.apply(workloads=(*callers, server), destinations=(mail,), route_tables=(table(),))
    script = (
        "import socket; s = socket.create_connection(('10.96.0.25', 25), 3);"
        "s.settimeout(3); print('heard', s.recv(99))"
    )
    assert "220 mail" in await run_async(*nodes.a.inside(1), "python3", "-c", script)
    assert await run_async(*nodes.a.inside(3), "python3", "-c", script) == "heard b''\n"


async def loaded(node: NetnsNode) -> set[str]:
    """Serial numbers of the certificates that a proxy shows or trusts."""
    found = json.loads(await node.ask_admin("/certs"))["certificates"]
    every = [c for each in found for kind in ("ca_cert", "cert_chain") for c in each.get(kind, ())]
    return {c["serial_number"] for c in every if "spiffe" in str(c)}


async def held(nodes: TwoNodes) -> set[str]:
    """Where connections to B's proxy come from."""
    out = await run_async(
        "nsenter", f"--net=/run/netns/{nodes.b.tag}", "ss", "-Htn", "state", "established"
    )
    return {line.split()[3] for line in out.splitlines() if line.split()[2].endswith(":15008")}


async def test_certificates_and_roots_change_under_load(nodes: TwoNodes) -> None:
    """Lives of seconds, a new root meanwhile: nothing fails, and nothing old stays in use."""
    lives = Lives(root=600.0, intermediate=60.0, workload=8.0, overlap=0.0)
    ca = OwnRoots(nodes.a.directory / "ca", DOMAIN, lives)
    # Both nodes' servers have to have acknowledged; the test's stands for both.
    nodes.identity = MeshIdentity(ca, lives, nodes.servers)  # type: ignore[arg-type]
    nodes.identity.open()
    nodes.identity.on_change = nodes.offer
    nodes.mesh = replace(nodes.mesh, connection_seconds=lives.connection)
    await serve_web(nodes, *only(spiffe("app1")))
    first = ca.roots.roots[0].name
    before = await loaded(nodes.b)
    assert len(before) >= 2, "a root and a certificate"
    tasks = Tasks()
    tasks.spawn(nodes.identity.run(), "identity")
    options = ("--host", "web", "--seconds", "17", "--callers", "8", "--pause", "0.01")
    async with nodes.a.load(1, WEB, *options) as result:
        await asyncio.sleep(1.0)
        old = await held(nodes)
        assert old
        nodes.identity.rotate(hurry=True)
        await asyncio.sleep(15.0)
        assert [r.state for r in ca.roots.roots] == ["signing"], "the old root is not trusted"
        assert ca.roots.roots[0].name != first
        now_held = await held(nodes)
        assert now_held
        assert not now_held & old
        assert before.isdisjoint(await loaded(nodes.b))
    await tasks.close()
    assert result["failures"] == []
    assert result["counts"]["web-b"] > 500
