"""What `apply` sends: the difference between what was applied before, and what is asked for now.

The rule is kubectl's three-way merge (declarative management of objects): fields that the last
applied version had and the new one lacks are removed, fields that others own are left alone.
The last applied version is kept in kubectl's annotation, so both tools can be mixed.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def with_last_applied(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object to send, its own text in the annotation."""
    plain = without_last_applied(obj)
    text = json.dumps(plain, separators=(",", ":"), sort_keys=True) + "\n"
    sent = copy.deepcopy(plain)
    annotations = sent.setdefault("metadata", {}).setdefault("annotations", {})
    annotations[LAST_APPLIED] = text
    return sent


def without_last_applied(obj: Mapping[str, Any]) -> dict[str, Any]:
    plain = copy.deepcopy(dict(obj))
    metadata = plain.setdefault("metadata", {})
    metadata.setdefault("annotations", {}).pop(LAST_APPLIED, None)
    return plain


def apply_patch(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch that turns `live` into what `wanted` asks for; {} when nothing differs."""
    annotations = live.get("metadata", {}).get("annotations") or {}
    try:
        before = json.loads(annotations.get(LAST_APPLIED) or "{}")
    except ValueError:
        before = {}
    sent = with_last_applied(wanted)
    patch = _changes(live, sent) | {}
    _removals(before, sent, live, patch)
    if set(patch) <= {"metadata"} and set(patch.get("metadata", {})) <= {"annotations"}:
        changed = patch.get("metadata", {}).get("annotations", {})
        if set(changed) == {LAST_APPLIED} and before == without_last_applied(wanted):
            return {}
    return patch


def _changes(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What `wanted` sets differently; lists that contain the wanted items in order are equal."""
    patch: dict[str, Any] = {}
    for key, value in wanted.items():
        there = live.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            if inner := _changes(there, value):
                patch[key] = inner
        elif not _covers(there, value):
            patch[key] = value
    return patch


def _covers(live: Any, wanted: Any) -> bool:
    """True when `live` is `wanted` plus nothing but defaults that the server filled in."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return all(_covers(live.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list) and isinstance(live, list):
        same = len(wanted) == len(live)
        return same and all(_covers(a, b) for a, b in zip(live, wanted, strict=True))
    return bool(live == wanted) or (live is None and wanted in ({}, []))


def _removals(
    before: Mapping[str, Any], wanted: Mapping[str, Any], live: Any, patch: dict[str, Any]
) -> None:
    if not isinstance(live, Mapping):
        return
    for key, value in before.items():
        if key not in wanted:
            if key in live:
                patch[key] = None
        elif isinstance(value, Mapping) and isinstance(wanted[key], Mapping):
            inner = patch.get(key, {})
            _removals(value, wanted[key], live.get(key), inner)
            if inner:
                patch[key] = inner
