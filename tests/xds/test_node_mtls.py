"""Calls from node to node: two Envoys, mutual TLS in the names of the callers."""

import asyncio
import json
import subprocess
import sys
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
from weft.xds.resource import LISTENER

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
    return (AccessPolicy(f"default/{text.value[-4:]}", action, (rule,), **more),)  # type: ignore[arg-type]


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
    spoofed = f"x-forwarded-client-cert: URI={spiffe('app1')}"
    seen = await nodes.a.call(1, *HOST, "-H", spoofed, WEB)
    assert seen["name"] == "web-b"
    assert seen["peer"] == f"{nodes.b.network}.1", "from the address that pods of B trust"
    assert "x-forwarded-client-cert" not in seen["headers"]
    assert seen["headers"]["x-forwarded-proto"] == "http", "as the caller spoke"
    assert await status(nodes.a, 3, *HOST, WEB) == "403"
    assert await status(nodes.a, 3, *HOST, "-H", spoofed, WEB) == "403"
    made = nodes.authority.workload(parse(spiffe("app3")), now(), 600.0)
    request = f"GET / HTTP/1.1\\r\\nHost: web\\r\\n{spoofed}\\r\\n\\r\\n"
    answer = await nodes.connect(GATE, (made.certificate, made.key), request=request)
    assert "403" in answer, "nor at the door itself"
    for account in ("app1", "app3"):
        await counted(nodes.b, f"destination;mutual_tls;unknown|unknown|{spiffe(account)}|")
    await counted(nodes.a, f"source;{spiffe('web')};app1|")


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
    # A connection that is open outlives a change of who may open one.
    longer = (
        "import socket; s = socket.create_connection(('10.96.0.25', 25), 3);"
        "print(s.recv(99), flush=True); input(); s.sendall(b'still\\n'); print(s.recv(99))"
    )
    command = (*nodes.a.inside(1), "python3", "-c", longer)
    pipe = asyncio.subprocess.PIPE
    held_open = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert held_open.stdout is not None
    assert b"220 mail" in await held_open.stdout.readline()
    listener = nodes.b.server.acked_names(nodes.b.tag, LISTENER)["nodes"]
    allowed = (*only(spiffe("app1")), *only(spiffe("app3")))
    await nodes.apply(workloads=(*callers, replace(server, access=allowed)))
    assert "220 mail" in await run_async(*nodes.a.inside(3), "python3", "-c", script)
    out, _ = await held_open.communicate(b"\n")
    assert b"still" in out
    assert nodes.b.server.acked_names(nodes.b.tag, LISTENER)["nodes"] == listener


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


GRPC_SERVER = """
import grpc, time
from concurrent import futures
def say(request, context): return b"hello " + request
h = grpc.method_handlers_generic_handler("t.T", {"Say": grpc.unary_unary_rpc_method_handler(say)})
s = grpc.server(futures.ThreadPoolExecutor(4)); s.add_generic_rpc_handlers((h,))
s.add_insecure_port("0.0.0.0:9090"); s.start(); print("ready", flush=True); time.sleep(60)
"""
GRPC_CLIENT = """
import grpc
c = grpc.insecure_channel("10.96.0.10:80")
try: print(c.unary_unary("/t.T/Say")(b"there", timeout=5))
except grpc.RpcError as e: print(e.code())
"""


def start(command: list[str]) -> "subprocess.Popen[str]":
    """A program that says when it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


async def test_grpc_between_nodes(nodes: TwoNodes) -> None:
    server = start([*nodes.b.inside(1), sys.executable, "-c", GRPC_SERVER])
    try:
        api = service("api", (on(nodes.b, 1, port=9090),), protocol="grpc")
        host = virtual_host("api", to(api), addresses=("10.96.0.10",))
        callers = (pod(nodes.a, 1, "app1"), pod(nodes.a, 3, "app3"))
        policies = only(spiffe("app1"))
        await nodes.apply(
            workloads=(*callers, pod(nodes.b, 1, "web", access=policies)),
            destinations=(api,),
            route_tables=(table(host),),
        )
        answers = [
            await run_async(*nodes.a.inside(n), sys.executable, "-c", GRPC_CLIENT) for n in (1, 3)
        ]
        assert answers == ["b'hello there'\n", "StatusCode.PERMISSION_DENIED\n"]
    finally:
        server.kill()
        server.communicate()


async def test_a_pod_of_another_node_drains_without_a_lost_request(nodes: TwoNodes) -> None:
    nodes.b.pod(2)
    for number in (1, 2):
        nodes.b.serve(number, f"web-{number}", 8080, "--delay", "0.05")

    def web(first: str = "HEALTHY") -> Destination:
        leaving = replace(on(nodes.b, 1), health=first)  # type: ignore[arg-type]
        return service("web", (leaving, on(nodes.b, 2)))

    route = to(web(), retry=None)
    served = tuple(pod(nodes.b, n, "web") for n in (1, 2))
    await nodes.apply(
        workloads=(pod(nodes.a, 1, "app1"), *served), destinations=(web(),),
        route_tables=(table(virtual_host("web", route, addresses=("10.96.0.10",))),),
    )  # fmt: skip
    async with nodes.a.load(1, WEB, "--host", "web", "--seconds", "3", "--callers", "8") as result:
        await asyncio.sleep(0.7)
        nodes.offer(destinations=(web("DRAINING"),))
        await nodes.a.until(lambda server: server.endpoint_draining("b-uid-1"))
        idle, address = 0, f"{nodes.b.network}.11:8080"
        while idle < 2:
            idle = idle + 1 if await nodes.b.requests_active(address) == 0 else 0
            await asyncio.sleep(0.02)
        nodes.b.kill("web-1")
        await nodes.apply(
            workloads=(pod(nodes.a, 1, "app1"), served[1]),
            destinations=(service("web", (on(nodes.b, 2),)),),
        )
    assert result["failures"] == []
    assert result["counts"]["web-1"] > 0
    assert result["counts"]["web-2"] > result["counts"]["web-1"]


async def test_a_policy_changes_while_calls_go_on(nodes: TwoNodes) -> None:
    """Twenty changes: no call fails, no connection is made anew, and each is in force when it is
    acknowledged."""
    await serve_web(nodes, *only(spiffe("app1")))
    assert await status(nodes.a, 1, *HOST, WEB) == "200"
    assert await status(nodes.a, 3, *HOST, WEB) == "403"
    before = await held(nodes)
    async with nodes.a.load(1, WEB, "--host", "web", "--seconds", "4", "--callers", "4") as result:
        for turn in range(20):
            both = turn % 2 == 0
            policies = (*only(spiffe("app1")), *(only(spiffe("app3")) if both else ()))
            web = pod(nodes.b, 1, "web", access=policies)
            callers = (pod(nodes.a, 1, "app1"), pod(nodes.a, 3, "app3"))
            await nodes.apply(workloads=(*callers, web))
            assert await status(nodes.a, 3, *HOST, WEB) == ("200" if both else "403")
    assert result["failures"] == []
    assert before <= await held(nodes)


async def test_one_identity_calls_several_services(nodes: TwoNodes) -> None:
    """Each cluster asks for the same certificate, some of them after it has come already."""
    nodes.b.serve(1, "web-b")
    several = [service(f"s{n}", (on(nodes.b, 1),)) for n in range(4)]
    hosts = [
        virtual_host(f"s{n}", to(each), addresses=(f"10.96.1.{n}",))
        for n, each in enumerate(several)
    ]
    workloads = (pod(nodes.a, 1, "app1"), pod(nodes.b, 1, "web"))
    await nodes.apply(
        workloads=workloads, destinations=tuple(several[:3]), route_tables=(table(*hosts[:3]),)
    )
    for n in range(3):
        assert (await nodes.a.call(1, f"http://10.96.1.{n}/"))["name"] == "web-b"
    await nodes.apply(destinations=tuple(several), route_tables=(table(*hosts),))
    assert (await nodes.a.call(1, "http://10.96.1.3/"))["name"] == "web-b"


async def test_whom_nobody_knows_comes_as_the_node(nodes: TwoNodes) -> None:
    """Callers without an identity reach what is open to all, and nothing that names callers."""
    await serve_web(nodes)
    stranger = replace(pod(nodes.a, 1, "x"), principal="")
    web = pod(nodes.b, 1, "web")
    await nodes.apply(workloads=(stranger, web))
    assert await status(nodes.a, 1, *HOST, WEB) == "200"
    await nodes.apply(workloads=(stranger, replace(web, access=only(spiffe("app1")))))
    assert await status(nodes.a, 1, *HOST, WEB) == "403"
