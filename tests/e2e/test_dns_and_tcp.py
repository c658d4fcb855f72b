"""Names, and connections that are not HTTP, as programs inside pods meet them."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

GREET_PORT = 2525
CLIENT = "client.example"
OTHER = "other.example"
GREETING_SECONDS_MAX = 1.5

SERVICES = f"""
---
apiVersion: v1
kind: Service
metadata: {{name: greeter}}
spec:
  selector: {{app: greeter}}
  ports:
    - {{name: http, port: 80, targetPort: http}}
    - {{name: tcp-greet, port: 2500, targetPort: {GREET_PORT}}}
    - {{name: smtp, port: 25, targetPort: {GREET_PORT}}}
    - {{name: misc, port: 2600, targetPort: {GREET_PORT}}}
    - {{name: open, port: 8000, targetPort: http}}
---
apiVersion: v1
kind: Service
metadata: {{name: greeter, namespace: other}}
spec:
  selector: {{app: greeter}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
apiVersion: v1
kind: Service
metadata: {{name: bare}}
spec:
  clusterIP: None
  selector: {{app: greeter}}
  ports:
    - {{name: http, port: 8080, targetPort: http}}
    - {{name: tcp-greet, port: {GREET_PORT}}}
---
apiVersion: v1
kind: Service
metadata: {{name: alias}}
spec:
  type: ExternalName
  externalName: greeter.other.svc.cluster.local
"""

GREETING = """
import asyncio, time
async def main():
    started = time.monotonic()
    reader, writer = await asyncio.wait_for(asyncio.open_connection({host!r}, {port}), 5)
    line = await asyncio.wait_for(reader.readline(), 5)
    took = time.monotonic() - started
    writer.close()
    return [line.decode(), took]
"""
ASKING = """
import dns.asyncresolver, dns.resolver
async def main():
    try:
        found = await dns.asyncresolver.resolve({name!r}, {kind!r}, search={search})
    except dns.resolver.NXDOMAIN:
        return "NXDOMAIN"
    except dns.resolver.NoAnswer:
        return "NOERROR"
    return sorted(str(record) for record in found)
"""


def greeter(version: str, replicas: int, namespace: str = "default") -> str:
    text = m.echo("greeter", version, replicas).replace(
        "env: [", f'env: [{{name: GREET_PORT, value: "{GREET_PORT}"}}, '
    )
    return text.replace("metadata:\n", f"metadata:\n  namespace: {namespace}\n", 1).replace(
        "containerPort: 8080}", f"containerPort: 8080}}, {{containerPort: {GREET_PORT}}}"
    )


@pytest.fixture(scope="module")
def town(weft: Instance) -> Instance:
    """A client and two greeters in default, another greeter in namespace `other`."""
    text = "---".join(
        [
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n",
            m.echo("client"),
            greeter("v1", 2),
            greeter("v2", 1, "other"),
        ]
    )
    text += SERVICES + m.service("client") + m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    text += m.routes(
        "other-front", m.to("greeter.other.svc.cluster.local"), "other.example", "front"
    )
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=greeter", 2)
    for host in (CLIENT, OTHER):
        wait_for(lambda h=host: ask(weft, "/who", h)[0] == 200, host)
    return weft


def resolve(town: Instance, name: str, kind: str = "A", search: bool = True) -> Any:
    return run_inside(town, CLIENT, ASKING.format(name=name, kind=kind, search=search))


def service_ip(town: Instance, name: str, namespace: str = "default") -> str:
    return str(town.read(f"/api/v1/namespaces/{namespace}/services/{name}")["spec"]["clusterIP"])


def addresses(town: Instance) -> list[str]:
    return sorted(p["status"]["podIP"] for p in town.ready_pods("app=greeter"))


@pytest.fixture
def named(town: Instance) -> Instance:
    if town.running.isolation != "netns":
        pytest.skip("host isolation has the host's own name server")
    return town


def test_names_of_services(named: Instance) -> None:
    ip = service_ip(named, "greeter")
    for name in (
        "greeter", "greeter.default", "greeter.default.svc", "greeter.default.svc.cluster.local",
        "greeter.default.svc.cluster.local.", "GREETER.Default",
    ):  # fmt: skip
        assert resolve(named, name) == [ip], name
    assert resolve(named, "greeter.other") == [service_ip(named, "greeter", "other")]
    assert resolve(named, "greeter", "AAAA") == "NOERROR"
    assert json.loads(ask(named, "/resolve?name=greeter", CLIENT)[1]) == [ip]


def test_short_names_mean_the_own_namespace(named: Instance) -> None:
    found = run_inside(named, OTHER, ASKING.format(name="greeter", kind="A", search=True))
    assert found == [service_ip(named, "greeter", "other")]


def test_names_that_do_not_exist(named: Instance) -> None:
    for name in ("nobody", "nobody.default.svc.cluster.local.", "greeter.nowhere"):
        assert resolve(named, name) == "NXDOMAIN", name


def test_srv_records(named: Instance) -> None:
    found = resolve(named, "_http._tcp.greeter.default.svc.cluster.local.", "SRV")
    assert [r.split()[2:] for r in found] == [["80", "greeter.default.svc.cluster.local."]]
    each = resolve(named, "_http._tcp.bare", "SRV")
    assert len(each) == 2
    assert {r.split()[2] for r in each} == {"8080"}
    target = each[0].split()[3]
    assert resolve(named, target)[0] in addresses(named)


def test_headless_service_names_every_endpoint(named: Instance) -> None:
    assert resolve(named, "bare") == addresses(named)
    assert resolve(named, "_tcp-greet._tcp.bare", "SRV")[0].split()[2] == str(GREET_PORT)


def test_external_name(named: Instance) -> None:
    assert resolve(named, "alias", "CNAME") == ["greeter.other.svc.cluster.local."]
    assert resolve(named, "alias") == [service_ip(named, "greeter", "other")]


def test_reverse_lookup(named: Instance) -> None:
    ip = service_ip(named, "greeter")
    name = ".".join(reversed(ip.split("."))) + ".in-addr.arpa."
    assert resolve(named, name, "PTR") == ["greeter.default.svc.cluster.local."]


def test_one_service_name_in_two_namespaces(town: Instance) -> None:
    wanted = {"greeter": "v1", "greeter.default": "v1", "greeter.other": "v2"}
    for name, version in wanted.items():
        assert ask(town, f"/call?url=http://{name}/who", CLIENT) == (200, version), name
    assert ask(town, "/call?url=http://greeter/who", OTHER) == (200, "v2")
    assert ask(town, "/call?url=http://greeter.default/who", OTHER) == (200, "v1")


def test_external_name_of_a_service_is_routed(town: Instance) -> None:
    assert ask(town, "/call?url=http://alias/who", CLIENT) == (200, "v2")


def test_headless_service_over_http(town: Instance) -> None:
    assert ask(town, "/call?url=http://bare:8080/who", CLIENT) == (200, "v1")


def test_server_first_protocol_is_not_delayed(town: Instance) -> None:
    """By port name, by well-known port number; from inside a pod."""
    ip = service_ip(town, "greeter")
    smtp = 25 if os.geteuid() == 0 else 8025  # where the port of an ordinary user's service is
    for port in (2500, smtp):
        for _ in range(3):
            line, took = run_inside(town, CLIENT, GREETING.format(host=ip, port=port))
            assert line.startswith("220 greeter-v1")
            assert took < GREETING_SECONDS_MAX, (port, took)


def test_tcp_connections_are_spread(town: Instance) -> None:
    ip = service_ip(town, "greeter")
    lines = {run_inside(town, CLIENT, GREETING.format(host=ip, port=2500))[0] for _ in range(12)}
    assert len(lines) == 2


def test_an_undeclared_port_carries_http_and_bytes(town: Instance) -> None:
    """Without a protocol in its name a port is looked at; a server that speaks first is heard."""
    assert ask(town, "/call?url=http://greeter:8000/who", CLIENT) == (200, "v1")
    ip = service_ip(town, "greeter")
    line, took = run_inside(town, CLIENT, GREETING.format(host=ip, port=2600))
    assert line.startswith("220 greeter-v1")
    assert took < 3, took


def test_pod_addresses_can_be_called(town: Instance) -> None:
    pod = town.ready_pods("app=greeter")[0]
    ip = pod["status"]["podIP"]
    port, greet_port = 8080, GREET_PORT
    if town.running.isolation == "host":
        return  # ports of pods are the host's there, and differ from the container's
    program = """
from aiohttp import ClientSession
async def main():
    async with ClientSession() as session, session.get("http://{}:{}/x") as answer:
        return await answer.json()
"""
    assert run_inside(town, CLIENT, program.format(ip, port))["pod"] == pod["metadata"]["name"]
    line, took = run_inside(town, CLIENT, GREETING.format(host=ip, port=greet_port))
    assert line.strip() == f"220 {pod['metadata']['name']}"
    assert took < GREETING_SECONDS_MAX


def test_nothing_listens(named: Instance) -> None:
    """A port that the service does not have leads nowhere."""
    ip = service_ip(named, "greeter")
    program = f"""
import asyncio
async def main():
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection({ip!r}, 9999), 10)
        writer.write(b"hello")
        return (await asyncio.wait_for(reader.read(), 1)).decode()
    except OSError as error:
        return repr(error)
"""
    assert "220" not in run_inside(named, CLIENT, program)


def test_the_api_server_can_be_reached(town: Instance) -> None:
    program = """
import os, ssl
from aiohttp import ClientSession
async def main():
    found = []
    service = os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
    for host in ({hosts}):
        url = f"https://{{host}}/version"
        async with ClientSession() as session, session.get(url, ssl=False) as answer:
            found.append(answer.status)
    return found
"""
    hosts = "service, 'kubernetes.default'" if town.running.isolation == "netns" else "service,"
    statuses = run_inside(town, CLIENT, program.format(hosts=hosts))
    assert statuses
    assert set(statuses) <= {200, 401, 403}


REDIS = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: redis}
spec:
  selector: {matchLabels: {app: redis}}
  template:
    metadata: {labels: {app: redis}}
    spec:
      containers:
        - name: redis
          image: redis:7
          args: ["--port", "$(PORT)", "--protected-mode", "no", "--save", ""]
          ports: [{name: redis, containerPort: 6379}]
          readinessProbe: {tcpSocket: {port: redis}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: redis}
spec:
  selector: {app: redis}
  ports: [{name: redis, port: 6379, targetPort: redis}]
"""


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis(town: Instance) -> None:
    town.image("redis:7", Path("/tmp"), shutil.which("redis-server") or "")
    town.weft("apply", "-f", "-", stdin=REDIS)
    town.wait_ready("app=redis", 1)
    ip = service_ip(town, "redis")
    program = f"""
import redis.asyncio as redis
async def main():
    client = redis.Redis(host={ip!r}, port=6379)
    await client.set("key", b"x" * 100_000)
    async with client.pipeline() as pipe:
        for _ in range(100):
            pipe.incr("n")
        counted = await pipe.execute()
    size = len(await client.get("key"))
    await client.aclose()
    return [counted[-1], size]
"""
    wait_for(lambda: run_inside(town, CLIENT, program)[1] == 100_000, "an answer of redis")
    if town.running.isolation == "netns":
        assert run_inside(town, CLIENT, program.replace(repr(ip), "'redis'"))[0] >= 200
