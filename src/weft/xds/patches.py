"""Patches applied to translated resources.

Names are Istio's where users write them, and are mapped to those of this translation: listeners to
filter chains by port, because one listener has all ports of a workload; `virtualInbound` and
`virtualOutbound` to the listeners of a pod; names of route configurations, virtual hosts and
clusters are the same but for what follows `@`.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from msgspec import Struct
from msgspec.structs import replace

from weft.mesh.caller_limits import common_name
from weft.mesh.model import EnvoyPatch, Workload
from weft.xds.patch_listeners import each_manager, fill_in, patch_listener
from weft.xds.patch_routes import patch_routes
from weft.xds.patch_values import merge, parsed, problem
from weft.xds.proto import Proto, resource
from weft.xds.resource import CLUSTER, LISTENER, ROUTES, Resource

LISTENER_THINGS = ("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER")
ROUTE_THINGS = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
_MESSAGES = {
    LISTENER: listener_pb2.Listener,
    ROUTES: route_pb2.RouteConfiguration,
    CLUSTER: cluster_pb2.Cluster,
}


class Place(Struct, frozen=True):
    """Where a resource belongs, in the words that patches are matched by."""

    context: str
    """SIDECAR_INBOUND, SIDECAR_OUTBOUND or GATEWAY."""
    ports: tuple[int, ...] = ()
    """Of a workload: those that it serves. Of a gateway: its own."""
    gateways: tuple[str, ...] = ()
    """The Gateways that have servers here."""


def usable(patches: Iterable[EnvoyPatch]) -> tuple[EnvoyPatch, ...]:
    """The patches whose values are what they must be."""
    return tuple(patch for patch in patches if not problem(patch))


def patched(
    found: Resource, patches: Sequence[EnvoyPatch], place: Place
) -> tuple[Resource | None, frozenset[EnvoyPatch]]:
    """The resource with these patches (None when one removes it), and those that changed it."""
    kind = _MESSAGES.get(found.type_url)
    if kind is None or not patches:
        return found, frozenset()
    message = kind.FromString(found.body)
    used: set[EnvoyPatch] = set()
    for patch in patches:
        if patch.apply_to == "EXTENSION_CONFIG":
            continue
        before = message.SerializeToString(deterministic=True)
        kept = _APPLY[found.type_url](message, patch, place)
        if not kept:
            return None, frozenset({*used, patch})
        if message.SerializeToString(deterministic=True) != before:
            used.add(patch)
    configurations = [p for p in patches if p.apply_to == "EXTENSION_CONFIG"]
    if found.type_url == LISTENER and configurations:
        used.update(fill_in(message, configurations))
    if not used:
        return found, frozenset()
    made = resource(found.type_url, found.name, message, found.uses, found.serving)
    return replace(made, patched_by=tuple(p for p in patches if p in used)), frozenset(used)


def applicable(
    patches: Iterable[EnvoyPatch], context: str, owner: Workload | None = None
) -> tuple[EnvoyPatch, ...]:
    """The patches for a context, and for a workload when something belongs to one."""
    return tuple(
        patch
        for patch in patches
        if patch.context in ("ANY", context)
        and (patch.everywhere if owner is None else patch.selects(owner.namespace, owner.labels))
    )


def added(patches: Iterable[EnvoyPatch], taken: Collection[tuple[str, str]]) -> list[Resource]:
    """Listeners and clusters that patches bring. `taken` are (type, name) that are there: what is
    there is changed by a MERGE, never put aside by an ADD."""
    made: dict[tuple[str, str], Resource] = {}
    for patch in patches:
        if patch.operation != "ADD" or patch.apply_to not in ("LISTENER", "CLUSTER"):
            continue
        message = parsed(patch.apply_to, patch.value)
        type_url = LISTENER if patch.apply_to == "LISTENER" else CLUSTER
        key = (type_url, message.name)
        if message.name and key not in taken and key not in made:
            found = resource(type_url, message.name, message)
            made[key] = replace(found, patched_by=(patch,))
    return list(made.values())


def _listener(listener: Proto, patch: EnvoyPatch, place: Place) -> bool:
    if patch.apply_to in ROUTE_THINGS:
        _embedded(listener, patch, place)
        return True
    if patch.apply_to not in LISTENER_THINGS:
        return True
    return patch_listener(listener, patch, place.context, place.ports)


def _embedded(listener: Proto, patch: EnvoyPatch, place: Place) -> None:
    """Routes that stand in the listener itself, as those of inbound listeners do."""
    for manager, save in each_manager(listener):
        if manager.HasField("route_config"):
            patch_routes(manager.route_config, patch, place.ports)
            save(manager)


def _routes(configuration: Proto, patch: EnvoyPatch, place: Place) -> bool:
    if patch.apply_to in ROUTE_THINGS:
        wanted = patch.route
        if wanted is None or not wanted.gateway or wanted.gateway in place.gateways:
            patch_routes(configuration, patch, place.ports)
    return True


def _cluster(cluster: Proto, patch: EnvoyPatch, place: Place) -> bool:
    if patch.apply_to != "CLUSTER" or not patch.matches_cluster(common_name(cluster.name)):
        return True
    if patch.operation == "REMOVE":
        return False
    if patch.operation == "MERGE":
        name = cluster.name
        merge(cluster, parsed(patch.apply_to, patch.value), patch.replaces_lists)
        cluster.name = name
    return True


_APPLY: dict[str, Callable[[Proto, EnvoyPatch, Place], bool]] = {
    LISTENER: _listener,
    ROUTES: _routes,
    CLUSTER: _cluster,
}
