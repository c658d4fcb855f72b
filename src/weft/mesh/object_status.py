"""The status of Istio's and weft's own objects: what is wrong with them, and where they are in
force. Pure; the shell says what proxies answered."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct, structs

from weft.api.diagnostics import Diagnostic
from weft.api.snapshot import meta

NODES_NAMED_MAX = 16
"""Nodes that a status names; beyond that it counts them: it must stay small on 1,000 nodes."""
MESSAGE_CHARS_MAX = 1024
OWN_CONDITIONS = frozenset(("Accepted", "Programmed"))
Json = dict[str, Any]
T = TypeVar("T", bound=Struct)


class Acknowledged(Struct, frozen=True):
    """Which node proxies have an object as it is now."""

    yes: tuple[str, ...] = ()
    no: tuple[str, ...] = ()
    """Not yet, or they are not connected."""


class Rejection(Struct, frozen=True):
    """A proxy refused what an object was made into."""

    node: str
    """Empty: it came to no proxy, as weft failed to build it."""
    error: str
    in_force: Mapping[str, Any] | None = None
    """The spec that stays in force meanwhile; None: nothing of the object is."""
    closed: str = ""
    """How what a security policy selects is closed meanwhile."""


def acknowledged(
    answered: Mapping[str, int], number: int, rejection: Rejection | None
) -> Acknowledged:
    """By nodes' last answers: (node -> number of the build that its proxy has answered for); the
    object is as it is now since build `number`."""
    has = {node: rejection is None and last >= number for node, last in answered.items()}
    return Acknowledged(
        tuple(sorted(n for n, yes in has.items() if yes)),
        tuple(sorted(n for n, yes in has.items() if not yes)),
    )


def status(
    generation: int,
    findings: Sequence[Diagnostic],
    nodes: Acknowledged,
    rejection: Rejection | None = None,
) -> Json:
    """The part of the status that weft owns."""
    body: Json = {
        "observedGeneration": generation,
        "conditions": [
            {**condition, "observedGeneration": generation}
            for condition in (_accepted(findings), programmed(nodes, rejection))
        ],
        "nodes": _nodes(nodes),
    }
    if rejection is not None and rejection.in_force is not None:
        body["inForce"] = dict(rejection.in_force)
    return body


def merged(wanted: Json, known: Mapping[str, Any], time: str) -> Json:
    """The wanted status over the one that is there: conditions of others stay, and one keeps its
    time while its status does. `time` is RFC 3339."""
    before = {each.get("type"): each for each in known.get("conditions") or ()}
    conditions = [each for kind, each in before.items() if kind not in OWN_CONDITIONS]
    for each in wanted["conditions"]:
        old = before.get(each["type"], {})
        kept = old.get("status") == each["status"]
        since = old.get("lastTransitionTime") if kept else None
        conditions.append({**each, "lastTransitionTime": since or time})
    made = {**known, **wanted, "conditions": conditions}
    if "inForce" not in wanted:
        made.pop("inForce", None)
    return made


def without_status(obj: T) -> T:
    """An object as far as others read it to build from: without what `status` writes, and without
    what changes with every write. Conditions of others stay."""
    metadata = structs.replace(meta(obj), resource_version="", managed_fields=())
    found: Any = getattr(obj, "status", None)
    changes: dict[str, Any] = {"metadata": metadata}
    if hasattr(found, "observed_generation"):
        kept = tuple(c for c in found.conditions if c.type not in OWN_CONDITIONS)
        changes["status"] = type(found)(conditions=kept)
    elif found is not None:
        changes["status"] = type(found)()
    return structs.replace(obj, **changes)


def _accepted(findings: Sequence[Diagnostic]) -> Json:
    serious = [found for found in findings if found.severity == "error"]
    told = [found for found in findings if found.severity != "info"]
    return {
        "type": "Accepted",
        "status": "False" if serious else "True",
        "reason": serious[0].code if serious else "Accepted",
        "message": _shortened("; ".join(_sentence(found) for found in (*serious, *(
            found for found in told if found not in serious))) or "nothing is wrong with it"),
    }  # fmt: skip


def _sentence(found: Diagnostic) -> str:
    place = f"{found.path}: " if found.path else ""
    return f"{found.code} {place}{found.message}"


def programmed(nodes: Acknowledged, rejection: Rejection | None) -> Json:
    """The condition that says where an object is in force, or why it is not."""
    if rejection is not None:
        stays = consequence(rejection)
        text = f"{blamed(rejection)}, {stays}: {rejection.error}"
        return _condition("False", reason(rejection), text)
    total = len(nodes.yes) + len(nodes.no)
    if not total:
        return _condition("False", "NoNodes", "there is no node that could have it")
    if nodes.no:
        missing = _named(nodes.no)
        text = f"acknowledged by {len(nodes.yes)} of {total} nodes; not by {missing}"
        return _condition("False", "Pending", text)
    every = f"node {nodes.yes[0]}" if total == 1 else f"all {total} nodes"
    return _condition("True", "Programmed", f"acknowledged by {every}")


def reason(rejection: Rejection) -> str:
    """In one word."""
    return "Rejected" if rejection.node else "NotBuilt"


def blamed(rejection: Rejection) -> str:
    """Who does not take the object."""
    who = f"the proxy of node {rejection.node}"
    return f"{who} refused it" if rejection.node else "weft failed to build it"


def consequence(rejection: Rejection) -> str:
    """What is in force instead."""
    if rejection.closed:
        return rejection.closed
    if rejection.in_force is None:
        return "nothing of it is in force"
    return "the version before stays in force"


def _condition(value: str, reason: str, message: str) -> Json:
    return {
        "type": "Programmed",
        "status": value,
        "reason": reason,
        "message": _shortened(message),
    }


def _nodes(nodes: Acknowledged) -> Json:
    total = len(nodes.yes) + len(nodes.no)
    body: Json = {"total": total, "acknowledged": len(nodes.yes)}
    if nodes.yes and len(nodes.yes) <= NODES_NAMED_MAX:
        body["names"] = list(nodes.yes)
    if nodes.no:
        body["missing"] = list(nodes.no[:NODES_NAMED_MAX])
    return body


def _named(names: Sequence[str]) -> str:
    more = len(names) - NODES_NAMED_MAX
    return ", ".join(names[:NODES_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS_MAX else f"{text[: MESSAGE_CHARS_MAX - 1]}…"
