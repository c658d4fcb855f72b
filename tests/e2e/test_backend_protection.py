"""BackendPolicies that protect a service at its clusters: admission control, limits of request
bodies, compressed responses."""

import gzip
import urllib.error
import urllib.request

import pytest

from tests.e2e import manifests as m
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
