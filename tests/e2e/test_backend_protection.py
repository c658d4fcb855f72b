"""BackendPolicies that protect a service: admission control, limits of request bodies, compressed
responses, limits that follow the latency; retries at the time that an answer names."""

import gzip
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, wait_for

pytestmark = pytest.mark.e2e

HOST = "guarded.example"
POLICY = """
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: guarded}
spec:
  targetRef: {kind: Service, name: guarded}
  retry: {attempts: 0}
  maxRequestBytes: 1000
  compression: [gzip]
  admissionControl: {samplingWindow: 3s, aggression: 1.5, maxRejectionPercent: 95}
"""


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def guarded(weft: Instance) -> Instance:
    text = (
        m.echo("guarded")
        + m.service("guarded", extra="publishNotReadyAddresses: true")
        + POLICY
        + m.gateway("front", HOST)
    )
    weft.weft("apply", "-f", "-", stdin=text + m.routes("front", m.to("guarded"), HOST, "front"))
    weft.wait_ready("app=guarded", 1)

    def there() -> bool:
        try:
            return ask(weft, "/who", HOST)[0] == 200
        except OSError:
            return False

    wait_for(there, "the service answers")
    return weft


def post(weft: Instance, size: int) -> int:
    return ask(weft, "/", HOST, method="POST", body=b"x" * size)[0]


def test_long_bodies_are_refused(guarded: Instance) -> None:
    assert post(guarded, 900) == 200
    wait_for(lambda: post(guarded, 2000) == 413, "413")


def test_responses_are_compressed_for_those_who_take_it(guarded: Instance) -> None:
    def encoding(accepted: str) -> tuple[str, bytes]:
        request = urllib.request.Request(
            guarded.gateway() + "/", b"x" * 900, {"Host": HOST, "Accept-Encoding": accepted}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            return answer.headers.get("content-encoding", ""), answer.read()

    assert encoding("identity")[0] == ""
    name, body = encoding("gzip")
    assert name == "gzip"
    assert len(body) < 600
    assert b"x" * 900 in gzip.decompress(body)


def test_requests_are_refused_while_too_many_fail(guarded: Instance) -> None:
    def refused() -> int:
        """Of 40 requests, those that the proxy answers itself, without a body."""
        return sum(ask(guarded, "/who", HOST) == (503, "") for _ in range(40))

    assert refused() == 0
    ask(guarded, "/broken?value=true", HOST, method="POST")
    wait_for(lambda: refused() >= 10, "the proxy refuses", 20)
    mend = "/broken?value=false"
    wait_for(lambda: ask(guarded, mend, HOST, method="POST")[0] == 200, "a request gets through")
    wait_for(lambda: all(ask(guarded, "/who", HOST)[0] == 200 for _ in range(10)), "recovered")


NARROW = "narrow.example"
FREE = "free.example"
LATENCY = 0.1
AT_ONCE = 2
CALLERS = 12
HELD = f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: narrow}}
spec:
  selector: {{matchLabels: {{app: narrow}}}}
  template:
    metadata: {{labels: {{app: narrow}}}}
    spec:
      containers:
        - name: lag
          image: lag:1
          env:
            - {{name: NAME, value: narrow}}
            - {{name: DELAY, value: "{LATENCY}"}}
            - {{name: AT_ONCE, value: "{AT_ONCE}"}}
          ports: [{{name: http, containerPort: 8080}}]
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {{name: narrow}}
spec:
  targetRef: {{kind: Service, name: narrow}}
  adaptiveConcurrency:
    {{baselineRequests: 8, minConcurrency: {AT_ONCE}, headroom: 30, updateInterval: 500ms}}
  retry:
    attempts: 1
    statusCodes: [429]
    retryAfter: [{{header: x-reset}}]
    maxRetryAfter: 5s
"""


@pytest.fixture(scope="module")
def narrow(guarded: Instance) -> Instance:
    """The same pods behind two services, of which one follows their latency."""
    guarded.image("lag:1", APPS / "lag", sys.executable, "app.py")
    text = HELD + m.service("narrow") + m.service("narrow").replace("name: narrow", "name: free")
    for name, host in (("narrow", NARROW), ("free", FREE)):
        text += m.gateway(name, host) + m.routes(name, m.to(name), host, name)
    guarded.weft("apply", "-f", "-", "--wait", stdin=text)
    guarded.wait_ready("app=narrow", 1)
    for host in (NARROW, FREE):
        wait_for(lambda host=host: ask(guarded, "/", host)[0] == 200, host)
    return guarded


def latencies(weft: Instance, host: str, seconds: float) -> tuple[list[float], int]:
    """Of callers who call again as soon as they are answered: how long good answers took, in the
    second half of the time, and how many requests were refused then."""
    end = time.monotonic() + seconds
    good: list[float] = []
    refused = [0]

    def call() -> None:
        while (begin := time.monotonic()) < end:
            status = ask(weft, "/", host)[0]
            took = time.monotonic() - begin
            if begin > end - seconds / 2:
                if status == 200:
                    good.append(took)
                else:
                    refused[0] += 1
            if status != 200:
                time.sleep(LATENCY)

    with ThreadPoolExecutor(CALLERS) as pool:
        for done in [pool.submit(call) for _ in range(CALLERS)]:
            done.result()
    return good, refused[0]


def test_a_limit_that_follows_the_latency_holds_it(narrow: Instance) -> None:
    waiting, none = latencies(narrow, FREE, 3)
    assert none == 0
    held, refused = latencies(narrow, NARROW, 5)
    # Without it every caller waits for all others: 12 of them take 0.6 s.
    assert median(waiting) > 0.8 * LATENCY * CALLERS / AT_ONCE
    assert median(held) < 0.6 * median(waiting)
    assert refused > 0
    assert len(held) / 2.5 > 0.5 * len(waiting) / 1.5, "what is let through keeps the service busy"


def test_a_retry_comes_at_the_time_that_the_answer_names(narrow: Instance) -> None:
    begin = time.monotonic()
    assert ask(narrow, "/limited?seconds=1", NARROW) == (200, "narrow")
    assert time.monotonic() - begin > 0.9
    begin = time.monotonic()
    assert ask(narrow, "/limited?seconds=60", NARROW) == (200, "narrow")
    assert time.monotonic() - begin < 5, "longer than `maxRetryAfter` nobody waits"


def test_headers_of_answers_that_are_retried(narrow: Instance) -> None:
    policy = """
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: free}
spec:
  targetRef: {kind: Service, name: free}
  retry: {attempts: 1, retriableHeaders: {x-reset: {exact: soon}}}
"""
    assert ask(narrow, "/limited?seconds=soon", FREE)[0] == 429
    assert ask(narrow, "/limited?seconds=soon", FREE)[0] == 200
    narrow.weft("apply", "-f", "-", "--wait", stdin=policy)
    assert ask(narrow, "/limited?seconds=soon", FREE) == (200, "narrow")
    assert ask(narrow, "/limited?seconds=later", FREE)[0] == 429
    assert ask(narrow, "/limited?seconds=later", FREE)[0] == 200
    narrow.weft("delete", "backendpolicy", "free")
