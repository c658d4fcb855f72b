"""VirtualServices and DestinationRules that a Rollout names: weft writes their weights and subsets
as Argo Rollouts does, and the routes that steps make in front of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from weft.api.argo.common import POD_HASH
from weft.api.argo.rollout import Rollout
from weft.api.argo.strategy import (
    IstioDestinationRule,
    IstioTrafficRouting,
    IstioVirtualService,
    RouteRef,
    StringMatch,
)
from weft.api.istio import virtual_service as vs
from weft.api.istio.networking_v1 import DestinationRule, VirtualService
from weft.api.snapshot import Snapshot
from weft.controllers.rollout_traffic import Managed, Wish, changed, hosts
from weft.controllers.rollout_view import ANNOTATION_MANAGED, Draft
from weft.controllers.support.patches import object_patch
from weft.runtime.plan import Action


def actions(draft: Draft, wish: Wish, istio: IstioTrafficRouting) -> list[Action]:
    """Subsets first: a weight never counts for a subset that means another version."""
    found: list[Action] = []
    if istio.destination_rule is not None:
        found += _subsets(draft, wish, istio.destination_rule)
    one = (istio.virtual_service,) if istio.virtual_service is not None else ()
    for reference in (*one, *istio.virtual_services):
        found += _virtual_service(draft, wish, istio.destination_rule, reference)
    return found


def _subsets(draft: Draft, wish: Wish, reference: IstioDestinationRule) -> list[Action]:
    namespace = draft.view.rollout.metadata.namespace
    rule = draft.view.snapshot.get(DestinationRule, reference.name, namespace)
    if rule is None:
        draft.fail(f"the DestinationRule {reference.name} does not exist")
        return []
    wanted = {
        reference.stable_subset_name: wish.stable_hash,
        reference.canary_subset_name: wish.canary_hash,
    }
    missing = set(wanted) - {s.name for s in rule.spec.subsets}
    if missing:
        draft.fail(f"the DestinationRule {reference.name} has no subset {sorted(missing)[0]}")
        return []
    subsets = tuple(
        replace(s, labels=dict(s.labels) | {POD_HASH: wanted[s.name]}) if s.name in wanted else s
        for s in rule.spec.subsets
    )
    mine = {ANNOTATION_MANAGED: draft.view.rollout.metadata.name}
    after = _noted(changed(rule, subsets=subsets), dict(rule.metadata.annotations) | mine)
    return [*object_patch(rule, after, conditional=True)]


def _noted(rule: DestinationRule, annotations: Mapping[str, str]) -> DestinationRule:
    return replace(rule, metadata=replace(rule.metadata, annotations=annotations))


def released(snapshot: Snapshot, namespace: str, rollout: str, kept: str) -> list[Action]:
    """DestinationRules that a Rollout wrote and names no more, or that outlived it: their subsets
    mean pods of all versions again."""
    found: list[Action] = []
    for rule in snapshot.list(DestinationRule, namespace):
        notes = {k: v for k, v in rule.metadata.annotations.items() if k != ANNOTATION_MANAGED}
        mine = rule.metadata.annotations.get(ANNOTATION_MANAGED) == rollout
        if not mine or rule.metadata.name == kept:
            continue
        subsets = tuple(
            replace(s, labels={k: v for k, v in s.labels.items() if k != POD_HASH})
            for s in rule.spec.subsets
        )
        after = _noted(changed(rule, subsets=subsets), notes)
        found += object_patch(rule, after, conditional=True)
    return found


def named_rule(rollout: Rollout) -> str:
    """The DestinationRule that a Rollout writes; "" for none."""
    canary = rollout.spec.strategy.canary
    istio = canary.traffic_routing.istio if canary and canary.traffic_routing else None
    return istio.destination_rule.name if istio and istio.destination_rule else ""


class _Targets:
    """Which destinations are the old and the new version."""

    def __init__(self, draft: Draft, wish: Wish, rule: IstioDestinationRule | None) -> None:
        self._wish, self._rule = wish, rule
        namespace = draft.view.rollout.metadata.namespace
        self._experiments = f"{draft.view.rollout.metadata.name}-"
        self._stable = hosts(wish.stable_service, namespace) if wish.stable_service else frozenset()
        self._canary = hosts(wish.canary_service, namespace) if wish.canary_service else frozenset()

    def role(self, found: vs.Destination | None) -> str:
        if found is None:
            return ""
        if self._rule is not None:
            subsets = {self._rule.stable_subset_name: "stable",
                       self._rule.canary_subset_name: "canary"}  # fmt: skip
            if found.subset in subsets:
                return subsets[found.subset]
        if found.host in self._canary and not found.subset:
            return "canary"
        if found.host in self._stable and not found.subset:
            return "stable"
        return ""

    def divided(self, route: Any) -> bool:
        return {"stable", "canary"} <= {self.role(d.destination) for d in route.route}

    def weighted(self, route: Any) -> Any:
        weights = self._wish.weights
        shares = {"stable": weights.stable.weight, "canary": weights.canary.weight}
        kept, port = [], None
        for found in route.route:
            role = self.role(found.destination)
            if role:
                kept.append(replace(found, weight=shares[role]))
                port = port or (found.destination.port if found.destination else None)
            elif found.destination is None or not self._of_experiment(found.destination.host):
                kept.append(found)
        for extra in weights.additional:
            there = vs.Destination(host=extra.service_name, port=port)
            kept.append(type(route.route[0])(destination=there, weight=extra.weight))
        return replace(route, route=tuple(kept))

    def _of_experiment(self, host: str) -> bool:
        """A share that an experiment of this Rollout had: what is left of it is written anew."""
        return host.startswith(self._experiments) and host not in (*self._stable, *self._canary)

    def canary_of(self, route: vs.HTTPRoute) -> vs.Destination | None:
        return next(
            (d.destination for d in route.route if self.role(d.destination) == "canary"), None
        )


def _virtual_service(
    draft: Draft, wish: Wish, rule: IstioDestinationRule | None, reference: IstioVirtualService
) -> list[Action]:
    own = draft.view.rollout.metadata.namespace
    name, _, namespace = reference.name.partition(".")
    found = draft.view.snapshot.get(VirtualService, name, namespace or own)
    if found is None:
        draft.fail(f"the VirtualService {reference.name} does not exist")
        return []
    targets = _Targets(draft, wish, rule)
    http = [route for route in found.spec.http if route.name not in wish.names]
    chosen = _chosen_http(http, reference)
    tls = [r for r in found.spec.tls if _is_named(r.match, reference.tls_routes, sni=True)]
    tcp = [r for r in found.spec.tcp if _is_named(r.match, reference.tcp_routes)]
    if not reference.routes and not reference.tls_routes and not reference.tcp_routes and not http:
        tls, tcp = list(found.spec.tls), list(found.spec.tcp)
    picked: list[Any] = [*chosen, *tls, *tcp]
    problem = _problem(reference, http, picked, targets)
    if problem:
        draft.fail(f"the VirtualService {reference.name}: {problem}")
        return []
    weighted = [targets.weighted(r) if r in chosen else r for r in http]
    first = next((r for r in weighted if targets.divided(r)), None)
    managed = [_managed(m, first, targets) for m in wish.managed] if first is not None else []
    after = changed(
        found,
        http=(*managed, *weighted),
        tls=tuple(targets.weighted(r) if r in tls else r for r in found.spec.tls),
        tcp=tuple(targets.weighted(r) if r in tcp else r for r in found.spec.tcp),
    )
    return [*object_patch(found, after, conditional=True)]


def _chosen_http(
    http: Sequence[vs.HTTPRoute], reference: IstioVirtualService
) -> list[vs.HTTPRoute]:
    if reference.routes:
        return [route for route in http if route.name in reference.routes]
    return [] if reference.tls_routes or reference.tcp_routes else list(http)


def _problem(
    reference: IstioVirtualService,
    http: Sequence[vs.HTTPRoute],
    picked: Sequence[Any],
    targets: _Targets,
) -> str:
    names = {route.name for route in http}
    missing = [name for name in reference.routes if name not in names]
    if missing:
        return f"it has no route named {missing[0]}"
    if not picked:
        return "it has no such route"
    unnamed = not (reference.routes or reference.tls_routes or reference.tcp_routes)
    if unnamed and len(picked) > 1:
        return "it has several routes; name those that are meant in `routes`"
    if not all(targets.divided(route) for route in picked):
        return "a route does not name both the stable and the canary destination"
    return ""


def _is_named(matches: Sequence[Any], references: Sequence[RouteRef], sni: bool = False) -> bool:
    return any(
        (r.port is None or any(m.port == r.port for m in matches))
        and (not sni or not r.sni_hosts or any(set(m.sni_hosts) == set(r.sni_hosts)
                                               for m in matches))
        for r in references
    )  # fmt: skip


def _managed(managed: Managed, first: vs.HTTPRoute, targets: _Targets) -> vs.HTTPRoute:
    canary = targets.canary_of(first)
    if managed.header is not None:
        headers = {m.header_name: _match(m.header_value) for m in managed.header.match}
        return vs.HTTPRoute(
            name=managed.name,
            match=(vs.HTTPMatchRequest(headers=headers),),
            route=(vs.HTTPRouteDestination(destination=canary, weight=100),),
        )
    mirror = managed.mirror
    matches = tuple(
        vs.HTTPMatchRequest(
            method=_match(m.method) if m.method else None,
            uri=_match(m.path) if m.path else None,
            headers={k: _match(v) for k, v in m.headers.items()},
        )
        for m in (mirror.match if mirror else ())
    )
    percent = mirror.percentage if mirror and mirror.percentage is not None else 100
    return vs.HTTPRoute(
        name=managed.name,
        match=matches,
        route=first.route,
        mirror=canary,
        mirror_percentage=vs.PercentValue(value=float(percent)),
    )


def _match(found: StringMatch | None) -> vs.StringMatch:
    match = found or StringMatch()
    if match.exact:
        return vs.StringMatch(exact=match.exact)
    if match.prefix:
        return vs.StringMatch(prefix=match.prefix)
    return vs.StringMatch(regex=match.regex)
