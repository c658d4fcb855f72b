"""Expressions over Envoy's attributes: what is certain to compile in Envoy, too.

Source: Envoy, "Attributes" (the roots of names) and the functions of its CEL runtime.
"""

from typing import NoReturn

from weft.api.cel.syntax import (
    Call,
    CelError,
    Constant,
    Ident,
    Index,
    ListOf,
    Node,
    Select,
    parse,
)

ROOTS = ("request", "response", "connection", "upstream", "source", "destination", "metadata",
         "filter_state", "xds")  # fmt: skip
OPERATORS = frozenset(
    ("&&", "||", "!_", "-_", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%", "in", "?:")
)
METHODS = frozenset(("startsWith", "endsWith", "contains", "matches", "size"))
FUNCTIONS = frozenset(("size", "int", "string", "double", "duration", "timestamp"))
CHARACTERS_MAX = 1024
DEPTH_MAX = 24
"""Levels; Envoy reads no deeper messages than 100."""


def check(source: str) -> None:
    """Raises CelError, which says why Envoy would not take the expression."""
    if len(source) > CHARACTERS_MAX:
        raise CelError(f"has more than {CHARACTERS_MAX} characters")
    _check(parse(source), 0)


def _check(node: Node, depth: int) -> None:
    if depth > DEPTH_MAX:
        raise CelError(f"has more than {DEPTH_MAX} levels")
    match node:
        case Constant():
            return
        case Ident(name=name):
            if name not in ROOTS:
                raise CelError(f"unknown name `{name}`; there are {', '.join(ROOTS)}")
        case Select(operand=operand, optional=False):
            _check(operand, depth + 1)
        case Index(operand=operand, index=index, optional=False):
            _check(operand, depth + 1)
            _check(index, depth + 1)
        case ListOf(items=items):
            for item in items:
                _check(item, depth + 1)
        case Call(function=function, arguments=arguments, target=target):
            known = METHODS if target is not None else OPERATORS | FUNCTIONS
            if function not in known:
                _unknown(function)
            for part in (*arguments, *((target,) if target is not None else ())):
                _check(part, depth + 1)
        case _:
            raise CelError("macros, maps and optional fields are not known to the proxy")


def _unknown(function: str) -> NoReturn:
    raise CelError(f"the proxy knows no function `{function}`")
