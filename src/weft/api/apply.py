"""What `apply` sends: the difference between what was applied before, and what is asked for now.

The rule is kubectl's three-way merge (declarative management of objects): fields that the last
applied version had and the new one lacks are removed, fields that others own are left alone.
The last applied version is kept in kubectl's annotation, so both tools can be mixed.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

from weft.api.merging import merge_diff

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
    patch = merge_diff(live, _merged(before, live, with_last_applied(wanted)))
    if set(patch) <= {"metadata"} and set(patch.get("metadata", {})) <= {"annotations"}:
        changed = patch.get("metadata", {}).get("annotations", {})
        if set(changed) == {LAST_APPLIED} and before == without_last_applied(wanted):
            return {}
    return patch


def _merged(before: Any, live: Any, wanted: Any) -> Any:
    """`live` with what `wanted` sets, and without what only `before` had."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        old = before if isinstance(before, Mapping) else {}
        made = {key: value for key, value in live.items() if key in wanted or key not in old}
        for key, value in wanted.items():
            made[key] = _merged(old.get(key), live.get(key), value)
        return {key: value for key, value in made.items() if value is not None}
    if isinstance(wanted, list) and isinstance(live, list):
        return _merged_list(before if isinstance(before, list) else None, live, wanted)
    if live is None and wanted in ({}, []):
        return None  # the server does not keep empty values
    return wanted


def _merged_list(before: list[Any] | None, live: list[Any], wanted: list[Any]) -> list[Any]:
    """The wanted items; each keeps the defaults that the server gave to it.

    Items with names are found by name. Others are known only by their place: there an item that
    the user changed replaces what is there as a whole.
    """
    there, old = _by_name(live), _by_name(before or [])
    if there is not None and old is not None and _by_name(wanted) is not None:
        return [_merged(old.get(i["name"]), there.get(i["name"]), i) for i in wanted]
    made = []
    for place, item in enumerate(wanted):
        same = before is None or (place < len(before) and before[place] == item)
        if same and place < len(live) and _covers(live[place], item):
            made.append(live[place])
        else:
            made.append(item)
    return made


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    """The items by their names; None when some have none or share one."""
    named = {
        i["name"]: i for i in items if isinstance(i, Mapping) and isinstance(i.get("name"), str)
    }
    return named if len(named) == len(items) else None


def _covers(live: Any, wanted: Any) -> bool:
    """True when `live` is `wanted` plus nothing but defaults that the server filled in."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        return all(_covers(live.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list) and isinstance(live, list):
        same = len(wanted) == len(live)
        return same and all(_covers(a, b) for a, b in zip(live, wanted, strict=True))
    return bool(live == wanted) or (live is None and wanted in ({}, [], None))
