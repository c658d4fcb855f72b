"""Statuses of GatewayClasses, Gateways, ListenerSets and routes."""

import re
from collections.abc import Iterable, Mapping, Sequence

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_attach import ParentResult
from weft.mesh.gateway_api_certificates import INSECURE, Found
from weft.mesh.gateway_api_conditions import condition, judged
from weft.mesh.gateway_api_features import FEATURES
from weft.mesh.gateway_api_mesh import InMesh
from weft.mesh.gateway_api_objects import Json, Listener, ObjectStatus, Route
from weft.mesh.gateway_api_resolve import PlacedRules
from weft.mesh.gateway_api_rules import Rules

BUNDLE_MINOR_MAX = 7
"""Features of what will be 1.7 are there already; its suite says `v1.7.0-dev`."""
BUNDLES = re.compile(rf"v1\.[0-{BUNDLE_MINOR_MAX}]\.[0-9]+(-.*)?")
Counts = Mapping[str, int]
"""Listener -> how many routes it has."""
_CONFLICTS = {
    "ProtocolConflict": "listeners of one port have protocols that cannot share it",
    "HostnameConflict": "listeners of one port have the same host name",
}


def class_status(obj: gw.GatewayClass, bundle: str | None) -> ObjectStatus:
    """We accept every class that names us; parameters are not looked at, for there are none."""
    number = obj.metadata.generation or 0
    accepted = condition("Accepted", True, "Accepted", number, "weft serves this class")
    if obj.spec.parameters_ref is not None:
        text = "weft has no parameters for classes"
        accepted = condition("Accepted", False, "InvalidParameters", number, text)
    body = {
        "conditions": [accepted, _version(bundle, number)],
        "supportedFeatures": [{"name": name} for name in FEATURES],
    }
    return _status(obj, body)


def _version(bundle: str | None, number: int) -> Json:
    """weft serves the API by itself, so without definitions all is well; those that somebody
    installed say what clients expect."""
    known = bundle is None or BUNDLES.fullmatch(bundle) is not None
    text = "" if known else f"CRDs of {f'version `{bundle}`' if bundle else 'an unknown version'}"
    text = text and f"{text} are installed; weft knows v1.0 to v1.{BUNDLE_MINOR_MAX}"
    return judged("SupportedVersion", "" if known else "UnsupportedVersion", number, text)


def gateway_refusal(obj: gw.Gateway) -> tuple[str, str]:
    """(reason, message) why a Gateway as a whole is not accepted; empty when it is."""
    infrastructure = obj.spec.infrastructure
    if infrastructure is not None and infrastructure.parameters_ref is not None:
        ref = infrastructure.parameters_ref
        text = f"weft has no parameters for Gateways, and knows no {ref.kind} of `{ref.group}`"
        return "InvalidParameters", text
    wrong = [a.type for a in obj.spec.addresses if a.type not in gw.ADDRESS_TYPES]
    if wrong:
        return "UnsupportedAddress", f"addresses are of type IPAddress or Hostname, not {wrong[0]}"
    return "", ""


def gateway_status(
    obj: gw.Gateway, listeners: Sequence[Listener], attached: Counts, shown: Found, sets: int
) -> ObjectStatus:
    """`listeners`: its own. `shown`: what is wrong with the certificate that it shows to back
    ends. `sets`: how many ListenerSets are attached."""
    number = obj.metadata.generation or 0
    reason, text = gateway_refusal(obj)
    accepted = _summary(listeners, number)
    if reason:
        accepted = condition("Accepted", False, reason, number, text)
    serves = not reason and any(each.serves for each in listeners)
    conditions = [
        accepted,
        judged("Programmed", "" if serves else "Invalid", number, "no listener can be opened"),
        _resolved(listeners, shown, number),
    ]
    if _insecure(obj):
        text = "clients come in without a good certificate (AllowInsecureFallback)"
        kind = "InsecureFrontendValidationMode"
        conditions.append(condition(kind, True, "ConfigurationChanged", number, text))
    body: Json = {
        "conditions": conditions,
        "listeners": [_listener(e, attached.get(e.name, 0), number) for e in listeners],
        "attachedListenerSets": sets,
        "addresses": [{"type": a.type, "value": a.value} for a in obj.spec.addresses if a.type],
    }
    return _status(obj, body, listeners)


def _summary(listeners: Sequence[Listener], number: int) -> Json:
    """Accepted, of an object with listeners."""
    good = [each for each in listeners if not (each.refused or each.conflict)]
    if len(good) == len(listeners):
        return condition("Accepted", True, "Accepted", number)
    bad = ", ".join(f"`{each.spec.name}`" for each in listeners if each not in good)
    text = f"listeners that are not valid: {bad}"
    return condition("Accepted", bool(good), "ListenersNotValid", number, text)


def _resolved(listeners: Iterable[Listener], shown: Found, number: int) -> Json:
    if shown.reason:
        return condition("ResolvedRefs", False, shown.reason, number, shown.message)
    bad = [each for each in listeners if each.unresolved]
    text = "; ".join(f"listener `{e.spec.name}`: {e.unresolved_message}" for e in bad)
    return judged("ResolvedRefs", "ListenersNotResolved" if bad else "", number, text)


def _insecure(obj: gw.Gateway) -> bool:
    frontend = obj.spec.tls.frontend if obj.spec.tls else None
    if frontend is None:
        return False
    configs = (frontend.default, *(each.tls for each in frontend.per_port))
    return any(c.validation is not None and c.validation.mode == INSECURE for c in configs)


def listener_set_status(
    obj: gw.ListenerSet,
    gateway: gw.Gateway,
    listeners: Sequence[Listener] | None,
    attached: Counts,
) -> tuple[ObjectStatus, bool]:
    """The status, and whether the set is accepted; no listeners: the Gateway does not take it."""
    number = obj.metadata.generation or 0
    reason, text = "", ""
    if gateway_refusal(gateway)[0]:
        reason, text = "ParentNotAccepted", "the Gateway is not accepted"
    elif listeners is None:
        reason, text = "NotAllowed", "the Gateway's `spec.allowedListeners` does not allow it"
    if reason or listeners is None:
        programmed = "ParentNotProgrammed" if reason == "ParentNotAccepted" else reason
        body: Json = {
            "conditions": [
                condition("Accepted", False, reason, number, text),
                condition("Programmed", False, programmed, number, text),
            ]
        }
        return _status(obj, body), False
    accepted = _summary(listeners, number)
    bad = not any(each.serves for each in listeners)
    refused = "ListenersNotValid" if bad else ""
    if bad:  # also where what listeners name is all that is wrong
        accepted = condition("Accepted", False, refused, number, "no listener can be opened")
    body = {
        "conditions": [
            accepted, judged("Programmed", refused, number, "no listener can be opened"),
        ],
        "listeners": [_listener(e, attached.get(e.name, 0), number) for e in listeners],
    }  # fmt: skip
    return _status(obj, body, listeners), accepted["status"] == "True"


def _listener(listener: Listener, attached: int, number: int) -> Json:
    conflict = listener.conflict
    refused, text = listener.refused, listener.refused_message
    programmed = "" if listener.serves else "Invalid"
    if conflict:
        # A ListenerSet's listener yields to others and is told why; of a Gateway's own, none is
        # preferred, so all of them are wrong.
        refused, text = conflict if listener.set else "Invalid", _CONFLICTS[conflict]
        programmed = refused
    conditions = [
        judged("Accepted", refused, number, text),
        _conflicted(conflict, number),
        judged("ResolvedRefs", listener.unresolved, number, listener.unresolved_message),
        judged("Programmed", programmed, number, text or listener.unresolved_message),
    ]  # fmt: skip
    if listener.overlaps:
        text = f"listener `{listener.overlaps}` of this port has some of the same host names"
        kind, reason = "OverlappingTLSConfig", "OverlappingHostnames"
        conditions.append(condition(kind, True, reason, number, text))
    return {
        "name": listener.spec.name,
        "attachedRoutes": attached,
        "supportedKinds": [{"group": gw.GROUP, "kind": kind} for kind in listener.kinds],
        "conditions": conditions,
    }


def _conflicted(conflict: str, number: int) -> Json:
    text = _CONFLICTS.get(conflict, "")
    return condition("Conflicted", bool(conflict), conflict or "NoConflicts", number, text)


def route_status(
    obj: Route, results: tuple[ParentResult, ...], mesh: InMesh, rules: PlacedRules
) -> ObjectStatus:
    """`rules`: what reading the rules found; the same whatever the parents."""
    number = obj.metadata.generation or 0
    found = (*results, *mesh.results)
    body = {"parents": [_parent(result, rules.general, number) for result in found]}
    return _status(obj, body)


def _parent(result: ParentResult, rules: Rules, number: int) -> Json:
    wrong = "; ".join(rules.unsupported)
    if result.refused:
        accepted = condition("Accepted", False, result.refused, number, result.message)
    else:
        accepted = judged("Accepted", "" if rules.accepted else "UnsupportedValue", number, wrong)
    reason, text = rules.unresolved[0] if rules.unresolved else ("", "")
    conditions = [accepted, judged("ResolvedRefs", reason, number, text)]
    partly = _partly_invalid(rules)
    if partly and not result.refused:
        conditions.append(condition("PartiallyInvalid", True, "UnsupportedValue", number, partly))
    return {
        "parentRef": _reference(result.parent),
        "controllerName": gw.CONTROLLER_NAME,
        "conditions": conditions,
    }


def _partly_invalid(rules: Rules) -> str:
    """What is not in force of rules of which others are."""
    said = []
    if rules.unsupported and rules.ranked:
        said.append(f"Dropped Rule {'; '.join(rules.unsupported)}")
    if rules.closed and len(rules.closed) < rules.count:
        said.append(f"no request passes by {'; '.join(rules.closed)}")
    return "; ".join(said)


def _reference(parent: gw.ParentReference) -> Json:
    made: Json = {"group": parent.group, "kind": parent.kind, "name": parent.name}
    if parent.namespace:
        made["namespace"] = parent.namespace
    if parent.section_name:
        made["sectionName"] = parent.section_name
    if parent.port is not None:
        made["port"] = parent.port
    return made


def _status(
    obj: gw.GatewayClass | gw.Gateway | gw.ListenerSet | Route,
    body: Json,
    listeners: Sequence[Listener] = (),
) -> ObjectStatus:
    meta = obj.metadata
    places = tuple(sorted({(e.port, e.transport) for e in listeners if e.serves}))
    gateway = listeners[0].gateway_name if listeners else ""
    return ObjectStatus(type(obj), meta.namespace, meta.name, meta.uid, body, gateway, places)
