"""What happens when a back end fails: others take over, or the failure is returned at once."""

import json
import sys
from collections import Counter
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"


def named(name: str, app: str, extra: str = "", image: str = "lag") -> str:
    """A pod that answers with its name."""
    return f"""
---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels: {{app: {app}, version: {name}}}
  {extra}
spec:
  terminationGracePeriodSeconds: 2
  containers:
    - name: app
      image: {image}:1
      env: [{{name: NAME, value: {name}}}]
      ports: [{{name: http, containerPort: 8080}}]
      readinessProbe:
        httpGet: {{path: /health, port: http}}
        periodSeconds: 1
        failureThreshold: 1
"""


def policy(text: str, name: str = "main") -> str:
    return f"""
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {{name: {name}}}
spec:
  targetRef: {{kind: Service, name: {name}}}
{text}
"""


SUBSETS = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: main}
spec:
  host: main
  subsets:
    - {name: one, labels: {version: main-1}}
    - {name: two, labels: {version: main-2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: main}
spec:
  hosts: [main]
  http:
    - match: [{headers: {x-subset: {exact: one}}}]
      route: [{destination: {host: main, subset: one}}]
    - route: [{destination: {host: main}}]
"""


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def net(weft: Instance) -> Instance:
    weft.image("lag:1", APPS / "lag", sys.executable, "app.py")
    text = m.echo("client") + m.service("client")
    text += named("main-1", "main") + named("main-2", "main") + named("spare-1", "spare")
    text += named("heavy", "weighed", "annotations: {weft.dev/weight: '9'}")
    text += named("light", "weighed")
    for name in ("main", "spare", "weighed"):
        text += m.service(name, 8000)
    text += "---" + m.echo("flaky", "v1", 2) + m.service("flaky", 8000)
    text += m.gateway("front", "*.example") + SUBSETS
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    for name, count in (("main", 2), ("spare", 1), ("weighed", 2), ("flaky", 2)):
        weft.wait_ready(f"app={name}", count)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "client answers")
    wait_for(lambda: set(names(weft, "main")) == {"main-1", "main-2"}, "main answers")
    wait_for(lambda: set(names(weft, "weighed", 20)) == {"heavy", "light"}, "both answer")
    return weft


CALL = """
import asyncio, os
from aiohttp import ClientSession
async def call(session, service, path, **headers):
    proxy = os.environ.get("http_proxy")
    url = (proxy or f"http://{service}:8000") + path
    async with session.get(url, headers={"Host": f"{service}:8000", **headers}) as answer:
        return [answer.status, await answer.text()]
"""


def calls(net: Instance, service: str, count: int, path: str, subset: str = "") -> list[Any]:
    headers = f", **{{'x-subset': '{subset}'}}" if subset else ""
    found: list[Any] = run_inside(net, CLIENT, CALL + f"""
async def main():
    async with ClientSession() as session:
        return [await call(session, "{service}", "{path}"{headers}) for _ in range({count})]
""")  # fmt: skip
    return found


def names(net: Instance, service: str, count: int = 12, subset: str = "") -> "Counter[str]":
    """Who answered with 200; "" for other answers."""
    found = calls(net, service, count, "/", subset)
    return Counter(text if status == 200 else "" for status, text in found)


def tell(net: Instance, pod: str, path: str) -> None:
    """POST to one pod itself."""
    found = net.pod(pod)
    ports = json.loads(found["metadata"]["annotations"].get("weft.dev/host-ports", "{}"))
    url = f"http://{found['status']['podIP']}:{ports.get('8080', 8080)}{path}"
    run_inside(net, CLIENT, f"""
import urllib.request
async def main():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{}}))
    await asyncio.to_thread(opener.open, urllib.request.Request("{url}", method="POST"), timeout=5)
import asyncio
""")  # fmt: skip


def sick(net: Instance, pod: str, value: str) -> None:
    """Make a pod's readiness probe fail, or succeed."""
    tell(net, pod, f"/change?sick={value}")


def test_another_service_takes_over(net: Instance) -> None:
    """While a service has healthy endpoints it gets everything; then its spare does."""
    net.weft("apply", "-f", "-", stdin=policy("  failover: [{service: spare}]"))
    assert set(names(net, "main")) == {"main-1", "main-2"}
    for pod in ("main-1", "main-2"):
        sick(net, pod, "true")
    wait_for(lambda: set(names(net, "main", 4)) == {"spare-1"}, "the spare answers", 15)
    sick(net, "main-1", "false")
    wait_for(lambda: set(names(net, "main", 4)) == {"main-1"}, "the service answers again", 15)
    sick(net, "main-2", "false")
    net.wait_ready("app=main", 2)
    net.weft("delete", "backendpolicy", "main")


def test_another_subset_takes_over(net: Instance) -> None:
    wait_for(lambda: set(names(net, "main", 4, "one")) == {"main-1"}, "subset one answers", 15)
    net.weft("apply", "-f", "-", stdin=policy("  failover: [{subset: two}, {service: spare}]"))
    sick(net, "main-1", "true")
    wait_for(lambda: set(names(net, "main", 4, "one")) == {"main-2"}, "subset two answers", 15)
    sick(net, "main-2", "true")
    wait_for(lambda: set(names(net, "main", 4, "one")) == {"spare-1"}, "the spare answers", 15)
    for pod in ("main-1", "main-2"):
        sick(net, pod, "false")
    net.wait_ready("app=main", 2)
    wait_for(lambda: set(names(net, "main", 4, "one")) == {"main-1"}, "as before", 15)
    net.weft("delete", "backendpolicy", "main")


def flaky(net: Instance, key: str, status: int) -> list[int]:
    """Statuses of four requests; the first of each pair fails in the program."""
    path = f"/flaky?key={key}&times=1&status={status}"
    return [found[0] for found in calls(net, "flaky", 4, path)]


def test_failures_are_returned_at_once_or_retried(net: Instance) -> None:
    """Without a policy a 503 is tried elsewhere. `attempts: 0` is the direct return."""
    assert flaky(net, "usual", 503).count(200) == 4
    net.weft("apply", "-f", "-", stdin=policy("  retry: {attempts: 0}", "flaky"))
    numbers = iter(range(1000))
    wait_for(lambda: 503 in flaky(net, f"none{next(numbers)}", 503), "no retries", 15)
    text = "  retry: {attempts: 3, retryOn: [retriable-4xx], statusCodes: [418]}"
    net.weft("apply", "-f", "-", stdin=policy(text, "flaky"))
    for status in (409, 418):
        wait_for(
            lambda status=status: set(flaky(net, f"more{next(numbers)}", status)) == {200},
            f"{status} is retried", 15,
        )  # fmt: skip
    assert 500 in flaky(net, "other", 500), "nothing else is"
    net.weft("delete", "backendpolicy", "flaky")


def test_timeouts_of_a_service(net: Instance) -> None:
    """A request that takes too long, and an answer that pauses too long."""
    text = "  retry: {attempts: 0}\n  timeouts: {request: 500ms}"
    net.weft("apply", "-f", "-", stdin=policy(text, "flaky"))
    slow = "/slow?seconds=2"
    wait_for(lambda: calls(net, "flaky", 1, slow)[0][0] == 504, "504 after half a second", 15)
    assert calls(net, "flaky", 1, "/slow?seconds=0")[0][0] == 200
    text = "  retry: {attempts: 0}\n  timeouts: {idle: 700ms}"
    net.weft("apply", "-f", "-", stdin=policy(text, "flaky"))
    drip = "/drip"  # a byte every tenth of a second, for longer than that
    wait_for(lambda: calls(net, "flaky", 1, drip)[0][0] == 200, "a slow answer that goes on", 15)
    assert calls(net, "flaky", 1, slow)[0][0] == 504
    net.weft("delete", "backendpolicy", "flaky")


def test_weights_of_pods(net: Instance) -> None:
    """The annotation `weft.dev/weight`: nine to one."""
    found = names(net, "weighed", 200)
    assert 150 <= found["heavy"] <= 199, found
    assert found["light"] >= 1, found


def test_ejection_by_failure_percentage(net: Instance) -> None:
    """One of two pods fails every request; it is ejected, not for errors in a row."""
    text = """
  retry: {attempts: 0}
  outlierEjection:
    failurePercentage: {threshold: 50, minimumHosts: 2, requestVolume: 5}
    interval: 500ms
    baseEjectionTime: 60s
    maxEjectionPercent: 50
"""
    net.weft("apply", "-f", "-", stdin=policy(text, "flaky"))
    tell(net, net.ready_pods("app=flaky")[0]["metadata"]["name"], "/broken?value=true")

    def broken(count: int) -> int:
        return sum(status == 503 for status, _ in calls(net, "flaky", count, "/who"))

    assert broken(10) > 0
    wait_for(lambda: broken(10) == 0, "the broken pod is ejected", 30)
    net.weft("delete", "backendpolicy", "flaky")
