"""Places in an object as server-side apply names them, and sets of them. Pure.

A place is a tuple of steps, written as FieldsV1 writes them: `f:name` a field or map key,
`k:{"name":"c"}` an element of a list by its keys, `v:"x"` an element of a set by its value,
`i:0` one by its index. Source: the documentation of field management and of FieldsV1.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from weft.api.schema import Schema

Place = tuple[str, ...]
Tree = Mapping[str, Any]
"""A set of places as FieldsV1 has it: nested maps of steps, `.` for a place that is in the set
itself and has others below it."""
_SELF = "."
NESTING_MAX = 100


# ------------------------------------------------------------------ sets of places


def places(tree: Tree) -> set[Place]:
    """The places of a FieldsV1 value. Raises ValueError for what is none."""
    found: set[Place] = set()
    _collect(tree, (), found)
    return found


def _collect(tree: Tree, at: Place, found: set[Place]) -> None:
    for step, below in tree.items():
        here = (*at, step)
        if step == _SELF:
            found.add(at)
        elif step[:2] not in _FORMS or not isinstance(below, Mapping) or len(here) > NESTING_MAX:
            raise ValueError(f"not a step of a field path: {step!r}")
        elif below:
            _collect(below, here, found)
        else:
            found.add(here)


def tree_of(found: Iterable[Place]) -> dict[str, Any]:
    """The FieldsV1 value of a set; equal sets give equal JSON text."""
    root: dict[str, Any] = {}
    for place in sorted(found):
        node = root
        for step in place:
            node = node.setdefault(step, {})
        node[_SELF] = {}
    return _without_lone_marks(root)


def _without_lone_marks(node: dict[str, Any]) -> dict[str, Any]:
    return {
        step: {} if below.keys() <= {_SELF} else _without_lone_marks(below)
        for step, below in node.items()
    }


def present(tree: Tree, asked: Iterable[Place]) -> set[Place]:
    """Those of the asked places that are in the set; cheap for few places and a large set."""
    return {place for place in asked if _has(tree, place)}


def _has(tree: Tree, place: Place) -> bool:
    node: Any = tree
    for step in place:
        node = node.get(step)
        if node is None:
            return False
    return not node or _SELF in node


# ------------------------------------------------------------------ steps


def field_step(name: str) -> str:
    return f"f:{name}"


def name_of(step: str) -> str:
    """The field's name of a `f:` step; "" for others."""
    return step[2:] if step.startswith("f:") else ""


def is_granular_map(schema: Schema | None) -> bool:
    """Whether each field of such a value has an owner of its own. What has no schema is."""
    if schema is None or schema.type == "any":
        return True
    return schema.type in ("object", "map") and schema.map_type != "atomic"


def is_keyed_list(schema: Schema | None) -> bool:
    """Whether each element of such a list has an owner of its own."""
    return schema is not None and schema.type == "array" and _list_type(schema) in ("map", "set")


def _list_type(schema: Schema) -> str:
    if schema.list_type:
        return schema.list_type
    if "merge" in schema.patch_strategies:  # lists that were merged before there were types
        return "map" if schema.patch_merge_key else "set"
    return "atomic"


def list_keys(schema: Schema) -> tuple[str, ...]:
    """The fields that name an element of a keyed list; none for a set."""
    if _list_type(schema) != "map":
        return ()
    return schema.list_map_keys or (schema.patch_merge_key,)


def element_step(schema: Schema, item: Any) -> str:
    """The step to an element of a keyed list. Absent keys stand for their defaults."""
    keys = list_keys(schema)
    if not keys:
        return "v:" + _text(item)
    if not isinstance(item, Mapping):
        return "k:{}"
    values = {}
    for key in keys:
        below = schema.items.child(key) if schema.items else None
        default = below.default if below else None
        values[key] = item.get(key, default)
    return "k:" + _text(values)


def lacking_keys(schema: Schema, item: Any) -> tuple[str, ...]:
    """Keys that an element ought to have and has not, not even by default."""
    if not isinstance(item, Mapping):
        return ()
    step = element_step(schema, item)
    found = orjson.loads(step[2:]) if step.startswith("k:") else {}
    return tuple(key for key, value in found.items() if value is None)


def child_of(schema: Schema | None, step: str) -> Schema | None:
    """The schema one step down; None where there is none."""
    if schema is None:
        return None
    return schema.child(step[2:]) if step.startswith("f:") else schema.items


def show(place: Place) -> str:
    """As messages name a place: `.spec.containers[name="c"].image`."""
    return "".join(_FORMS[step[:2]](step[2:]) for step in place)


def _show_key(text: str) -> str:
    found = orjson.loads(text)
    return "[" + ",".join(f"{key}={_text(value)}" for key, value in found.items()) + "]"


_FORMS: Mapping[str, Callable[[str], str]] = {
    "f:": lambda text: f".{text}",
    "k:": _show_key,
    "v:": lambda text: f"[={text}]",
    "i:": lambda text: f"[{text}]",
}


def _text(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
