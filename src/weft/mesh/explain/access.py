"""Whether policies let a request in, and which one decides.

What only a token says is not known here: such conditions may hold or not.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from weft.api.cel import conditions
from weft.mesh import path_patterns
from weft.mesh.access import Connection, decide, decide_for
from weft.mesh.explain import regex
from weft.mesh.explain.matching import value_holds
from weft.mesh.explain.paths import without_query
from weft.mesh.model import (
    Access,
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Condition,
    Destination,
    StringMatch,
    Workload,
)
from weft.mesh.network_policies import TITLE as NETWORK_POLICY

Maybe = bool | None
"""None: it depends on what is not known."""
SPIFFE = "spiffe://"
TOKEN_HEADERS = ("authorization",)


class Arrival(Struct, frozen=True):
    """A request as policies see it."""

    principal: str = ""
    """The caller's SPIFFE ID; empty when it has no identity."""
    source: str = ""
    """The caller's address; empty when unknown."""
    host: str = ""
    method: str = ""
    path: str = ""
    headers: Mapping[str, str] = {}
    """Names in lower case."""
    address: str = ""
    """Of the endpoint; empty in front of the routes."""
    port: int = 0
    refuses: bool = False
    """What matches is refused: then doubtful paths match as well."""


class Verdict(Struct, frozen=True):
    """What the policies say; the reason is empty when there are none."""

    allowed: Maybe
    reason: str = ""


def policies_for(access: Sequence[Access], address: str, port: int) -> tuple[AccessPolicy, ...]:
    """The policies of an endpoint."""
    return tuple(
        policy
        for group in access
        if not group.endpoints or not {(address, port), (address, 0)}.isdisjoint(group.endpoints)
        for policy in group.policies
    )


def judge(policies: Sequence[AccessPolicy], arrival: Arrival) -> Verdict:
    """Denials first; where there are ALLOW policies one of them must match."""
    enforced = [p for p in policies if not p.dry_run]
    doubtful = ""
    for policy in (p for p in enforced if p.action == "deny"):
        refused = replace(arrival, refuses=True)
        matched = _matches(policy, refused)
        if matched:
            by = f"{_titled(policy)}{_by_rule(policy, refused)}"
            return Verdict(False, f"{by} denies it")
        if matched is None:
            doubtful = f"{_titled(policy)} may deny it"
    for policy in (p for p in enforced if p.action == "custom"):
        refused = replace(arrival, refuses=True)
        if _matches(policy, refused) is not False:
            by = f"AuthorizationPolicy {policy.name}{_by_rule(policy, refused)}"
            asked = f"{by} asks `{policy.provider}`"
            doubtful = f"{doubtful}; {asked}" if doubtful else asked
    allowing = [p for p in enforced if p.action == "allow"]
    found = {p.name: _matches(p, arrival) for p in allowing}
    names = ", ".join(found)
    if allowing and not any(found.values()):
        if None not in found.values():
            return Verdict(False, f"no rule of AuthorizationPolicy {names} allows it")
        doubtful = doubtful or f"AuthorizationPolicy {names} allows some tokens only"
    if doubtful:
        return Verdict(None, doubtful)
    first = next((p for p in allowing if found[p.name]), None)
    if first is None:
        return Verdict(True)
    return Verdict(True, f"AuthorizationPolicy {first.name}{_by_rule(first, arrival)} allows it")


def judge_connection(destination: Destination, principal: str, address: str) -> Verdict:
    """What policies say about bytes or datagrams to a destination, whichever endpoint they get:
    that is not known yet when they decide."""
    found = decide_for(destination, principal, address)
    refused = next((each for each in found if not each.allowed), None)
    if refused is not None and refused.policy is not None:
        by = f"{_named(refused.policy)}{_rule_place(refused.policy, refused.rule)}"
        if refused.policy.action == "custom":
            return Verdict(False, f"{by} asks about requests, and nobody can be asked about bytes")
        return Verdict(False, f"{by} denies it")
    if refused is not None:
        policies = {p.name for each in destination.access for p in each.policies}
        names = ", ".join(sorted(policies))
        return Verdict(False, f"no rule of AuthorizationPolicy {names} lets the caller in")
    by_policy = next((each for each in found if each.policy is not None), None)
    if by_policy is None or by_policy.policy is None:
        return Verdict(True)
    by = f"{_named(by_policy.policy)}{_rule_place(by_policy.policy, by_policy.rule)}"
    return Verdict(True, f"{by} allows it")


def judge_inbound(workload: Workload, port: int, arrival: Arrival, requests: bool) -> Verdict:
    """What a pod's own listener says to those who come to it without an identity. `requests`: what
    comes is HTTP, and the port is looked into for it."""
    at = next((d for d in workload.door.ports if d.port == port), workload.door)
    if at.requests_closed:
        by = f"PeerAuthentication {at.closed_by} (STRICT)"
        return Verdict(False, f"{by} refuses callers without an identity")
    if requests:
        return judge(workload.access, arrival)
    if not at.bytes_closed:
        return Verdict(True)
    found = decide(workload.access, Connection(port=port))
    by = "no rule of its AuthorizationPolicies lets the caller in"
    if found.policy is not None:
        by = f"{_named(found.policy)}{_rule_place(found.policy, found.rule)} denies it"
    return Verdict(False, by)


def _named(policy: AccessPolicy) -> str:
    return f"AuthorizationPolicy {policy.name}"


def _rule_place(policy: AccessPolicy, place: int) -> str:
    return f" (spec.rules[{place}])" if len(policy.rules) > 1 else ""


def _titled(policy: AccessPolicy) -> str:
    title = "" if policy.name.startswith(NETWORK_POLICY) else "AuthorizationPolicy "
    return f"{title}{policy.name}"


def _by_rule(policy: AccessPolicy, arrival: Arrival) -> str:
    """Which rule of several it is: the first that matches, else the first that may."""
    held = [_rule_holds(rule, arrival) for rule in policy.rules]
    place = held.index(True) if True in held else held.index(None)
    return _rule_place(policy, place)


def _matches(policy: AccessPolicy, arrival: Arrival) -> Maybe:
    return _any(_rule_holds(rule, arrival) for rule in policy.rules)


def _rule_holds(rule: AccessRule, arrival: Arrival) -> Maybe:
    return _all(
        _any(_all(_holds(c, arrival) for c in alternative) for alternative in group)
        for group in rule.groups
    )


def _any(parts: Iterable[Maybe]) -> Maybe:
    found = list(parts)
    return True if True in found else None if None in found else False


def _all(parts: Iterable[Maybe]) -> Maybe:
    found = list(parts)
    return False if False in found else None if None in found else True


def _holds(condition: AccessCondition, arrival: Arrival) -> Maybe:
    found = _LOOKS[condition.kind](condition, arrival)
    return found if found is None or not condition.negated else not found


def _text(condition: AccessCondition, value: str | None) -> bool:
    """What is absent matches no value."""
    return value is not None and any(value_holds(text, value) for text in condition.texts)


def _principal(condition: AccessCondition, arrival: Arrival) -> Maybe:
    return _text(condition, arrival.principal.removeprefix(SPIFFE) or None)


def _source(condition: AccessCondition, arrival: Arrival) -> Maybe:
    return _in_networks(condition.networks, arrival.source) if arrival.source else None


def _in_networks(networks: Iterable[str], address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(n, strict=False) for n in networks)


def _token(condition: AccessCondition, arrival: Arrival) -> Maybe:
    return None if any(name in arrival.headers for name in TOKEN_HEADERS) else False


def _host(condition: AccessCondition, arrival: Arrival) -> Maybe:
    """Without regard to case and port."""
    host = arrival.host.lower().partition(":")[0]
    return any(value_holds(StringMatch(t.kind, t.value.lower()), host) for t in condition.texts)


def _port(condition: AccessCondition, arrival: Arrival) -> Maybe:
    return arrival.port in condition.ports if arrival.port else None


def _address(condition: AccessCondition, arrival: Arrival) -> Maybe:
    return _in_networks(condition.networks, arrival.address) if arrival.address else None


def _path(condition: AccessCondition, arrival: Arrival) -> Maybe:
    """Generously where a match refuses, strictly where it lets through."""
    path = without_query(arrival.path)
    doubtful = regex.holds(path_patterns.DOUBTFUL, path)
    if arrival.refuses is not condition.negated:
        wide = (path_patterns.any_writing(text) for text in condition.texts)
        return doubtful or any(value_holds(text, path) for text in wide)
    exact = (path_patterns.as_written(text) for text in condition.texts)
    return not doubtful and any(value_holds(text, path) for text in exact)


def _cel(condition: AccessCondition, arrival: Arrival) -> Maybe:
    """Paths in doubt match where a match refuses, and nowhere else."""

    def look(attribute: Condition) -> Any:
        kind, *operands = attribute
        match kind:
            case "method":
                return arrival.method
            case "path":
                return without_query(arrival.path)
            case "header":
                return arrival.headers.get(operands[0], "")
            case "has_header":
                return operands[0] in arrival.headers
            case "principal":
                return arrival.principal
            case "time":
                return conditions.UNKNOWN
        if any(name in arrival.headers for name in TOKEN_HEADERS):
            return conditions.UNKNOWN
        return _NO_CLAIM.get(operands[0], False) if kind == "claim" else False

    found = [conditions.evaluate(each, look) for each in condition.cel]
    holds = _any(None if each is conditions.UNKNOWN else bool(each) for each in found)
    unplain = regex.holds(path_patterns.UNPLAIN, without_query(arrival.path))
    if unplain and any(path_patterns.names_path(each) for each in condition.cel):
        return arrival.refuses is not condition.negated
    return holds


_NO_CLAIM: Mapping[str, Any] = {"text": "", "list": [], "truth": False, "present": False}
_LOOKS: Mapping[str, Callable[[AccessCondition, Arrival], Maybe]] = {
    "principal": _principal,
    "source_ip": _source,
    "remote_ip": _source,
    "token_principal": _token,
    "claim": _token,
    "header": lambda c, a: _text(c, a.headers.get(c.name.lower())),
    "host": _host,
    "method": lambda c, a: _text(c, a.method),
    "path": _path,
    "port": _port,
    "destination_ip": _address,
    "sni": lambda c, a: False,
    "cel": _cel,
}
