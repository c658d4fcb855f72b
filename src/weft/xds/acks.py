"""What follows from a proxy's acknowledgements: the drain contract's questions, answered."""

from collections.abc import Iterable
from typing import Literal

from weft.xds.delta import StreamState
from weft.xds.listeners import inbound_name, outbound_name
from weft.xds.own_network import own_prefixes
from weft.xds.resource import CLUSTER, ENDPOINTS, LISTENER, ROUTES, World
from weft.xds.scoped_routes import PARTS, part_name
from weft.xds.udp import udp_prefix


def acked_versions(state: StreamState, type_url: str) -> dict[str, str]:
    """name -> version acknowledged last."""
    current = state.types.get(type_url)
    return {} if current is None else {name: r.version for name, r in current.acked.items()}


def refuses(state: StreamState, type_url: str) -> bool:
    """Whether the proxy refuses any resource of this type at present."""
    current = state.types.get(type_url)
    return current is not None and bool(current.bad)


def listening(state: StreamState) -> bool:
    """Whether the proxy has come so far as to ask for clusters and listeners."""
    return CLUSTER in state.types and LISTENER in state.types


def in_force(state: StreamState, type_url: str, name: str) -> bool:
    """Whether the proxy serves the wanted version of a resource, or refused it and serves the one
    before: a bad change must not stop what does not depend on it."""
    wanted = state.world.get(type_url, {}).get(name)
    current = state.types.get(type_url)
    if wanted is None or current is None or name not in current.acked:
        return False
    return wanted.version in (current.acked[name].version, current.bad.get(name))


ResourceState = Literal["acknowledged", "pending", "refused", "absent"]
"""What a proxy has of a resource as it is wanted; absent: it shall not have it."""
WORST_FIRST: tuple[ResourceState, ...] = ("refused", "pending", "absent", "acknowledged")


def resource_state(state: StreamState, type_url: str, name: str) -> ResourceState:
    """How far the proxy is with one resource, or with all parts of a divided route table."""
    wanted = state.world.get(type_url, {}).get(name)
    if wanted is None and type_url == ROUTES and part_name(name, 0) in state.world.get(ROUTES, {}):
        states = {resource_state(state, ROUTES, part_name(name, n)) for n in range(PARTS)}
        return next(each for each in WORST_FIRST if each in states)
    if wanted is None:
        return "absent"
    current = state.types.get(type_url)
    if current is None:
        return "pending"
    if current.bad.get(name) == wanted.version:
        return "refused"
    acked = current.acked.get(name)
    return "acknowledged" if acked is not None and acked.version == wanted.version else "pending"


def listeners_ready(state: StreamState, pod_uid: str) -> bool:
    """Whether the proxy acknowledged all listeners of a pod and the routes they need. False for
    a pod without listeners: it is not known yet."""
    wanted = state.world.get(LISTENER, {})
    listeners = [wanted[name] for name in _own(wanted, pod_uid)]
    return bool(listeners) and all(
        in_force(state, LISTENER, listener.name)
        and all(in_force(state, ROUTES, table) for table in listener.uses)
        for listener in listeners
    )


def listeners_removed(state: StreamState, pod_uid: str) -> bool:
    """Whether the proxy has no listener of a pod, and shall have none."""
    wanted = state.world.get(LISTENER, {})
    current = state.types.get(LISTENER)
    if current is None or _own(wanted, pod_uid):
        return False
    on_the_way = current.in_flight
    leaving = () if on_the_way is None else on_the_way.removed
    return not any(_own(names, pod_uid) for names in (current.sent, current.acked, leaving))


def world_serves(world: World, pod_uid: str) -> bool:
    """Whether the wanted endpoints let a pod have new requests."""
    return any(pod_uid in resource.serving for resource in world.get(ENDPOINTS, {}).values())


def endpoint_draining(state: StreamState, pod_uid: str) -> bool:
    """Whether a proxy sends a pod no new requests: no endpoints that it uses let it serve.

    Endpoints that a reconnected proxy brought along are unknown until it acknowledged ours.
    """
    current = state.types.get(ENDPOINTS)
    if current is None:
        return True
    on_the_way = () if current.in_flight is None else current.in_flight.resources
    if any(pod_uid in resource.serving for resource in (*current.acked.values(), *on_the_way)):
        return False
    wanted = state.world.get(ENDPOINTS, {})
    return all(name in current.acked for name in current.sent if name in wanted)


def _own(names: Iterable[str], pod_uid: str) -> list[str]:
    """Those that are names of a pod's listeners."""
    two = outbound_name(pod_uid), inbound_name(pod_uid)
    rest = (udp_prefix(pod_uid), *own_prefixes(pod_uid))
    return [name for name in names if name in two or name.startswith(rest)]
