"""Which object is to blame when building raises, and what is in force in its place."""

from collections.abc import Callable, Mapping

import pytest
from msgspec import Struct

from weft.api.istio import security
from weft.api.istio.networking_v1 import VirtualService, VirtualServiceSpec
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import ObjectSnapshot
from weft.api.weft.policy_v1alpha1 import (
    ApiKeyAuthentication,
    AuthenticationPolicy,
    AuthenticationPolicySpec,
    PolicyTarget,
)
from weft.mesh.build_faults import BuildFaults, closed
from weft.mesh.object_status import Acknowledged, status
from weft.mesh.quarantine import Held, Key, Quarantined, key


def service(name: str, *hosts: str) -> VirtualService:
    return VirtualService(metadata=ObjectMeta(name=name), spec=VirtualServiceSpec(hosts=hosts))


def raising(objects: list[Struct]) -> Callable[[Mapping[Key, Held]], BaseException | None]:
    """A build that fails on whatever has the host `bad`."""

    def problem(held: Mapping[Key, Held]) -> BaseException | None:
        seen = Quarantined(ObjectSnapshot(objects), held).list(VirtualService)
        return KeyError("secret") if any("bad" in each.spec.hosts for each in seen) else None

    return problem


@pytest.mark.parametrize("bad", [(), (0,), (29,), (3, 17, 18)])
def test_just_the_objects_to_blame_are_held(bad: tuple[int, ...]) -> None:
    objects: list[Struct] = [service(f"s{n:02}", "bad" if n in bad else "good") for n in range(30)]
    faults = BuildFaults()
    for each in objects:
        faults.changed(None, each)
    found = faults.failed(KeyError("secret"), raising(objects))
    assert {key(held.refused)[2] for held in found} == {f"s{n:02}" for n in bad}
    assert set(faults.held) == {key(objects[n]) for n in bad}


def test_the_version_before_stays_until_the_object_changes() -> None:
    old, bad, better = service("a", "old"), service("a", "bad"), service("a", "better")
    faults = BuildFaults()
    faults.changed(None, old)
    faults.whole()
    faults.changed(old, bad)
    (held,) = faults.failed(KeyError("secret"), raising([bad]))
    assert held.instead == old
    faults.whole()
    view = Quarantined(ObjectSnapshot([bad]), faults.held)
    assert view.list(VirtualService) == (old,)
    faults.changed(bad, better)
    assert not faults.held
    faults.changed(better, bad)
    (held,) = faults.failed(KeyError("secret"), raising([bad]))
    assert held.instead == old, "what was never built is nothing to go back to"


def test_what_fails_without_a_culprit_is_told_and_holds_nothing() -> None:
    faults = BuildFaults()
    faults.changed(None, service("a", "good"))
    assert faults.failed(KeyError("x"), lambda _: ValueError()) == ()
    assert not faults.held
    (found,) = faults.findings()
    assert found.code == "WEFT2628"
    assert "weft_mesh_configuration_stale 1" in faults.exposition()
    faults.whole()
    assert faults.findings() == ()
    assert "weft_mesh_build_failures_total 1" in faults.exposition()


def test_a_node_is_never_left_out() -> None:
    node = Node(metadata=ObjectMeta(name="n"))
    faults = BuildFaults()
    faults.changed(None, node)

    def problem(held: Mapping[Key, Held]) -> BaseException | None:
        return None if held else KeyError()

    assert faults.failed(KeyError(), problem) == ()


def test_statuses_and_findings_name_the_place_and_nothing_that_was_read() -> None:
    bad = service("a", "bad")
    faults = BuildFaults()
    faults.changed(None, bad)
    faults.failed(KeyError("secret"), raising([bad]))
    faults.whole()
    (found,) = faults.findings()
    assert (found.code, found.kind, found.name) == ("WEFT2627", "VirtualService", "a")
    assert "secret" not in found.message
    rejection = faults.rejection(key(bad))
    assert rejection is not None
    said = status(1, (), Acknowledged(("n",)), rejection)["conditions"][1]
    assert (said["status"], said["reason"]) == ("False", "NotBuilt")
    assert "nothing of it is in force" in said["message"]


def test_policies_are_closed_in_place_of_being_left_out() -> None:
    meta, rule = ObjectMeta(name="p", namespace="shop"), security.Rule()
    selector = security.WorkloadSelector(match_labels={"app": "a"})
    allow = security.AuthorizationPolicySpec(selector=selector, rules=(rule, rule), action="ALLOW")
    made, said = closed(security.AuthorizationPolicy(metadata=meta, spec=allow))
    assert isinstance(made, security.AuthorizationPolicy)
    assert (made.spec.action, made.spec.selector, made.spec.rules) == ("DENY", selector, (rule,))
    assert "denied" in said
    believed = security.JWTRule(issuer="i", jwks="{}", from_cookies=("c",))
    tokens = security.RequestAuthenticationSpec(selector=selector, jwt_rules=(believed,))
    made, _ = closed(security.RequestAuthentication(metadata=meta, spec=tokens))
    assert isinstance(made, security.RequestAuthentication)
    assert made.spec.jwt_rules == (security.JWTRule(issuer="i", from_cookies=("c",)),)
    peers = security.PeerAuthenticationSpec(selector, security.MutualTLS("DISABLE"))
    made, _ = closed(security.PeerAuthentication(metadata=meta, spec=peers))
    assert isinstance(made, security.PeerAuthentication)
    assert made.spec.mtls == security.MutualTLS("STRICT")
    target = PolicyTarget(kind="Gateway", name="g")
    login = AuthenticationPolicySpec(target_ref=target, api_key=ApiKeyAuthentication())
    made, _ = closed(AuthenticationPolicy(metadata=meta, spec=login))
    assert isinstance(made, AuthenticationPolicy)
    assert made.spec == AuthenticationPolicySpec(target_ref=target)


def test_what_refuses_nobody_is_not_closed() -> None:
    audit = security.AuthorizationPolicySpec(action="AUDIT")
    dry = ObjectMeta(name="p", annotations={"istio.io/dry-run": "true"})
    assert closed(security.AuthorizationPolicy(spec=audit)) == (None, "")
    assert closed(security.AuthorizationPolicy(metadata=dry)) == (None, "")
    assert closed(service("a")) == (None, "")
