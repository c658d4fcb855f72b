"""Routes of the Gateway API that a user names: their weights and the rules that steps make, as the
plugin argoproj-labs/gatewayAPI of Argo Rollouts writes them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.api.gateway.grpc_route import GRPCBackendRef, GRPCHeaderMatch, GRPCRouteRule
from weft.api.gateway.overlaps import both
from weft.api.selectors import from_selector
from weft.controllers.rollout_routes import managed_rule
from weft.controllers.rollout_traffic import Managed, Wish, changed
from weft.controllers.rollout_view import Draft
from weft.controllers.support.patches import object_patch
from weft.runtime.plan import Action

_KINDS: Mapping[str, type[Struct]] = {
    "httpRoute": gw.HTTPRoute, "grpcRoute": gw.GRPCRoute, "tcpRoute": gw.TCPRoute,
    "tlsRoute": gw.TLSRoute,
}  # fmt: skip
"""What the configuration may name: one, a list of them (with an s), or a selector of labels."""
PROGRESS_LABEL, PROGRESS_VALUE = "rollouts.argoproj.io/gatewayapi-canary", "in-progress"
"""Tell whoever compares routes with their sources that a canary changed them."""
ACTIVE_ANNOTATION = "rollouts.argoproj.io/gatewayapi-active-rollouts"


class _Named(Struct, frozen=True):
    """A route of the configuration."""

    kind: type[Struct]
    name: str
    rule: str = ""
    """The only rule that is written; all that have both Services when absent."""
    headers: bool = True
    """Whether header routes are made in it."""


def named(draft: Draft, wish: Wish, config: Any) -> list[Action]:
    """Weights in the routes that the plugin's configuration names."""
    if not isinstance(config, Mapping) or not any(
        config.get(f"{word}{end}") for word in _KINDS for end in ("", "s", "Selector")
    ):
        draft.fail("argoproj-labs/gatewayAPI names no route: write `httpRoute: NAME`")
        return []
    actions: list[Action] = []
    namespace = str(config.get("namespace") or draft.view.rollout.metadata.namespace)
    for route in _routes(draft, config, namespace):
        found: Any = draft.view.snapshot.get(route.kind, route.name, namespace)
        kind = route.kind.__name__
        if found is None:
            draft.fail(f"the {kind} {route.name} does not exist")
            continue
        rules = [r for r in found.spec.rules if not _is_managed(getattr(r, "name", ""), wish)]
        if not any(_divides(rule, wish, route) for rule in rules):
            which = f"rule {route.rule}" if route.rule else "rule"
            text = f"no {which} of the {kind} {route.name} has both {wish.stable_service}"
            draft.fail(f"{text} and {wish.canary_service}")
            continue
        after = [_weighted(draft, rule, wish, route) for rule in rules]
        after = [*_managed_of(after, wish, route), *after]
        made = _marked(draft, changed(found, rules=tuple(after)), config, wish)
        actions += object_patch(found, made, conditional=True)
    return actions


def _routes(draft: Draft, config: Mapping[str, Any], namespace: str) -> Iterable[_Named]:
    found: dict[tuple[str, str], _Named] = {}
    for word, kind in _KINDS.items():
        if config.get(word):
            name = str(config[word])
            found[word, name] = _Named(kind, name, str(config.get(f"{word}RuleName") or ""))
        for item in config.get(f"{word}s") or ():
            if isinstance(item, Mapping) and item.get("name"):
                name, headers = str(item["name"]), bool(item.get("useHeaderRoutes"))
                found[word, name] = _Named(kind, name, str(item.get("ruleName") or ""), headers)
        wanted = config.get(f"{word}Selector")
        if not isinstance(wanted, Mapping):
            continue
        selector = from_selector(wanted)
        for route in draft.view.snapshot.list(kind, namespace):
            meta = route.metadata  # type: ignore[attr-defined]
            if selector is not None and selector.matches(meta.labels):
                found.setdefault((word, meta.name), _Named(kind, meta.name))
    return found.values()


def _is_managed(name: str, wish: Wish) -> bool:
    """Whether a step made the rule: the second for a step is NAME-1, since names are unique."""
    return any(re.fullmatch(rf"{re.escape(each)}(-[0-9]+)?", name) for each in wish.names)


def _divides(rule: Any, wish: Wish, route: _Named) -> bool:
    names = {b.name for b in rule.backend_refs}
    chosen = not route.rule or getattr(rule, "name", "") == route.rule
    return chosen and {wish.stable_service, wish.canary_service} <= names


def _weighted(draft: Draft, rule: Any, wish: Wish, route: _Named) -> Any:
    """With the weights of now, and the back ends of an experiment as long as it runs."""
    if not _divides(rule, wish, route):
        return rule
    before = draft.view.rollout.status.canary.weights
    gone = {e.service_name for e in before.additional} if before is not None else set()
    weights = wish.weights
    shares = {
        wish.stable_service: weights.stable.weight,
        wish.canary_service: weights.canary.weight,
    }
    refs = [
        replace(b, weight=shares.get(b.name, b.weight))
        for b in rule.backend_refs
        if b.name in shares or b.name not in gone
    ]
    like = next(b for b in refs if b.name == wish.canary_service)
    there = {b.name for b in refs}
    refs += [
        replace(like, name=extra.service_name, weight=extra.weight)
        for extra in weights.additional
        if extra.service_name not in there
    ]
    return replace(rule, backend_refs=tuple(refs))


def _managed_of(rules: Sequence[Any], wish: Wish, route: _Named) -> list[Any]:
    """For each rule that is divided, its like for each managed route."""
    found: list[Any] = []
    for managed in wish.managed:
        made: list[Any] = []
        for rule in rules:
            if not _divides(rule, wish, route):
                continue
            name = managed.name + (f"-{len(made)}" if made else "")
            if route.kind is gw.HTTPRoute:
                made += _http(managed, wish, rule, route, name)
            elif route.kind is gw.GRPCRoute and managed.header is not None and route.headers:
                made.append(_grpc(managed, wish, rule, name))
        found += made
    return found


def _http(managed: Managed, wish: Wish, rule: Any, route: _Named, name: str) -> list[Any]:
    if managed.header is not None and not route.headers:
        return []
    port = next(b.port for b in rule.backend_refs if b.name == wish.canary_service)
    made = managed_rule(managed, wish, rule.backend_refs, port)
    pairs = [both(own, more) for own in rule.matches for more in made.matches]
    matches = tuple(match for match in pairs if match is not None)
    if not matches:
        return []
    return [replace(made, name=name, matches=matches, filters=(*rule.filters, *made.filters))]


def _grpc(managed: Managed, wish: Wish, rule: GRPCRouteRule, name: str) -> GRPCRouteRule:
    like = managed_rule(managed, wish, (), None)
    headers = tuple(GRPCHeaderMatch(h.type, h.name, h.value) for h in like.matches[0].headers)
    canary = next(b for b in rule.backend_refs if b.name == wish.canary_service)
    return replace(
        rule,
        name=name,
        matches=tuple(replace(m, headers=(*m.headers, *headers)) for m in rule.matches),
        backend_refs=(GRPCBackendRef(name=canary.name, port=canary.port),),
    )


def _marked(draft: Draft, route: Any, config: Mapping[str, Any], wish: Wish) -> Any:
    """With the label that says that a canary is under way, and whose."""
    if config.get("disableInProgressLabel"):
        return route
    key = str(config.get("inProgressLabelKey") or PROGRESS_LABEL)
    note = str(config.get("activeRolloutsAnnotationKey") or ACTIVE_ANNOTATION)
    rollout = draft.view.rollout.metadata
    me = f"{rollout.namespace}/{rollout.name}"
    labels, annotations = dict(route.metadata.labels), dict(route.metadata.annotations)
    active = [a for a in annotations.pop(note, "").split(",") if a and a != me]
    labels.pop(key, None)
    if wish.weights.canary.weight:
        active.append(me)
    if active:
        annotations[note] = ",".join(sorted(active))
        labels[key] = str(config.get("inProgressLabelValue") or PROGRESS_VALUE)
    return replace(
        route, metadata=replace(route.metadata, labels=labels, annotations=annotations)
    )  # fmt: skip
