"""Protocols between pods: what goes in comes out, whatever the program speaks."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
PORT = 8000
GRPC_PORT = 9000

START = f"""
import asyncio, hashlib, json, os
INSIDE = "http_proxy" not in os.environ  # a network namespace of its own
WEB = "web" if INSIDE else os.environ["WEB_SERVICE_HOST"]
GRPC = "grpcecho" if INSIDE else os.environ["GRPCECHO_SERVICE_HOST"]
PORT, GRPC_PORT = {PORT}, {GRPC_PORT}
BASE = f"http://{{WEB}}:{{PORT}}"
from aiohttp import ClientSession
"""

MORE = f"""
---
apiVersion: v1
kind: Service
metadata: {{name: grpcecho}}
spec:
  selector: {{app: grpcecho}}
  ports: [{{name: grpc, port: {GRPC_PORT}, targetPort: grpc}}]
"""


def grpc_pods() -> str:
    text = m.echo("grpcecho", "v1", 2, port=GRPC_PORT).replace("echo:1", "grpcecho:1")
    text = text.replace("name: http,", "name: grpc,")
    return text.replace("httpGet: {path: /who, port: http}", f"grpc: {{port: {GRPC_PORT}}}")


@pytest.fixture(scope="module")
def net(weft: Instance) -> Instance:
    """A client, two web pods, two gRPC pods."""
    import sys

    weft.image("grpcecho:1", APPS / "grpcecho", sys.executable, "app.py")
    text = "---".join([m.echo("client"), m.echo("web", "v1", 2), grpc_pods()])
    text += m.service("client") + m.service("web", PORT) + MORE
    text += m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=web", 2)
    weft.wait_ready("app=grpcecho", 2)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "client answers")
    wait_for(lambda: inside(weft, FIRST) == 200, "web answers")
    return weft


FIRST = """
async def main():
    async with ClientSession() as session, session.get(BASE + "/who") as answer:
        return answer.status
"""


def inside(net: Instance, program: str) -> Any:
    return run_inside(net, CLIENT, START + program)


# --- gRPC, HTTP/2

GRPC = """
import grpc
OPTIONS = [("grpc.enable_http_proxy", 0)]
def channel():
    return grpc.aio.insecure_channel(f"{GRPC}:{GRPC_PORT}", OPTIONS)
"""


def test_grpc_is_balanced_per_request(net: Instance) -> None:
    """Two pods share the calls of one connection; the pods are ready by their gRPC probe."""
    found = inside(net, GRPC + """
async def main():
    async with channel() as c:
        who = c.unary_unary("/test.Echo/Who")
        return [(await who(b"x", wait_for_ready=True, timeout=5)).decode() for _ in range(40)]
""")  # fmt: skip
    counted = Counter(answer.removesuffix(":x") for answer in found)
    assert set(counted) == {p["metadata"]["name"] for p in net.ready_pods("app=grpcecho")}
    assert min(counted.values()) >= 5, counted


def test_grpc_streams_metadata_and_errors(net: Instance) -> None:
    found = inside(net, GRPC + """
async def main():
    async with channel() as c:
        counted = [m.decode() async for m in c.unary_stream("/test.Echo/Count")(b"50")]
        stream = c.stream_stream("/test.Echo/Talk")()
        talked = []
        for word in (b"one", b"two", b"three"):
            await stream.write(word)
            talked.append((await stream.read()).decode().partition(":")[2])
        await stream.done_writing()
        call = c.unary_unary("/test.Echo/Who")(b"x", metadata=(("x-test", "seen"),))
        await call
        first = dict(await call.initial_metadata())
        last = dict(await call.trailing_metadata())
        try:
            await c.unary_unary("/test.Echo/Fail")(b"")
        except grpc.aio.AioRpcError as error:
            failed = [error.code().name, error.details()]
        return [counted, talked, "x-pod" in first, last["x-seen"], failed]
""")  # fmt: skip
    counted, talked, has_pod, seen, failed = found
    assert len(counted) == 50
    assert len({each.partition(":")[0] for each in counted}) == 1, "one stream, one pod"
    assert talked == ["one", "two", "three"]
    assert (has_pod, seen) == (True, "seen")
    assert failed == ["FAILED_PRECONDITION", "on purpose"]


RETRIED = ["cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"]


def test_statuses_of_grpc_are_retried(net: Instance) -> None:
    """Each pod fails once for a key: three tries reach a pod for the second time."""
    routes = "".join(f"""
- match: [{{headers: {{x-on: {{exact: {on}}}}}}}]
  retries: {{attempts: 2, retryOn: {on}, retryIgnorePreviousHosts: false}}
  route: [{{destination: {{host: grpcecho}}}}]
""" for on in RETRIED)  # fmt: skip
    rest = "\n- retries: {attempts: 0}\n  " + m.to("grpcecho")[2:]
    program = GRPC + f"""
async def main():
    async with channel() as c:
        unsteady = c.unary_unary("/test.Echo/Unsteady")
        async def said(on, status):
            try:
                asked = f"%s-{{on}}:{{status}}".encode()
                await unsteady(asked, metadata=(("x-on", on),), timeout=10)
                return "OK"
            except grpc.aio.AioRpcError as error:
                return error.code().name
        return [[await said(on, status) for on in {RETRIED!r}]
                for status in (*[on.upper().replace("-", "_") for on in {RETRIED!r}], "ABORTED")]
"""  # fmt: skip
    net.weft("apply", "-f", "-", "--wait", stdin=m.routes("grpcecho", routes + rest))
    found = inside(net, program.replace("%s", "tried"))
    statuses = [*(on.upper().replace("-", "_") for on in RETRIED), "ABORTED"]
    for status, by_condition in zip(statuses, found, strict=True):
        for on, answer in zip(RETRIED, by_condition, strict=True):
            again = on.upper().replace("-", "_") == status
            assert answer == ("OK" if again else status), (on, status)
    net.weft("delete", "virtualservice", "grpcecho")


@pytest.mark.tools("curl")
def test_http2_cleartext_reaches_a_program_of_http_1(net: Instance) -> None:
    said = inside(net, """
async def main():
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "--noproxy", "*", "--http2-prior-knowledge", "-w", " %{http_version}",
        BASE + "/who", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    return (await process.communicate())[0].decode()
""")  # fmt: skip
    assert said == "v1 2"


# --- HTTP/1


def test_websocket_from_pod_to_pod(net: Instance) -> None:
    found = inside(net, """
async def main():
    async with ClientSession() as session, session.ws_connect(BASE + "/ws") as socket:
        answers = []
        for number in range(20):
            await socket.send_str(f"{number}:" + "x" * number * 500)
            answers.append(await socket.receive_str(timeout=5))
        await asyncio.sleep(1)  # silence is allowed
        await socket.send_str("late")
        answers.append(await socket.receive_str(timeout=5))
        return [a.partition(":")[2][:5] for a in answers]
""")  # fmt: skip
    assert found[3] == "3:xxx"
    assert found[-1] == "late"


def test_large_bodies(net: Instance) -> None:
    """20 MB each way, unchanged; also in chunks of unknown total length."""
    found = inside(net, """
async def main():
    data = os.urandom(1 << 20) * 20
    async def pieces():
        for start in range(0, len(data), 1 << 18):
            yield data[start:start + (1 << 18)]
    digest, results = hashlib.sha256(data).hexdigest(), []
    async with ClientSession() as session:
        for body in (data, pieces()):
            async with session.post(BASE + "/digest", data=body) as answer:
                results.append((await answer.text()) == digest)
        for query in ("", "&chunked=1"):
            async with session.get(f"{BASE}/size?bytes={20 << 20}{query}") as answer:
                got = await answer.read()
                results += [len(got), answer.headers.get("Transfer-Encoding", "")]
    return results
""")  # fmt: skip
    assert found[:2] == [True, True]
    assert found[2:4] == [20 << 20, ""]
    assert found[4:] == [20 << 20, "chunked"]


def test_answers_stream(net: Instance) -> None:
    """The first bytes arrive while the program is still writing."""
    first, last = inside(net, """
async def main():
    started = asyncio.get_running_loop().time()
    async with ClientSession() as session, session.get(BASE + "/drip") as answer:
        await answer.content.readline()
        first = asyncio.get_running_loop().time() - started
        await answer.content.read()
        return [first, asyncio.get_running_loop().time() - started]
""")  # fmt: skip
    assert last >= 1.0
    assert last - first > 0.6


RAW = """
async def talk(text, count=1, end_seconds=0.3):
    reader, writer = await asyncio.open_connection(WEB, PORT)
    found = []
    for _ in range(count):
        writer.write(text.replace("\\n", "\\r\\n").encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\\r\\n\\r\\n"), 5)).decode()
        lengths = [l for l in head.lower().splitlines() if l.startswith("content-length:")]
        body = await reader.readexactly(int(lengths[0].split(":")[1])) if lengths else b""
        found.append([head, body.decode()])
    at_end = False
    try:
        at_end = await asyncio.wait_for(reader.read(1), end_seconds) == b""
    except TimeoutError:
        pass
    writer.close()
    return found, at_end
"""


def test_keep_alive_and_http_1_0(net: Instance) -> None:
    found = inside(net, RAW + """
async def main():
    kept = await talk("GET /who HTTP/1.1\\nHost: web\\n\\n", 5)
    closed = await talk("GET /who HTTP/1.1\\nHost: web\\nConnection: close\\n\\n", 1, 10)
    old = await talk("GET /who HTTP/1.0\\nHost: web\\n\\n", 1, 10)
    return [kept, closed, old]
""")  # fmt: skip
    (kept, kept_end), (closed, closed_end), (old, old_end) = found
    assert [body for _, body in kept] == ["v1"] * 5
    assert not kept_end
    assert closed[0][1] == "v1"
    assert closed_end
    assert old[0][1] == "v1"
    assert old[0][0].startswith("HTTP/1.0 200")
    assert old_end


def test_headers_are_left_alone(net: Instance) -> None:
    """The program sees what the caller sent, the caller what the program answered."""
    request = (
        "GET /x?q=1%202&r=%2F HTTP/1.1\\nHost: web\\nUser-Agent: mine/1\\nX-Many: a\\n"
        "X-Many: b\\nCookie: a=1; b=2\\nAccept: */*\\nX-Empty:\\n"
        "X-Envoy-Upstream-Rq-Timeout-Ms: 1\\nX-Forwarded-For: 8.8.8.8\\n\\n"
    )
    found = inside(net, RAW + f"""
async def main():
    (((head, body),), _) = await talk("{request}")
    return [head, json.loads(body)]
""")  # fmt: skip
    head, seen = found
    headers = {k.lower(): v for k, v in seen["headers"].items()}
    assert seen["path"] == "/x?q=1%202&r=%2F"
    assert headers["user-agent"] == "mine/1"
    assert headers["cookie"] == "a=1; b=2"
    assert headers["x-empty"] == ""
    assert headers["host"] == "web"
    assert headers["x-forwarded-for"] == "8.8.8.8", "applications' own headers are kept"
    added = set(headers) - {
        "host", "user-agent", "x-many", "cookie", "accept", "x-empty", "x-forwarded-for",
    }  # fmt: skip
    assert added <= {"x-request-id", "x-forwarded-proto"}, added
    assert "python" in head.lower().partition("server:")[2].splitlines()[0]
    assert "x-envoy" not in head.lower()


def test_a_hundred_connections_at_once(net: Instance) -> None:
    found = inside(net, """
from aiohttp import TCPConnector
async def main():
    async with ClientSession(connector=TCPConnector(limit=0)) as session:
        async def one():
            async with session.get(BASE + "/slow?seconds=0.5") as answer:
                return answer.status
        return await asyncio.gather(*(one() for _ in range(100)))
""")  # fmt: skip
    assert Counter(found) == {200: 100}


# --- outside the mesh


class Outside(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"outside {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def outside() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Outside)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def entry(name: str, resolution: str, address: str, port: int) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.outside.example]
  location: MESH_EXTERNAL
  resolution: {resolution}
  ports: [{{number: {PORT}, name: http, protocol: HTTP, targetPort: {port}}}]
  endpoints: [{{address: {address}}}]
"""


def test_service_entries(net: Instance, outside: int) -> None:
    text = entry("fixed", "STATIC", "127.0.0.1", outside)
    text += entry("named", "DNS", "localhost", outside)
    net.weft("apply", "-f", "-", stdin=text)
    for name in ("fixed", "named"):
        url = f"http://{name}.outside.example:{PORT}/"

        def answered(url: str = url) -> str | None:
            status, body = ask(net, f"/call?url={url}", CLIENT)
            return body if status == 200 else None

        assert wait_for(answered, url).startswith(f"outside {name}.outside.example")


# --- who called


def test_source_address_cannot_be_made_up(net: Instance) -> None:
    """A hash by source address sends one caller to one pod, whatever X-Forwarded-For says."""
    rule = m.subsets("web", "{loadBalancer: {consistentHash: {useSourceIp: true}}}")
    net.weft("apply", "-f", "-", stdin=rule)
    program = """
async def main():
    pods = []
    async with ClientSession() as session:
        for number in range(16):
            headers = {"X-Forwarded-For": f"10.9.8.{number}"}
            async with session.get(BASE + "/x", headers=headers) as answer:
                pods.append((await answer.json())["pod"])
    return pods
"""
    wait_for(lambda: len(set(inside(net, program))) == 1, "one pod for one caller", 10)
    net.weft("delete", "destinationrule", "web")


def test_metrics_name_caller_and_callee(net: Instance) -> None:
    if net.running.isolation == "host":
        asked = ask(net, f"/call?url=http://web:{PORT}/who", CLIENT)
        assert asked == (200, "v1")

    def edges() -> set[tuple[str, str]]:
        _, text = net.api("/weft/v1/proxy-metrics")
        return {
            (sample.labels["source_workload"], sample.labels["destination_workload"])
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
            if sample.name in ("istio_requests_total", "istio_tcp_connections_opened_total")
        }

    wanted = {("ingress-gateway", "client-v1"), ("client-v1", "web-v1")}
    if net.running.isolation == "netns":
        wanted.add(("client-v1", "grpcecho-v1"))
    found = wait_for(lambda: (e := edges()) >= wanted and e, str(wanted), 10)
    assert ("web-v1", "client-v1") not in found
    _, text = net.api("/weft/v1/proxy-metrics")
    lines = [
        line
        for line in text.decode().splitlines()
        if "istio_requests_total{" in line
        and 'source_workload="client-v1"' in line
        and 'destination_workload="web-v1"' in line
    ]
    assert lines
    for part in (
        'source_principal="spiffe://cluster.local/ns/default/sa/default"',
        'destination_service="web.default.svc.cluster.local"',
        'destination_service_name="web"',
        'destination_version="v1"',
        'response_code="200"',
    ):
        assert any(part in line for line in lines), part


def test_top_and_graph_show_what_passed(net: Instance) -> None:
    """Proxies report every few seconds; both isolations have the gateway's calls."""
    assert ask(net, "/who", CLIENT)[0] == 200
    lines = wait_for(
        lambda: [line for line in net.weft("top", "workloads").splitlines() if "client-v1" in line],
        "the client's line",
        15,
    )
    namespace, workload, version, protocol, rate, errors, *_ = lines[0].split()
    assert (namespace, workload, version, protocol) == ("default", "client-v1", "v1", "http")
    assert float(rate.replace(",", "")) > 0
    assert errors.endswith("%")
    tree = net.weft("graph").splitlines()
    assert tree[0] == "weft-system/ingress-gateway"
    assert any("─ default/client-v1" in line for line in tree)
    _, text = net.api("/metrics")
    families = {f.name: f for f in text_string_to_metric_families(text.decode())}
    callers = {s.labels["source_workload"] for s in families["istio_requests"].samples}
    assert "ingress-gateway" in callers
    assert "apiserver_request" in families


def test_tap_shows_requests_while_somebody_looks(net: Instance) -> None:
    printed: list[str] = []
    arguments = ("tap", "--to", "client", "--count", "2", "-o", "json")
    looking = threading.Thread(target=lambda: printed.append(net.weft(*arguments)))
    looking.start()
    wait_for(
        lambda: ask(net, "/who?q=1", CLIENT)[0] == 200 and not looking.is_alive(), "two seen", 15
    )
    seen = [json.loads(line) for line in printed[0].splitlines()]
    assert [(r["method"], r["path"], r["status"]) for r in seen] == [("GET", "/who?q=1", 200)] * 2
    assert seen[0]["source"] == "weft-system/ingress-gateway"
    assert seen[0]["destination"] == "default/client-v1"
    assert seen[0]["number"] < seen[1]["number"]
