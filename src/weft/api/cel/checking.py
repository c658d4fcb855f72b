"""Which fields an expression names that its objects cannot have. Pure.

Not a whole type check: types are followed along fields, indexes and macros, and forgotten at calls.
"""

from collections.abc import Iterator, Mapping

from weft.api.cel.syntax import (
    Bind,
    Call,
    CelError,
    Comprehension,
    Ident,
    Index,
    ListOf,
    MapOf,
    Node,
    Select,
    parse,
)
from weft.api.schema import Schema

Scope = Mapping[str, Schema | None]


def undefined_fields(source: str, scope: Scope) -> list[str]:
    """Names of fields that no value of the types in `scope` has, in the order met."""
    found: list[str] = []
    try:
        _walk(parse(source), scope, found)
    except CelError:
        return []
    return list(dict.fromkeys(found))


def _walk(node: Node | None, scope: Scope, found: list[str]) -> Schema | None:
    match node:
        case Ident():
            return scope.get(node.name)
        case Select():
            return _field(_walk(node.operand, scope, found), node.field, found)
        case Index():
            holder = _walk(node.operand, scope, found)
            _walk(node.index, scope, found)
            return None if holder is None else holder.items or holder.values
        case Comprehension():
            return _macro(node, scope, found)
        case Bind():
            value = _walk(node.value, scope, found)
            return _walk(node.body, {**scope, node.variable: value}, found)
        case Call():
            for part in (node.target, *node.arguments):
                _walk(part, scope, found)
        case ListOf() | MapOf():
            for part in _parts(node):
                _walk(part, scope, found)
    return None


def _parts(node: ListOf | MapOf) -> Iterator[Node]:
    if isinstance(node, ListOf):
        yield from node.items
    else:
        for key, value, _ in node.entries:
            yield key
            yield value


def _field(holder: Schema | None, name: str, found: list[str]) -> Schema | None:
    if holder is None or holder.type != "object" or not holder.fields:
        return holder.values if holder is not None and holder.type == "map" else None
    child = holder.fields.get(name, holder.values)
    if child is None:
        found.append(name)
    return child


def _macro(node: Comprehension, scope: Scope, found: list[str]) -> Schema | None:
    target = _walk(node.target, scope, found)
    element = target.items if target is not None else None
    names = node.variables
    known: dict[str, Schema | None] = dict.fromkeys(names)
    if len(names) == 2:
        known[names[1]] = element or (target.values if target is not None else None)
    else:
        known[names[0]] = element
    inner = {**scope, **known}
    _walk(node.condition, inner, found)
    _walk(node.body, inner, found)
    return target if node.macro == "filter" else None
