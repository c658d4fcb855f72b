"""Patches of listeners: filter chains, network filters, HTTP filters."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)

from weft.mesh.model import EnvoyPatch
from weft.mesh.model.patch import ListenerPatchMatch
from weft.xds.http_connection_manager import HTTP_CONNECTION_MANAGER
from weft.xds.patch_values import merge, parsed
from weft.xds.proto import Proto, uint32

VIRTUAL_LISTENERS = {"virtualInbound": "SIDECAR_INBOUND", "virtualOutbound": "SIDECAR_OUTBOUND"}
"""Istio's names of a workload's two listeners."""
NO_MATCH = ListenerPatchMatch()
_Save = Callable[[Proto], None]


def patch_listener(
    listener: Proto, patch: EnvoyPatch, context: str, ports: tuple[int, ...]
) -> bool:
    """Apply a patch; False when it removes the listener."""
    if patch.route is not None or patch.cluster is not None:
        return True
    match = patch.listener or NO_MATCH
    port = wanted_port(match)
    if not _names(match, context, port, ports):
        return True
    if patch.apply_to == "LISTENER":
        return _whole(listener, patch)
    if patch.apply_to == "LISTENER_FILTER":
        edit(listener.listener_filters, patch, match.listener_filter)
        return True
    if patch.apply_to == "FILTER_CHAIN" and patch.operation == "ADD":
        listener.filter_chains.add().CopyFrom(parsed(patch.apply_to, patch.value))
        return True
    for chain in _chains(listener, match, port, context):
        if patch.apply_to == "FILTER_CHAIN":
            _chain(listener, chain, patch)
        elif patch.apply_to == "NETWORK_FILTER":
            edit(chain.filters, patch, match.network_filter, terminal_last=True)
        else:
            _http_filters(chain, patch, match)
    return True


def wanted_port(match: ListenerPatchMatch) -> int:
    """The port that a match names: by number, or within Istio's name of the listener."""
    _, _, number = match.name.rpartition("_")
    return match.port or (int(number) if number.isdigit() else 0) or match.destination_port


def each_manager(listener: Proto) -> Iterator[tuple[Proto, _Save]]:
    """The HTTP connection managers of a listener, and how to put them back when changed."""
    for chain in _all_chains(listener):
        yield from _managers(chain)


def fill_in(listener: Proto, patches: Iterable[EnvoyPatch]) -> list[EnvoyPatch]:
    """Put configurations that stand by themselves where HTTP filters ask for them by name. The
    patches that were asked for."""
    by_name = {parsed(p.apply_to, p.value).name: p for p in patches if p.operation == "ADD"}
    used = []
    for manager, save in each_manager(listener):
        for each in manager.http_filters:
            patch = by_name.get(each.name) if each.HasField("config_discovery") else None
            if patch is not None:
                each.typed_config.CopyFrom(parsed(patch.apply_to, patch.value).typed_config)
                used.append(patch)
        save(manager)
    return used


def edit(items: Any, patch: EnvoyPatch, name: str, terminal_last: bool = False) -> None:
    """Do what a patch says to a list of named things. `terminal_last`: what is added goes before
    the last one, which must stay the last."""
    operation = patch.operation
    places = [n for n, item in enumerate(items) if not name or item.name == name]
    if operation == "REMOVE":
        for place in reversed(places):
            del items[place]
        return
    value = parsed(patch.apply_to, patch.value)
    if operation == "MERGE":
        for place in places:
            if name or items[place].name == value.name:
                merge(items[place], value)
    elif operation == "REPLACE":
        for place in places if name else ():
            items[place].CopyFrom(value)
    elif operation == "INSERT_FIRST":
        _insert(items, 0, value)
    elif operation == "INSERT_BEFORE" and places:
        _insert(items, places[0], value)
    elif operation == "INSERT_AFTER" and places:
        after = places[0] + 1
        _insert(items, min(after, len(items) - terminal_last), value)
    elif operation == "ADD":
        _insert(items, max(len(items) - terminal_last, 0), value)


def _insert(items: Any, place: int, value: Proto) -> None:
    kept = [type(value).FromString(item.SerializeToString()) for item in items]
    del items[:]
    items.extend([*kept[:place], value, *kept[place:]])


def _names(match: ListenerPatchMatch, context: str, port: int, ports: tuple[int, ...]) -> bool:
    """Whether the match can be for a listener of this context."""
    if match.name in VIRTUAL_LISTENERS:
        return VIRTUAL_LISTENERS[match.name] == context
    return not port or context == "SIDECAR_OUTBOUND" or port in ports


def _whole(listener: Proto, patch: EnvoyPatch) -> bool:
    if patch.operation == "REMOVE":
        return False
    if patch.operation == "MERGE":
        name = listener.name
        merge(listener, parsed(patch.apply_to, patch.value), patch.replaces_lists)
        listener.name = name
    return True


def _all_chains(listener: Proto) -> list[Proto]:
    default = [listener.default_filter_chain] if listener.HasField("default_filter_chain") else []
    return [*listener.filter_chains, *default]


def _chains(listener: Proto, match: ListenerPatchMatch, port: int, context: str) -> Iterator[Proto]:
    if port and context == "SIDECAR_INBOUND":
        _split(listener, port)
    for chain in _all_chains(listener):
        found = chain.filter_chain_match
        bound = found.destination_port.value if found.HasField("destination_port") else 0
        if chain.name == "own-port" or (port and context != "GATEWAY" and bound != port):
            continue
        if match.chain and match.chain != chain.name:
            continue
        if match.sni and match.sni not in found.server_names:
            continue
        if match.transport_protocol and match.transport_protocol != found.transport_protocol:
            continue
        if not set(match.application_protocols).issubset(found.application_protocols):
            continue
        if match.network_filter and all(f.name != match.network_filter for f in chain.filters):
            continue
        yield chain


def _split(listener: Proto, port: int) -> None:
    """Give a port of an inbound listener chains of its own: they are those of all ports else."""
    chains = list(listener.filter_chains)
    if any(c.name.startswith("port|") and _port(c) == port for c in chains):
        return
    for chain in (c for c in chains if not _port(c)):
        own = listener.filter_chains.add()
        own.CopyFrom(chain)
        own.name = f"port|{port}|{chain.name}"
        own.filter_chain_match.destination_port.CopyFrom(uint32(port))
    if listener.HasField("default_filter_chain"):
        own = listener.filter_chains.add()
        own.CopyFrom(listener.default_filter_chain)
        own.name = f"port|{port}|{own.name}"
        own.filter_chain_match.destination_port.CopyFrom(uint32(port))


def _port(chain: Proto) -> int:
    return int(chain.filter_chain_match.destination_port.value)


def _chain(listener: Proto, chain: Proto, patch: EnvoyPatch) -> None:
    if patch.operation == "MERGE":
        merge(chain, parsed(patch.apply_to, patch.value), patch.replaces_lists)
    elif patch.operation == "REMOVE":
        kept = [c for c in listener.filter_chains if c.name != chain.name]
        if len(kept) == len(listener.filter_chains):
            listener.ClearField("default_filter_chain")
        else:
            copies = [type(c).FromString(c.SerializeToString()) for c in kept]
            del listener.filter_chains[:]
            listener.filter_chains.extend(copies)


def _http_filters(chain: Proto, patch: EnvoyPatch, match: ListenerPatchMatch) -> None:
    for manager, save in _managers(chain):
        edit(manager.http_filters, patch, match.http_filter, terminal_last=True)
        save(manager)


def _managers(chain: Proto) -> Iterator[tuple[Proto, _Save]]:
    for found in chain.filters:
        if found.name == HTTP_CONNECTION_MANAGER:
            manager = hcm_pb2.HttpConnectionManager.FromString(found.typed_config.value)
            before = manager.SerializeToString(deterministic=True)

            def save(changed: Proto, place: Proto = found, before: bytes = before) -> None:
                if changed.SerializeToString(deterministic=True) != before:
                    place.typed_config.Pack(changed, deterministic=True)

            yield manager, save
