"""Changes of the configuration while traffic goes on, and connections that last."""

import json
import time

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
LINES_PORT = 7000

SERVICES = f"""
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec:
  selector: {{app: web}}
  ports:
    - {{name: http, port: 8000, targetPort: http}}
    - {{name: unnamed, port: 8100, targetPort: http}}
---
apiVersion: v1
kind: Service
metadata: {{name: lines}}
spec:
  selector: {{app: web}}
  ports:
    - {{name: tcp, port: 8000, targetPort: {LINES_PORT}}}
    - {{name: tcp-other, port: 8001, targetPort: {LINES_PORT}}}
"""

HOST = """
import asyncio, os
from aiohttp import ClientSession
INSIDE = "http_proxy" not in os.environ
LINES = "lines" if INSIDE else os.environ["LINES_SERVICE_HOST"]
WEB = "web" if INSIDE else os.environ["WEB_SERVICE_HOST"]
"""


@pytest.fixture(scope="module")
def town(weft: Instance) -> Instance:
    web = m.echo("web").replace("env: [", f'env: [{{name: LINE_SERVER, value: "{LINES_PORT}"}}, ')
    web = web.replace(
        "containerPort: 8080}", f"containerPort: 8080}}, {{containerPort: {LINES_PORT}}}"
    )
    text = m.echo("client") + "---" + web + SERVICES + m.service("client")
    text += m.gateway("front", "*.example") + m.routes("client", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=web", 1)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, CLIENT)
    wait_for(lambda: inside(weft, HELLO) == [200, 200], "services of the mesh")
    return weft


HELLO = """
async def main():
    found = []
    async with ClientSession() as session:
        for port in (8000, 8100):
            async with session.get(f"http://{WEB}:{port}/who") as answer:
                found.append(answer.status)
    return found
"""


def inside(town: Instance, program: str) -> object:
    return run_inside(town, CLIENT, HOST + program)


def test_one_port_number_is_http_here_and_bytes_there(town: Instance) -> None:
    assert inside(town, HELLO) == [200, 200]
    assert inside(town, HALF_CLOSE) == ["one\n", "two\n", "total 8\n"]


HALF_CLOSE = """
async def main():
    reader, writer = await asyncio.open_connection(LINES, 8000)
    writer.write(b"one\\n")
    found = [(await asyncio.wait_for(reader.readline(), 5)).decode()]
    writer.write(b"two\\n")
    writer.write_eof()
    found += [(await asyncio.wait_for(reader.readline(), 5)).decode() for _ in range(2)]
    return found
"""


def test_connections_outlive_changes_of_the_configuration(town: Instance) -> None:
    """Services, gateways and routes come and go; a TCP stream and a WebSocket go on, longer than
    a drained listener would keep them."""
    start = """
import builtins
async def main():
    kept = builtins.KEPT = {}
    kept["tcp"] = await asyncio.open_connection(LINES, 8000)
    kept["session"] = ClientSession()
    kept["ws"] = await kept["session"].ws_connect(f"http://{WEB}:8000/ws")
    return True
"""
    check = """
import builtins
async def main():
    kept = builtins.KEPT
    reader, writer = kept["tcp"]
    writer.write(b"still\\n")
    line = await asyncio.wait_for(reader.readline(), 3)
    await kept["ws"].send_str("here")
    word = await kept["ws"].receive_str(timeout=3)
    return [line.decode().strip(), word.partition(":")[2]]
"""
    assert inside(town, start) is True
    assert inside(town, check) == ["still", "here"]
    for number in range(4):
        text = f"""
apiVersion: v1
kind: Service
metadata: {{name: more-{number}}}
spec:
  selector: {{app: web}}
  ports:
    - {{name: http, port: {8200 + number}, targetPort: http}}
    - {{name: tcp, port: {20300 + number}, targetPort: {LINES_PORT}}}
"""
        text += m.gateway(f"more-{number}", "*.more", 8400 + number)
        text += m.routes(f"more-{number}", m.to("web"), f"web-{number}.more", f"more-{number}")
        text += m.routes("web", f"- timeout: {number + 1}s\n  " + m.to("web")[2:])
        town.weft("apply", "-f", "-", stdin=text)
        assert inside(town, check) == ["still", "here"], number
    started = time.monotonic()
    while time.monotonic() - started < 7:
        assert inside(town, check) == ["still", "here"]
        time.sleep(0.5)
    names = [f"more-{number}" for number in range(4)]
    for kind in ("service", "gateway"):
        town.weft("delete", kind, *names)
    town.weft("delete", "virtualservice", "web", *names)
    assert inside(town, check) == ["still", "here"]


def test_a_service_comes_goes_and_comes_again(town: Instance) -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: brief}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}]
"""
    url = "/call?url=http://brief/who"
    for _ in range(2):
        town.weft("apply", "-f", "-", stdin=service)
        wait_for(lambda: ask(town, url, CLIENT)[0] == 200, "reachable", 10)
        town.weft("delete", "service", "brief")
        wait_for(lambda: ask(town, url, CLIENT)[0] != 200, "gone", 10)


def test_ports_of_a_service_change(town: Instance) -> None:
    service = """
apiVersion: v1
kind: Service
metadata: {name: moving}
spec:
  selector: {app: web}
  ports: [{name: %s, port: %s, targetPort: %s}]
"""
    program = """
async def main():
    host = "moving" if INSIDE else (await address())
    reader, writer = await asyncio.open_connection(host, 8500)
    writer.write(b"GET /who HTTP/1.1\\r\\nHost: moving\\r\\nConnection: close\\r\\n\\r\\n")
    return (await asyncio.wait_for(reader.read(100), 3)).decode()
async def address():
    return ADDRESS
"""

    def answer() -> str:
        try:
            found = town.read("/api/v1/namespaces/default/services/moving")
            ip = json.dumps(found["spec"]["clusterIP"])
            return str(inside(town, f"ADDRESS = {ip}\n{program}"))
        except AssertionError as error:
            return str(error)

    town.weft("apply", "-f", "-", stdin=service % ("http", 8500, "http"))
    wait_for(lambda: answer().startswith("HTTP/1.1 200"), "HTTP", 10)
    town.weft("apply", "-f", "-", stdin=service % ("tcp", 8500, LINES_PORT))
    wait_for(lambda: answer().startswith("GET /who"), "bytes sent back", 10)
    town.weft("apply", "-f", "-", stdin=service % ("http", 8500, "http"))
    wait_for(lambda: answer().startswith("HTTP/1.1 200"), "HTTP again", 10)


def test_pods_of_one_name_follow_each_other(town: Instance) -> None:
    """The name comes back at once, the address and the network namespace are new."""
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: again, labels: {app: again}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
    - name: echo
      image: echo:1
      env: [{name: VERSION, value: "%s"}]
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {httpGet: {path: /who, port: http}, periodSeconds: 1}
"""
    town.weft("apply", "-f", "-", stdin=pod % 0 + m.service("again"))
    url, path = "/call?url=http://again/who", "/api/v1/namespaces/default/pods/again"
    for number in range(1, 4):
        town.wait_ready("app=again", 1)
        wait_for(lambda n=number: ask(town, url, CLIENT) == (200, str(n - 1)), "it answers", 10)
        town.weft("delete", "pod", "again")
        wait_for(lambda: town.api(path)[0] == 404, "it is gone", 10)
        town.weft("apply", "-f", "-", stdin=pod % number)
    town.wait_ready("app=again", 1)


def test_methods_and_answers_without_bodies(town: Instance) -> None:
    found = inside(
        town,
        """
async def main():
    base, found = f"http://{WEB}:8000", []
    async with ClientSession() as session:
        for method in ("HEAD", "OPTIONS", "DELETE", "PATCH", "PUT"):
            data = b"body" if method != "HEAD" else None
            async with session.request(method, base + "/x", data=data) as answer:
                text = await answer.text()
                found.append([method, answer.status, '"body": "body"' in text])
        async with session.post(base + "/x", data=b"y" * 100_000, expect100=True) as answer:
            found.append(["100", answer.status, len((await answer.json())["body"])])
        url, headers = base + "/x?q=" + "a" * 6000, {"X-Large": "b" * 7000}
        async with session.get(url, headers=headers) as answer:
            found.append(["large", answer.status, True])
    return found
""",
    )
    assert found == [
        ["HEAD", 200, False],
        *([method, 200, True] for method in ("OPTIONS", "DELETE", "PATCH", "PUT")),
        ["100", 200, 100_000],
        ["large", 200, True],
    ]


def test_a_namespace_goes_with_all_it_holds(town: Instance) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: brief}\n---"
    text += m.echo("web").replace("metadata:\n", "metadata:\n  namespace: brief\n", 1)
    text += m.service("web", 8000).replace("metadata:\n", "metadata:\n  namespace: brief\n", 1)
    town.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: ask(town, "/call?url=http://web.brief:8000/who", CLIENT)[0] == 200, "answers")
    town.weft("delete", "namespace", "brief")
    wait_for(lambda: town.api("/api/v1/namespaces/brief")[0] == 404, "the namespace is gone")
    assert town.items("pods", namespace="brief") == []
    assert inside(town, HELLO) == [200, 200]
