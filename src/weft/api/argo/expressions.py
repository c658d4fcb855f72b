"""Conditions of metrics: the part of the expr language that Argo Rollouts documents, evaluated
safely. `result > 0.9`, `len(result) == 0 || result[0] < 5`, `all(result, # < 0.1)`,
`default(result, 0) < 0.05`, `not isNaN(result)`, `result.ok == true and "x" in result.names`.

Source of the meaning: the language definition of expr (github.com/expr-lang/expr) and the
functions that Argo Rollouts adds (isNaN, isInf, isNil, asInt, asFloat, default).
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import re2

EXPRESSION_CHARACTERS_MAX = 4096
DEPTH_MAX = 64
STEPS_MAX = 100_000
COMPILED_KEPT_MAX = 512
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d[\d_]*\.?\d*(?:[eE][+-]?\d+)?|\.\d+)
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
    |(?P<name>[A-Za-z_$][\w$]*)
    |(?P<sign>\?\.|\?\?|\|\||&&|==|!=|<=|>=|\*\*|\.\.|[-+*/%^<>!?:.,()\[\]{}\#]))""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_COMPARES = {"==", "!=", "<", ">", "<=", ">="}
_WORDS = {"in", "contains", "startsWith", "endsWith", "matches"}


class ExpressionError(ValueError):
    """The expression cannot be read, or cannot be evaluated for this value."""


class _Scope:
    """What names stand for while an expression is evaluated, and how much it did."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.items: list[Any] = []
        self.steps = 0

    def spend(self, steps: int = 1) -> None:
        self.steps += steps
        if self.steps > STEPS_MAX:
            raise ExpressionError(f"takes more than {STEPS_MAX} steps")


Run = Callable[[_Scope], Any]


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises ExpressionError."""
    return compiled(text)(_Scope(values))


def holds(text: str, result: Any) -> bool:
    """Whether a condition holds for a measurement. Raises ExpressionError, also for what is neither
    true nor false."""
    found = evaluate(text, {"result": result})
    if not isinstance(found, bool):
        raise ExpressionError(f"`{text}` is {_kind(found)}, not true or false")
    return found


@lru_cache(maxsize=COMPILED_KEPT_MAX)
def compiled(text: str) -> Run:
    """Reads an expression. Raises ExpressionError."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise ExpressionError(f"longer than {EXPRESSION_CHARACTERS_MAX} characters")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    def whole(self) -> Run:
        found = self.expression()
        if self.peek()[0]:
            raise ExpressionError(f"`{self.peek()[1]}` is not expected in `{self.text}`")
        return found

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "")

    def take(self, *signs: str) -> str:
        """The next token when it is one of these, else ""."""
        kind, word = self.peek()
        if kind in ("sign", "name") and word in signs:
            self.at += 1
            return word
        return ""

    def need(self, sign: str) -> None:
        if not self.take(sign):
            found = self.peek()[1] or "the end"
            raise ExpressionError(f"`{sign}` is expected, not {found}, in `{self.text}`")

    def expression(self) -> Run:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise ExpressionError(f"nested deeper than {DEPTH_MAX}")
        test = self.either()
        while self.take("??"):
            test = _or_else(test, self.either())
        if self.take("?"):
            yes = self.expression()
            self.need(":")
            test = _choice(test, yes, self.expression())
        self.depth -= 1
        return test

    def either(self) -> Run:
        left = self.both()
        while self.take("||", "or"):
            left = _logic(left, self.both(), True)
        return left

    def both(self) -> Run:
        left = self.comparison()
        while self.take("&&", "and"):
            left = _logic(left, self.comparison(), False)
        return left

    def comparison(self) -> Run:
        left = self.span()
        while True:
            before = self.at
            negated = bool(self.take("not"))
            sign = self.take(*_WORDS) if negated else self.take(*_COMPARES, *_WORDS)
            if not sign:
                self.at = before
                return left
            left = _binary(sign, left, self.span())
            left = _negated(left) if negated else left

    def span(self) -> Run:
        left = self.sum()
        if self.take(".."):
            return _binary("..", left, self.sum())
        return left

    def sum(self) -> Run:
        left = self.product()
        while sign := self.take("+", "-"):
            left = _binary(sign, left, self.product())
        return left

    def product(self) -> Run:
        left = self.unary()
        while sign := self.take("*", "/", "%"):
            left = _binary(sign, left, self.unary())
        return left

    def unary(self) -> Run:
        self.depth += 1
        if self.depth > DEPTH_MAX:
            raise ExpressionError(f"nested deeper than {DEPTH_MAX}")
        sign = self.take("-", "+", "!", "not")
        if sign:
            inner = self.unary()
            found = _negated(inner) if sign in ("!", "not") else _signed(sign, inner)
        else:
            found = self.postfix(self.primary())
            if self.take("**", "^"):
                found = _binary("**", found, self.unary())
        self.depth -= 1
        return found

    def postfix(self, left: Run) -> Run:
        while sign := self.take(".", "?.", "["):
            if sign == "[":
                left = self.subscript(left)
                continue
            kind, name = self.peek()
            if kind != "name":
                raise ExpressionError(f"a name is expected after `.` in `{self.text}`")
            self.at += 1
            left = _member(left, _literal(name), optional=sign == "?.")
        return left

    def subscript(self, left: Run) -> Run:
        start: Run | None = None if self.peek()[1] == ":" else self.expression()
        if self.take(":"):
            end = None if self.peek()[1] == "]" else self.expression()
            self.need("]")
            return _slice(left, start, end)
        self.need("]")
        return _member(left, start or _literal(None))

    def primary(self) -> Run:
        kind, word = self.peek()
        self.at += 1
        if kind == "number":
            return _literal(_number(word))
        if kind == "string":
            return _literal(_unquoted(word))
        if kind == "name":
            return self.named(word)
        if word == "(":
            found = self.expression()
            self.need(")")
            return found
        if word == "[":
            return _list(self.arguments("]"))
        if word == "#":
            return _item
        if word == ".":
            self.at -= 1
            return _item
        raise ExpressionError(f"`{word or 'the end'}` is not expected in `{self.text}`")

    def named(self, word: str) -> Run:
        if word in ("true", "false", "nil", "null"):
            return _literal({"true": True, "false": False}.get(word))
        if not self.take("("):
            return _variable(word)
        if word in _PREDICATES:
            subject = self.expression()
            test: Run = _item
            if self.take(","):
                braces = self.take("{")
                test = self.expression()
                if braces:
                    self.need("}")
            self.need(")")
            return _over(word, subject, test)
        if word not in _FUNCTIONS:
            raise ExpressionError(f"there is no function `{word}`")
        return _call(word, self.arguments(")"))

    def arguments(self, end: str) -> list[Run]:
        found: list[Run] = []
        while not self.take(end):
            if found:
                self.need(",")
            found.append(self.expression())
        return found


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"`{text[at:].strip()[:20]}` is not understood in `{text}`")
        kind = match.lastgroup or ""
        number = match["number"] or ""
        at = match.end()
        if kind == "number" and number.endswith(".") and text[at : at + 1] == ".":
            number, at = number[:-1], at - 1  # `1..3`
        found.append((kind, number or match[kind]))
    return found


def _number(word: str) -> int | float:
    plain = word.replace("_", "")
    return int(plain) if plain.isdigit() else float(plain)


def _unquoted(word: str) -> str:
    if word[0] == "`":
        return word[1:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), word[1:-1])


def _kind(value: Any) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", str: "a text"}
    return "nothing" if value is None else names.get(type(value), type(value).__name__)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# ------------------------------------------------------------------ nodes


def _literal(value: Any) -> Run:
    return lambda scope: value


def _variable(name: str) -> Run:
    def run(scope: _Scope) -> Any:
        scope.spend()
        if name not in scope.values:
            raise ExpressionError(f"there is no `{name}`; the measurement is `result`")
        return scope.values[name]

    return run


def _item(scope: _Scope) -> Any:
    if not scope.items:
        raise ExpressionError("`#` stands for an element inside all, any, filter and the like")
    return scope.items[-1]


def _list(parts: Sequence[Run]) -> Run:
    return lambda scope: [part(scope) for part in parts]


def _choice(test: Run, yes: Run, no: Run) -> Run:
    return lambda scope: yes(scope) if _truth(test(scope)) else no(scope)


def _or_else(left: Run, right: Run) -> Run:
    def run(scope: _Scope) -> Any:
        found = left(scope)
        return right(scope) if found is None else found

    return run


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ExpressionError(f"{_kind(value)} is not true or false")
    return value


def _logic(left: Run, right: Run, decides: bool) -> Run:
    def run(scope: _Scope) -> bool:
        scope.spend()
        return decides if _truth(left(scope)) is decides else _truth(right(scope))

    return run


def _negated(inner: Run) -> Run:
    return lambda scope: not _truth(inner(scope))


def _signed(sign: str, inner: Run) -> Run:
    def run(scope: _Scope) -> Any:
        found = inner(scope)
        if not _is_number(found):
            raise ExpressionError(f"`{sign}` of {_kind(found)}")
        return -found if sign == "-" else found

    return run


def _member(left: Run, key: Run, optional: bool = False) -> Run:
    def run(scope: _Scope) -> Any:
        scope.spend()
        of, name = left(scope), key(scope)
        if isinstance(of, Mapping):
            return of.get(name)
        if optional and of is None:
            return None
        if isinstance(of, list | str) and isinstance(name, int):
            if not -len(of) <= name < len(of):
                raise ExpressionError(f"index {name} of {len(of)} elements")
            return of[name]
        raise ExpressionError(f"`{name}` of {_kind(of)}")

    return run


def _slice(left: Run, start: Run | None, end: Run | None) -> Run:
    def run(scope: _Scope) -> Any:
        of = left(scope)
        if not isinstance(of, list | str):
            raise ExpressionError(f"a part of {_kind(of)}")
        return of[start(scope) if start else None : end(scope) if end else None]

    return run


def _binary(sign: str, left: Run, right: Run) -> Run:
    def run(scope: _Scope) -> Any:
        scope.spend()
        one, two = left(scope), right(scope)
        try:
            return _operate(scope, sign, one, two)
        except (TypeError, ZeroDivisionError, OverflowError, re2.error) as error:
            raise ExpressionError(f"{_kind(one)} `{sign}` {_kind(two)}: {error}") from None

    return run


def _operate(scope: _Scope, sign: str, one: Any, two: Any) -> Any:
    if sign in ("==", "!="):
        same = one == two and isinstance(one, bool) == isinstance(two, bool)
        return same is (sign == "==")
    if sign == "in":
        return two is not None and one in two
    if sign in _WORDS:
        if not (isinstance(one, str) and isinstance(two, str)):
            raise TypeError("both must be texts")
        if sign == "matches":
            return re2.search(two, one) is not None
        return {"contains": two in one, "startsWith": one.startswith(two)}.get(
            sign, one.endswith(two)
        )
    if isinstance(one, str) and isinstance(two, str) and sign in ("+", "<", ">", "<=", ">="):
        return one + two if sign == "+" else _compared(sign, one, two)
    if not (_is_number(one) and _is_number(two)):
        raise TypeError("both must be numbers")
    if sign in _COMPARES:
        return _compared(sign, one, two)
    return _computed(scope, sign, one, two)


def _compared(sign: str, one: Any, two: Any) -> bool:
    return bool({"<": one < two, ">": one > two, "<=": one <= two, ">=": one >= two}[sign])


def _computed(scope: _Scope, sign: str, one: Any, two: Any) -> Any:
    match sign:
        case "+":
            return one + two
        case "-":
            return one - two
        case "*":
            return one * two
        case "/":  # of floats always, and never an error
            return one / two if two else math.nan if not one else math.copysign(math.inf, one)
        case "%":
            return math.fmod(one, two)
        case "..":
            scope.spend(max(0, int(two) - int(one)))
            return list(range(int(one), int(two) + 1))
    return float(one) ** float(two)


# ------------------------------------------------------------------ functions


def _over(name: str, subject: Run, test: Run) -> Run:
    def run(scope: _Scope) -> Any:
        items = subject(scope)
        if not isinstance(items, list):
            raise ExpressionError(f"{name} of {_kind(items)}")
        found = []
        for item in items:
            scope.spend()
            scope.items.append(item)
            found.append(test(scope))
            scope.items.pop()
        return _PREDICATES[name](items, found)

    return run


_PREDICATES: Mapping[str, Callable[[list[Any], list[Any]], Any]] = {
    "all": lambda items, found: all(map(_truth, found)),
    "any": lambda items, found: any(map(_truth, found)),
    "none": lambda items, found: not any(map(_truth, found)),
    "one": lambda items, found: sum(map(_truth, found)) == 1,
    "count": lambda items, found: sum(map(_truth, found)),
    "filter": lambda items, found: [i for i, f in zip(items, found, strict=True) if _truth(f)],
    "map": lambda items, found: found,
}


def _call(name: str, arguments: Sequence[Run]) -> Run:
    def run(scope: _Scope) -> Any:
        scope.spend()
        try:
            return _FUNCTIONS[name](*(argument(scope) for argument in arguments))
        except (TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ExpressionError(f"{name}: {error}") from None

    def run_default(scope: _Scope) -> Any:
        """What cannot be evaluated has the default, too."""
        try:
            found = arguments[0](scope)
        except ExpressionError:
            found = None
        return arguments[1](scope) if found is None else found

    if name != "default":
        return run
    if len(arguments) != 2:
        raise ExpressionError("default takes a value and what stands for nothing")
    return run_default


def _numbers(values: Sequence[Any]) -> list[float]:
    found = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if not all(map(_is_number, found)):
        raise TypeError("all must be numbers")
    return list(found)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{_kind(value)} is no text")
    return value


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "len": len,
    "isNaN": math.isnan,
    "isInf": math.isinf,
    "isNil": lambda v: v is None,
    "asInt": lambda v: int(float(v)),
    "asFloat": float,
    "int": lambda v: int(float(v)),
    "float": float,
    "string": str,
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "round": round,
    "min": lambda *v: min(_numbers(v)),
    "max": lambda *v: max(_numbers(v)),
    "sum": lambda *v: sum(_numbers(v)),
    "mean": lambda *v: sum(_numbers(v)) / len(_numbers(v)) if _numbers(v) else 0.0,
    "lower": lambda v: _text(v).lower(),
    "upper": lambda v: _text(v).upper(),
    "trim": lambda v: _text(v).strip(),
    "default": lambda v, other: other if v is None else v,
}
