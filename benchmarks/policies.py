"""What security costs for each request: tokens, rules, authorizers, identity between nodes."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from tests.e2e.tokens import Issuer

from benchmarks import node_mtls
from benchmarks.harness import Benchmark, Process, Row, Skipped
from benchmarks.instance import Weft, envoy_back_end, kind_of, pod, service, weft
from benchmarks.one_hop import Result, parse

SECONDS = 2
ROUNDS = 5
"""In turn, so that all ways see the same machine."""
CONNECTIONS = 16
BASE = "no policy"
RULES = {"1 rule": 1, "100 rules": 100, "1,000 rules": 1000}
RULES_PER_POLICY = 500
TOKEN, CEL, AUTHORIZER = "a token (RS256)", "1 condition in CEL", "an authorizer (HTTP)"
WAYS = (BASE, *RULES, CEL, TOKEN, AUTHORIZER)
ISSUER = "https://issuer.example"
MESH = """
extensionProviders:
- name: asked
  envoyExtAuthzHttp: {service: asked.default.svc.cluster.local, port: 80}
"""


def name_of(way: str) -> str:
    return f"answer{WAYS.index(way)}"


def policy(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def allowing(way: str, rules: list[Any], number: int = 0, **more: Any) -> dict[str, Any]:
    selector = {"matchLabels": {"app": name_of(way)}}
    name = f"{name_of(way)}-{number}"
    return policy("AuthorizationPolicy", name, {"selector": selector, "rules": rules, **more})


def rules(count: int) -> list[Any]:
    """Only the last lets the caller in."""
    sources = [f"cluster.local/ns/default/sa/other{n}" for n in range(count - 1)]
    return [
        {"from": [{"source": {"principals": [source]}}], "to": [{"operation": {"paths": ["/*"]}}]}
        for source in (*sources, "cluster.local/ns/default/sa/default")
    ]


def policies(issuer: Issuer) -> Iterator[dict[str, Any]]:
    for way, count in RULES.items():
        found = rules(count)
        for number in range(0, count, RULES_PER_POLICY):
            yield allowing(way, found[number : number + RULES_PER_POLICY], number)
    condition = "source.principal.endsWith('/default') && request.method == 'GET'"
    yield allowing(CEL, [{"when": [{"key": "weft.dev/cel", "values": [condition]}]}])
    yield allowing(TOKEN, [{"from": [{"source": {"requestPrincipals": ["*"]}}]}])
    selector = {"matchLabels": {"app": name_of(TOKEN)}}
    believed = [{"issuer": ISSUER, "jwks": issuer.key_set}]
    yield policy("RequestAuthentication", "tokens", {"selector": selector, "jwtRules": believed})
    yield allowing(AUTHORIZER, [{}], action="CUSTOM", provider={"name": "asked"})


async def prepared(instance: Weft, issuer: Issuer) -> None:
    envoy_back_end(instance)
    instance.image("sleep:1", instance.directory, "sleep", "3600")
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": MESH},
    }
    await instance.connection.client.create(kind_of(config), config, "istio-system")
    names = [*map(name_of, WAYS), "asked"]
    for name in names:
        await instance.apply(service(name), pod(name, "answer:1", {"app": name}, port=8080))
    await instance.apply(pod("client", "sleep:1", {"app": "client"}), *policies(issuer))
    await instance.ready("", len(names) + 1)


async def url_of(instance: Weft, way: str) -> str:
    path = f"/api/v1/namespaces/default/services/{name_of(way)}"
    found = await instance.connection.json("GET", path)
    return f"http://{found['spec']['clusterIP']}/"


def load(pid: int, url: str, envoy: Process, *headers: str) -> Result:
    before = envoy.cpu_seconds()
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "wrk", "--latency", "-t1", f"-c{CONNECTIONS}",
         f"-d{SECONDS}s", *headers, url],
        capture_output=True, text=True, check=False, timeout=SECONDS + 20,
    )  # fmt: skip
    if done.returncode:
        raise Skipped(f"wrk: {done.stderr}")
    return parse(done.stdout, envoy.cpu_seconds() - before)


async def measure() -> list[Row]:
    results: dict[str, list[Result]] = {way: [] for way in WAYS}
    issuer = Issuer(ISSUER)
    token = issuer.token(sub="client")
    async with weft() as instance:
        if instance.isolation != "netns":
            raise Skipped("pods have no network namespaces here")
        await prepared(instance, issuer)
        envoy, client = (await instance.processes())["Envoy"], await instance.pod_pid("client")
        urls = {way: await url_of(instance, way) for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                headers = ("-H", f"Authorization: Bearer {token}") if way == TOKEN else ()
                result = await asyncio.to_thread(load, client, urls[way], envoy, *headers)
                results[way].append(result)
    return [*rows(results), *await node_mtls.measure()]


def rows(results: dict[str, list[Result]]) -> Iterable[Row]:
    for what, unit, field in (
        ("CPU of Envoy for one request", "µs", "envoy"),
        ("p50", "ms", "p50"),
    ):
        for way, found in results.items():
            base = f"{BASE}: {what}" if way != BASE else ""
            yield Row(f"{way}: {what}", unit, tuple(getattr(r, field) for r in found), base)


def run() -> Iterable[Row]:
    needed = ("wrk", "nsenter", "ip", "nft")
    if os.geteuid() != 0 or not all(map(shutil.which, needed)):
        raise Skipped(f"needs root, {', '.join(needed)}")
    return asyncio.run(measure())


BENCHMARK = Benchmark(
    "policies",
    "wrk in a pod calls services through the node's Envoy that differ in their policies alone; of "
    "many rules only the last lets the caller in. An authorizer is another Envoy that says yes "
    "and answers through the same Envoy. Then calls to another node, with and without mutual TLS.",
    run,
)
