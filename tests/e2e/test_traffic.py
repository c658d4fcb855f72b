"""Traffic as a user meets it: through the gateway and between pods, in every isolation."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, Load, wait_for

pytestmark = pytest.mark.e2e


def ask(weft: Instance, path: str, host: str, **headers: str) -> tuple[int, str]:
    """One request through the gateway."""
    import urllib.error
    import urllib.request

    request = urllib.request.Request(weft.gateway() + path, headers={"Host": host, **headers})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def wait_answer(weft: Instance, path: str, host: str, status: int = 200) -> str:
    return wait_for(
        lambda: (a := ask(weft, path, host))[0] == status and (a[1] or "-"),
        f"{status} for {host}{path}",
    )


@pytest.fixture(scope="module")
def shop(weft: Instance) -> Instance:
    """Two versions of a service behind a gateway, and a client program in the mesh."""
    text = (
        m.echo("api", "v1", 2)
        + "---"
        + m.echo("api", "v2", 1)
        + m.service("api")
        + "---"
        + m.echo("client", "v1", 1)
        + m.service("client")
        + m.subsets("api", "{loadBalancer: {simple: ROUND_ROBIN}}")
        + m.gateway("front", "*.example")
        + m.routes("api-front", m.to("api"), "api.example", "front")
        + m.routes("client-front", m.to("client"), "client.example", "front")
    )
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=api", 3)
    weft.wait_ready("app=client", 1)
    wait_answer(weft, "/who", "api.example")
    wait_answer(weft, "/who", "client.example")
    return weft


def route_api(weft: Instance, http: str) -> None:
    """Set the routes of calls to `api` inside the mesh and from the gateway."""
    weft.weft(
        "apply",
        "-f",
        "-",
        stdin=m.routes("api", http) + m.routes("api-front", http, "api.example", "front"),
    )


def settled(weft: Instance, path: str, wanted: set[str], **headers: str) -> None:
    """Wait until requests to the api see exactly these answers."""

    def seen() -> bool:
        return {ask(weft, path, "api.example", **headers)[1] for _ in range(12)} == wanted

    wait_for(seen, f"{wanted} at {path}")


def test_pod_calls_service_by_name(shop: Instance) -> None:
    for name in ("api", "api.default", "api.default.svc.cluster.local"):
        status, body = ask(shop, f"/call?url=http://{name}/hello", "client.example")
        assert status == 200, body
        assert json.loads(body)["path"] == "/hello"


async def test_weighted_split_is_what_the_route_says(shop: Instance) -> None:
    route_api(
        shop,
        """
        - route:
            - {destination: {host: api, subset: v1}, weight: 80}
            - {destination: {host: api, subset: v2}, weight: 20}
        """,
    )
    settled(shop, "/who", {"v1", "v2"})
    async with Load(shop.gateway() + "/who", headers={"Host": "api.example"}, pause=0) as load:
        await load.until(2000)
    assert load.failed == 0, load.report()
    share = load.bodies["v2"] / load.total
    # Five standard deviations of a binomial with p = 0.2.
    assert abs(share - 0.2) < 5 * math.sqrt(0.2 * 0.8 / load.total), load.bodies


def test_header_path_method_and_query_routes(shop: Instance) -> None:
    route_api(
        shop,
        """
        - match: [{headers: {x-user: {exact: tester}}}, {uri: {prefix: /beta}}]
          route: [{destination: {host: api, subset: v2}}]
        - match: [{queryParams: {v: {exact: "2"}}}]
          route: [{destination: {host: api, subset: v2}}]
        - match: [{uri: {exact: /gone}}]
          directResponse: {status: 410, body: {string: gone}}
        - match: [{uri: {prefix: /old/}}]
          rewrite: {uri: /new/}
          headers: {request: {set: {x-rewritten: "yes"}}}
          route: [{destination: {host: api, subset: v1}}]
        - match: [{uri: {exact: /moved}}]
          redirect: {uri: /there, redirectCode: 302}
        - route: [{destination: {host: api, subset: v1}}]
        """,
    )
    settled(shop, "/who", {"v1"})
    assert ask(shop, "/who", "api.example", **{"x-user": "tester"})[1] == "v2"
    assert ask(shop, "/who?v=2", "api.example")[1] == "v2"
    assert json.loads(ask(shop, "/beta/x", "api.example")[1])["version"] == "v2"
    assert ask(shop, "/gone", "api.example") == (410, "gone")
    rewritten = json.loads(ask(shop, "/old/thing", "api.example")[1])
    assert rewritten["path"] == "/new/thing"
    assert {k.lower(): v for k, v in rewritten["headers"].items()}["x-rewritten"] == "yes"


async def test_redirect_reaches_the_client(shop: Instance) -> None:
    route_api(
        shop,
        """
        - match: [{uri: {exact: /moved}}]
          redirect: {uri: /there, redirectCode: 302}
        - route: [{destination: {host: api}}]
        """,
    )
    wait_answer(shop, "/who", "api.example")

    async with (
        aiohttp.ClientSession() as session,
        session.get(
            shop.gateway() + "/moved", headers={"Host": "api.example"}, allow_redirects=False
        ) as answer,
    ):
        assert answer.status == 302
        assert answer.headers["location"].endswith("/there")


def test_same_routes_hold_inside_the_mesh(shop: Instance) -> None:
    route_api(shop, "- route: [{destination: {host: api, subset: v2}}]")
    settled(shop, "/who", {"v2"})
    answers = {ask(shop, "/call?url=http://api/who", "client.example")[1] for _ in range(20)}
    assert answers == {"v2"}


def test_timeout_is_enforced(shop: Instance) -> None:
    route_api(
        shop,
        """
        - timeout: 0.3s
          route: [{destination: {host: api}}]
        """,
    )
    wait_answer(shop, "/slow?seconds=2", "api.example", 504)


def test_fault_injection(shop: Instance) -> None:
    route_api(
        shop,
        """
        - fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
          route: [{destination: {host: api}}]
        """,
    )
    wait_answer(shop, "/who", "api.example", 418)


async def test_websocket(shop: Instance) -> None:
    route_api(shop, m.to("api"))
    wait_answer(shop, "/who", "api.example")
    async with aiohttp.ClientSession() as session:
        url = shop.gateway() + "/ws"
        async with session.ws_connect(url, headers={"Host": "api.example"}) as socket:
            await socket.send_str("hello")
            answer = await socket.receive_str(timeout=5)
    assert answer.endswith(":hello")


def test_unknown_host_gets_404_at_the_gateway(shop: Instance) -> None:
    assert ask(shop, "/", "nobody.example.org")[0] == 404


def test_round_robin_reaches_every_pod(shop: Instance) -> None:
    route_api(shop, m.to("api"))
    wait_answer(shop, "/who", "api.example")
    pods = {p["metadata"]["name"] for p in shop.ready_pods("app=api")}

    def all_seen() -> bool:
        seen = Counter(json.loads(ask(shop, "/x", "api.example")[1])["pod"] for _ in range(30))
        return set(seen) == pods

    wait_for(all_seen, "every pod answers")


def test_consistent_hash_sticks_to_one_pod(shop: Instance) -> None:
    shop.weft(
        "apply",
        "-f",
        "-",
        stdin=m.subsets("api", "{loadBalancer: {consistentHash: {httpHeaderName: x-session}}}"),
    )

    def sticky() -> bool:
        pods = set()
        for _ in range(15):
            _, body = ask(shop, "/x", "api.example", **{"x-session": "alice"})
            pods.add(json.loads(body)["pod"])
        return len(pods) == 1

    wait_for(sticky, "one pod per session")
    pods = {
        json.loads(ask(shop, "/x", "api.example", **{"x-session": str(n)})[1])["pod"]
        for n in range(40)
    }
    assert len(pods) > 1
    shop.weft("apply", "-f", "-", stdin=m.subsets("api", "{loadBalancer: {simple: ROUND_ROBIN}}"))


def test_failing_pod_is_ejected(shop: Instance) -> None:
    """Outlier detection takes a pod that answers 503 out, and lets it back in later."""
    policy = (
        "{loadBalancer: {simple: ROUND_ROBIN}, outlierDetection: {consecutive5xxErrors: 3,"
        " interval: 0.5s, baseEjectionTime: 60s, maxEjectionPercent: 60}}"
    )
    no_retry = "- retries: {attempts: 0}\n  route: [{destination: {host: api}}]"
    shop.weft("apply", "-f", "-", stdin=m.subsets("api", policy))
    route_api(shop, no_retry)
    wait_answer(shop, "/who", "api.example")
    _, victim = ask_post(shop, "/broken?value=true")

    def ejected() -> bool:
        answers = [ask(shop, "/x", "api.example")[0] for _ in range(30)]
        return set(answers) == {200}

    wait_for(ejected, "no more 503 answers")
    pods = {json.loads(ask(shop, "/x", "api.example")[1])["pod"] for _ in range(30)}
    assert victim not in pods
    shop.weft("delete", "pod", victim, "--now")
    shop.wait_ready("app=api", 3)


def ask_post(weft: Instance, path: str) -> tuple[int, str]:
    import urllib.request

    request = urllib.request.Request(
        weft.gateway() + path, headers={"Host": "api.example"}, method="POST", data=b""
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.status, answer.read().decode()


@pytest.mark.tools("curl", "openssl")
def test_https_gateway_with_a_secret(shop: Instance, tmp_path: Path) -> None:
    import subprocess

    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=api.example"),
            *("-addext", "subjectAltName=DNS:api.example"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "api-cert"},
        "stringData": {"tls.crt": certificate.read_text(), "tls.key": key.read_text()},
    }
    text = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: secure
spec:
  selector: {istio: ingressgateway}
  servers:
    - port: {number: 443, name: https, protocol: HTTPS}
      tls: {mode: SIMPLE, credentialName: api-cert}
      hosts: ["api.example"]
""" + m.routes("api-secure", m.to("api"), "api.example", "secure")
    shop.weft("apply", "-f", "-", stdin=json.dumps(secret))
    shop.weft("apply", "-f", "-", stdin=text)
    port = shop.gateway(443).rsplit(":", 1)[1]

    def answered() -> Any:
        done = subprocess.run(
            [
                *("curl", "-sS", "-m", "5", "--cacert", str(certificate)),
                *("--resolve", f"api.example:{port}:127.0.0.1"),
                f"https://api.example:{port}/who",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout in ("v1", "v2")

    wait_for(answered, "200 over TLS with the secret's certificate")
