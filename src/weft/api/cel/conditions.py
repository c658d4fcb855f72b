"""Conditions on requests in CEL, as policies hold them. Pure.

The part of CEL whose expressions have a value for every request: a denial that fails when it is
judged would deny nobody. What is absent is the empty text or list, and what may fail (numbers read
from texts, expressions made at run time) does not compile. A checked condition is a tree of tuples
that stands on its own: an operation and its operands, see OPERATIONS.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from msgspec import Struct

from weft.api.cel.strings import compiled
from weft.api.cel.syntax import (
    Call,
    CelError,
    Constant,
    Ident,
    Index,
    ListOf,
    Node,
    Select,
    parse_with_places,
)

Condition = tuple[Any, ...]
OPERATIONS = """
("value", text | whole number | truth)          ("list", condition...)
("method",) ("path",)                           of the request; the path without its query
("header", name), ("has_header", name)
("principal",)                                  the caller's SPIFFE ID
("time",)                                       when the request came, UTC
("claim", kind, step...)                        kind: text, list, truth, present
("compare_claim", operator, number, step...)    false when the claim is no number
("call", name, condition...)
"""
CHARACTERS_MAX = 2048
NODES_MAX = 200
DEPTH_MAX = 24
"""Levels, a chain of `&&` one for each link: Envoy reads messages of 100 levels, each takes 2."""
PATTERN_INSTRUCTIONS_MAX = 100
"""Of a regular expression: Envoy takes no more in CEL."""
_Type = Literal["text", "number", "truth", "list", "claim", "time"]
_ATTRIBUTES: Mapping[str, tuple[Condition, _Type]] = {
    "request.method": (("method",), "text"),
    "request.path": (("path",), "text"),
    "request.time": (("time",), "time"),
    "source.principal": (("principal",), "text"),
}
_MAPS = ("request.headers", "request.auth.claims")
KNOWN = ", ".join((*_ATTRIBUTES, "request.headers['NAME']", "request.auth.claims.NAME"))
_CONVERSIONS = ("lowerAscii", "upperAscii")
_TESTS = ("startsWith", "endsWith", "contains", "matches")
_CLOCK = ("getHours", "getMinutes", "getDayOfWeek", "getDate", "getMonth", "getFullYear")
_ORDER = ("<", "<=", ">", ">=")
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_HEADER = re.compile(r"[a-zA-Z0-9!#$%&'*+.^_`|~-]+")


class Typed(Struct, frozen=True):
    """A checked part and what its value is."""

    condition: Condition
    type: _Type


def check(source: str) -> Condition:
    """The condition. Raises CelError, which says at which character and why."""
    if len(source) > CHARACTERS_MAX:
        raise CelError(f"the condition has more than {CHARACTERS_MAX} characters")
    tree, places = parse_with_places(source)
    return _Checker(places).truth(tree)


def problem(source: str) -> str:
    """What is wrong with a condition; empty when nothing is."""
    try:
        check(source)
    except CelError as error:
        return str(error)
    return ""


class _Checker:
    def __init__(self, places: Mapping[int, int]) -> None:
        self._places = places
        self._nodes = 0
        self._depth = 0

    def truth(self, node: Node) -> Condition:
        found = self._typed(node)
        if found.type == "claim":
            return self._claim_as(found, "truth")
        if found.type != "truth":
            raise self._refusal(node, f"this is a {found.type}, where true or false is needed")
        return found.condition

    def _refusal(self, node: Node, why: str) -> CelError:
        return CelError(f"{why} (character {self._places.get(id(node), 0) + 1})")

    def _typed(self, node: Node) -> Typed:
        self._nodes += 1
        self._depth += 1
        if self._nodes > NODES_MAX:
            raise CelError(f"the condition has more than {NODES_MAX} parts")
        if self._depth > DEPTH_MAX:
            raise self._refusal(node, f"this is more than {DEPTH_MAX} deep; use `in`, or brackets")
        found = self._by_kind(node)
        self._depth -= 1
        return found

    def _by_kind(self, node: Node) -> Typed:
        match node:
            case Constant():
                return self._constant(node)
            case ListOf():
                if any(node.optional):
                    raise self._refusal(node, "optional items are not known here")
                return Typed(("list", *(self._text(item) for item in node.items)), "list")
            case Select(test=True):
                return self._has(node)
            case Ident() | Select() | Index():
                return self._attribute(node)
            case Call():
                return self._call(node)
        raise self._refusal(node, "macros over lists and maps are not known here; use `in`")

    def _constant(self, node: Constant) -> Typed:
        value = node.value
        if isinstance(value, bool):
            return Typed(("value", value), "truth")
        if isinstance(value, str):
            return Typed(("value", value), "text")
        if type(value) is int:
            return Typed(("value", value), "number")
        raise self._refusal(node, "only texts, whole numbers, true and false are known here")

    # ---------------------------------------------------------------- attributes

    def _steps(self, node: Node) -> tuple[str, ...]:
        """The names that lead to an attribute."""
        match node:
            case Ident():
                return (node.name,)
            case Select(optional=False):
                return (*self._steps(node.operand), node.field)
            case Index(optional=False, index=Constant(value=str() as key)):
                return (*self._steps(node.operand), key)
        raise self._refusal(node, f"there is no such attribute; there are {KNOWN}")

    def _attribute(self, node: Node) -> Typed:
        steps = self._steps(node)
        name = ".".join(steps)
        if name in _ATTRIBUTES:
            return Typed(*_ATTRIBUTES[name])
        if steps[:2] == ("request", "headers") and len(steps) == 3:
            return Typed(("header", self._header(node, steps[2])), "text")
        if steps[:3] == ("request", "auth", "claims") and len(steps) > 3:
            return Typed(("claim", "", *steps[3:]), "claim")
        if name in _MAPS:
            raise self._refusal(node, f"a name is missing: `{name}['NAME']`")
        raise self._refusal(node, f"there is no attribute `{name}`; there are {KNOWN}")

    def _header(self, node: Node, name: str) -> str:
        if not _HEADER.fullmatch(name):
            raise self._refusal(node, f"`{name}` is no name of a header")
        return name.lower()

    def _has(self, node: Select) -> Typed:
        steps = (*self._steps(node.operand), node.field)
        return self._present(node, steps[:-1], steps[-1])

    def _present(self, node: Node, holder: tuple[str, ...], key: str) -> Typed:
        if holder == ("request", "headers"):
            return Typed(("has_header", self._header(node, key)), "truth")
        if holder[:3] == ("request", "auth", "claims"):
            return Typed(("claim", "present", *holder[3:], key), "truth")
        raise self._refusal(node, "only headers and claims can be absent")

    def _claim_as(self, found: Typed, kind: str) -> Condition:
        return ("claim", kind, *found.condition[2:])

    def _text(self, node: Node) -> Condition:
        found = self._typed(node)
        if found.type == "claim":
            return self._claim_as(found, "text")
        if found.type != "text":
            raise self._refusal(node, f"this is a {found.type}, where a text is needed")
        return found.condition

    # ---------------------------------------------------------------- calls

    def _call(self, node: Call) -> Typed:
        name, arguments = node.function, node.arguments
        if name in ("&&", "||", "!_"):
            return Typed(("call", name, *(self.truth(a) for a in arguments)), "truth")
        if name == "?:":
            return self._choice(node)
        if name in ("==", "!=", *_ORDER):
            return self._comparison(node)
        if name == "in":
            return self._in(node)
        if name == "+":
            return Typed(("call", "+", *(self._text(a) for a in arguments)), "text")
        if name == "size" and len(arguments) + (node.target is not None) == 1:
            return self._size(node, node.target or arguments[0])
        if node.target is not None:
            return self._method(node, node.target)
        raise self._refusal(node, f"`{name.rstrip('_')}` is not known here")

    def _size(self, node: Call, what: Node) -> Typed:
        found = self._typed(what)
        if found.type == "claim":
            return Typed(("call", "size", self._claim_as(found, "list")), "number")
        if found.type not in ("text", "list"):
            raise self._refusal(node, f"a {found.type} has no size")
        return Typed(("call", "size", found.condition), "number")

    def _choice(self, node: Call) -> Typed:
        condition = self.truth(node.arguments[0])
        parts = [self._typed(a) for a in node.arguments[1:]]
        kinds = {part.type for part in parts} - {"claim"} or {"text"}
        if len(kinds) > 1 or kinds & {"list", "time"}:
            raise self._refusal(node, "both results of `?:` must be alike")
        kind = kinds.pop()
        if kind == "number" and any(part.type == "claim" for part in parts):
            raise self._refusal(node, "a claim may be no number")
        chosen = (self._claim_as(p, kind) if p.type == "claim" else p.condition for p in parts)
        return Typed(("call", "?:", condition, *chosen), kind)

    def _comparison(self, node: Call) -> Typed:
        name = node.function
        left, right = (self._typed(a) for a in node.arguments)
        for one, other, operator in ((left, right, name), (right, left, _MIRRORED[name])):
            if one.type == "claim" and other.type == "number":
                if other.condition[0] != "value":
                    raise self._refusal(node, "claims are compared with written numbers only")
                steps = one.condition[2:]
                found: Condition = ("compare_claim", operator, other.condition[1], *steps)
                return Typed(found, "truth")
        kinds = {left.type, right.type} - {"claim"} or {"text"}
        if len(kinds) > 1:
            raise self._refusal(node, f"a {left.type} and a {right.type} cannot be compared")
        kind = kinds.pop()
        if kind not in ("text", "number", "truth") or (kind == "truth" and name in _ORDER):
            raise self._refusal(node, f"`{name}` is not known here for a {kind}")
        parts = (self._claim_as(p, kind) if p.type == "claim" else p.condition
                 for p in (left, right))  # fmt: skip
        return Typed(("call", name, *parts), "truth")

    def _in(self, node: Call) -> Typed:
        item, holder = node.arguments
        if isinstance(holder, Ident | Select | Index):
            steps = self._steps(holder)
            is_map = ".".join(steps) in _MAPS
            if is_map and isinstance(item, Constant) and isinstance(item.value, str):
                return self._present(node, steps, item.value)
        found = self._typed(holder)
        if found.type == "claim":
            found = Typed(self._claim_as(found, "list"), "list")
        if found.type != "list":
            raise self._refusal(holder, f"this is a {found.type}, where a list is needed")
        return Typed(("call", "in", self._text(item), found.condition), "truth")

    def _method(self, node: Call, target: Node) -> Typed:
        name, arguments = node.function, node.arguments
        if name in _CONVERSIONS and not arguments:
            return Typed(("call", name, self._text(target)), "text")
        if name in _TESTS and len(arguments) == 1:
            if name == "matches":
                self._pattern(arguments[0])
            return Typed(("call", name, self._text(target), self._text(arguments[0])), "truth")
        if name in _CLOCK and not arguments:
            found = self._typed(target)
            if found.type != "time":
                raise self._refusal(target, f"this is a {found.type}, where a time is needed")
            return Typed(("call", name, found.condition), "number")
        if name in _CLOCK:
            raise self._refusal(node, "times are UTC here, without a zone")
        raise self._refusal(node, f"`{name}` is not known here")

    def _pattern(self, node: Node) -> None:
        if not isinstance(node, Constant) or not isinstance(node.value, str):
            raise self._refusal(node, "the expression of `matches` must be written out")
        try:
            pattern = compiled(node.value)
        except CelError as error:
            raise self._refusal(node, str(error)) from error
        if pattern.programsize > PATTERN_INSTRUCTIONS_MAX:
            raise self._refusal(node, "the expression of `matches` is too large")


Look = Callable[[Condition], Any]
"""The value of an attribute; UNKNOWN when it is not known."""
UNKNOWN = object()


def evaluate(condition: Condition, look: Look) -> Any:
    """The value of a checked condition, UNKNOWN where it depends on what is not known."""
    operation, *operands = condition
    if operation == "value":
        return operands[0]
    if operation == "list":
        items = [evaluate(item, look) for item in operands]
        return UNKNOWN if UNKNOWN in items else items
    if operation != "call":
        return look(condition)
    name, *parts = operands
    if name == "?:":
        chosen = evaluate(parts[0], look)
        return UNKNOWN if chosen is UNKNOWN else evaluate(parts[1 if chosen else 2], look)
    values = [evaluate(part, look) for part in parts]
    if name in ("&&", "||"):
        decisive = name == "||"
        if decisive in values:
            return decisive
        return UNKNOWN if UNKNOWN in values else not decisive
    return UNKNOWN if UNKNOWN in values else _CALLS[name](*values)


_CALLS: Mapping[str, Callable[..., Any]] = {
    "!_": lambda a: not a,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "+": lambda a, b: a + b,
    "in": lambda a, b: a in b,
    "size": len,
    "lowerAscii": lambda a: "".join(c.lower() if c.isascii() else c for c in a),
    "upperAscii": lambda a: "".join(c.upper() if c.isascii() else c for c in a),
    "startsWith": lambda a, b: a.startswith(b),
    "endsWith": lambda a, b: a.endswith(b),
    "contains": lambda a, b: b in a,
    "matches": lambda a, b: compiled(b).search(a) is not None,
}  # fmt: skip
