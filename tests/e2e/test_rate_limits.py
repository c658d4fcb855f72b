"""Rate limits, health checks and balancing by response time, shown by traffic."""

import http.client
import sys
from collections import Counter
from textwrap import dedent
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS
from tests.e2e.instance import Instance, ask, ask_all, run_inside, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
PROBE = "httpGet: {path: /who, port: http}"
GRPC_PROBE = "grpc: {port: 9000}"
PRINCIPAL = "spiffe://cluster.local/ns/default/sa/default"


def lag(name: str, delay: float, app: str = "lag") -> str:
    return f"""
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {app}, pod: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: lag:1
      env: [{{name: NAME, value: {name}}}, {{name: DELAY, value: "{delay}"}}]
      ports: [{{name: http, containerPort: 8080}}]
      readinessProbe: {{tcpSocket: {{port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{pod: {name}}}, ports: [{{name: http, port: 80, targetPort: http}}]}}
"""


def limits(name: str, target: str, rules: str, scope: str = "local", kind: str = "Service") -> str:
    return f"""
---
apiVersion: policy.weft.dev/v1alpha1
kind: RateLimitPolicy
metadata: {{name: {name}}}
spec:
  targetRef: {{kind: {kind}, name: {target}}}
  scope: {scope}
  rules: {rules}
"""


@pytest.fixture(scope="module")
def shop(isolated: Instance) -> Instance:
    weft = isolated
    weft = isolated
    weft.image("rpc:1", APPS / "grpcecho", sys.executable, "app.py")
    weft.image("lag:1", APPS / "lag", sys.executable, "app.py")
    text = m.echo("client") + m.service("client") + "---" + m.echo("api") + m.service("api")
    text += lag("fast-a", 0.02) + lag("fast-b", 0.02) + lag("slow", 0.4) + m.service("lag")
    text += lag("sound", 0, "pair") + lag("ailing", 0, "pair") + m.service("pair")
    text += m.gateway("front", "*.example") + m.gateway("side", "*.test")
    text += "---" + m.echo("rpc", port=9000).replace("echo:1", "rpc:1").replace(PROBE, GRPC_PROBE)
    text += m.service("rpc").replace("name: http,", "name: grpc,")
    text += (
        m.service("no-rpc")
        .replace("name: http,", "name: grpc,")
        .replace("{app: no-rpc}", "{app: lag}")
    )
    for name, host, gateway in (
        ("client", CLIENT, "front"),
        ("api", "api.example", "front"),
        ("lag", "lag.test", "side"),
    ):
        text += m.routes(f"{name}-front", m.to(name), host, gateway)
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=client", 1)
    weft.wait_ready("app=api", 1)
    weft.wait_ready("app=rpc", 1)
    weft.wait_ready("app=lag", 3)
    weft.wait_ready("app=pair", 2)
    wait_for(lambda: ask(weft, "/who", CLIENT)[0] == 200, "the client at the gateway")
    return weft


def calls(weft: Instance, *requests: tuple[str, dict[str, str]]) -> list[tuple[int, Any]]:
    """Status and headers of calls that the client pod makes, one after the other."""
    program = f"""
    import aiohttp
    async def main():
        found = []
        async with aiohttp.ClientSession(trust_env=True) as session:
            for url, headers in {list(requests)!r}:
                async with session.get(url, headers=headers) as answer:
                    await answer.read()
                    seen = {{k.lower(): v for k, v in answer.headers.items()}}
                    found.append((answer.status, seen))
        return found
    """
    return [(status, headers) for status, headers in run_inside(weft, CLIENT, program)]


def statuses(weft: Instance, *requests: tuple[str, dict[str, str]]) -> list[int]:
    return [status for status, _ in calls(weft, *requests)]


def apply(weft: Instance, text: str) -> None:
    weft.weft("apply", "-f", "-", stdin=dedent(text))


def counted(weft: Instance, url: str, **headers: str) -> bool:
    """Whether a limit holds for such calls already."""
    return "ratelimit-limit" in calls(weft, (url, headers))[0][1]


def metrics(weft: Instance) -> str:
    status, body = weft.api("/weft/v1/proxy-metrics")
    assert status == 200
    return body.decode()


def test_local_limits_count_by_header_and_path(shop: Instance) -> None:
    rule = "[{match: {path: {prefix: /limited}}, key: [{type: header, name: x-user}], "
    rule += "limit: {requests: 2, per: hour}}]"
    apply(shop, limits("api", "api", rule))
    wait_for(lambda: counted(shop, "http://api/limited", **{"x-user": "probe"}), "limit in force")
    joe, jim = {"x-user": "joe"}, {"x-user": "jim"}
    # The limit is one for all names of the service, and one for each user.
    found = calls(
        shop,
        ("http://api/limited/a?x=1", joe),
        ("http://api.default.svc.cluster.local/limited/b", joe),
        ("http://api/limited/c", joe),
        ("http://api/limited/c", jim),
        ("http://api/free", joe),
        ("http://api/limited/c", {}),
    )
    assert [status for status, _ in found] == [200, 200, 429, 200, 200, 200]
    assert found[0][1]["ratelimit-limit"] == "2"
    assert found[1][1]["ratelimit-remaining"] == "0"
    assert int(found[2][1]["retry-after"]) > 0
    assert "retry-after" not in found[0][1]
    assert "ratelimit-limit" not in found[4][1], "requests that no limit counts know of none"
    shop.weft("delete", "ratelimitpolicy", "api")
    wait_for(lambda: statuses(shop, ("http://api/limited/c", joe)) == [200], "limit gone")


def test_limits_by_query(shop: Instance) -> None:
    rule = "[{match: {queryParams: {plan: {exact: free}}}, key: [{type: query, name: user}], "
    rule += "limit: {requests: 1, per: hour}}]"
    apply(shop, limits("query", "api", rule))
    wait_for(lambda: counted(shop, "http://api/?plan=free&user=probe"), "limit in force")
    asked = ("plan=free&user=joe", "user=joe&plan=free", "plan=free&user=jim", "plan=free",
             "plan=paid&user=joe", "user=joe")  # fmt: skip
    found = statuses(shop, *((f"http://api/x?{query}", {}) for query in asked))
    assert found == [200, 429, 200, 200, 200, 200]
    shop.weft("delete", "ratelimitpolicy", "query")


def test_limits_by_caller_know_who_calls(shop: Instance) -> None:
    """The identity is the listener's, whatever a caller says; the gateway's callers have none."""
    rule = f"[{{match: {{source: {{principal: {PRINCIPAL}}}, methods: [GET]}}, "
    rule += "key: [{type: sourceNamespace}], limit: {requests: 2, per: hour, burst: 1}}]"
    apply(shop, limits("callers", "api", rule))
    url = "http://api/caller"
    wait_for(lambda: statuses(shop, (url, {})) == [429], "the caller is limited")
    assert [ask(shop, "/caller", "api.example")[0] for _ in range(3)] == [200] * 3
    shop.weft("delete", "ratelimitpolicy", "callers")


def from_address(weft: Instance, address: str, path: str, **headers: str) -> int:
    """Status of a call through the gateway by a client at this address of the machine."""
    place = urlsplit(weft.gateway()).netloc
    connection = http.client.HTTPConnection(place, timeout=10, source_address=(address, 0))
    connection.request("GET", path, headers={"Host": "api.example", **headers})
    status = connection.getresponse().status
    connection.close()
    return status


def test_limits_by_client_address(shop: Instance) -> None:
    """Each client of the network has its own count, whatever X-Forwarded-For says; clients of
    other networks have none."""
    rule = "[{match: {clientCIDR: 127.0.8.0/24}, key: [{type: clientAddress}], "
    rule += "limit: {requests: 2, per: hour}}]"
    apply(shop, limits("clients", "api", rule))
    wait_for(lambda: from_address(shop, "127.0.8.9", "/c") == 429, "a client is limited")
    other, outside = "127.0.8.10", "127.0.9.10"
    assert [from_address(shop, other, "/c") for _ in range(3)] == [200, 200, 429]
    assert [from_address(shop, outside, "/c") for _ in range(4)] == [200] * 4
    forwarded = {"X-Forwarded-For": outside}
    assert from_address(shop, other, "/c", **forwarded) == 429
    shop.weft("delete", "ratelimitpolicy", "clients")


def test_limits_by_path_and_principal(shop: Instance) -> None:
    """One count for all pods of a service account, another for the gateway's callers."""
    rule = "[{match: {path: {prefix: /own}}, key: [{type: sourcePrincipal}, {type: path}], "
    rule += "limit: {requests: 2, per: hour}}]"
    apply(shop, limits("own", "api", rule, "global"))
    wait_for(lambda: counted(shop, "http://api/own/probe"), "in force for pods")
    probe = "/own/probe-gateway"
    wait_for(lambda: "ratelimit-limit" in ask_all(shop, probe, "api.example")[2], "at the gateway")
    assert statuses(shop, ("http://api/own/a", {})) == [200]
    # Another pod with the same account: the service's own calls itself.
    assert ask(shop, "/call?url=http://api/own/a", "api.example")[0] == 200
    assert statuses(shop, ("http://api/own/a", {}), ("http://api/own/b", {})) == [429, 200]
    assert [ask(shop, "/own/a", "api.example")[0] for _ in range(3)] == [200, 200, 429]
    shop.weft("delete", "ratelimitpolicy", "own")


def test_shadow_limits_count_and_refuse_nothing(shop: Instance) -> None:
    for scope in ("local", "global"):
        rule = "[{limit: {requests: 1, per: hour}, shadow: true}]"
        apply(shop, limits(f"shadow-{scope}", "api", rule, scope))

    def shadowed() -> bool:
        assert statuses(shop, *[("http://api/s", {})] * 3) == [200] * 3
        text = metrics(shop)
        local = [
            line for line in text.splitlines()
            if "http_local_rate_limit_shadow_mode" in line and not line.startswith("#")
        ]  # fmt: skip
        shared = 'weft_rate_limit_requests_total{limit="default/shadow-global/#0",result="shadow"}'
        return any(float(line.split()[-1]) > 0 for line in local) and shared in text

    wait_for(shadowed, "counts of what would have been refused")
    for scope in ("local", "global"):
        shop.weft("delete", "ratelimitpolicy", f"shadow-{scope}")


def test_global_limits_are_counted_together(shop: Instance) -> None:
    """Through the gateway and from a pod, in different route tables: one count."""
    rule = "[{match: {path: {exact: /together}}, limit: {requests: 4, per: hour}}]"
    apply(shop, limits("together", "api", rule, "global"))
    wait_for(lambda: "ratelimit-limit" in ask_all(shop, "/together", "api.example")[2], "in force")
    shop.weft("delete", "ratelimitpolicy", "together")
    wait_for(lambda: "ratelimit-limit" not in ask_all(shop, "/together", "api.example")[2], "gone")
    apply(shop, limits("again", "api", rule, "global"))

    def limited() -> tuple[int, str, dict[str, str]] | None:
        answer = ask_all(shop, "/together", "api.example")
        return answer if "ratelimit-limit" in answer[2] else None

    status, _, headers = wait_for(limited, "in force again")
    assert (status, headers["ratelimit-remaining"]) == (200, "3")
    wait_for(lambda: counted(shop, "http://api/together"), "in force for the pod")
    assert statuses(shop, *[("http://api/together?q=1", {})] * 3) == [200, 200, 429]
    status, _, headers = ask_all(shop, "/together", "api.example")
    assert status == 429
    assert int(headers["retry-after"]) > 1
    assert ask(shop, "/elsewhere", "api.example")[0] == 200
    shop.weft("delete", "ratelimitpolicy", "again")


def test_a_gateway_limits_its_own_hosts(shop: Instance) -> None:
    rule = "[{key: [{type: clientAddress}], limit: {requests: 2, per: hour}}]"
    apply(shop, limits("side", "side", rule, kind="Gateway"))
    wait_for(lambda: ask(shop, "/x", "lag.test")[0] == 429, "refused at the gateway")
    assert ask(shop, "/who", CLIENT)[0] == 200
    # Routes of the same port change: what was used up stays used up.
    for answer in (218, 219):
        rule = f"- directResponse: {{status: {answer}}}"
        shop.weft("apply", "-f", "-", stdin=m.routes("other", rule, "other.example", "front"))
        wait_for(lambda wanted=answer: ask(shop, "/", "other.example")[0] == wanted, "the route")
        assert ask(shop, "/x", "lag.test")[0] == 429
    shop.weft("delete", "ratelimitpolicy", "side")


def test_requests_in_flight_are_limited(shop: Instance) -> None:
    policy = """
    apiVersion: policy.weft.dev/v1alpha1
    kind: BackendPolicy
    metadata: {name: client}
    spec: {targetRef: {kind: Service, name: api}, maxRequestsInFlight: 2}
    """
    apply(shop, policy)
    program = """
    import aiohttp, asyncio
    async def main():
        async with aiohttp.ClientSession(trust_env=True) as session:
            async def one():
                async with session.get("http://api/slow?seconds=0.5") as answer:
                    await answer.read()
                    return answer.status
            return await asyncio.gather(*(one() for _ in range(6)))
    """

    def seen() -> bool:
        return Counter(run_inside(shop, CLIENT, program)) == {200: 2, 503: 4}

    wait_for(seen, "two pass, four are refused")
    shop.weft("delete", "backendpolicy", "client")


def shares(weft: Instance, service: str, total: int = 600) -> Counter[str]:
    """Who answered calls of eight clients in the client pod."""
    program = f"""
    import aiohttp, asyncio, collections
    async def main():
        found = collections.Counter()
        async with aiohttp.ClientSession(trust_env=True) as session:
            async def client():
                for _ in range({total // 8}):
                    async with session.get("http://{service}/") as answer:
                        found[await answer.text() if answer.status == 200 else answer.status] += 1
                        if "endpoint-load-metrics" in answer.headers:
                            found["reports"] += 1
            await asyncio.gather(*(client() for _ in range(8)))
        return found
    """
    return Counter(run_inside(weft, CLIENT, program))


def change(weft: Instance, pod: str, query: str) -> None:
    program = f"""
    import aiohttp
    async def main():
        async with aiohttp.ClientSession(trust_env=True) as session:
            async with session.post("http://{pod}/change?{query}") as answer:
                return await answer.text()
    """
    assert run_inside(weft, CLIENT, program) == pod


def test_a_slow_replica_gets_its_small_share(shop: Instance) -> None:
    apply(
        shop,
        """
        apiVersion: policy.weft.dev/v1alpha1
        kind: BackendPolicy
        metadata: {name: lag}
        spec: {targetRef: {kind: Service, name: lag}, loadBalancer: leastResponseTime}
        """,
    )
    found: Counter[str] = Counter()

    def settled() -> bool:
        found.clear()
        found.update(shares(shop, "lag"))
        return found["slow"] < 60

    wait_for(settled, "the slow replica is spared", 40)
    assert found.keys() == {"fast-a", "fast-b", "slow"}, "everyone answers; reports stay inside"
    assert found["slow"] > 0
    assert 0.3 < found["fast-a"] / found["fast-b"] < 3, "both fast ones get their part"
    change(shop, "slow", "delay=0.02")
    wait_for(lambda: shares(shop, "lag")["slow"] > 120, "back to its full share", 40)
    shop.weft("delete", "backendpolicy", "lag")


def test_least_requests_spare_a_slow_replica(shop: Instance) -> None:
    """Eight callers at a time: chance sends a third of the calls to the slow one. Envoy compares
    two that chance picks, so that a ninth is sent to it whatever it has under way."""
    rule = """
    apiVersion: networking.istio.io/v1
    kind: DestinationRule
    metadata: {name: lag}
    spec: {host: lag, trafficPolicy: {loadBalancer: {simple: LEAST_REQUEST}}}
    """
    calls, slow = 288, {}
    change(shop, "slow", "delay=0.4")
    for balancer in ("RANDOM", "LEAST_REQUEST"):
        text = dedent(rule).replace("LEAST_REQUEST", balancer)
        shop.weft("apply", "-f", "-", "--wait", stdin=text)
        slow[balancer] = shares(shop, "lag", calls)["slow"]
    # Four deviations of chance lie between what is expected, 32 and 96, and this limit.
    assert 0 < slow["LEAST_REQUEST"] < slow["RANDOM"] * 2 / 3, slow
    assert slow["RANDOM"] > calls / 5, slow
    shop.weft("delete", "destinationrule", "lag")


def test_active_checks_find_the_ailing_replica(shop: Instance) -> None:
    """Its readiness does not change: only the proxy's own checks know."""
    apply(
        shop,
        """
        apiVersion: policy.weft.dev/v1alpha1
        kind: BackendPolicy
        metadata: {name: pair}
        spec:
          targetRef: {kind: Service, name: pair}
          healthCheck:
            http: {path: /health}
            interval: 200ms
            timeout: 1s
            unhealthyThreshold: 2
            healthyThreshold: 1
        """,
    )
    wait_for(lambda: set(shares(shop, "pair", 40)) == {"sound", "ailing"}, "both serve")
    change(shop, "ailing", "sick=true")
    wait_for(lambda: set(shares(shop, "pair", 40)) == {"sound"}, "the sick one is left out", 10)
    change(shop, "ailing", "sick=false")
    wait_for(lambda: set(shares(shop, "pair", 40)) == {"sound", "ailing"}, "back again", 10)
    shop.weft("delete", "backendpolicy", "pair")


def checks(weft: Instance, service: str, result: str) -> float:
    """Envoy's statistic of the checks of a service's endpoints: `healthy` (now), `failure`."""
    for line in metrics(weft).splitlines():
        if line.startswith(f"envoy_cluster_health_check_{result}{{") and f"||{service}." in line:
            return float(line.split()[-1])
    return 0.0


@pytest.mark.parametrize(
    ("service", "check", "count"),
    [("pair", "tcp", 2), ("rpc", "grpc", 1), ("no-rpc", "grpc", 0)],
)
def test_checks_without_http(shop: Instance, service: str, check: str, count: int) -> None:
    """A TCP check passes for whatever listens, a gRPC check only for a serving gRPC server."""
    apply(
        shop,
        f"""
        apiVersion: policy.weft.dev/v1alpha1
        kind: BackendPolicy
        metadata: {{name: {service}}}
        spec:
          targetRef: {{kind: Service, name: {service}}}
          healthCheck: {{{check}: {{}}, interval: 200ms, unhealthyThreshold: 1}}
        """,
    )

    wait_for(lambda: checks(shop, service, "healthy") == count, f"{count} healthy", 10)
    if not count:
        wait_for(lambda: checks(shop, service, "failure") > 1, "checks fail", 10)
        assert checks(shop, service, "healthy") == 0
    shop.weft("delete", "backendpolicy", service)
