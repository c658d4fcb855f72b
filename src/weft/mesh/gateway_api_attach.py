"""Which routes attach to which listeners."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.selectors import from_selector
from weft.mesh.gateway_api_objects import Attached, Listener, Route
from weft.mesh.names import intersection

Labels = Mapping[str, Mapping[str, str]]
"""Namespace -> its labels."""
REFUSALS = {
    "NoMatchingParent": "no listener of the Gateway has this name or port",
    "NotAllowedByListeners": "no listener allows routes of this kind from this namespace",
    "NoMatchingListenerHostname": "no listener serves any host name of the route",
}


class ParentResult(Struct, frozen=True):
    """How a route fares with one of its parents."""

    parent: gw.ParentReference
    attached: tuple[Attached, ...] = ()
    refused: str = ""
    """Reason why it is not accepted."""
    message: str = ""


def attach(
    route: Route, listeners: Mapping[str, tuple[Listener, ...]], labels: Labels
) -> list[ParentResult]:
    """One result for each parent that is a Gateway of ours (`listeners`, by its name)."""
    results = []
    for parent in route.spec.parent_refs:
        if parent.group != gw.GROUP or parent.kind != "Gateway":
            continue
        found = listeners.get(f"{parent.namespace or route.metadata.namespace}/{parent.name}")
        if found is not None:
            results.append(_attach(route, parent, found, labels))
    return results


def _attach(
    route: Route, parent: gw.ParentReference, listeners: Iterable[Listener], labels: Labels
) -> ParentResult:
    named = [
        each
        for each in listeners
        if parent.section_name in ("", each.spec.name) and parent.port in (None, each.port)
    ]
    if not named:
        return _refused(parent, "NoMatchingParent")
    allowed = [each for each in named if _allows(each, route, labels)]
    if not allowed:
        return _refused(parent, "NotAllowedByListeners")
    attached = [Attached(route, each, hosts) for each in allowed if (hosts := _hosts(route, each))]
    if not attached:
        return _refused(parent, "NoMatchingListenerHostname")
    return ParentResult(parent, tuple(attached))


def _refused(parent: gw.ParentReference, reason: str) -> ParentResult:
    return ParentResult(parent, refused=reason, message=REFUSALS[reason])


def _allows(listener: Listener, route: Route, labels: Labels) -> bool:
    if type(route).__name__ not in listener.kinds:
        return False
    spaces, own = listener.spec.allowed_routes.namespaces, route.metadata.namespace
    if spaces.from_ == "All":
        return True
    if spaces.from_ == "Selector":
        selector = from_selector(spaces.selector)
        return selector is not None and selector.matches(labels.get(own, {}))
    return spaces.from_ == "Same" and own == listener.gateway.metadata.namespace


def _hosts(route: Route, listener: Listener) -> tuple[str, ...]:
    if isinstance(route, gw.TCPRoute):
        return ("*",)
    written = [h.lower() for h in route.spec.hostnames] or ["*"]
    found = (intersection(listener.host, host) for host in written)
    return tuple(dict.fromkeys(host for host in found if host is not None))
