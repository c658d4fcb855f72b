"""Statuses of Gateway API objects: conditions with the reasons of the specification."""

from collections.abc import Iterable, Sequence

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_attach import ParentResult
from weft.mesh.gateway_api_objects import Json, Listener, ObjectStatus, Route
from weft.mesh.gateway_api_rules import Rules

ADDRESS_TYPES = ("IPAddress", "Hostname")
FEATURES = (
    "GRPCRoute", "Gateway", "GatewayHTTPListenerIsolation", "GatewayPort8080", "HTTPRoute",
    "HTTPRoute303RedirectStatusCode", "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode", "HTTPRouteBackendProtocolH2C",
    "HTTPRouteBackendProtocolWebSocket", "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout", "HTTPRouteCORS", "HTTPRouteHostRewrite", "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule", "HTTPRouteParentRefPort", "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite", "HTTPRoutePortRedirect", "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestMirror", "HTTPRouteRequestMultipleMirrors",
    "HTTPRouteRequestPercentageMirror", "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification", "HTTPRouteSchemeRedirect", "Mesh",
    "MeshClusterIPMatching", "MeshConsumerRoute", "ReferenceGrant", "TCPRoute", "TLSRoute",
    "TLSRouteModeTerminate",
)  # fmt: skip
"""Names of the conformance suite."""
_LISTENER_MESSAGES = {
    "UnsupportedProtocol": "protocols are HTTP, HTTPS, TLS and TCP",
    "PortUnavailable": "another Gateway uses the port in a way that cannot be shared",
    "ProtocolConflict": "listeners of one port have protocols that cannot share it",
    "HostnameConflict": "listeners of one port have the same host name",
}


def condition(kind: str, ok: bool, reason: str, generation: int, message: str = "") -> Json:
    """One condition, without its time."""
    return {
        "type": kind,
        "status": "True" if ok else "False",
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    }


def class_status(obj: gw.GatewayClass) -> ObjectStatus:
    """We accept every class that names us; parameters are not looked at, for there are none."""
    number = obj.metadata.generation or 0
    accepted = condition("Accepted", True, "Accepted", number, "weft serves this class")
    if obj.spec.parameters_ref is not None:
        text = "weft has no parameters for classes"
        accepted = condition("Accepted", False, "InvalidParameters", number, text)
    return _status(
        obj,
        {
            "conditions": [
                accepted,
                condition("SupportedVersion", True, "SupportedVersion", number),
            ],
            "supportedFeatures": [{"name": name} for name in FEATURES],
        },
    )


def gateway_status(
    obj: gw.Gateway, listeners: Sequence[Listener], attached: dict[str, int]
) -> ObjectStatus:
    """`attached`: how many routes each listener has, by its name."""
    number = obj.metadata.generation or 0
    good = [each for each in listeners if not (each.refused or each.conflict)]
    bad_type = any(a.type not in ADDRESS_TYPES for a in obj.spec.addresses)
    if bad_type:
        text = f"address types are {' and '.join(ADDRESS_TYPES)}"
        accepted = condition("Accepted", False, "UnsupportedAddress", number, text)
    elif len(good) == len(listeners):
        accepted = condition("Accepted", True, "Accepted", number)
    else:
        text = "not all listeners are valid"
        accepted = condition("Accepted", bool(good), "ListenersNotValid", number, text)
    serves = not bad_type and any(each.serves for each in listeners)
    text = "" if serves else "no listener can be opened"
    programmed = condition(
        "Programmed", serves, "Programmed" if serves else "Invalid", number, text
    )
    return _status(
        obj,
        {
            "conditions": [accepted, programmed],
            "listeners": [_listener(e, attached.get(e.name, 0), number) for e in listeners],
        },
        tuple(sorted({each.port for each in listeners if each.serves})),
    )


def _listener(listener: Listener, attached: int, number: int) -> Json:
    refused = listener.refused or listener.conflict
    text = _LISTENER_MESSAGES.get(refused, "")
    conflicted = condition(
        "Conflicted", bool(listener.conflict), listener.conflict or "NoConflicts", number,
        text if listener.conflict else "",
    )  # fmt: skip
    lacks = listener.unresolved
    return {
        "name": listener.spec.name,
        "attachedRoutes": attached,
        "supportedKinds": [{"group": gw.GROUP, "kind": kind} for kind in listener.kinds],
        "conditions": [
            condition("Accepted", not refused, refused or "Accepted", number, text),
            conflicted,
            condition(
                "ResolvedRefs", not lacks, lacks or "ResolvedRefs", number,
                listener.unresolved_message,
            ),
            condition(
                "Programmed", listener.serves, "Programmed" if listener.serves else "Invalid",
                number, text or listener.unresolved_message,
            ),
        ],
    }  # fmt: skip


def route_status(obj: Route, results: Iterable[ParentResult], rules: Rules) -> ObjectStatus:
    """`rules`: what reading the rules found."""
    number = obj.metadata.generation or 0
    return _status(obj, {"parents": [_parent(result, rules, number) for result in results]})


def _parent(result: ParentResult, rules: Rules, number: int) -> Json:
    wrong = "; ".join(rules.unsupported)
    if result.refused:
        accepted = condition("Accepted", False, result.refused, number, result.message)
    elif wrong and not rules.ranked:
        accepted = condition("Accepted", False, "UnsupportedValue", number, wrong)
    else:
        accepted = condition("Accepted", True, "Accepted", number)
    reason, text = rules.unresolved[0] if rules.unresolved else ("ResolvedRefs", "")
    conditions = [
        accepted,
        condition("ResolvedRefs", not rules.unresolved, reason, number, text),
    ]
    if wrong and rules.ranked and not result.refused:
        dropped = f"Dropped Rule {wrong}"
        conditions.append(condition("PartiallyInvalid", True, "UnsupportedValue", number, dropped))
    return {
        "parentRef": _reference(result.parent),
        "controllerName": gw.CONTROLLER_NAME,
        "conditions": conditions,
    }


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
    obj: gw.GatewayClass | gw.Gateway | Route, status: Json, ports: tuple[int, ...] = ()
) -> ObjectStatus:
    meta = obj.metadata
    return ObjectStatus(type(obj), meta.namespace, meta.name, meta.uid, status, ports)
