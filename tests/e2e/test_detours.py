"""Ways around policies, each by name, that must not lead past them. SECURITY.md says what defends.

`api` may be called by `front` only. `spare` takes over for `main`.
"""

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import fresh
from tests.e2e.instance import Instance, ask
from tests.e2e.test_authorization import ISSUER, Applied, account, both, call, policy, settled
from tests.e2e.tokens import Issuer

pytestmark = pytest.mark.e2e

FRONT_ONLY = """
selector: {matchLabels: {app: api}}
rules: [{from: [{source: {serviceAccounts: [front]}}]}]
"""


def workloads() -> str:
    text = m.echo("api") + "---" + m.echo("api", "v2") + m.service("api")
    text += "---" + m.echo("spare") + m.service("spare")
    text += m.service("main").replace("app: main", "app: nobody")
    for name in ("front", "other"):
        text += account(name, m.echo(name)) + m.service(name)
        text += m.gateway(name, f"{name}.example")
        text += m.routes(f"{name}-edge", m.to(name), f"{name}.example", name)
    text += m.gateway("api", "api.example")
    text += m.routes("api-edge", m.to("api"), "api.example", "api")
    return text + "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: istio-system}\n"


def started(instance: Instance) -> Instance:
    instance.up()
    instance.weft("apply", "-f", "-", stdin=workloads())
    for name, count in (("api", 2), ("spare", 1), ("front", 1), ("other", 1)):
        instance.wait_ready(f"app={name}", count)
    return instance


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        yield started(instance)


def address(weft: Instance) -> str:
    return str(weft.ready_pods("app=api,version=v1")[0]["status"]["podIP"])


@pytest.mark.root
def test_a_name_that_resolves_to_a_pod_leads_to_its_door(weft: Instance) -> None:
    """Of an entry whose addresses come from DNS: the pod does not take it for its node's proxy."""
    entry = f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: detour}}
spec:
  hosts: [detour.example]
  resolution: DNS
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 8080}}]
  endpoints: [{{address: {address(weft)}, weight: 1000}}, {{address: localhost, weight: 1}}]
"""
    to_detour = partial(call, weft, "other", host="detour.example")
    with Applied(weft, entry):
        settled(to_detour, 200, "the entry leads to the pod")
        with Applied(weft, policy("front-only", FRONT_ONLY)):
            settled(lambda: both(weft), (200, 403), "the policy is in force")
            # At the pod's own door nobody has an identity, so not even those who are allowed.
            front = partial(call, weft, "front", host="detour.example")
            settled(front, 403, "who calls is not known there")
            assert {to_detour() for _ in range(5)} <= {403, 503}
        strict = policy("strict", "mtls: {mode: STRICT}", "PeerAuthentication")
        with Applied(weft, strict):
            settled(to_detour, 503, "the door is shut")


@pytest.mark.root
def test_a_host_that_is_resolved_when_called_leads_to_the_pod_s_door(weft: Instance) -> None:
    config = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}"}
"""
    to_pod = partial(call, weft, "other", host=f"{address(weft)}:8080")
    with Applied(weft, config), Applied(weft, policy("front-only", FRONT_ONLY)):
        settled(to_pod, 403, "the policy holds at the pod's own address")
        assert call(weft, "front", host=f"{address(weft)}:8080") == 403


@pytest.mark.root
def test_who_takes_over_keeps_the_policies_of_its_own_service(weft: Instance) -> None:
    backend = """
---
apiVersion: policy.weft.dev/v1alpha1
kind: BackendPolicy
metadata: {name: main}
spec:
  targetRef: {kind: Service, name: main}
  failover: [{service: spare}]
"""
    to_main = partial(call, weft, "other", host="main")
    with Applied(weft, backend):
        settled(to_main, 200, "spare takes over")
        spec = "targetRefs: [{kind: Service, name: spare}]"
        with Applied(weft, policy("spare-closed", spec)):
            settled(to_main, 403, "called as main, too")


def believes(issuer: Issuer, selector: str, audience: str = "") -> str:
    audiences = f"\n  audiences: [{audience}]" if audience else ""
    return f"""
selector: {{matchLabels: {selector}}}
jwtRules:
- issuer: {issuer.name}{audiences}
  forwardOriginalToken: true
  jwks: '{issuer.key_set}'
"""


def with_token(weft: Instance, token: str) -> int:
    return ask(weft, "/who", "api.example", Authorization=f"Bearer {token}")[0]


@pytest.mark.root
def test_tokens_that_only_some_pods_believe_get_to_none(weft: Instance) -> None:
    one, two = Issuer(ISSUER), Issuer("https://issuer.example/realms/b")
    both_pods = policy("one", believes(one, "{app: api}"), "RequestAuthentication")
    second = policy("two", believes(two, "{app: api, version: v2}"), "RequestAuthentication")
    with Applied(weft, both_pods, second):
        settled(lambda: with_token(weft, two.token(sub="ann")), 401, "one pod does not believe it")
        assert {with_token(weft, two.token(sub="ann")) for _ in range(10)} == {401}
        assert {with_token(weft, one.token(sub="ann")) for _ in range(10)} == {200}
        assert "WEFT2620" in weft.weft("status")


@pytest.mark.root
def test_a_destination_s_tokens_do_not_replace_the_gateway_s(weft: Instance) -> None:
    issuer = Issuer(ISSUER)
    edge = policy(
        "edge", believes(issuer, "{istio: ingressgateway}", "edge"), "RequestAuthentication",
        namespace="istio-system",
    )  # fmt: skip
    inner = policy("inner", believes(issuer, "{app: api}"), "RequestAuthentication")
    for_edge, for_nobody = issuer.token(sub="ann", aud="edge"), issuer.token(sub="ann", aud="x")
    with Applied(weft, inner):
        settled(lambda: with_token(weft, for_nobody), 200, "the destination asks no audience")
        with Applied(weft, edge):
            settled(lambda: with_token(weft, for_nobody), 403, "the gateway does")
            assert with_token(weft, for_edge) == 200
            need = """
selector: {matchLabels: {istio: ingressgateway}}
rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]
"""
            with Applied(weft, policy("need", need, namespace="istio-system")):
                settled(lambda: ask(weft, "/who", "api.example")[0], 403, "a token is needed")
                assert with_token(weft, for_edge) == 200


@pytest.mark.root
def test_what_a_gateway_believes_says_nothing_to_a_destination(weft: Instance) -> None:
    """A token that only the gateway believes and keeps to itself makes nobody a principal."""
    gate, own = Issuer(ISSUER), Issuer("https://issuer.example/realms/b")
    spec = believes(gate, "{istio: ingressgateway}").replace("Token: true", "Token: false")
    edge = policy("edge", spec, "RequestAuthentication", namespace="istio-system")
    inner = policy("inner", believes(own, "{app: api}"), "RequestAuthentication")
    need = """
selector: {matchLabels: {app: api}}
rules: [{from: [{source: {requestPrincipals: ["*"]}}]}]
"""
    with Applied(weft, edge, inner):
        settled(lambda: with_token(weft, gate.token(sub="ann")), 200, "the gateway lets it in")
        with Applied(weft, policy("need", need)):
            settled(lambda: with_token(weft, gate.token(sub="ann")), 403, "it has no principal")


@pytest.fixture(scope="module")
def host() -> Iterator[Instance]:
    for instance in fresh("host"):
        yield started(instance)


def test_ports_of_policies_are_the_pod_s_in_host_isolation(host: Instance) -> None:
    def seen() -> set[tuple[int, str]]:
        return {ask(host, "/who", "api.example") for _ in range(20)}

    settled(seen, {(200, "v1"), (200, "v2")}, "both pods answer")
    spec = """
action: DENY
selector: {matchLabels: {app: api, version: v1}}
rules: [{to: [{operation: {ports: ["8080"]}}]}]
"""
    denied = (403, "RBAC: access denied")
    with Applied(host, policy("closed", spec)):
        settled(seen, {denied, (200, "v2")}, "one of two pods at one address is closed")
