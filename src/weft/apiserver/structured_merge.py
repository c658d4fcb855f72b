"""Structural merge of objects by their schema: what was set, what changed, apply, remove. Pure.

Lists are atomic, sets, or maps by keys; maps are atomic or granular, as the schema says. Source:
the documentation of server-side apply (merge strategy, list and map types).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from weft.api.schema import Schema
from weft.apiserver.field_paths import (
    Place,
    child_of,
    element_step,
    field_step,
    is_granular_map,
    is_keyed_list,
    lacking_keys,
    name_of,
    show,
)

_ALWAYS_THERE = frozenset({"f:metadata", "f:spec", "f:status", "f:template", "f:strategy"})
"""Parts of objects that nobody adds, as Go's structs always hold them."""


class MergeError(Exception):
    """An object that cannot be merged by its schema; the text is for its author."""


# ------------------------------------------------------------------ what is set


def field_set(schema: Schema | None, value: Mapping[str, Any]) -> set[Place]:
    """The places that an applied object sets. Raises MergeError for elements without their keys,
    or twice in a list."""
    found: set[Place] = set()
    _set_map(schema, value, (), found)
    return found


def _set(schema: Schema | None, value: Any, at: Place, found: set[Place]) -> None:
    if isinstance(value, Mapping) and is_granular_map(schema):
        _set_map(schema, value, at, found)
    elif isinstance(value, Sequence) and schema is not None and is_keyed_list(schema):
        _set_list(schema, value, at, found)
    else:
        found.add(at)


def _set_map(schema: Schema | None, value: Mapping[str, Any], at: Place, found: set[Place]) -> None:
    declared = schema.fields if schema else {}
    for name, item in value.items():
        here = (*at, field_step(name))
        _set(schema.child(name) if schema else None, item, here, found)
        if name not in declared or item in ({}, None):
            found.add(here)


def _set_list(schema: Schema, value: Sequence[Any], at: Place, found: set[Place]) -> None:
    seen = set()
    for index, item in enumerate(value):
        if lacking := lacking_keys(schema, item):
            raise MergeError(
                f"{show(at)}: element {index}: associative list with keys has an element that "
                f'omits key field "{lacking[0]}" (and doesn\'t have default value)'
            )
        step = element_step(schema, item)
        if step in seen:
            raise MergeError(f"{show(at)}: duplicate entries for key {show((step,))}")
        seen.add(step)
        _set(schema.items, item, (*at, step), found)
        found.add((*at, step))


# ------------------------------------------------------------------ what changed


class Comparison(Struct, frozen=True):
    """Where two states of an object differ."""

    added: set[Place] = field(default_factory=set)
    modified: set[Place] = field(default_factory=set)
    removed: set[Place] = field(default_factory=set)


def compare(schema: Schema | None, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    """Equal parts are not walked, so a small change costs little."""
    found = Comparison()
    _compare(schema, old, new, (), found)
    return found


def _compare(schema: Schema | None, old: Any, new: Any, at: Place, found: Comparison) -> None:
    if old == new:
        return
    if _both(old, new, Mapping) and (old or new) and is_granular_map(schema):
        before, after = old or {}, new or {}
        for name in {**before, **after}:
            below = schema.child(name) if schema else None
            here = (*at, field_step(name))
            _compare(below, before.get(name), after.get(name), here, found)
    elif _both(old, new, Sequence) and (old or new) and schema and is_keyed_list(schema):
        before = {element_step(schema, item): item for item in old or ()}
        after = {element_step(schema, item): item for item in new or ()}
        for step in {**before, **after}:
            _compare(schema.items, before.get(step), after.get(step), (*at, step), found)
        if old is None or new is None:
            (found.added if old is None else found.removed).add(at)
        return
    elif old is not None and new is not None:
        found.modified.add(at)
        return
    if at and at[-1] not in _ALWAYS_THERE:
        if old is None:
            found.added.add(at)
        elif new is None:
            found.removed.add(at)


def tree_of_all(schema: Schema | None, value: Mapping[str, Any]) -> dict[str, Any]:
    """Of a new object: the FieldsV1 value of everything that `compare` with nothing calls added,
    made in one walk."""
    return _tree(schema, value)


def _tree(schema: Schema | None, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping) and is_granular_map(schema):
        found = {}
        for name, item in value.items():
            if item is not None:
                step = field_step(name)
                found[step] = _marked(step, _tree(schema.child(name) if schema else None, item))
        return found
    if isinstance(value, Sequence) and schema is not None and is_keyed_list(schema):
        steps = ((element_step(schema, item), item) for item in value)
        return {step: _marked(step, _tree(schema.items, item)) for step, item in steps}
    return {}


def _marked(step: str, below: dict[str, Any]) -> dict[str, Any]:
    return {".": {}, **below} if below and step not in _ALWAYS_THERE else below


def _both(old: Any, new: Any, kind: type) -> bool:
    """Whether each is of the kind or absent."""
    return all(
        value is None or (isinstance(value, kind) and not isinstance(value, str))
        for value in (old, new)
    )


# ------------------------------------------------------------------ merging


def merge(schema: Schema | None, live: Any, applied: Any) -> Any:
    """The live value with everything that `applied` sets. Neither is changed."""
    if isinstance(applied, Mapping) and isinstance(live, Mapping) and is_granular_map(schema):
        merged = dict(live)
        for name, value in applied.items():
            below = schema.child(name) if schema else None
            merged[name] = merge(below, live.get(name), value)
        return merged
    lists = isinstance(applied, list) and isinstance(live, list)
    if lists and schema is not None and is_keyed_list(schema):
        return _merge_list(schema, live, applied)
    return applied


def _merge_list(schema: Schema, live: list[Any], applied: list[Any]) -> list[Any]:
    """Applied elements come in their applied order; live ones keep their places around them."""
    had = {element_step(schema, item): item for item in live}
    wanted = {element_step(schema, item): item for item in applied}
    left, right = [element_step(schema, item) for item in live], list(wanted)
    shared = [step for step in right if step in had]
    merged: list[Any] = []
    l_at = r_at = 0
    while l_at < len(left) or r_at < len(right):
        ours = left[l_at] if l_at < len(left) else None
        if ours is not None and ours not in wanted:
            merged.append(live[l_at])
            l_at += 1
            continue
        if ours is not None and (not shared or ours != shared[0]):
            l_at += 1  # a shared element whose turn comes, or came, in the applied order
            continue
        if r_at == len(right):
            break
        step = right[r_at]
        merged.append(merge(schema.items, had.get(step), wanted[step]))
        r_at += 1
        if shared and shared[0] == step:
            shared.pop(0)
            l_at += ours == step
    return merged


# ------------------------------------------------------------------ removing


def remove(schema: Schema | None, value: Any, gone: set[Place]) -> Any:
    """The value without the given places and all below them."""
    heads: dict[str, set[Place]] = {}
    for place in gone:
        heads.setdefault(place[0], set()).add(place[1:])
    return _remove(schema, value, heads)


def _remove(schema: Schema | None, value: Any, heads: Mapping[str, set[Place]]) -> Any:
    def kept(step: str, item: Any) -> Any:
        below = heads.get(step)
        return remove(child_of(schema, step), item, below) if below else item

    def goes(step: str) -> bool:
        return () in heads.get(step, ())

    if isinstance(value, Mapping):
        steps = {name: field_step(name) for name in value}
        return {n: kept(steps[n], v) for n, v in value.items() if not goes(steps[n])}
    if isinstance(value, list) and schema is not None and is_keyed_list(schema):
        named = [(element_step(schema, item), item) for item in value]
        return [kept(step, item) for step, item in named if not goes(step)]
    return value


def with_named_fields(schema: Schema | None, found: set[Place]) -> set[Place]:
    """The set, and every declared field of a message on the way to its places."""
    named = set(found)
    for place in found:
        below = schema
        for depth, step in enumerate(place[:-1], 1):
            if below is not None and name_of(step) in below.fields:
                named.add(place[:depth])
            below = child_of(below, step)
    return named
