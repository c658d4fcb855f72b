"""Strategic merge patch: JSON merge patch that knows which lists are maps.

Source of the rules: Kubernetes' sig-api-machinery documents on strategic merge patch and its
directives `$patch`, `$retainKeys`, `$deleteFromPrimitiveList`, `$setElementOrder`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

PATCH = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_PRIMITIVES = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"


class PatchError(Exception):
    """The patch itself is wrong; the text is for its author."""


class FieldRule(Struct, frozen=True):
    """How a field is patched."""

    merge: bool = False
    """Lists: merge elements instead of replacing the list."""
    merge_key: str = ""
    """The field that names a list's elements; "" for lists of plain values."""
    replace: bool = False
    """Maps: replace instead of merging."""


Rules = Callable[[tuple[str, ...]], FieldRule]
"""The rule of the field at a path of field names (list positions left out)."""


def strategic_merge(original: Mapping[str, Any], patch: Any, rules: Rules) -> dict[str, Any]:
    """The patched object; neither argument is changed. Raises PatchError."""
    if not isinstance(patch, Mapping):
        raise PatchError("a strategic merge patch must be a JSON object")
    return _merge_map(original, patch, rules, ())


def _merge_map(
    original: Mapping[str, Any], patch: Mapping[str, Any], rules: Rules, path: tuple[str, ...]
) -> dict[str, Any]:
    directive = patch.get(PATCH)
    if directive == "replace":
        return {k: v for k, v in patch.items() if k != PATCH}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"unrecognized {PATCH} `{directive}` at {_show(path)}")
    result = _retained(original, patch, path)
    for key, value in patch.items():
        if key in (PATCH, RETAIN_KEYS) or key.startswith((DELETE_PRIMITIVES, SET_ORDER)):
            continue
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merge_field(result.get(key), patch, rules, (*path, key))
    _apply_list_directives(result, patch, rules, path)
    return result


def _retained(
    original: Mapping[str, Any], patch: Mapping[str, Any], path: tuple[str, ...]
) -> dict[str, Any]:
    if RETAIN_KEYS not in patch:
        return dict(original)
    keep = patch[RETAIN_KEYS]
    if not isinstance(keep, list):
        raise PatchError(f"{RETAIN_KEYS} at {_show(path)} must be a list")
    plain = [k for k, v in patch.items() if not k.startswith("$") and v is not None]
    if stray := [k for k in plain if k not in keep]:
        raise PatchError(
            f"{RETAIN_KEYS} at {_show(path)} does not name `{stray[0]}`, which it sets"
        )
    return {k: v for k, v in original.items() if k in keep}


def _merge_field(old: Any, patch: Mapping[str, Any], rules: Rules, path: tuple[str, ...]) -> Any:
    """The last step of `path` after `patch`, which is the map around it."""
    key = path[-1]
    new = patch[key]
    if isinstance(new, Mapping):
        if isinstance(old, Mapping) and not rules(path).replace:
            return _merge_map(old, new, rules, path)
        return _merge_map({}, new, rules, path)
    if not isinstance(new, list):
        return new
    rule = rules(path)
    if not rule.merge:
        return [_without_directives(v) for v in new]
    before = old if isinstance(old, list) else []
    if not rule.merge_key:
        return _union(before, new, patch.get(DELETE_PRIMITIVES + key) or [])
    merged = _merge_list(before, new, rule.merge_key, rules, path)
    order = patch.get(SET_ORDER + key)
    return _ordered(merged, before, order, rule.merge_key) if order is not None else merged


def _apply_list_directives(
    result: dict[str, Any], patch: Mapping[str, Any], rules: Rules, path: tuple[str, ...]
) -> None:
    """Directives about lists that the patch does not name otherwise, and orders of plain lists."""
    for key, value in patch.items():
        if not key.startswith((DELETE_PRIMITIVES, SET_ORDER)):
            continue
        if not isinstance(value, list):
            raise PatchError(f"{key} at {_show(path)} must be a list")
        name = key.partition("/")[2]
        current = result.get(name)
        if not isinstance(current, list):
            continue
        rule = rules((*path, name))
        if key.startswith(DELETE_PRIMITIVES):
            result[name] = [v for v in current if v not in value]
        elif not rule.merge_key or name not in patch:
            result[name] = _ordered(current, current, value, rule.merge_key)


def _union(old: Sequence[Any], new: Sequence[Any], removed: Sequence[Any]) -> list[Any]:
    kept = [v for v in old if v not in removed]
    for value in new:
        if value not in kept:
            kept.append(value)
    return kept


def _merge_list(
    old: Sequence[Any], new: Sequence[Any], key: str, rules: Rules, path: tuple[str, ...]
) -> list[Any]:
    plain = [v for v in new if not (isinstance(v, Mapping) and v.get(PATCH) == "replace")]
    if len(plain) != len(new):
        return [_without_directives(v) for v in plain]
    result = list(old)
    for item in new:
        if not isinstance(item, Mapping):
            raise PatchError(f"{_show(path)} must be a list of objects")
        if key not in item:
            raise PatchError(f"an element of {_show(path)} does not contain its merge key `{key}`")
        at = next((i for i, v in enumerate(result) if _key(v, key) == item[key]), None)
        if item.get(PATCH) == "delete":
            result = [v for v in result if _key(v, key) != item[key]]
        elif at is None:
            result.append(_merge_map({}, item, rules, path))
        else:
            result[at] = _merge_map(result[at], item, rules, path)
    return result


def _key(item: Any, key: str) -> Any:
    return item.get(key) if key and isinstance(item, Mapping) else item


def _ordered(
    merged: Sequence[Any], before: Sequence[Any], order: Sequence[Any], key: str
) -> list[Any]:
    """Elements named by `order` in that order; others stay where they were before, as far as
    they can."""
    wanted = [_key(v, key) for v in order]
    server = [_key(v, key) for v in before]
    named = sorted(
        (v for v in merged if _key(v, key) in wanted), key=lambda v: wanted.index(_key(v, key))
    )
    others = [v for v in merged if _key(v, key) not in wanted]
    result: list[Any] = []
    while named and others:
        left, right = _key(others[0], key), _key(named[0], key)
        both = left in server and right in server
        first = others if both and server.index(left) < server.index(right) else named
        result.append(first.pop(0))
    return result + named + others


def _without_directives(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            k: _without_directives(v)
            for k, v in value.items()
            if v is not None
            and not (k in (PATCH, RETAIN_KEYS) or k.startswith((DELETE_PRIMITIVES, SET_ORDER)))
        }
    if isinstance(value, list):
        return [_without_directives(v) for v in value]
    return value


def _show(path: tuple[str, ...]) -> str:
    return "`" + (".".join(path) or "the top level") + "`"
