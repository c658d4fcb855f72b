"""Which routes attach to which listeners."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.k8s.meta_v1 import LabelSelector
from weft.api.selectors import from_selector
from weft.mesh.gateway_api_objects import Attached, Listener, Route
from weft.mesh.names import intersection, specificity

Labels = Mapping[str, Mapping[str, str]]
"""Namespace -> its labels."""
Parents = Mapping[tuple[str, str, str], tuple[Listener, ...] | None]
"""(kind, namespace, name) -> listeners of a Gateway or ListenerSet of ours; None for a ListenerSet
that its Gateway does not take."""
REFUSALS = {
    "NoMatchingParent": "no listener of the parent has this name or port",
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


def attach(route: Route, parents: Parents, labels: Labels) -> tuple[ParentResult, ...]:
    """One result for each parent that is ours."""
    results = []
    for parent in route.spec.parent_refs:
        if parent.group != gw.GROUP:
            continue
        name = (parent.kind, parent.namespace or route.metadata.namespace, parent.name)
        if name in parents:
            listeners = parents[name]
            if listeners is None:
                text = "the ListenerSet is not attached to its Gateway"
                results.append(ParentResult(parent, refused="NoMatchingParent", message=text))
            else:
                results.append(_attach(route, parent, listeners, labels))
    return tuple(results)


def admits(
    spaces: gw.RouteNamespaces | gw.ListenerNamespaces, own: str, other: str, labels: Labels
) -> bool:
    """Whether an object of namespace `own` lets in those of namespace `other`."""
    if spaces.from_ == "All":
        return True
    if spaces.from_ == "Selector":
        return _selected(spaces.selector, labels.get(other, {}))
    return spaces.from_ == "Same" and own == other


def _selected(wanted: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    selector = from_selector(wanted)
    return selector is not None and selector.matches(labels)


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
    attached = [
        Attached(route, each, tuple(hosts), tuple(hosts.values()))
        for each in allowed
        if (hosts := _hosts(route, each))
    ]
    if not attached:
        return _refused(parent, "NoMatchingListenerHostname")
    return ParentResult(parent, tuple(attached))


def _refused(parent: gw.ParentReference, reason: str) -> ParentResult:
    return ParentResult(parent, refused=reason, message=REFUSALS[reason])


def _allows(listener: Listener, route: Route, labels: Labels) -> bool:
    if type(route).__name__ not in listener.kinds:
        return False
    spaces = listener.spec.allowed_routes.namespaces
    return admits(spaces, listener.owner.metadata.namespace, route.metadata.namespace, labels)


def _hosts(route: Route, listener: Listener) -> dict[str, str]:
    """Host of both -> the route's host, the most specific where several come to the same."""
    if isinstance(route, gw.TCPRoute | gw.UDPRoute):
        return {listener.host: listener.host}
    found: dict[str, str] = {}
    for written in [h.lower() for h in route.spec.hostnames] or ["*"]:
        host = intersection(listener.host, written)
        if host is not None:
            found[host] = max(found.get(host, written), written, key=specificity)
    return found
