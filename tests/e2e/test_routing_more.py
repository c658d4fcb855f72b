"""Routing and policies in depth: what VirtualServices, Gateways and DestinationRules promise.

Every test has hosts of its own, so none waits for the routes of another to go.
"""

import json
import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, ask_all, wait_for

pytestmark = pytest.mark.e2e

CLIENT = "client.example"
PROPAGATION_SECONDS_MAX = 15.0
VIRTUAL_SERVICES = "/apis/networking.istio.io/v1/namespaces/default/virtualservices"

EXTRA = """
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: other}
spec:
  selector: {app: api}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: second, labels: {same: pods-as-api}}
spec:
  selector: {app: api}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  selector: {app: nobody}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: api, version: v1}
  ports: [{name: tcp-greet, port: 2500, targetPort: 2525}]
---
apiVersion: v1
kind: Service
metadata: {name: hello-v2}
spec:
  selector: {app: api, version: v2}
  ports: [{name: tcp-greet, port: 2500, targetPort: 2525}]
"""


def greeting(text: str) -> str:
    return text.replace("env: [", 'env: [{name: GREET_PORT, value: "2525"}, ').replace(
        "containerPort: 8080}", "containerPort: 8080}, {containerPort: 2525}"
    )


def half() -> str:
    """A ready pod behind service `half` on whose port nothing listens; and one that serves."""
    silent = """
apiVersion: v1
kind: Pod
metadata: {name: silent, labels: {app: half}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: main, image: "sh:1", args: ["-c", "while :; do sleep 1; done"],
       ports: [{name: http, containerPort: 8080}]}
"""
    return m.echo("half") + "---" + silent + m.service("half")


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def shop(weft: Instance) -> Instance:
    weft.image("sh:1", Path("/tmp"), "/bin/sh")
    other = m.echo("api", "v3").replace("metadata:\n", "metadata:\n  namespace: other\n", 1)
    text = "---".join(
        [
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n",
            greeting(m.echo("api", "v1", 2)),
            greeting(m.echo("api", "v2")),
            other,
            m.echo("client"),
            m.echo("shadow"),
            half(),
        ]
    )
    text += EXTRA + m.service("api") + m.service("client") + m.service("shadow")
    text += m.subsets("api") + m.gateway("front", "*.example")
    text += m.routes("client-front", m.to("client"), CLIENT, "front")
    text += m.routes("shadow-front", m.to("shadow"), "shadow.example", "front")
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=api", 3)
    weft.wait_ready("app=half", 2)
    for host in (CLIENT, "shadow.example"):
        wait_for(lambda h=host: ask(weft, "/who", h)[0] == 200, host)
    return weft


def serve(weft: Instance, host: str, http: str, gateway: str = "front") -> None:
    """Routes of the gateway for a host that had none; returns when they are in force."""
    name = host.partition(".")[0]
    made = yaml.safe_load(m.routes(name, http, host, gateway))
    assert weft.api(VIRTUAL_SERVICES, "POST", made)[0] == 201
    wait_for(lambda: ask(weft, "/no-such-page", host)[0] != 404, f"routes of {host}", 10)


def inside(weft: Instance, url: str) -> tuple[int, str]:
    return ask(weft, f"/call?url={url}", CLIENT)


# --- retries


def test_retries_are_counted(shop: Instance) -> None:
    to_v2 = "route: [{destination: {host: api, subset: v2}}]"
    serve(shop, "retried.example", f"- retries: {{attempts: 3, retryOn: 5xx}}\n  {to_v2}")
    serve(shop, "coded.example", f'- retries: {{attempts: 1, retryOn: "429"}}\n  {to_v2}')
    serve(shop, "once.example", f"- retries: {{attempts: 0}}\n  {to_v2}")

    def tried(host: str, key: str, times: int, status: int = 503) -> tuple[int, int]:
        answered = ask(shop, f"/flaky?key={key}&times={times}&status={status}", host)[0]
        return answered, int(ask(shop, f"/calls?key={key}", host)[1])

    assert tried("retried.example", "a", 2) == (200, 3)
    assert tried("retried.example", "b", 9) == (503, 4)
    assert tried("retried.example", "c", 9, 404) == (404, 1)
    assert tried("coded.example", "d", 1, 429) == (200, 2)
    assert tried("coded.example", "e", 1, 500) == (500, 1)
    assert tried("once.example", "f", 1) == (503, 1)


def test_time_limit_of_one_try(shop: Instance) -> None:
    serve(
        shop,
        "tries.example",
        """
        - retries: {attempts: 2, perTryTimeout: 0.2s, retryOn: "gateway-error,reset"}
          timeout: 12s
          route: [{destination: {host: api}}]
        """,
    )
    started = time.monotonic()
    assert ask(shop, "/slow?seconds=15", "tries.example")[0] == 504
    assert 0.45 < time.monotonic() - started < 10


def test_another_pod_is_tried_when_one_does_not_answer(shop: Instance) -> None:
    serve(shop, "half.example", m.to("half"))
    assert {ask(shop, "/who", "half.example") for _ in range(30)} == {(200, "v1")}
    assert {inside(shop, "http://half/who") for _ in range(15)} == {(200, "v1")}
    serve(shop, "half2.example", "- retries: {attempts: 0}\n  " + m.to("half")[2:])
    assert 503 in {ask(shop, "/who", "half2.example")[0] for _ in range(30)}


def test_a_retry_goes_to_another_pod_unless_told_otherwise(shop: Instance) -> None:
    """Each pod fails once for a key; hashing sends all tries of it to one pod, if they may."""
    rule = m.subsets("second").partition("  subsets:")[0].replace(
        "trafficPolicy: {}",
        "trafficPolicy: {loadBalancer: {consistentHash: {httpHeaderName: x-user}}}",
    )  # fmt: skip
    shop.weft("apply", "-f", "-", "--wait", stdin=rule)
    tries = "- retries: {attempts: 1, retryOn: 5xx%s}\n  " + m.to("second")[2:]
    serve(shop, "elsewhere.example", tries % "")
    serve(shop, "again.example", tries % ", retryIgnorePreviousHosts: false")
    for number in range(6):
        user = {"X-User": f"user {number}"}
        there = ask(shop, f"/flaky?key=again{number}&times=1", "again.example", **user)
        assert there[0] == 200, "the same pod, which fails only once"
        path = f"/flaky?key=elsewhere{number}&times=1"
        assert ask(shop, path, "elsewhere.example", **user)[0] == 503, "two pods fail once each"
        assert ask(shop, path, "elsewhere.example", **user) == there, (
            "the first one, now it is well"
        )
    shop.weft("delete", "destinationrule", "second")


def test_budget_of_retries(shop: Instance) -> None:
    rule = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shadow}
spec:
  host: shadow
  trafficPolicy: {retryBudget: {percent: 0, minRetryConcurrency: %d}}
"""
    serve(shop, "budget.example", "- retries: {attempts: 1, retryOn: 5xx}\n  " + m.to("shadow")[2:])
    for allowed, status in ((0, 503), (1, 200)):
        shop.weft("apply", "-f", "-", "--wait", stdin=rule % allowed)
        path = f"/flaky?key=budget{allowed}&times=1"
        assert ask(shop, path, "budget.example")[0] == status
    shop.weft("delete", "destinationrule", "shadow")


# --- what a route does


def test_mirror(shop: Instance) -> None:
    serve(
        shop,
        "mirrored.example",
        """
        - match: [{uri: {prefix: /seen/all}}]
          mirror: {host: shadow}
          route: [{destination: {host: api}}]
        - match: [{uri: {prefix: /seen/none}}]
          mirrors: [{destination: {host: shadow}, percentage: {value: 0}}]
          route: [{destination: {host: api}}]
        - match: [{uri: {prefix: /seen/half}}]
          mirror: {host: shadow}
          mirrorPercentage: {value: 50}
          route: [{destination: {host: api}}]
        - route: [{destination: {host: api}}]
        """,
    )
    for _ in range(10):
        assert ask(shop, "/seen/all", "mirrored.example")[0] == 200
        assert ask(shop, "/seen/none", "mirrored.example")[0] == 200
    wait_for(lambda: ask(shop, "/calls?key=/seen/all", "shadow.example")[1] == "10", "10 copies")
    assert ask(shop, "/calls?key=/seen/none", "shadow.example")[1] == "0"
    for _ in range(60):
        assert ask(shop, "/seen/half", "mirrored.example")[0] == 200
    # Of 60 by chance: fewer than 10 or more than 50 come to pass once in ten million runs.
    halves = "/calls?key=/seen/half"
    wait_for(lambda: int(ask(shop, halves, "shadow.example")[1]) >= 10, "10 copies of 60")
    assert int(ask(shop, halves, "shadow.example")[1]) <= 50


def test_rewrites_and_redirects(shop: Instance) -> None:
    serve(
        shop,
        "moved.example",
        r"""
        - match: [{uri: {prefix: /item/}}]
          rewrite: {uriRegexRewrite: {match: "^/item/([0-9]+)/(.*)$", rewrite: "/\\2?id=\\1"}}
          route: [{destination: {host: api}}]
        - match: [{uri: {exact: /authority}}]
          rewrite: {authority: inner.example, uri: /}
          route: [{destination: {host: api}}]
        - match: [{uri: {prefix: /strip/}}]
          rewrite: {uri: /}
          route: [{destination: {host: api}}]
        - match: [{uri: {exact: /away}}]
          redirect: {authority: elsewhere.example, scheme: https, uri: /new, redirectCode: 308}
        - match: [{uri: {exact: /port}}]
          redirect: {port: 8443}
        - route: [{destination: {host: api}}]
        """,
    )

    def seen(path: str) -> Any:
        return json.loads(ask(shop, path, "moved.example")[1])

    assert seen("/item/42/detail")["path"] == "/detail?id=42"
    assert seen("/strip/deep/x?a=1")["path"] == "/deep/x?a=1"
    inner = seen("/authority")
    assert (inner["path"], inner["headers"]["Host"]) == ("/", "inner.example")
    status, _, headers = ask_all(shop, "/away", "moved.example")
    assert (status, headers["location"]) == (308, "https://elsewhere.example/new")
    status, _, headers = ask_all(shop, "/port", "moved.example")
    assert (status, headers["location"]) == (301, "http://moved.example:8443/port")


def test_matches(shop: Instance) -> None:
    v1, v2 = (f"route: [{{destination: {{host: api, subset: {v}}}}}]" for v in ("v1", "v2"))
    serve(
        shop,
        "matched.example",
        f"""
        - match: [{{withoutHeaders: {{x-known: {{}}}}, uri: {{prefix: /without}}}}]
          {v2}
        - match: [{{headers: {{x-user: {{regex: "^[a-c].*"}}}}}}]
          {v2}
        - match: [{{uri: {{regex: "/num/[0-9]+"}}}}]
          {v2}
        - match: [{{uri: {{exact: /CASE}}, ignoreUriCase: true}}]
          {v2}
        - match: [{{method: {{exact: PUT}}}}]
          {v2}
        - match: [{{queryParams: {{q: {{regex: "a+"}}}}, headers: {{x-both: {{exact: "1"}}}}}}]
          {v2}
        - match: [{{uri: {{prefix: /pre}}}}]
          {v2}
        - {v1}
        """,
    )

    def version(path: str, method: str = "GET", **headers: str) -> str:
        body = ask(shop, path, "matched.example", method=method, **headers)[1]
        return str(json.loads(body)["version"])

    assert version("/without") == "v2"
    assert version("/without", **{"X-Known": "1"}) == "v1"
    assert version("/x", **{"X-User": "bob"}) == "v2"
    assert version("/x", **{"X-User": "xbob"}) == "v1"
    assert version("/num/42") == "v2"
    assert version("/num/42/x") == "v1"
    assert version("/num/42?x=1") == "v2"
    assert version("/case") == "v2"
    assert version("/x", method="PUT") == "v2"
    assert version("/x?q=aaa") == "v1"
    assert version("/x?q=aaa", **{"X-Both": "1"}) == "v2"
    assert version("/x?q=aab", **{"X-Both": "1"}) == "v1"
    assert version("/prefix-of-any-kind") == "v2"


def test_headers_of_requests_and_answers(shop: Instance) -> None:
    serve(
        shop,
        "headers.example",
        """
        - headers:
            request: {set: {x-a: route, x-path: "%REQ(:path)%"}, remove: [x-secret]}
            response: {add: {x-answer: route}, remove: [server]}
          route:
            - destination: {host: api, subset: v2}
              headers:
                request: {add: {x-b: destination}}
                response: {set: {x-version: v2}}
        """,
    )
    status, body, answered = ask_all(
        shop, "/p", "headers.example", headers={"X-Secret": "1", "X-A": "mine"}
    )
    sent = {k.lower(): v for k, v in json.loads(body)["headers"].items()}
    assert status == 200
    assert (sent["x-a"], sent["x-b"]) == ("route", "destination")
    assert "x-secret" not in sent
    assert (answered["x-answer"], answered["x-version"]) == ("route", "v2")
    assert "server" not in answered


def test_delay(shop: Instance) -> None:
    serve(
        shop,
        "delayed.example",
        """
        - fault: {delay: {fixedDelay: 0.6s, percentage: {value: 100}}}
          route: [{destination: {host: api}}]
        """,
    )
    started = time.monotonic()
    assert ask(shop, "/who", "delayed.example")[0] == 200
    # Timers round: Envoy's may end a millisecond early.
    assert 0.55 <= time.monotonic() - started < 10


# --- where a route goes


def test_weights_of_nothing_and_everything(shop: Instance) -> None:
    serve(
        shop,
        "weighted.example",
        """
        - route:
            - {destination: {host: api, subset: v1}, weight: 0}
            - {destination: {host: api, subset: v2}, weight: 100}
        """,
    )
    assert {ask(shop, "/who", "weighted.example")[1] for _ in range(40)} == {"v2"}


def test_services_of_other_namespaces(shop: Instance) -> None:
    serve(shop, "far.example", m.to("api.other.svc.cluster.local"))
    assert ask(shop, "/who", "far.example") == (200, "v3")
    serve(
        shop,
        "mixed.example",
        """
        - match: [{headers: {x-far: {exact: "1"}}}]
          route: [{destination: {host: api.other.svc.cluster.local, port: {number: 80}}}]
        - route: [{destination: {host: api, port: {number: 80}}}]
        """,
    )
    assert ask(shop, "/who", "mixed.example", **{"X-Far": "1"}) == (200, "v3")
    assert ask(shop, "/who", "mixed.example")[1] in ("v1", "v2")


def test_a_service_without_pods_answers_at_once(shop: Instance) -> None:
    serve(shop, "nobody.example", m.to("nobody"))
    started = time.monotonic()
    assert ask(shop, "/who", "nobody.example")[0] == 503
    assert inside(shop, "http://nobody/who")[0] == 503
    assert time.monotonic() - started < 8


def test_tcp_routes(shop: Instance) -> None:
    text = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: hello}
spec:
  hosts: [hello]
  tcp:
    - match: [{port: 2500}]
      route: [{destination: {host: hello-v2, port: {number: 2500}}}]
"""
    service = shop.read("/api/v1/namespaces/default/services/hello")
    path = f"/tcp?host={service['spec']['clusterIP']}&port=2500"
    wait_for(lambda: "220 api-v1" in ask(shop, path, CLIENT)[1], "the service's own pods")
    shop.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: "220 api-v2" in ask(shop, path, CLIENT)[1], "the routed service's pods")
    shop.weft("delete", "virtualservice", "hello")
    wait_for(lambda: "220 api-v1" in ask(shop, path, CLIENT)[1], "its own pods again")


def test_routes_hold_for_callers_with_labels(shop: Instance) -> None:
    """sourceLabels and gateways [mesh]: one VirtualService, different callers."""
    text = m.routes(
        "second",
        """
        - match: [{sourceLabels: {app: client}}]
          route: [{destination: {host: api, subset: v2}}]
        - match: [{sourceLabels: {app: somebody}}]
          directResponse: {status: 418}
        - route: [{destination: {host: api, subset: v1}}]
        """,
    )
    shop.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: {inside(shop, "http://second/who")[1] for _ in range(8)} == {"v2"}, "v2")
    serve(shop, "unlabelled.example", m.to("second"))
    # The gateway's own routes decide there, those of the mesh do not.
    wait_for(
        lambda: {ask(shop, "/who", "unlabelled.example")[1] for _ in range(20)} == {"v1", "v2"},
        "both versions through the gateway",
    )
    shop.weft("delete", "virtualservice", "second")


def test_a_deleted_virtual_service_leaves_default_routing(shop: Instance) -> None:
    shop.weft("apply", "-f", "-", stdin=m.routes("second", "- directResponse: {status: 418}"))
    wait_for(lambda: inside(shop, "http://second/who")[0] == 418, "418")
    shop.weft("delete", "virtualservice", "second")
    wait_for(lambda: inside(shop, "http://second/who")[0] == 200, "default routing")
    assert {inside(shop, "http://second/who")[1] for _ in range(20)} == {"v1", "v2"}


# --- gateways


def test_gateways_by_host_and_port(shop: Instance) -> None:
    text = m.gateway("wild", "*.wild.test", 8085)
    text += m.gateway("exact", "one.wild.test", 8086)
    text += m.routes("wild", "- directResponse: {status: 210}", "*.wild.test", "wild")
    text += m.routes("exact", "- directResponse: {status: 211}", "one.wild.test", "exact")
    shop.weft("apply", "-f", "-", stdin=text)
    wait_for(lambda: ask(shop, "/", "x.wild.test", port=8085)[0] == 210, "wildcard")
    wait_for(lambda: ask(shop, "/", "one.wild.test", port=8086)[0] == 211, "exact")
    assert ask(shop, "/", "deep.x.wild.test", port=8085)[0] == 210
    assert ask(shop, "/", "wild.test", port=8085)[0] == 404
    assert ask(shop, "/", "two.wild.test", port=8086)[0] == 404
    assert ask(shop, "/", "x.wild.test")[0] == 404, "the first gateway has no such host"
    assert ask(shop, "/", "one.wild.test:8086", port=8086)[0] == 211, "a port in Host is ignored"


def test_https_redirect(shop: Instance) -> None:
    text = m.gateway("strict", "strict.test", 8087).replace(
        'hosts: ["strict.test"]', 'hosts: ["strict.test"]\n      tls: {httpsRedirect: true}'
    )
    text += m.routes("strict", m.to("api"), "strict.test", "strict")
    shop.weft("apply", "-f", "-", stdin=text)
    status, _, headers = wait_for(
        lambda: (a := ask_all(shop, "/x?y=1", "strict.test", port=8087))[0] != 404 and a, "answer"
    )
    assert status == 301
    assert headers["location"] == "https://strict.test/x?y=1"


# --- destination rules


@pytest.mark.parametrize("simple", ["RANDOM", "LEAST_REQUEST", "ROUND_ROBIN"])
def test_load_balancers_reach_every_pod(shop: Instance, simple: str) -> None:
    rule = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: second}}
spec:
  host: second
  trafficPolicy: {{loadBalancer: {{simple: {simple}}}}}
"""
    shop.weft("apply", "-f", "-", stdin=rule)
    host = f"{simple.lower().replace('_', '-')}.example"
    serve(shop, host, m.to("second"))
    counted = Counter(json.loads(ask(shop, "/x", host)[1])["pod"] for _ in range(45))
    assert len(counted) == 3
    assert min(counted.values()) >= 3, counted
    shop.weft("delete", "destinationrule", "second")


@pytest.mark.parametrize(
    "pool",
    [
        "{tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}",
        "{http: {http2MaxRequests: 2}}",
    ],
)
def test_connection_pool_limits_refuse_the_rest(shop: Instance, pool: str) -> None:
    rule = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: shadow}}
spec:
  host: shadow
  trafficPolicy: {{connectionPool: {pool}}}
"""
    shop.weft("apply", "-f", "-", stdin=rule)
    address = shop.gateway()  # found once, before the race
    assert address

    def limited() -> Any:
        with ThreadPoolExecutor(8) as threads:
            asked = [
                threads.submit(ask_all, shop, "/slow?seconds=0.7", "shadow.example")
                for _ in range(8)
            ]
            answers = [a.result() for a in asked]
        refused = [a for a in answers if a[0] == 503]
        return refused and (len(refused), refused[0][1])

    count, body = wait_for(limited, "some are refused", 15)
    assert 1 <= count <= 7
    assert "overflow" in body
    _, text = shop.api("/weft/v1/proxy-metrics")
    assert any(
        'response_flags="UO"' in line and 'destination_service_name="shadow"' in line
        for line in text.decode().splitlines()
    )
    shop.weft("delete", "destinationrule", "shadow")
    wait_for(lambda: not limited(), "no limit any more", 15)


# --- how fast


def test_a_route_change_is_in_force_at_once(shop: Instance) -> None:
    """Measured by traffic, from the API server's answer to the first changed answer."""
    serve(shop, "quick.example", "- directResponse: {status: 210}")
    shop.gateway()
    took = []
    for number in range(8):
        status = 211 + number
        patch = {"spec": {"http": [{"directResponse": {"status": status}}]}}
        started = time.monotonic()
        assert shop.api(f"{VIRTUAL_SERVICES}/quick", "PATCH", patch)[0] == 200
        while ask(shop, "/", "quick.example")[0] != status:
            assert time.monotonic() - started < PROPAGATION_SECONDS_MAX
        took.append(time.monotonic() - started)
    assert statistics.median(took) < 3, took
    print("propagation:", [round(t, 3) for t in took])
