"""Ports that declare no protocol: servers that speak first are found out, and heard at once."""

import json
import sys
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
PORT = 4242
"""One of those that are looked into for HTTP only because a service has it undeclared."""
INSPECTION_SECONDS = 2.0
"""What a silent client of an undeclared port waits for."""
LEARNED = "weft.dev/learned-protocols"


def mail(replicas: int, image: str = "plain:1") -> str:
    """Servers that begin, or (another image) wait for a request."""
    return f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: mail}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: mail}}}}
  template:
    metadata: {{labels: {{app: mail}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: mail
          image: {image}
          ports: [{{name: greet, containerPort: 2525}}]
"""


SERVICES = f"""
---
apiVersion: v1
kind: Service
metadata: {{name: mail}}
spec:
  selector: {{app: mail}}
  ports: [{{name: mail, port: {PORT}, targetPort: greet}}]
---
apiVersion: v1
kind: Service
metadata: {{name: open}}
spec:
  selector: {{app: client}}
  ports: [{{name: open, port: {PORT + 1}, targetPort: http}}]
"""


@pytest.fixture(scope="module")
def net(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("plain:1", APPS / "plain", sys.executable, "app.py")
    text = m.echo("client") + m.service("client") + mail(2) + SERVICES
    text += m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=mail", 2)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "client answers")
    return weft


def pinned(net: Instance, name: str) -> dict[str, str]:
    service = net.read(f"/api/v1/namespaces/default/services/{name}")
    found: dict[str, str] = json.loads(
        service["metadata"].get("annotations", {}).get(LEARNED, "{}")
    )
    return found


def greeting(net: Instance) -> Any:
    """The first line that the service says to a silent client, and after how many seconds."""
    address = net.read("/api/v1/namespaces/default/services/mail")["spec"]["clusterIP"]
    return run_inside(net, CLIENT, f"""
import asyncio, time
async def main():
    started = time.monotonic()
    reader, writer = await asyncio.open_connection("{address}", {PORT})
    try:
        line = await asyncio.wait_for(reader.readline(), 10)
    except TimeoutError:
        line = b""
    writer.close()
    return [line.decode(), time.monotonic() - started]
""")  # fmt: skip


def test_servers_that_speak_first_are_heard_at_once(net: Instance) -> None:
    wait_for(lambda: pinned(net, "mail") == {str(PORT): "tcp"}, "learned", 15)

    def quick() -> bool:
        line, seconds = greeting(net)
        return bool(line.startswith("220 ")) and seconds < INSPECTION_SECONDS / 2

    wait_for(lambda: all(quick() for _ in range(3)), "undelayed greetings, one after another", 20)
    codes = {(d["code"], d["name"]) for d in net.status()["diagnostics"]}
    assert ("WEFT2490", "mail") in codes
    assert ("WEFT2403", "open") in codes
    events = [e for e in net.items("events") if e["reason"] == "ProtocolLearned"]
    assert {e["involvedObject"]["name"] for e in events} == {"mail"}


def test_http_is_not_pinned(net: Instance) -> None:
    assert pinned(net, "open") == {}
    url = f"http://open:{PORT + 1}/who"
    assert ask(net, f"/call?url={url}", CLIENT) == (200, "v1")


def test_what_was_learned_is_taken_back(net: Instance) -> None:
    """Other servers, which wait for the client: the port is looked into again, and HTTP is HTTP."""
    net.weft("apply", "-f", "-", stdin=mail(1, "echo:1"))
    wait_for(lambda: pinned(net, "mail") == {}, "taken back", 30)
    wait_for(
        lambda: ask(net, f"/call?url=http://mail:{PORT}/who", CLIENT)[0] == 200, "HTTP answers", 20
    )
