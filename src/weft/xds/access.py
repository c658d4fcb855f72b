"""Authorization policies to Envoy's RBAC filters.

The node proxy stands between caller and callee, so one pass applies the callee's policies. For a
destination they run as upstream filters: they see the request as the callee will (after rewrites)
and the pod that was chosen, so that pods of one service may have different policies. Their
configuration is a resource of its own (ECDS): changing a policy replaces no cluster, no listener
and no connection. At a gateway and at a pod's own address they run in front of the routes.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from envoy.config.core.v3 import config_source_pb2, extension_pb2
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.extensions.rbac.matchers.upstream_ip_port.v3 import (
    upstream_ip_port_matcher_pb2 as upstream_pb2,
)
from envoy.type.matcher.v3 import (
    address_pb2,
    filter_state_pb2,
    metadata_pb2,
    string_pb2,
    value_pb2,
)
from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.model import Access, AccessCondition, AccessPolicy, AccessRule, StringMatch
from weft.mesh.model import Destination as ModelDestination
from weft.mesh.path_patterns import names_path
from weft.xds.conditions import JWT_METADATA, set_conditions
from weft.xds.identity import CLIENT_KEY, PEER_ADDRESS_KEY, PRINCIPAL_KEY
from weft.xds.matches import header_matcher, regex, string_matcher
from weft.xds.paths import any_writing, doubtful_path, path_matcher, unplain_path
from weft.xds.proto import ADS, Proto, any_of, cidr, extension, resource, xds_cidr
from weft.xds.resource import EXTENSION, Resource

DENY_FILTER = "weft.access.deny"
ALLOW_FILTER = "weft.access.allow"
JWT_PAYLOAD = "payload"
"""Key under which the token filter leaves a payload that is verified as the destination asks."""
EDGE_PAYLOAD = "edge_payload"
"""And as the gateway asks, which may believe others."""
SPIFFE = "spiffe://"

_Pods = tuple[tuple[str, int], ...]
_Permission = rules_pb2.Permission
_Principal = rules_pb2.Principal
_RBAC_TYPE = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
_ACTIONS = {"deny": rules_pb2.RBAC.DENY, "allow": rules_pb2.RBAC.ALLOW}
_TRIED = {"deny": ("deny", "custom", "audit"), "allow": ("allow",)}
"""Filter -> actions of the policies that it tries."""
_AS_PERMISSION = frozenset(("header", "host", "method", "path", "port", "destination_ip", "sni"))


class Place(Struct, frozen=True):
    """Where a filter runs, and what its rules do."""

    upstream: bool
    """After an endpoint was chosen; else in front of the routes."""
    refuses: bool = False
    """What matches is refused: then doubtful paths match as well."""
    clients: bool = False
    """At a gateway: whom clients' certificates name counts as well as the gateway itself."""
    clear: bool = False
    """The rule as a whole holds for no doubtful path."""
    payload: str = ""
    """Where the payload of tokens is; empty is the place's usual."""


UPSTREAM = Place(upstream=True)
LISTENER = Place(upstream=False, clients=True)


def destination_filters(destination: ModelDestination) -> list[Proto]:
    """The upstream HTTP filters of a destination with policies, the codec last; none without."""
    if not destination.access:
        return []
    filters = [
        hcm_pb2.HttpFilter(
            name=_name(kind, destination.name),
            config_discovery=config_source_pb2.ExtensionConfigSource(
                config_source=ADS, type_urls=[_RBAC_TYPE]
            ),
        )
        for kind in ("deny", "allow")
    ]
    codec = any_of(upstream_codec_pb2.UpstreamCodec())
    filters.append(hcm_pb2.HttpFilter(name="envoy.filters.http.upstream_codec", typed_config=codec))
    return filters


def destination_policies(destination: ModelDestination) -> list[Resource]:
    """The configurations of those filters."""
    if not destination.access:
        return []
    made = []
    for kind in ("deny", "allow"):
        name = _name(kind, destination.name)
        config = extension_pb2.TypedExtensionConfig(
            name=name, typed_config=any_of(rbac(kind, destination.access, UPSTREAM))
        )
        made.append(resource(EXTENSION, name, config))
    return made


def route_policies(policies: tuple[AccessPolicy, ...]) -> dict[str, Proto]:
    """Filter name -> per-route configuration, for a table or a pod's own address."""
    if not policies:
        return {}
    access = (Access(policies),)
    return {
        DENY_FILTER: rbac_pb2.RBACPerRoute(rbac=rbac("deny", access, LISTENER)),
        ALLOW_FILTER: rbac_pb2.RBACPerRoute(rbac=rbac("allow", access, LISTENER)),
    }


def listener_filters() -> tuple[tuple[str, Proto], ...]:
    """(name, configuration) of the filters that such tables turn on."""
    return tuple((name, rbac_pb2.RBAC()) for name in (DENY_FILTER, ALLOW_FILTER))


def rbac(kind: str, access: Sequence[Access], place: Place) -> Proto:
    """The filter for all policies of one action. Policies that only try (dry run) and those that
    only audit are its shadow rules: they are counted and refuse nothing."""
    result = rbac_pb2.RBAC(rules_stat_prefix=f"{kind}_", shadow_rules_stat_prefix="dry_run_")
    result.track_per_rule_stats = False
    place = replace(place, refuses=kind == "deny")
    enforced = policies_of(access, place, lambda p: p.action == kind and not p.dry_run)
    if kind == "allow" and enforced:
        enforced |= _without_allow(access, place)
    if enforced:
        result.rules.action = _ACTIONS[kind]
        for name, policy in enforced.items():
            result.rules.policies[name].CopyFrom(policy)
    tried = policies_of(
        access,
        place,
        lambda p: (p.dry_run or p.action == "audit") and p.action in _TRIED[kind],
    )
    if tried:
        result.shadow_rules.action = _ACTIONS[kind]
        for name, policy in tried.items():
            result.shadow_rules.policies[name].CopyFrom(policy)
    return result


def policies_of(
    access: Sequence[Access], place: Place, wanted: Callable[[AccessPolicy], bool]
) -> dict[str, Proto]:
    """Name -> RBAC policy of the rules of those policies that are wanted."""
    made: dict[str, Proto] = {}
    for number, group in enumerate(access):
        mark = f"@{number}" if group.endpoints else ""
        for policy in filter(wanted, group.policies):
            if not policy.rules:
                # No rule matches no request; but that there is a policy must be seen.
                made[f"{policy.name}[none]{mark}"] = rules_pb2.Policy(
                    permissions=[_Permission(not_rule=_Permission(any=True))],
                    principals=[_Principal(any=True)],
                )
            for index, rule in enumerate(policy.rules):
                name = f"{policy.name}[{index}]{mark}"
                made[name] = _rule(rule, group.endpoints, place)
                if place.refuses and _looks_at_path(rule):
                    doubt = [_Permission(url_path=unplain_path())]
                    made[f"{name}~"] = _rule(_without_cel(rule), group.endpoints, place, doubt)
    return made


def _without_allow(access: Sequence[Access], place: Place) -> dict[str, Proto]:
    """Pods without any ALLOW policy let everyone in."""
    guarded = [
        place_of
        for group in access
        for place_of in group.endpoints
        if any(p.action == "allow" and not p.dry_run for p in group.policies)
    ]
    if not guarded:
        return {}
    others = _Permission(not_rule=_pods(tuple(guarded), place))
    return {
        "(no policy)": rules_pb2.Policy(permissions=[others], principals=[_Principal(any=True)])
    }


def _cel(rule: AccessRule) -> list[AccessCondition]:
    """A rule's conditions in CEL; each stands in a group of its own."""
    return [c for group in rule.groups for part in group for c in part if c.kind == "cel"]


def _without_cel(rule: AccessRule) -> AccessRule:
    groups = rule.groups
    return AccessRule(tuple(g for g in groups if not any(c.kind == "cel" for p in g for c in p)))


def _looks_at_path(rule: AccessRule) -> bool:
    return any(names_path(condition) for c in _cel(rule) for condition in c.cel)


def _rule(rule: AccessRule, pods: _Pods, place: Place, more: Sequence[Proto] = ()) -> Proto:
    permissions = [_pods(pods, place)] if pods else []
    permissions += more
    principals = []
    if not place.refuses and _looks_at_path(rule):
        permissions.append(_Permission(not_rule=_Permission(url_path=unplain_path())))
    clear = False
    for group in _without_cel(rule).groups:
        kinds = {condition.kind for alternative in group for condition in alternative}
        if kinds <= _AS_PERMISSION:
            once = not place.refuses and all(map(_permits_by_path, group))
            permissions.append(_any_permission(group, replace(place, clear=once)))
            clear = clear or once
        else:
            principals.append(_any_principal(group, place))
    if clear:  # the last thing that is looked at: few requests get so far in most rules
        principals.append(_Principal(not_id=_Principal(url_path=doubtful_path())))
    made = rules_pb2.Policy(
        permissions=[_all_permissions(permissions)], principals=[_all_principals(principals)]
    )
    set_conditions(made, _cel(rule), _payload(place))
    return made


def _permits_by_path(alternative: Sequence[AccessCondition]) -> bool:
    return any(c.kind == "path" and not c.negated for c in alternative)


def _payload(place: Place) -> str:
    """The key of the verified token's claims."""
    return place.payload or (JWT_PAYLOAD if place.upstream else EDGE_PAYLOAD)


def _any_permission(group: Sequence[Sequence[AccessCondition]], place: Place) -> Proto:
    found = [_all_permissions([_permission(c, place) for c in part]) for part in group]
    if len(found) == 1:
        return found[0]
    return _Permission(or_rules=_Permission.Set(rules=found))


def _any_principal(group: Sequence[Sequence[AccessCondition]], place: Place) -> Proto:
    found = [_all_principals([_principal(c, place) for c in part]) for part in group]
    return found[0] if len(found) == 1 else _Principal(or_ids=_Principal.Set(ids=found))


def _all_permissions(parts: list[Proto]) -> Proto:
    if not parts:
        return _Permission(any=True)
    return parts[0] if len(parts) == 1 else _Permission(and_rules=_Permission.Set(rules=parts))


def _all_principals(parts: list[Proto]) -> Proto:
    if not parts:
        return _Principal(any=True)
    return parts[0] if len(parts) == 1 else _Principal(and_ids=_Principal.Set(ids=parts))


def _permission(condition: AccessCondition, place: Place) -> Proto:
    parts = list(_permissions(condition, place))
    found = parts[0] if len(parts) == 1 else _Permission(or_rules=_Permission.Set(rules=parts))
    return _Permission(not_rule=found) if condition.negated else found


def _permissions(condition: AccessCondition, place: Place) -> Iterable[Proto]:
    kind = condition.kind
    if kind == "port":
        return (_port(port, place) for port in condition.ports)
    if kind == "destination_ip":
        return (_address(network, place) for network in condition.networks)
    if kind == "header":
        return (_Permission(header=header_matcher(condition.name, t)) for t in condition.texts)
    if kind == "host":
        return (_Permission(header=header_matcher(":authority", _host(t))) for t in condition.texts)
    if kind == "method":
        return (_Permission(header=header_matcher(":method", t)) for t in condition.texts)
    if kind == "sni":
        return (_Permission(requested_server_name=_string(t)) for t in condition.texts)
    return _paths(condition, place)


def _paths(condition: AccessCondition, place: Place) -> Iterable[Proto]:
    """Matched generously where a match refuses, strictly where it lets through."""
    if place.refuses is not condition.negated:
        yield from (_Permission(url_path=any_writing(text)) for text in condition.texts)
        yield _Permission(url_path=doubtful_path())
        return
    if place.clear and not condition.negated:
        yield from (_Permission(url_path=path_matcher(text)) for text in condition.texts)
        return
    clear = _Permission(not_rule=_Permission(url_path=doubtful_path()))
    for text in condition.texts:
        yield _all_permissions([_Permission(url_path=path_matcher(text)), clear])


def _host(text: StringMatch) -> StringMatch:
    """Hosts are compared without regard to case and to the port that callers may add: else a
    policy could be evaded by writing the host in another way."""
    if text.kind == "present":
        return text
    pattern = re.escape(text.value)
    if text.kind == "prefix":
        pattern = f"{pattern}.*"
    elif text.kind == "suffix":
        pattern = f".*{pattern}"
    return StringMatch("regex", f"(?i){pattern}(?::[0-9]+)?")


def _string(text: StringMatch) -> Proto:
    """Of values that must be there."""
    if text.kind == "present":
        return string_pb2.StringMatcher(safe_regex=regex(".+"))
    return string_matcher(text)


def _port(port: int, place: Place) -> Proto:
    if not place.upstream:
        return _Permission(destination_port=port)
    matcher = upstream_pb2.UpstreamIpPortMatcher()
    matcher.upstream_port_range.start, matcher.upstream_port_range.end = port, port + 1
    return _Permission(matcher=extension("envoy.rbac.matchers.upstream_ip_port", matcher))


def _address(network: str, place: Place) -> Proto:
    if not place.upstream:
        return _Permission(destination_ip=cidr(network))
    matcher = upstream_pb2.UpstreamIpPortMatcher(upstream_ip=cidr(network))
    return _Permission(matcher=extension("envoy.rbac.matchers.upstream_ip_port", matcher))


def _pods(pods: _Pods, place: Place) -> Proto:
    found = [
        _all_permissions([_address(address, place), *([_port(port, place)] if port else [])])
        for address, port in pods
    ]
    return found[0] if len(found) == 1 else _Permission(or_rules=_Permission.Set(rules=found))


def _principal(condition: AccessCondition, place: Place) -> Proto:
    parts = list(_principals(condition, place))
    found = parts[0] if len(parts) == 1 else _Principal(or_ids=_Principal.Set(ids=parts))
    return _Principal(not_id=found) if condition.negated else found


def _principals(condition: AccessCondition, place: Place) -> Iterable[Proto]:
    if condition.kind == "principal":
        keys = (PRINCIPAL_KEY, CLIENT_KEY) if place.clients else (PRINCIPAL_KEY,)
        return (
            _Principal(filter_state=_identity(text, key))
            for text in condition.texts
            for key in keys
        )
    if condition.kind == "source_ip":
        return _peers(condition.networks)
    if condition.kind == "remote_ip":
        return (_Principal(remote_ip=cidr(network)) for network in condition.networks)
    if condition.kind == "claim":
        return (_token(_claim(condition.claim, text, place)) for text in condition.texts)
    return (_token_principal(text, place) for text in condition.texts)


def _peers(networks: Sequence[str]) -> Iterable[Proto]:
    """Those at the other end of the connection, also of one that a relay passes on."""
    yield from (_Principal(direct_remote_ip=cidr(network)) for network in networks)
    ranges = [xds_cidr(network) for network in networks]
    relayed = filter_state_pb2.FilterStateMatcher(
        key=PEER_ADDRESS_KEY, address_match=address_pb2.AddressMatcher(ranges=ranges)
    )
    yield _Principal(filter_state=relayed)


def _identity(text: StringMatch, key: str) -> Proto:
    if text.kind == "exact":
        match = string_pb2.StringMatcher(exact=f"{SPIFFE}{text.value}")
    elif text.kind == "prefix":
        match = string_pb2.StringMatcher(prefix=f"{SPIFFE}{text.value}")
    elif text.kind == "regex":
        match = string_pb2.StringMatcher(safe_regex=regex(f"{SPIFFE}{text.value}"))
    else:
        match = _string(text)
    return filter_state_pb2.FilterStateMatcher(key=key, string_match=match)


def _claim(path: Sequence[str], text: StringMatch, place: Place) -> Proto:
    """A claim that is the text, or a list that holds it."""
    one = value_pb2.ValueMatcher(string_match=_string(text))
    several = value_pb2.ValueMatcher(list_match=value_pb2.ListMatcher(one_of=one))
    either = value_pb2.OrMatcher(value_matchers=[one, several])
    payload = _payload(place)
    segment = metadata_pb2.MetadataMatcher.PathSegment
    return metadata_pb2.MetadataMatcher(
        filter=JWT_METADATA,
        path=[segment(key=part) for part in (payload, *path)],
        value=value_pb2.ValueMatcher(or_match=either),
    )


def _token(claim: Proto) -> Proto:
    return _Principal(sourced_metadata=rules_pb2.SourcedMetadata(metadata_matcher=claim))


def _token_principal(text: StringMatch, place: Place) -> Proto:
    """`<issuer>/<subject>`: subjects have no slash, issuers may."""
    anything = StringMatch("present")
    issuer, subject = anything, anything
    before, slash, after = text.value.rpartition("/")
    if text.kind == "exact":
        issuer, subject = StringMatch("exact", before), StringMatch("exact", after)
    elif text.kind == "prefix" and slash and "://" not in before[-3:] + after:
        issuer = StringMatch("exact", before)
        subject = StringMatch("prefix", after) if after else anything
    elif text.kind == "prefix":
        issuer = text
    elif text.kind == "suffix" and slash:
        issuer = StringMatch("suffix", before) if before else anything
        subject = StringMatch("exact", after)
    elif text.kind == "suffix":
        subject = text
    parts = [
        _token(_claim(("iss",), issuer, place)),
        _token(_claim(("sub",), subject, place)),
    ]
    return _all_principals(parts)


def _name(kind: str, destination: str) -> str:
    return f"weft.access.{kind}|{destination}"
