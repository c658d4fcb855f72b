"""Attacks that must fail, each by name, on a mesh with policies. SECURITY.md says what defends.

`api` may be called by `front` only, and nobody may call its paths below /admin; `open` has no
policy but the one on its paths.
"""

import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.e2e import http2
from tests.e2e import manifests as m
from tests.e2e.conftest import fresh
from tests.e2e.instance import Instance, ask, run_inside, wait_for
from tests.e2e.test_authorization import (
    Applied,
    account,
    both,
    call,
    policy,
    settled,
    tls_gateway,
)
from tests.outside import another_user, inside

pytestmark = [pytest.mark.e2e, pytest.mark.root]

CLIENT_SECONDS = 12
"""How long the gateway waits for what is slow; headers and handshakes have 10."""
POLICIES = policy(
    "api", """
selector: {matchLabels: {app: api}}
rules:
- from: [{source: {serviceAccounts: [front]}}]
  to: [{operation: {paths: ["/who", "/open*"]}}]
""",
) + policy(
    "no-admin", """
action: DENY
selector: {matchLabels: {app: open}}
rules: [{to: [{operation: {paths: ["/admin", "/admin/*"]}}]}]
""",
) + policy(
    "addresses", """
action: DENY
selector: {matchLabels: {app: open}}
rules:
- from: [{source: {notRemoteIpBlocks: ["203.0.113.0/24"]}}]
  to: [{operation: {paths: ["/far"]}}]
- from: [{source: {remoteIpBlocks: ["203.0.113.0/24"]}}]
  to: [{operation: {paths: ["/near"]}}]
""",
)  # fmt: skip


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        seconds = f"{CLIENT_SECONDS}s"
        instance.up(options=("--client-request-timeout", seconds, "--client-idle-timeout", seconds))
        text = m.echo("api") + m.service("api") + "---" + m.echo("open") + m.service("open")
        for name in ("front", "other"):
            text += account(name, m.echo(name)) + m.service(name)
        for name in ("front", "other", "open", "api"):
            text += m.gateway(name, f"{name}.example")
            text += m.routes(f"{name}-edge", m.to(name), f"{name}.example", name)
        instance.weft("apply", "-f", "-", stdin=text + POLICIES + "---\n" + tls_gateway())
        for name in ("api", "open", "front", "other"):
            instance.wait_ready(f"app={name}", 1)
        settled(partial(both, instance), (200, 403), "the policies are in force")
        yield instance


T = TypeVar("T")


def side_by_side(work: Callable[[str], T], names: Iterable[str]) -> dict[str, Future[T]]:
    """Results to come. The proxy keeps what it refuses open for a second: tried one after the
    other, attacks would take a minute of waiting."""
    with ThreadPoolExecutor(32) as pool:
        return {name: pool.submit(work, name) for name in names}


def raw(weft: Instance, request: bytes, seconds: float = 5.0) -> bytes:
    """Bytes sent to the gateway as they are; what comes back until it closes or falls silent."""
    url = urlsplit(weft.gateway())
    with socket.create_connection((url.hostname, url.port), timeout=seconds) as connection:
        connection.sendall(request)
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except TimeoutError:
            pass
    return received


def statuses(answers: bytes) -> list[int]:
    """Of every answer in a stream of HTTP/1.1 answers; one begins where a body ends."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", answers)]


@pytest.mark.parametrize(
    "header",
    [
        {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/default/sa/front"},
        {"weft.source_namespace": "default"},
    ],
    ids=lambda h: next(iter(h)),
)
def test_spoofed_headers_make_nobody_else(weft: Instance, header: dict[str, str]) -> None:
    assert ask(weft, "/who", "api.example", **header)[0] == 403
    # From inside, with the header on a call of a pod that may not call.
    status = run_inside(weft, "other.example", f"""
        from aiohttp import ClientSession
        async def main():
            async with ClientSession() as session:
                async with session.get("http://api/who", headers={header!r}) as answer:
                    return answer.status
    """)  # fmt: skip
    assert status == 403


AT_NODE = """
---
apiVersion: v1
kind: Service
metadata: {name: open-at-node}
spec:
  type: NodePort
  selector: {app: open}
  ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30993}]
"""
SPOOFED = {
    "x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/default/sa/front",
    "x-envoy-internal": "true",
    "x-envoy-external-address": "203.0.113.7",
}
FORWARDED = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "ftp"}


def over_tls(weft: Instance) -> str:
    """What the gateway's TLS server answers, for the back end."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPConnection("one.tls.example", timeout=10)
    raw = socket.create_connection(weft.bound(443), timeout=10)
    connection.sock = context.wrap_socket(raw, server_hostname="one.tls.example")
    connection.request("GET", "/x", headers=SPOOFED | FORWARDED)
    with connection.getresponse() as answer:
        body = answer.read().decode()
    connection.close()
    return body


def test_headers_of_identity_end_at_every_entrance(weft: Instance) -> None:
    """Back ends see none that a caller wrote: at gateways (also TLS), at a port of the node, at
    a service and at a pod's own address. From outside, how and whence is what the proxy saw."""
    (pod,), (node,) = weft.ready_pods("app=open"), weft.read("/api/v1/nodes")["items"]
    with Applied(weft, AT_NODE):
        request = Request(f"http://{node['status']['addresses'][0]['address']}:30993/x",
                          headers=SPOOFED | FORWARDED)  # fmt: skip

        def at_node() -> str:
            try:
                with urlopen(request, timeout=10) as answer:
                    return str(answer.read().decode())
            except OSError:
                return ""

        seen = {
            "gateway": ask(weft, "/x", "open.example", **SPOOFED, **FORWARDED)[1],
            "gateway, TLS": over_tls(weft),
            "port of the node": wait_for(at_node, "the port of the node answers"),
        }
    for entrance, body in seen.items():
        told = {name.lower(): value for name, value in json.loads(body)["headers"].items()}
        assert told["x-forwarded-proto"] == ("https" if "TLS" in entrance else "http"), entrance
        assert told["x-forwarded-for"].split(",")[-1].strip() != "203.0.113.7", entrance
    for place in ("open", f"{pod['status']['podIP']}:8080"):
        seen[place] = run_inside(weft, "other.example", f"""
            from aiohttp import ClientSession
            async def main():
                async with ClientSession() as session:
                    async with session.get("http://{place}/x", headers={SPOOFED!r}) as answer:
                        return await answer.text()
        """)  # fmt: skip
    for entrance, body in seen.items():
        received = {name.lower() for name in json.loads(body)["headers"]}
        assert received & SPOOFED.keys() == set(), entrance
        assert {name for name in received if "weft" in name} == set(), entrance


@pytest.mark.parametrize(
    "header",
    [
        {"x-forwarded-for": "203.0.113.7"},
        {"x-forwarded-for": "203.0.113.7, 203.0.113.8", "x-envoy-internal": "true"},
        {"x-envoy-external-address": "203.0.113.7", "x-envoy-internal": "true"},
        {"forwarded": "for=203.0.113.7", "x-real-ip": "203.0.113.7"},
    ],
    ids=lambda h: next(iter(h)),
)
def test_spoofed_addresses_are_not_believed(weft: Instance, header: dict[str, str]) -> None:
    """Who believed them would let the caller in at /far, and refuse it at /near."""
    found = tuple(ask(weft, path, "open.example", **header)[0] for path in ("/far", "/near"))
    assert found == (403, 200)
    found = run_inside(weft, "other.example", f"""
        from aiohttp import ClientSession
        async def main():
            found = []
            async with ClientSession() as session:
                for path in ("/far", "/near"):
                    async with session.get("http://open" + path, headers={header!r}) as answer:
                        found.append(answer.status)
            return found
    """)  # fmt: skip
    assert found == [403, 200]


def test_no_header_says_where_a_call_goes(weft: Instance) -> None:
    """Calls to addresses go there, not to what Envoy's own header names."""
    (there,), (elsewhere,) = weft.ready_pods("app=open"), weft.ready_pods("app=front")
    answered = run_inside(weft, "other.example", f"""
        from aiohttp import ClientSession
        async def main():
            headers = {{"x-envoy-original-dst-host": "{elsewhere['status']['podIP']}:8080"}}
            url = "http://{there['status']['podIP']}:8080/slow?seconds=0"
            async with ClientSession() as session:
                async with session.get(url, headers=headers) as answer:
                    return await answer.text()
    """)  # fmt: skip
    assert answered == there["metadata"]["name"]


def test_direct_pod_access_goes_through_its_policies(weft: Instance) -> None:
    (pod,) = weft.ready_pods("app=api")
    address = pod["status"]["podIP"]
    for caller in ("front", "other"):
        assert call(weft, caller, host=f"{address}:8080") == 403
    assert by_another_user(address, "/who") == 403
    address = weft.ready_pods("app=open")[0]["status"]["podIP"]
    assert call(weft, "other", "/admin", host=f"{address}:8080") == 403
    assert [by_another_user(address, path) for path in ("/admin", "/who")] == [403, 200]


def by_another_user(address: str, path: str) -> int:
    """What a program on the machine gets that belongs to somebody without rights."""
    client = http.client.HTTPConnection(address, 8080, timeout=10)
    with another_user():
        client.connect()
    try:
        client.request("GET", path)
        return client.getresponse().status
    finally:
        client.close()


def test_a_stolen_address_has_no_identity(weft: Instance) -> None:
    """A pod that may not call takes the address of one that may: its listener stays its own."""
    (front,) = weft.ready_pods("app=front")
    address = front["status"]["podIP"]
    status = run_inside(weft, "other.example", f"""
        import subprocess
        from aiohttp import ClientSession, TCPConnector, ClientError, ClientTimeout
        async def main():
            subprocess.run(["ip", "addr", "add", "{address}/32", "dev", "lo"], check=True)
            connector = TCPConnector(local_addr=("{address}", 0))
            try:
                timeout = ClientTimeout(total=3)
                async with ClientSession(connector=connector, timeout=timeout) as session:
                    async with session.get("http://api/who") as answer:
                        return answer.status
            finally:
                subprocess.run(["ip", "addr", "del", "{address}/32", "dev", "lo"])
    """)  # fmt: skip
    assert status == 403
    assert call(weft, "front") == 200, "whose address it is, may"


def test_no_datagram_arrives_in_anothers_name(weft: Instance) -> None:
    """Root in a pod writes packets as it likes: only those with its own address leave its link."""
    (front,), (other,) = weft.ready_pods("app=front"), weft.ready_pods("app=other")
    own, to = other["status"]["podIP"], front["status"]["podIP"]
    node = f"{to.rpartition('.')[0]}.1"

    def listen() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.bind((to, 0))
        made.settimeout(20)
        return made

    heard = inside(str(weft.run_dir / "netns" / front["metadata"]["uid"]), listen)
    port = heard.getsockname()[1]
    names = [(node, "stolen"), (f"{to.rpartition('.')[0]}.250", "stolen"), (own, "own")]
    run_inside(weft, "other.example", f"""
        import socket, struct
        async def main():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            for source, text in {names!r}:
                data = text.encode()
                udp = struct.pack(">HHHH", 5000, {port}, 8 + len(data), 0) + data
                ends = socket.inet_aton(source) + socket.inet_aton("{to}")
                head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
                raw.sendto(head + ends + udp, ("{to}", 0))
            raw.close()
    """)  # fmt: skip
    assert heard.recvfrom(100) == (b"own", (own, 5000)), "the last that was sent is the first heard"
    heard.close()


TRICKS = [
    "/admin", "/admin/", "/admin/x", "//admin", "/%61dmin", "/ADMIN", "/x/../admin", "/./admin",
    "/x/%2e%2e/admin", "/x/..%2fadmin", "/x/..%5cadmin", "/admin%2fx", "/admin;v=1", "/admin;/x",
    "/x/..;/admin", "/admin?x", "/admin/../admin", "/%2561dmin%252f", "/admin#x",
]  # fmt: skip


@pytest.fixture(scope="module")
def tricked(weft: Instance) -> dict[str, Future[bytes]]:
    rest = "HTTP/1.1\r\nHost: open.example\r\nConnection: close\r\n\r\n"
    return side_by_side(lambda path: raw(weft, f"GET {path} {rest}".encode()), TRICKS)


@pytest.mark.parametrize("path", TRICKS)
def test_path_tricks_do_not_evade_a_denial(tricked: dict[str, Future[bytes]], path: str) -> None:
    (status,) = statuses(tricked[path].result())
    assert status in (400, 403, 404), status
    assert status == 403 or path == "/admin#x"


@pytest.mark.parametrize("path", ["/open/..%2fadmin", "/open/%2e%2e%2fenv", "/open/..;/env"])
def test_path_tricks_do_not_widen_a_permission(weft: Instance, path: str) -> None:
    assert call(weft, "front", "/open/x") == 200
    program = f"""
        import asyncio
        async def main():
            reader, writer = await asyncio.open_connection("api", 80)
            writer.write(b"GET {path} HTTP/1.1\\r\\nHost: api\\r\\nConnection: close\\r\\n\\r\\n")
            line = await asyncio.wait_for(reader.readline(), 5)
            writer.close()
            return int(line.split()[1])
    """
    assert run_inside(weft, "front.example", program) == 403


HOST = b"Host: open.example\r\n"
HIDDEN = b"GET /admin HTTP/1.1\r\n" + HOST + b"\r\n"
POST, GET = b"POST /echo HTTP/1.1\r\n" + HOST, b"GET /echo HTTP/1.1\r\n" + HOST
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
WRONG_CHUNK = CHUNKED.replace(b"0\r\n\r\n", b"1\r\nab\r\n0\r\n\r\n")
LARGE_CHUNK = CHUNKED.replace(b"0\r\n\r\n", b"fffffffffffffffff1\r\nab")
SMUGGLING = {
    "length and chunks": POST + b"Content-Length: 6\r\n" + CHUNKED + HIDDEN,
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "odd chunked": POST + CHUNKED.replace(b"chunked", b"xchunked") + HIDDEN,
    "space before the colon": GET + CHUNKED.replace(b":", b" :") + HIDDEN,
    "carriage return in a value": GET + b"X: a\rGET /admin HTTP/1.1\r\n\r\n",
    "a null byte": GET + b"X-Test: a\x00b\r\n\r\n",
    "two codings": POST + CHUNKED.replace(b"chunked", b"chunked, identity") + HIDDEN,
    "a coding twice": POST + b"Transfer-Encoding: identity\r\n" + CHUNKED + HIDDEN,
    "a coding behind a tab": POST + CHUNKED.replace(b" chunked", b"\tx\x0bchunked") + HIDDEN,
    "a folded header": GET + b"X: a\r\n Transfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    "a negative length": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "a length with a sign": POST + b"Content-Length: +5\r\n\r\nabcde" + HIDDEN,
    "a chunk of another size": POST + WRONG_CHUNK + HIDDEN,
    "a chunk size that overflows": POST + LARGE_CHUNK + HIDDEN,
    "a method in the path": b"GET /echo HTTP/1.1 GET /admin HTTP/1.1\r\n" + HOST + b"\r\n",
    "two hosts": b"GET /admin HTTP/1.1\r\nHost: api.example\r\n" + HOST + b"\r\n",
}


@pytest.fixture(scope="module")
def smuggled(weft: Instance) -> dict[str, Future[bytes]]:
    return side_by_side(lambda name: raw(weft, SMUGGLING[name], 3.0), SMUGGLING)


@pytest.mark.parametrize("name", SMUGGLING)
def test_request_smuggling(smuggled: dict[str, Future[bytes]], name: str) -> None:
    """What is no sound request is refused; nothing behind it is answered by a back end."""
    answers = smuggled[name].result()
    assert b'"path": "/admin' not in answers
    assert not {200} & set(statuses(answers)[1:]), answers[:400]


@pytest.fixture(scope="module")
def smuggled_over_http2(weft: Instance) -> dict[str, Future[tuple[str, str]]]:
    """For each, its answer, and that of a sound request after it."""
    gateway = urlsplit(weft.gateway())
    place = gateway.hostname, gateway.port

    def attack(name: str) -> tuple[str, str]:
        answer = http2.answer(place, *http2.SMUGGLING[name])
        return answer, http2.answer(place, http2.head(), b"sound")

    return side_by_side(attack, http2.SMUGGLING)


@pytest.mark.parametrize("name", http2.SMUGGLING)
def test_request_smuggling_over_http2(
    smuggled_over_http2: dict[str, Future[tuple[str, str]]], name: str
) -> None:
    """What would be another request, or two of them, once it is written as HTTP/1.1."""
    answer, sound = smuggled_over_http2[name].result()
    assert answer in ("reset", "closed", "400", "403"), answer
    assert sound == "200"


@pytest.mark.parametrize("name", http2.FLOODS)
def test_floods_of_http2_end_their_connection(weft: Instance, name: str) -> None:
    """Rapid reset, CONTINUATION and empty frames: the proxy hangs up, others are served."""
    gateway = urlsplit(weft.gateway())
    assert http2.hangs_up((gateway.hostname, gateway.port), http2.FLOODS[name])
    assert [ask(weft, "/who", "open.example")[0] for _ in range(5)] == [200] * 5


def test_the_host_in_the_target_is_the_one_that_counts(weft: Instance) -> None:
    """`GET http://HOST/`: routes and policies see one host, not one each."""
    target = b"GET http://open.example/admin HTTP/1.1\r\nHost: api.example\r\n"
    assert statuses(raw(weft, target + b"Connection: close\r\n\r\n")) == [403]
    target = b"GET http://api.example/who HTTP/1.1\r\nHost: open.example\r\n"
    assert statuses(raw(weft, target + b"Connection: close\r\n\r\n")) == [403]


def test_one_connection_has_no_memory_of_who_was_let_in(weft: Instance) -> None:
    """After a permitted request on a connection, a denied one is denied, and the next permitted."""
    url = urlsplit(weft.gateway())
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    asked = ("open", "/who"), ("api", "/who"), ("open", "/admin"), ("open", "/who")
    found = []
    for host, path in asked:
        connection.request("GET", path, headers={"Host": f"{host}.example"})
        with connection.getresponse() as answer:
            answer.read()
            found.append(answer.status)
    connection.close()
    assert found == [200, 403, 403, 200]


def test_slow_readers_hold_up_nobody(weft: Instance) -> None:
    """Who asks and does not read keeps no answer in memory without end, and others are served."""
    url = urlsplit(weft.gateway())
    held = []
    try:
        for _ in range(50):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((url.hostname, url.port))
            connection.sendall((b"GET /who HTTP/1.1\r\n" + HOST + b"\r\n") * 200)
            held.append(connection)
        assert [ask(weft, "/who", "open.example")[0] for _ in range(10)] == [200] * 10
    finally:
        for connection in held:
            connection.close()


def test_oversized_headers(weft: Instance) -> None:
    huge = b"GET /who HTTP/1.1\r\nHost: open.example\r\nX-Big: " + b"a" * 200_000 + b"\r\n\r\n"
    assert statuses(raw(weft, huge)) in ([431], [])
    many = b"".join(b"X-%d: a\r\n" % number for number in range(5000))
    request = b"GET /who HTTP/1.1\r\nHost: open.example\r\n" + many + b"\r\n"
    assert statuses(raw(weft, request)) in ([431], [])
    assert ask(weft, "/who", "open.example")[0] == 200


def half_a_handshake(place: tuple[str, int]) -> socket.socket:
    """A connection on which TLS was begun, and the server's part of it is left unanswered."""
    context = ssl.create_default_context()
    bio, never = ssl.MemoryBIO(), ssl.MemoryBIO()
    stream = context.wrap_bio(never, bio, server_hostname="one.tls.example")
    with pytest.raises(ssl.SSLWantReadError):
        stream.do_handshake()
    connection = socket.create_connection(place, timeout=5)
    connection.sendall(bio.read())
    assert connection.recv(1) == b"\x16", "a record of the handshake"
    return connection


SLOW = {
    "headers that do not end": b"POST /digest HTTP/1.1\r\nHost: open.example\r\nContent-Length: 9",
    "a body that does not end": b"POST /digest HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 9\r\n\r\nab",
    "chunks that do not end": b"POST /digest HTTP/1.1\r\n" + HOST + CHUNKED[:-9] + b"9\r\nab",
    "nothing": b"",
    "an answered request": b"GET /who HTTP/1.1\r\n" + HOST + b"\r\n",
}


def test_slow_clients_hold_up_nobody(weft: Instance) -> None:
    """Each kind of them is let go of in its time, others are served meanwhile, and a stream that
    was begun may be silent for longer."""
    url = urlsplit(weft.gateway())
    place = (url.hostname or "", url.port or 0)
    with ExitStack() as held:
        began = time.monotonic()
        silent = held.enter_context(socket.create_connection(place, timeout=60))
        seconds = CLIENT_SECONDS + 3
        silent.sendall(b"GET /slow?seconds=%d HTTP/1.1\r\n" % seconds + HOST + b"\r\n")
        slow: dict[str, list[socket.socket]] = {name: [] for name in (*SLOW, "TLS")}
        for name, text in SLOW.items():
            for _ in range(40):
                connection = held.enter_context(socket.create_connection(place, timeout=5))
                connection.sendall(text)
                slow[name].append(connection)
        tls = weft.bound(443)
        slow["TLS"] = [held.enter_context(half_a_handshake(tls)) for _ in range(40)]
        asked = time.monotonic()
        assert [ask(weft, "/who", "open.example")[0] for _ in range(20)] == [200] * 20
        assert time.monotonic() - asked < 10
        for name, connections in slow.items():
            answers = []
            for connection in connections:
                connection.settimeout(max(1.0, began + 3 * CLIENT_SECONDS - time.monotonic()))
                answers.append(b"".join(iter(partial(connection.recv, 4096), b"")))
            wanted = {"nothing": [], "TLS": [], "an answered request": [200]}.get(name, [408])
            assert [statuses(each) for each in answers] == [wanted] * 40, name
        assert statuses(silent.recv(4096)) == [200]


def test_oversized_bodies(weft: Instance) -> None:
    """Refused as soon as that can be known; where a limit is set, whatever the length says."""
    host = b"HTTP/1.1\r\nHost: open.example\r\n"
    huge = host + b"Content-Length: 1000000000000\r\n\r\n"
    assert statuses(raw(weft, b"POST /admin " + huge, 2.0)) == [403]
    limit = """
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: open}
spec: {targetRef: {kind: Service, name: open}, maxRequestBytes: 1000}
"""
    data = b"x" * 2000
    with Applied(weft, limit):
        sent = partial(ask, weft, "/digest", "open.example", method="POST", body=data)
        settled(lambda: sent()[0], 413, "the limit holds")
        assert statuses(raw(weft, b"POST /digest " + huge + data, 2.0)) == [413]
        chunks = b"Transfer-Encoding: chunked\r\n\r\n" + b"7d0\r\n" + data + b"\r\n"
        assert statuses(raw(weft, b"POST /digest " + host + chunks, 2.0)) == [413]
        assert ask(weft, "/digest", "open.example", method="POST", body=data[:900])[0] == 200


def test_connections_are_not_shared_between_identities(weft: Instance) -> None:
    """Calls of both, interleaved: each is judged by who makes it."""
    for _ in range(15):
        assert (call(weft, "front"), call(weft, "other")) == (200, 403)


def test_pods_do_not_reach_the_proxy_itself(weft: Instance) -> None:
    (pod,) = weft.ready_pods("app=other")
    node = f"{pod['status']['podIP'].rpartition('.')[0]}.1"
    found = run_inside(weft, "other.example", f"""
        import asyncio
        async def main():
            found = []
            for port in (15000, 15001, 15006, 15008, 15012, 9901, 19000):
                for host in ("127.0.0.1", "{node}"):
                    try:
                        reader, writer = await asyncio.wait_for(
                            asyncio.open_connection(host, port), 2)
                        writer.write(b"GET /config_dump HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
                        data = await asyncio.wait_for(reader.read(4096), 2)
                        if b"200 OK" in data:
                            found.append([host, port])
                        writer.close()
                    except (OSError, TimeoutError):
                        pass
            return found
    """)  # fmt: skip
    assert found == []


def test_pods_get_nothing_from_the_api_without_right(weft: Instance) -> None:
    """Neither without a token nor with that of their own account."""
    found = run_inside(weft, "other.example", """
        import os
        from aiohttp import ClientSession
        async def main():
            base = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}"
            path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
            own = {"Authorization": "Bearer " + open(path).read()}
            asked = [("GET", "/api/v1/secrets"), ("GET", "/api/v1/namespaces/default/pods"),
                     ("GET", "/weft/v1/ca"), ("GET", "/weft/v1/status"), ("GET", "/metrics"),
                     ("POST", "/weft/v1/ca/rotate-now"), ("POST", "/weft/v1/credentials-rotate"),
                     ("POST", "/weft/v1/proxy-restart"), ("GET", "/weft/v1/node/link")]
            found = []
            async with ClientSession() as session:
                for headers in ({}, own, {"Authorization": "Bearer none"},
                                {"X-Remote-User": "weft-admin", "X-Remote-Group": "system:masters"},
                                {**own, "Impersonate-User": "weft-admin"}):
                    for method, path in asked:
                        async with session.request(
                            method, base + path, headers=headers, ssl=False
                        ) as answer:
                            found.append(answer.status)
            return found
    """)  # fmt: skip
    assert len(found) == 45
    assert set(found) <= {401, 403}, found


def test_pods_of_other_users_read_nothing_of_weft_s_own(weft: Instance) -> None:
    """Processes see the machine's files; whoever is not weft's user is kept out of weft's."""
    weft.image("sh:1", Path("/tmp"), "/bin/sh")
    places = [weft.data_dir / name for name in ("kubeconfig", "tokens.csv", "store.db", "pki")]
    places += [*weft.run_dir.glob("*")]
    assert all(place.exists() for place in places)
    program = "id -u; for f in PLACES; do if [ -r $f ] || [ -x $f ]; then echo $f; fi; done"
    program = program.replace("PLACES", " ".join(map(str, places)))
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "curious"},
        "spec": {
            "restartPolicy": "Never", "securityContext": {"runAsUser": 65534, "runAsGroup": 65534},
            "containers": [{"name": "main", "image": "sh:1", "args": ["-c", program]}],
        },
    }  # fmt: skip
    weft.weft("apply", "-f", "-", stdin=json.dumps(pod))
    wait_for(lambda: weft.pod("curious")["status"].get("phase") == "Succeeded", "it has looked")
    assert weft.weft("logs", "curious").split() == ["65534"]
