"""Policies on connections of bytes, pods' own doors, gateways: decided before a byte flows."""

import pytest

from tests.mesh.cluster import snapshot
from weft.mesh.access import Connection, allows
from weft.mesh.build import Built, build
from weft.mesh.model import AccessCondition, AccessPolicy, AccessRule, Destination, Endpoint
from weft.mesh.model import StringMatch as Text

FRONT = "spiffe://cluster.local/ns/default/sa/front"
LINES = Destination(
    "lines", "lines", 80, "tcp", endpoints=(Endpoint("10.0.0.9", 2525, pod_uid="u"),)
)

TWO = Destination(
    "two", "two", 80, "tcp", endpoints=(*LINES.endpoints, Endpoint("10.0.0.8", 2526, pod_uid="v"))
)


def policy(action: str, *conditions: AccessCondition) -> AccessPolicy:
    return AccessPolicy("default/x", action, (AccessRule(((conditions,),)),))  # type: ignore[arg-type]


IS_FRONT = AccessCondition("principal", texts=(Text("exact", FRONT.removeprefix("spiffe://")),))
ON_PATH = AccessCondition("path", texts=(Text("exact", "/a"),))


@pytest.mark.parametrize(
    ("policies", "connection", "allowed"),
    [
        ((), Connection(), True),
        ((AccessPolicy("default/nobody", "allow"),), Connection(FRONT), False),
        ((policy("allow", IS_FRONT),), Connection(FRONT), True),
        ((policy("allow", IS_FRONT),), Connection(), False),
        ((policy("deny", IS_FRONT),), Connection(FRONT), False),
        ((policy("deny", IS_FRONT),), Connection(), True),
        # A condition on requests makes an ALLOW rule hold for no connection of bytes ...
        ((policy("allow", IS_FRONT, ON_PATH),), Connection(FRONT), False),
        # ... and a DENY rule for more than it says.
        ((policy("deny", IS_FRONT, ON_PATH),), Connection(FRONT), False),
        (
            (policy("allow", AccessCondition("source_ip", networks=("10.0.0.0/8",))),),
            Connection(address="10.1.2.3"),
            True,
        ),
        (
            (policy("allow", AccessCondition("source_ip", networks=("10.0.0.0/8",))),),
            Connection(),
            False,
        ),
        (
            (policy("deny", AccessCondition("source_ip", networks=("10.0.0.0/8",))),),
            Connection(),
            False,
        ),
        ((policy("allow", AccessCondition("port", ports=(2525,))),),
         Connection(destination=LINES), True),
        ((policy("allow", AccessCondition("port", ports=(2526,))),),
         Connection(destination=LINES), False),
        ((policy("deny", AccessCondition("port", ports=(2525,), negated=True)),),
         Connection(destination=LINES), True),
        ((policy("audit", IS_FRONT),), Connection(FRONT), True),
        # Which endpoint it will be is open: one that is refused is enough.
        ((policy("deny", AccessCondition("port", ports=(2525,))),),
         Connection(destination=TWO), False),
        ((policy("deny", AccessCondition("port", ports=(2525,), negated=True)),),
         Connection(destination=TWO), False),
        ((policy("allow", AccessCondition("port", ports=(2525,))),),
         Connection(destination=TWO), False),
        ((policy("allow", AccessCondition("port", ports=(2525,), negated=True)),),
         Connection(destination=TWO), False),
        ((policy("deny", AccessCondition("destination_ip", networks=("10.0.0.9/32",))),),
         Connection(destination=TWO), False),
        ((policy("deny", AccessCondition("destination_ip", networks=("10.0.0.9/32",))),),
         Connection(port=2525), False),
    ],
)  # fmt: skip
def test_connections(
    policies: tuple[AccessPolicy, ...], connection: Connection, allowed: bool
) -> None:
    assert allows(policies, connection) is allowed


PODS = [
    {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "lines"},
        "spec": {"selector": {"app": "lines"}, "ports": [{"name": "tcp", "port": 2525}]},
    },
    {
        "kind": "Backends", "service": "lines",
        "pods": {"lines": {"ip": "10.0.0.9", "labels": {"app": "lines"}}},
    },
]  # fmt: skip


def built(kind: str, spec: dict[str, object], namespace: str = "default") -> Built:
    made = {
        "apiVersion": "security.istio.io/v1", "kind": kind, "spec": spec,
        "metadata": {"name": "it", "namespace": namespace},
    }  # fmt: skip
    return build(snapshot([*PODS, made]))


def test_a_pod_that_may_not_call_is_told_at_its_own_listener() -> None:
    model = built("AuthorizationPolicy", {"selector": {"matchLabels": {"app": "lines"}}}).model
    (workload,) = model.workloads
    assert workload.denied == ("outbound|2525||lines.default.svc.cluster.local",)
    assert workload.door.bytes_closed


@pytest.mark.parametrize(
    ("namespace", "strict"), [("default", True), ("istio-system", True), ("other", False)]
)
def test_strict_for_a_namespace_or_the_mesh(namespace: str, strict: bool) -> None:
    model = built("PeerAuthentication", {"mtls": {"mode": "STRICT"}}, namespace).model
    (workload,) = model.workloads
    assert workload.door.requests_closed is strict
    assert workload.door.bytes_closed is strict


def test_a_policy_of_another_namespace_is_for_others() -> None:
    model = built("AuthorizationPolicy", {}, "other").model
    assert not any(d.access for d in model.destinations)
    everywhere = built("AuthorizationPolicy", {}, "istio-system").model
    assert all(d.access for d in everywhere.destinations if d.endpoints)


def test_a_port_that_only_a_policy_names_is_closed() -> None:
    rule: dict[str, object] = {
        "action": "DENY",
        "rules": [{"to": [{"operation": {"ports": ["9999"]}}]}],
    }
    (workload,) = built("AuthorizationPolicy", rule).model.workloads
    assert not workload.door.bytes_closed
    assert [door.port for door in workload.door.ports if door.bytes_closed] == [9999]


def test_targets_are_of_the_policy_s_own_namespace() -> None:
    spec: dict[str, object] = {"targetRefs": [{"kind": "Service", "name": "lines"}]}
    here = built("AuthorizationPolicy", spec).model
    assert any(d.access for d in here.destinations)
    elsewhere = built("AuthorizationPolicy", spec, "istio-system").model
    assert not any(d.access for d in elsewhere.destinations)


DENY_ALL: dict[str, object] = {"kind": "AuthorizationPolicy", "apiVersion": "security.istio.io/v1",
                               "metadata": {"name": "nobody"}, "spec": {}}  # fmt: skip


def test_a_pod_s_address_in_another_s_entry_leads_to_its_policies() -> None:
    entry = {
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "way", "namespace": "other"},
        "spec": {
            "hosts": ["way.example"], "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "10.0.0.9"}, {"address": "10.9.9.9"}],
        },
    }  # fmt: skip
    model = build(snapshot([*PODS, DENY_ALL, entry])).model
    (way,) = (d for d in model.destinations if d.host == "way.example")
    assert [p.name for a in way.access for p in a.policies] == ["default/nobody"]


def test_bytes_to_a_port_of_http_are_guarded() -> None:
    route = {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "around"},
        "spec": {
            "hosts": ["lines"],
            "tcp": [{"route": [{"destination": {"host": "web", "port": {"number": 8080}}}]}],
        },
    }  # fmt: skip
    web = [
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 8080}]},
        },
        {
            "kind": "Backends", "service": "web",
            "pods": {"web": {"ip": "10.0.0.7", "labels": {"app": "web"}}},
        },
    ]  # fmt: skip
    lines = {**PODS[0], "spec": {**PODS[0]["spec"], "clusterIP": "10.96.0.1"}}  # type: ignore[dict-item]
    model = build(snapshot([lines, PODS[1], *web, DENY_ALL, route])).model
    assert model.workloads
    for workload in model.workloads:
        assert "outbound|8080||web.default.svc.cluster.local" in workload.denied


def test_copies_are_not_sent_past_policies() -> None:
    route = {
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "copies"},
        "spec": {
            "hosts": ["copies.example"],
            "http": [{
                "route": [{"destination": {"host": "lines"}}],
                "mirrors": [{"destination": {"host": "lines", "port": {"number": 2525}}}],
            }],
        },
    }  # fmt: skip
    host = {
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": "copies"},
        "spec": {
            "hosts": ["copies.example"], "ports": [{"number": 80, "name": "http"}],
            "resolution": "STATIC", "endpoints": [{"address": "10.9.9.9"}],
        },
    }  # fmt: skip

    def mirrors(*policies: dict[str, object]) -> list[int]:
        made = build(snapshot([*PODS, route, host, *policies]))
        codes = [d.code for d in made.diagnostics]
        assert ("WEFT2613" in codes) is bool(policies)
        routes = (r for t in made.model.route_tables for h in t.virtual_hosts for r in h.routes)
        return [len(r.mirrors) for r in routes if r.source == "VirtualService default/copies"]

    assert set(mirrors()) == {1}
    assert set(mirrors(DENY_ALL)) == {0}


@pytest.mark.parametrize(("block", "denied"), [("10.0.0.0/24", True), ("10.0.1.0/24", False)])
def test_callers_are_told_apart_by_address(block: str, denied: bool) -> None:
    rule: dict[str, object] = {
        "action": "DENY", "rules": [{"from": [{"source": {"ipBlocks": [block]}}]}],
    }  # fmt: skip
    (workload,) = built("AuthorizationPolicy", rule).model.workloads
    assert bool(workload.denied) is denied


API = [
    {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
        "spec": {"selector": {"app": "api"}, "ports": [{"name": "http", "port": 80}]},
    },
    {
        "kind": "Backends", "service": "api",
        "pods": {
            "api-v1-a": {"ip": "10.0.0.1", "labels": {"version": "v1"}},
            "api-v2-a": {"ip": "10.0.0.2", "labels": {"version": "v2"}},
        },
    },
]  # fmt: skip


def believing(name: str, labels: dict[str, str], *issuers: str) -> dict[str, object]:
    rules = [{"issuer": i, "jwksUri": "http://api.default.svc/keys"} for i in issuers]
    return {
        "apiVersion": "security.istio.io/v1", "kind": "RequestAuthentication",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "jwtRules": rules},
    }  # fmt: skip


def test_only_tokens_that_all_pods_believe_are_believed() -> None:
    made = build(snapshot([*API, believing("one", {"app": "api"}, "a"),
                           believing("two", {"version": "v2"}, "b")]))  # fmt: skip
    (asked,) = {d.authentication for d in made.model.destinations if d.authentication}
    assert [(i.issuer, bool(i.key_set_destination)) for i in asked.issuers] == [
        ("a", True), ("b", False),
    ]  # fmt: skip
    assert "WEFT2620" in [d.code for d in made.diagnostics]
    alike = build(snapshot([*API, believing("one", {"app": "api"}, "a")]))
    assert "WEFT2620" not in [d.code for d in alike.diagnostics]


def test_ports_are_the_pod_s_where_pods_share_an_address() -> None:
    backends = dict(API[1]) | {
        "pods": {
            f"api-{version}-a": {
                "ip": "127.0.0.1", "labels": {"version": version},
                "annotations": {"weft.dev/host-ports": f'{{"80": {port}}}'},
            }
            for version, port in (("v1", 20001), ("v2", 20002))
        }
    }  # fmt: skip
    deny = {
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "it"},
        "spec": {
            "action": "DENY", "selector": {"matchLabels": {"version": "v1"}},
            "rules": [{"to": [{"operation": {"ports": ["80", "81"]}}]}],
        },
    }  # fmt: skip
    (destination,) = build(snapshot([API[0], backends, deny])).model.destinations
    (access,) = destination.access
    assert access.endpoints == (("127.0.0.1", 20001),)
    ((group,),) = [rule.groups for policy in access.policies for rule in policy.rules]
    assert group == ((AccessCondition("port", ports=(20001,)),),)
