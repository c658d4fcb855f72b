"""The selectors of a Rollout's Services: which version each of them means."""

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from weft.api.argo.common import POD_HASH
from weft.api.argo.rollout import Rollout
from weft.api.k8s.core_v1 import Service
from weft.api.snapshot import Snapshot
from weft.controllers.rollout_view import ANNOTATION_MANAGED, Draft, hash_of
from weft.controllers.support.patches import object_patch
from weft.runtime.plan import Action

PING, PONG = "ping", "pong"


class Roles(Struct, frozen=True):
    """The Services that requests are divided between."""

    stable: str
    canary: str


def roles(rollout: Rollout) -> Roles:
    """Which Service is the stable one now. Of ping and pong, the status says it; where other
    Services are named, too, only an `alb` uses ping and pong, as in Argo Rollouts."""
    canary = rollout.spec.strategy.canary
    if canary is None:
        return Roles("", "")
    routing, turns = canary.traffic_routing, canary.ping_pong
    others = bool(canary.stable_service and canary.canary_service)
    if turns is None or (others and (routing is None or routing.alb is None)):
        return Roles(canary.stable_service, canary.canary_service)
    if rollout.status.canary.stable_ping_pong == PING:
        return Roles(turns.ping_service, turns.pong_service)
    return Roles(turns.pong_service, turns.ping_service)


def next_turn(rollout: Rollout) -> str:
    """What `stablePingPong` is after a promotion."""
    canary = rollout.spec.strategy.canary
    if canary is None or canary.ping_pong is None:
        return ""
    return PONG if rollout.status.canary.stable_ping_pong == PING else PING


def named(rollout: Rollout) -> tuple[str, ...]:
    """Names of the Services whose selectors it writes."""
    canary, blue_green = rollout.spec.strategy.canary, rollout.spec.strategy.blue_green
    if canary is not None:
        found = [canary.stable_service, canary.canary_service]
        if canary.ping_pong is not None:
            found += [canary.ping_pong.ping_service, canary.ping_pong.pong_service]
    elif blue_green is not None:
        found = [blue_green.active_service, blue_green.preview_service]
    else:
        found = []
    return tuple(name for name in found if name)


def point(draft: Draft, service: str, template_hash: str) -> list[Action]:
    """Let a Service mean one version. A Service that is missing or another Rollout's is told."""
    if not service or not template_hash:
        return []
    rollout = draft.view.rollout
    found = draft.view.snapshot.get(Service, service, rollout.metadata.namespace)
    if found is None:
        draft.fail(f"the Service {service} does not exist")
        return []
    manager = found.metadata.annotations.get(ANNOTATION_MANAGED, "")
    if manager not in ("", rollout.metadata.name) and _is_claimed(draft, manager, service):
        draft.fail(f"the Service {service} belongs to the Rollout {manager}")
        return []
    if template_hash == selected(found) and manager == rollout.metadata.name:
        return []
    annotations = dict(found.metadata.annotations) | {ANNOTATION_MANAGED: rollout.metadata.name}
    selector = dict(found.spec.selector) | {POD_HASH: template_hash}
    if selected(found) != template_hash:
        text = f"Switched selector for service '{service}' from '{selected(found)}' to "
        draft.event("SwitchService", f"{text}'{template_hash}'")
    return [*object_patch(found, _with(found, annotations, selector))]


def take_turns(draft: Draft, *, comes: bool) -> list[Action]:
    """Ping and pong: one means the stable version, the other the new one from when it `comes`.
    After a promotion the other still means the version before: what is in flight stays there."""
    view, canary = draft.view, draft.view.canary
    if canary is None or canary.ping_pong is None:
        return []
    turns = canary.ping_pong
    first = view.rollout.status.canary.stable_ping_pong == PING
    stable, other = turns.ping_service, turns.pong_service
    if not first:
        stable, other = other, stable
    actions = point(draft, stable, hash_of(view.stable) or hash_of(view.new))
    return actions + (point(draft, other, hash_of(view.new)) if comes else [])


def selected(service: Service) -> str:
    """The version that a Service means; "" for all."""
    return service.spec.selector.get(POD_HASH, "")


def _is_claimed(draft: Draft, manager: str, service: str) -> bool:
    other = draft.view.snapshot.get(Rollout, manager, draft.view.rollout.metadata.namespace)
    return other is not None and service in named(other)


def released(snapshot: Snapshot, namespace: str, rollout: str, kept: Iterable[str]) -> list[Action]:
    """Services that a Rollout wrote and names no more, or that outlived it, mean all pods again."""
    actions: list[Action] = []
    for found in snapshot.list(Service, namespace):
        mine = found.metadata.annotations.get(ANNOTATION_MANAGED) == rollout
        if not mine or found.metadata.name in kept:
            continue
        annotations = {
            k: v for k, v in found.metadata.annotations.items() if k != ANNOTATION_MANAGED
        }
        selector = {k: v for k, v in found.spec.selector.items() if k != POD_HASH}
        actions += object_patch(found, _with(found, annotations, selector))
    return actions


def _with(service: Service, annotations: Mapping[str, str], selector: Mapping[str, str]) -> Service:
    return replace(
        service,
        metadata=replace(service.metadata, annotations=annotations),
        spec=replace(service.spec, selector=selector),
    )
