"""What `connectionPool` and `outlierDetection` of DestinationRules promise, field by field, and
retries: the server tells on which connection a request came, and fails when it is told to.

Each setting has a service of its own over the same pods, so that nothing waits for another rule.
"""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.root]

CLIENT = "client.example"
AT_ONCE = 8
REST = 2.5
"""Seconds, where a second is the limit."""

POOLS = {
    "plain": "{}",
    "once": "{http: {maxRequestsPerConnection: 1}}",
    "brief": "{tcp: {maxConnectionDuration: 1s}}",
    "idle": "{http: {idleTimeout: 1s}}",
    "upgraded": "{http: {h2UpgradePolicy: UPGRADE}}",
    "streams": "{http: {h2UpgradePolicy: UPGRADE, maxConcurrentStreams: 1}}",
    "same": "{http: {useClientProtocol: true}}",
    "few": "{tcp: {maxConnections: 1}}",
    "pending": "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 2}}",
    "retrying": "{http: {maxRetries: 1}}",
    "kept": "{tcp: {tcpKeepalive: {time: 7000s, interval: 75s, probes: 3}}}",
    "hole": "{tcp: {connectTimeout: 1s}}",
    "tried": "{}",
    "tried-newer": "{http: {h2UpgradePolicy: UPGRADE}}",
    "backed": "{}",
    "backed-by-route": "{}",
    "backed-by-policy": "{}",
    "bytes": "{}",
    "bytes-idle": "{tcp: {idleTimeout: 2s}}",
    "bytes-brief": "{tcp: {maxConnectionDuration: 1s}}",
}
BYTES = "7001"
PORTS = {"hole": "7002", "bytes": BYTES, "bytes-idle": BYTES, "bytes-brief": BYTES}

OUTLIERS = {
    "gateway-errors": "{consecutiveGatewayErrors: 2, consecutive5xxErrors: 0, MORE}",
    "all-errors": "{consecutive5xxErrors: 2, MORE}",
    "split": "{splitExternalLocalOriginErrors: true, consecutive5xxErrors: 2,"
    " consecutiveLocalOriginFailures: 0, MORE}",
    "short": "{consecutive5xxErrors: 1, interval: 0.2s, baseEjectionTime: 3s}",
    "one-at-most": "{consecutive5xxErrors: 1, interval: 0.2s, baseEjectionTime: 60s,"
    " maxEjectionPercent: 40}",
    "all-if-need-be": "{consecutive5xxErrors: 1, MORE}",
    "panic": "{consecutive5xxErrors: 1, minHealthPercent: 50, MORE}",
    "panic-too": "{consecutive5xxErrors: 1, MORE}",
    "by-rate": "{consecutive5xxErrors: 0, MORE}",
}
MORE = "interval: 0.2s, baseEjectionTime: 60s, maxEjectionPercent: 100"

TRIED = {
    "5xx": ("tried", "500", "404"),
    "gateway-error": ("tried", "502", "500"),
    "retriable-4xx": ("tried", "409", "404"),
    "418": ("tried", "418", "500"),
    "envoy-ratelimited": ("tried", "429&header=x-envoy-ratelimited", "429"),
    "reset": ("tried", "close", "503"),
    "refused-stream": ("tried-newer", "refuse", "503"),
}
"""retryOn -> service, a failure that is tried again, and one that is not."""
BACK_OFF_SECONDS = 2

POLICIES = """
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: panic-too}
spec:
  targetRef: {kind: Service, name: panic-too}
  panicThreshold: 50
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: by-rate}
spec:
  targetRef: {kind: Service, name: by-rate}
  outlierEjection:
    successRate: {minimumHosts: 3, requestVolume: 4, stdevFactor: 1}
    interval: 500ms
    baseEjectionTime: 60s
    maxEjectionPercent: 100
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: backed-by-policy}
spec:
  targetRef: {kind: Service, name: backed-by-policy}
  retry: {attempts: 1, retryOn: [5xx], backoff: 2s}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: backed-by-route}
spec:
  parentRefs: [{group: "", kind: Service, name: backed-by-route}]
  rules:
    - retry: {attempts: 1, codes: [500], backoff: 2s}
      backendRefs: [{name: backed-by-route, port: 80}]
"""


def wire(name: str, replicas: int) -> str:
    return m.echo(name, "v1", replicas).replace("echo:1", "wire:1")


def service(name: str, app: str, port: str) -> str:
    kind = "tcp" if port == BYTES else "http"
    return f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {app}}}
  ports: [{{name: {kind}, port: 80, targetPort: {port}}}]
"""


def rule(name: str, policy: str) -> str:
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name.replace(".", "-")}}}
spec: {{host: {name}, trafficPolicy: {policy}}}
"""


@pytest.fixture(scope="module")
def net(isolated: Instance) -> Instance:
    weft = isolated
    weft.image("wire:1", APPS / "wire", sys.executable, "app.py")
    text = m.echo("client") + "---" + wire("solo", 1) + "---" + wire("trio", 3)
    text += m.service("client") + m.gateway("front", "*.example") + POLICIES
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    for name, pool in POOLS.items():
        text += service(name, "solo", PORTS.get(name, "8080"))
        text += rule(name, f"{{connectionPool: {pool}}}")
    for name, detection in OUTLIERS.items():
        text += service(name, "trio", "8080")
        found = detection.replace("MORE", MORE)
        text += rule(name, f"{{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {found}}}")
    text += m.routes("hole", "- retries: {attempts: 0}\n  " + m.to("hole")[2:])
    for name in ("tried", "tried-newer"):
        text += m.routes(name, "".join(tries(on, name) for on in TRIED))
    retries = "retries: {attempts: 1, retryOn: 5xx, backoff: 2s}"
    text += m.routes("backed", f"- {retries}\n  " + m.to("backed")[2:])
    for name in ("plain", "retrying"):
        text += m.routes(name, "- retries: {attempts: 2, retryOn: 5xx}\n  " + m.to(name)[2:])
    for name in OUTLIERS:
        text += m.routes(name, "- retries: {attempts: 0}\n  " + m.to(name)[2:])
    weft.weft("apply", "-f", "-", "--wait", stdin=text)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "client answers")
    wait_for(lambda: told(weft, "plain", "/", 1)[0] == 200, "the server answers")
    return weft


def tries(on: str, host: str) -> str:
    """A route that tries once more, for requests that ask for it."""
    return f"""
- match: [{{queryParams: {{when: {{exact: "{on}"}}}}}}]
  retries: {{attempts: 1, retryOn: "{on}", retryIgnorePreviousHosts: false}}
  {m.to(host)[2:]}"""


START = """
import asyncio, json, time
from aiohttp import ClientSession, TCPConnector
async def told(session, service, path):
    async with session.get(f"http://{service}{path}") as answer:
        text = await answer.text()
        return [answer.status, json.loads(text) if text.startswith("{") else text]
def one():
    return ClientSession(connector=TCPConnector(limit=0))
"""


def inside(net: Instance, program: str) -> Any:
    return run_inside(net, CLIENT, START + program)


def told(net: Instance, service: str, path: str, count: int, at_once: bool = False) -> Any:
    """What requests were answered, one after the other or all at once."""
    each = f'told(session, "{service}", {path!r})'
    many = f"await asyncio.gather(*[{each} for _ in range({count})])"
    if not at_once:
        many = f"[await {each} for _ in range({count})]"
    found = inside(net, f"""
async def main():
    async with one() as session:
        return {many}
""")  # fmt: skip
    return found[0] if count == 1 else found


def connections(net: Instance, service: str, path: str, count: int, at_once: bool = False) -> int:
    found = told(net, service, path, count, at_once)
    assert {status for status, _ in found} == {200}, found
    return len({answer["connection"] for _, answer in found})


# --- connections


def test_requests_per_connection(net: Instance) -> None:
    assert connections(net, "plain", "/", 5) == 1
    assert connections(net, "once", "/", 5) == 5


def test_how_long_connections_last(net: Instance) -> None:
    """`brief` is used all the time, `idle` is not."""
    found = inside(net, f"""
async def main():
    async with one() as session:
        async def number(service):
            return (await told(session, service, "/"))[1]["connection"]
        names = ["plain", "brief", "idle"]
        before = [await number(name) for name in names]
        end = time.monotonic() + {REST}
        while time.monotonic() < end:
            await asyncio.sleep(0.25)
            await number("brief")
        return [before, [await number(name) for name in names]]
""")  # fmt: skip
    (plain, brief, idle), after = found
    assert after[0] == plain
    assert after[1] != brief
    assert after[2] != idle


def test_connections_and_streams_at_once(net: Instance) -> None:
    slow = "/?seconds=0.3"
    assert connections(net, "plain", slow, AT_ONCE, at_once=True) == AT_ONCE
    assert connections(net, "few", slow, AT_ONCE, at_once=True) == 1
    assert connections(net, "upgraded", slow, AT_ONCE, at_once=True) == 1
    assert connections(net, "streams", slow, AT_ONCE, at_once=True) == AT_ONCE


def test_requests_that_wait(net: Instance) -> None:
    found = told(net, "pending", "/?seconds=1", AT_ONCE, at_once=True)
    counted = Counter(status for status, _ in found)
    # The first one waits too, until it is connected.
    assert 2 <= counted[200] <= 3, counted
    assert counted[503] == AT_ONCE - counted[200]


@pytest.mark.tools("curl")
def test_which_http_the_server_is_spoken_to(net: Instance) -> None:
    def speaks(service: str, *options: str) -> str:
        words = ["curl", "-sS", *options, f"http://{service}/"]
        said = inside(net, f"""
async def main():
    process = await asyncio.create_subprocess_exec(*{words!r}, stdout=asyncio.subprocess.PIPE)
    return (await process.communicate())[0].decode()
""")  # fmt: skip
        return str(json.loads(said)["speaks"])

    newer = "--http2-prior-knowledge"
    assert speaks("plain") == speaks("plain", newer) == speaks("same") == "HTTP/1.1"
    assert speaks("upgraded") == speaks("upgraded", newer) == speaks("same", newer) == "HTTP/2"


def test_retries_at_once(net: Instance) -> None:
    """All tries fail. Without a limit each request is tried three times."""

    def tries(service: str) -> int:
        path = f"/?seconds=0.6&how=500&key={service}"
        assert {s for s, _ in told(net, service, path, AT_ONCE, at_once=True)} == {500}
        return int(told(net, service, f"/calls?key={service}", 1)[1])

    assert tries("plain") == AT_ONCE * 3
    assert AT_ONCE < tries("retrying") < AT_ONCE * 2


def test_a_server_that_lets_nobody_in(net: Instance) -> None:
    """Without `connectTimeout` it would be ten seconds."""
    found = inside(net, """
async def main():
    async with one() as session:
        started = time.monotonic()
        found = await told(session, "hole", "/")
        return [*found, time.monotonic() - started]
""")  # fmt: skip
    assert found[0] == 503, found
    assert 0.9 < found[2] < 6, found


@pytest.mark.tools("ss")
def test_the_kernel_watches_quiet_connections(net: Instance) -> None:
    (pod,) = net.items("pods", "app=solo")
    address = pod["status"]["podIP"]

    def watched() -> int:
        command = ["ss", "-tnoH", "state", "established", "dst", address]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return len(re.findall(r"timer:\(keepalive,11[0-9]min", shown))

    assert watched() == 0
    told(net, "kept", "/", 1)
    wait_for(lambda: watched() == 1, "the kernel's timer", 10)


def test_connections_of_bytes_end_too(net: Instance) -> None:
    """The one that is quiet, and the one that has been there for long enough."""
    found = inside(net, f"""
async def main():
    names, ended = ["bytes", "bytes-idle", "bytes-brief"], {{}}
    async def keep(name, pause):
        reader, writer = await asyncio.open_connection(name, 80)
        started = time.monotonic()
        while time.monotonic() < started + {REST + 1}:
            writer.write(b"x\\n")
            if await reader.readline() != b"x\\n":
                return True
            await asyncio.sleep(pause)
        writer.write(b"x\\n")
        return await reader.readline() != b"x\\n"
    async def all_of(pause):
        return await asyncio.gather(*[keep(name, pause) for name in names])
    return await asyncio.gather(all_of(0.2), all_of({REST + 1}))
""")  # fmt: skip
    assert found == [[False, False, True], [False, True, True]]


# --- retries


@pytest.mark.parametrize("on", TRIED)
def test_what_is_tried_again(net: Instance, on: str) -> None:
    service, again, not_again = TRIED[on]
    path = f"/?when={on}&key={on}&times=1&how={again}"
    status, answer = told(net, service, path, 1)
    assert (status, answer["pod"][:4]) == (200, "solo")
    status, _ = told(net, service, f"/?when={on}&key=not-{on}&times=1&how={not_again}", 1)
    assert status == int(not_again)
    assert told(net, "plain", f"/calls?key={on}", 1)[1] == "2"


def test_retries_are_put_off(net: Instance) -> None:
    """By a time that chance picks between nothing and `backoff`, so that those who failed together
    do not come again together."""
    found = inside(net, """
async def main():
    async with one() as session:
        async def timed(service, number):
            path = f"/?how=500&times=1&key={service}-{number}"
            started = time.monotonic()
            status, _ = await told(session, service, path)
            return [status, time.monotonic() - started]
        async def all_of(service):
            return await asyncio.gather(*[timed(service, n) for n in range(16)])
        names = ["backed", "backed-by-route", "backed-by-policy", "plain"]
        return await asyncio.gather(*[all_of(name) for name in names])
""")  # fmt: skip
    longest = [max(seconds for _, seconds in timed) for timed in found]
    assert {status for timed in found for status, _ in timed} == {200}
    # That all sixteen are below half of it happens once in 65,000 times.
    assert min(longest[:3]) > BACK_OFF_SECONDS / 2, longest
    assert max(longest[:3]) < BACK_OFF_SECONDS + 5, longest
    assert longest[3] < min(longest[:3]), longest


# --- ejection


def fails(net: Instance, service: str, how: str, who: str, count: int = 12) -> "Counter[int]":
    """How often requests were answered with which status, while a pod fails."""
    return Counter(s for s, _ in told(net, service, f"/?how={how}&{who}", count))


def serving(net: Instance, service: str) -> set[str]:
    """Who gets requests."""
    return {answer["pod"] for _, answer in told(net, service, "/", 12)}


def left(net: Instance, service: str, pods: list[str], *, lasting: bool = False) -> None:
    """These get requests, as soon as the proxy has taken over who is ejected: within a second."""
    wait_for(lambda: serving(net, service) == set(pods), f"{pods} of {service}", 15)
    if lasting:
        time.sleep(1.2)
        assert serving(net, service) == set(pods)


@pytest.fixture(scope="module")
def trio(net: Instance) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in net.ready_pods("app=trio"))


@pytest.mark.parametrize(
    ("service", "harmless", "ejecting"),
    [("gateway-errors", "500", "502"), ("all-errors", "404", "500"), ("split", "close", "503")],
)
def test_what_counts(
    net: Instance, trio: list[str], service: str, harmless: str, ejecting: str
) -> None:
    victim = f"only={trio[0]}"
    assert len(fails(net, service, harmless, victim)) == 2
    left(net, service, trio, lasting=True)
    assert len(fails(net, service, ejecting, victim)) == 2
    left(net, service, trio[1:])


def test_failures_to_connect_count_by_themselves(net: Instance, trio: list[str]) -> None:
    """Nobody listens at one of two endpoints."""
    first, second = (net.pod(name)["status"]["podIP"] for name in trio[:2])
    entry = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: %s}
spec:
  hosts: [%s.test]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: %s, ports: {http: 8080}}, {address: %s, ports: {http: 9}}]
"""
    text = ""
    for name, count in (("deaf", 2), ("heard", 0)):
        text += entry % (name, name, first, second)
        text += m.routes(
            name, "- retries: {attempts: 0}\n  " + m.to(f"{name}.test")[2:], f"{name}.test"
        )
        detection = OUTLIERS["split"].replace("MORE", MORE)
        detection = detection.replace("Failures: 0", f"Failures: {count}")
        text += rule(f"{name}.test", f"{{outlierDetection: {detection}}}")
    net.weft("apply", "-f", "-", "--wait", stdin=text)
    for name in ("deaf", "heard"):
        statuses = [status for status, _ in told(net, f"{name}.test", "/", 12)]
        assert {200, 503} == set(statuses)
    wait_for(lambda: {s for s, _ in told(net, "deaf.test", "/", 6)} == {200}, "ejected", 10)
    assert {s for s, _ in told(net, "heard.test", "/", 12)} == {200, 503}
    for on in ("connect-failure", "reset-before-request"):
        again = f"- retries: {{attempts: 1, retryOn: {on}}}\n  "
        text = m.routes("heard", again + m.to("heard.test")[2:], "heard.test")
        net.weft("apply", "-f", "-", "--wait", stdin=text)
        assert {s for s, _ in told(net, "heard.test", "/", 12)} == {200}, f"{on}: tried elsewhere"
        sent = f"/?how=close&key={on}"
        assert told(net, "heard.test", sent, 1)[0] == 503, f"{on}: the request was sent"


def test_endpoints_that_take_no_connections_of_bytes(net: Instance, trio: list[str]) -> None:
    first, second = (net.pod(name)["status"]["podIP"] for name in trio[:2])
    entry = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: bytes-test}}
spec:
  hosts: [bytes.test]
  resolution: STATIC
  ports: [{{number: 80, name: tcp, protocol: TCP}}]
  endpoints: [{{address: {first}, ports: {{tcp: 7001}}}}, {{address: {second}, ports: {{tcp: 9}}}}]
"""
    program = """
async def main():
    found = []
    for _ in range(12):
        try:
            reader, writer = await asyncio.open_connection("bytes.test", 80)
            writer.write(b"x\\n")
            found.append((await asyncio.wait_for(reader.readline(), 10)).decode())
            writer.close()
        except OSError:
            found.append("")
    return found
"""
    net.weft("apply", "-f", "-", "--wait", stdin=entry)
    wait_for(lambda: set(inside(net, program)) == {"x\n", ""}, "half of them fail", 15)
    detection = f"{{consecutive5xxErrors: 2, {MORE}}}"
    policy = f"{{loadBalancer: {{simple: ROUND_ROBIN}}, outlierDetection: {detection}}}"
    net.weft("apply", "-f", "-", "--wait", stdin=rule("bytes.test", policy))
    wait_for(lambda: set(inside(net, program)) == {"x\n"}, "ejected", 15)


def test_the_ejected_come_back(net: Instance, trio: list[str]) -> None:
    fails(net, "short", "500", f"only={trio[0]}")
    left(net, "short", trio[1:])
    left(net, "short", trio)


def test_how_many_are_ejected(net: Instance, trio: list[str]) -> None:
    """Two of three fail. At most 40 %: one of them goes on. Below half of healthy ones: panic."""
    for service in ("one-at-most", "all-if-need-be", "panic", "panic-too"):
        fails(net, service, "500", f"but={trio[0]}")
    left(net, "all-if-need-be", trio[:1])
    left(net, "panic", trio)
    left(net, "panic-too", trio)
    wait_for(lambda: len(serving(net, "one-at-most")) == 2, "one is ejected", 10)
    assert len(serving(net, "one-at-most")) == 2


def test_who_succeeds_less_often_than_the_others(net: Instance, trio: list[str]) -> None:
    def ejected() -> bool:
        return len(fails(net, "by-rate", "500", f"only={trio[0]}", 48)) == 1

    wait_for(ejected, "ejected by its success rate", 20)
    assert serving(net, "by-rate") == set(trio[1:])
