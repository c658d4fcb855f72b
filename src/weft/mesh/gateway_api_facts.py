"""Statuses as they are written: with what only the nodes know, over what is there already."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api.gateway.v1 import CONTROLLER_NAME
from weft.mesh.gateway_api_objects import Json, ObjectStatus
from weft.mesh.model import GatewayBinding, NodeSettings

PARENTS = ("parents", "parentRef"), ("ancestors", "ancestorRef")
"""Lists with an entry for each object and controller, and what their entries are about."""
OWN_CONDITIONS = frozenset(
    ("Accepted", "Conflicted", "InsecureFrontendValidationMode", "OverlappingTLSConfig",
     "PartiallyInvalid", "Programmed", "ResolvedRefs", "SupportedVersion")
)  # fmt: skip
"""Types of conditions that weft writes and takes away; those of others stay as they are."""


class GatewayFacts(Struct, frozen=True):
    """What the nodes have of a Gateway."""

    addresses: tuple[str, ...] = ()
    unusable: tuple[str, ...] = ()
    """Addresses that it asks for and no node can bind."""
    bound: bool = False
    """Every node has all of its ports."""
    moved: tuple[tuple[int, int], ...] = ()
    """(port, the port that is bound instead) where some node could not bind the port itself."""
    nodes: int = 0
    """How many there are."""
    no_datagrams: tuple[str, ...] = ()
    """Nodes that datagrams do not reach, where it has ports for some."""
    datagrams_only: bool = False


def gateway_facts(status: ObjectStatus, nodes: Iterable[NodeSettings]) -> GatewayFacts:
    """What the nodes have of the Gateway of a status."""
    nodes = tuple(nodes)
    found = [_binding(status.gateway, node) for node in nodes]
    datagrams = [p for p, transport in status.places if transport == "udp"]
    closed = tuple(node.name for node in nodes if node.relayed and datagrams)
    addresses = tuple(dict.fromkeys(a for binding in found for a in binding.addresses))
    missing = dict.fromkeys(a for binding in found for a in binding.unusable)
    moved: dict[int, int] = {}
    bound = bool(found) and bool(addresses)
    for binding, node in zip(found, nodes, strict=True):
        ports = {"tcp": dict(binding.ports), "udp": dict(binding.udp_ports)}
        for port, transport in status.places:
            if transport == "udp" and node.relayed:
                continue
            there = ports[transport].get(port)
            bound = bound and there is not None
            if there is not None and there != port:
                moved[port] = there
    unusable = tuple(a for a in missing if a not in addresses)
    return GatewayFacts(
        *(addresses, unusable, bound, tuple(sorted(moved.items())), len(found)),
        no_datagrams=closed,
        datagrams_only=len(datagrams) == len(status.places),
    )


def _binding(gateway: str, node: NodeSettings) -> GatewayBinding:
    known = (b for b in node.gateway_bindings if b.gateway == gateway)
    return next(known, GatewayBinding(gateway, ()))


def with_facts(status: ObjectStatus, facts: GatewayFacts, acknowledged: bool) -> Json:
    """The status with a Gateway's addresses; nothing is programmed before the proxies have it."""
    body: Json = dict(status.status)
    if "loadBalancer" in body:
        return _balanced(status, facts) if acknowledged and facts.bound else {"loadBalancer": {}}
    if "listeners" not in body:
        return body
    listeners = body["listeners"]
    conditions = body["conditions"]
    if not (acknowledged and facts.bound):
        conditions = [_pending(c) for c in conditions]
        listeners = [
            {**each, "conditions": [_pending(c) for c in each["conditions"]]} for each in listeners
        ]
    elif facts.nodes:
        conditions = [_acknowledged(c, facts.nodes) for c in conditions]
    if "attachedListenerSets" in body:
        types = {a["value"]: a["type"] for a in body["addresses"]}
        body["addresses"] = [
            {"type": types.get(a, "IPAddress"), "value": a} for a in facts.addresses
        ]
        conditions = [_addressed(c, facts) for c in conditions]
    if facts.no_datagrams:
        listeners = [_without_datagrams(each, facts) for each in listeners]
        if facts.datagrams_only:
            conditions = [_unreached(c, facts) for c in conditions]
    return {**body, "conditions": conditions, "listeners": listeners}


def _without_datagrams(listener: Json, facts: GatewayFacts) -> Json:
    if {kind["kind"] for kind in listener["supportedKinds"]} != {"UDPRoute"}:
        return listener
    conditions = [_unreached(c, facts) for c in listener["conditions"]]
    return {**listener, "conditions": conditions}


def _unreached(condition: Json, facts: GatewayFacts) -> Json:
    if condition["type"] != "Programmed" or condition["reason"] == "Invalid":
        return condition
    text = f"datagrams do not reach nodes that run without root: {', '.join(facts.no_datagrams)}"
    return {**condition, "status": "False", "reason": "NoResources", "message": text}


def with_nodes(status: ObjectStatus, condition: Json) -> Json:
    """The status of a route or policy with `Programmed` at each parent or ancestor that takes it:
    the specification leaves it to the Gateway, but users ask where their route is in force."""
    body: Json = dict(status.status)
    for key, _ in PARENTS:
        if key in body:
            body[key] = [_programmed_at(each, condition) for each in body[key]]
    return body


def _programmed_at(parent: Json, condition: Json) -> Json:
    accepted = [
        c for c in parent["conditions"] if c["type"] == "Accepted" and c["status"] == "True"
    ]
    if not accepted:
        return parent
    made = {**condition, "observedGeneration": accepted[0].get("observedGeneration", 0)}
    return {**parent, "conditions": [*parent["conditions"], made]}


def _balanced(status: ObjectStatus, facts: GatewayFacts) -> Json:
    """The status of an Ingress: where it can be reached."""
    moved = dict(facts.moved)
    ports = [{"port": moved.get(p, p), "protocol": t.upper()} for p, t in status.places]
    return {"loadBalancer": {"ingress": [{"ip": a, "ports": ports} for a in facts.addresses]}}


def _pending(condition: Json) -> Json:
    if condition["type"] != "Programmed" or condition["status"] != "True":
        return condition
    text = "node proxies have not acknowledged it yet"
    return {**condition, "status": "False", "reason": "Pending", "message": text}


def _acknowledged(condition: Json, nodes: int) -> Json:
    if condition["type"] != "Programmed" or condition["status"] != "True":
        return condition
    everyone = "the node's proxy" if nodes == 1 else f"the proxies of all {nodes} nodes"
    return {**condition, "message": f"bound, and acknowledged by {everyone}"}


def _addressed(condition: Json, facts: GatewayFacts) -> Json:
    """What there is to say about addresses and ports."""
    if condition["type"] != "Programmed" or condition["reason"] == "Invalid":
        return condition
    if facts.unusable:
        text = f"no node can bind {', '.join(facts.unusable)}; `ip address` lists what can be bound"
        return {**condition, "status": "False", "reason": "AddressNotUsable", "message": text}
    if facts.moved and condition["status"] == "True":
        moved = ", ".join(f"port {port} is bound as {there}" for port, there in facts.moved)
        return {**condition, "message": f"{moved}, for the port itself is not free"}
    return condition


def merged(wanted: Json, known: Mapping[str, Any], time: str) -> Json:
    """The wanted status over the one that is there: a condition keeps its time while its status
    does, and conditions and entries of other controllers stay."""
    made = dict(wanted)
    if "conditions" in wanted:
        made["conditions"] = _timed(wanted["conditions"], known.get("conditions"), time)
    if "listeners" in wanted:
        before = {each.get("name"): each for each in known.get("listeners") or ()}
        made["listeners"] = [
            {**each, "conditions": _timed(
                each["conditions"], before.get(each["name"], {}).get("conditions"), time)}
            for each in wanted["listeners"]
        ]  # fmt: skip
    for key, about in PARENTS:
        if key in wanted:
            made[key] = _entries(wanted[key], known.get(key) or (), about, time)
    return made


def _entries(wanted: Sequence[Json], known: Sequence[Json], about: str, time: str) -> list[Json]:
    made = [each for each in known if each.get("controllerName") != CONTROLLER_NAME]
    ours = [each for each in known if each.get("controllerName") == CONTROLLER_NAME]
    for each in wanted:
        same = [p for p in ours if p.get(about) == each[about]]
        before = same[0].get("conditions") if same else ()
        made.append({**each, "conditions": _timed(each["conditions"], before, time)})
    return made


def _timed(conditions: Sequence[Json], known: Any, time: str) -> list[Json]:
    before = {each.get("type"): each for each in known or ()}
    made = []
    for each in conditions:
        old = before.get(each["type"], {})
        kept = old.get("status") == each["status"]
        made.append({**each, "lastTransitionTime": old["lastTransitionTime"] if kept else time})
    theirs = (each for kind, each in before.items() if kind not in OWN_CONDITIONS)
    return [*made, *theirs]
