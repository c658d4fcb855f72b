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
