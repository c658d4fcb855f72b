"""CEL source to a tree: tokens, precedence, macros. Pure.

Source: the CEL specification's grammar (cel-spec, doc/langdef.md), with the macros of the optional,
bindings and two-variable comprehension extensions that Kubernetes turns on.
"""

import ast
import re
from typing import Any, Literal

from msgspec import Struct

SOURCE_CHARACTERS_MAX = 16_384
NESTING_MAX = 100
STEPS_MAX = 200_000
"""Of one evaluation: an element visited, a call made. Kubernetes has a budget of the same kind."""


class CelError(Exception):
    """A rule that cannot be compiled, or an evaluation that failed; the text is for people."""


class Uint(int):
    """CEL's unsigned integer: a type of its own."""


class Node(Struct, frozen=True, gc=False):
    """A part of an expression."""


class Constant(Node, frozen=True):
    value: Any


class Ident(Node, frozen=True):
    name: str


class Select(Node, frozen=True):
    """`operand.field`; `optional` for `operand.?field`; `test` for has(operand.field)."""

    operand: Node
    field: str
    optional: bool = False
    test: bool = False


class Index(Node, frozen=True):
    operand: Node
    index: Node
    optional: bool = False


class Call(Node, frozen=True):
    """`target.function(arguments)`, or an operator by its sign, or `function(arguments)`."""

    function: str
    arguments: tuple[Node, ...]
    target: Node | None = None


class ListOf(Node, frozen=True):
    """`optional` says of each item whether it was written `?item`."""

    items: tuple[Node, ...]
    optional: tuple[bool, ...]


class MapOf(Node, frozen=True):
    entries: tuple[tuple[Node, Node, bool], ...]


class Message(Node, frozen=True):
    """`Type{field: value, ?field: value}`."""

    type_name: str
    fields: tuple[tuple[str, Node, bool], ...]


MacroName = Literal["all", "exists", "exists_one", "map", "filter", "transformList", "transformMap"]


class Comprehension(Node, frozen=True):
    """A macro over a list or map. Two variables are index and value, or key and value."""

    macro: MacroName
    target: Node
    variables: tuple[str, ...]
    body: Node
    condition: Node | None = None
    """Of `map` and the transforms: which elements count."""


class Bind(Node, frozen=True):
    """cel.bind(variable, value, body); `optional` for target.optMap and optFlatMap."""

    variable: str
    value: Node
    body: Node
    optional: Literal["", "optMap", "optFlatMap"] = ""


# ------------------------------------------------------------------ tokens

_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n\f]|//[^\n]*)+)
    |(?P<string>(?:[rR][bB]|[bB][rR]|[rRbB])?(?:\"\"\"(?:[^\\]|\\.)*?\"\"\"|'''(?:[^\\]|\\.)*?'''
        |"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))
    |(?P<float>\d+\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|\.\d+(?:[eE][+-]?\d+)?)
    |(?P<uint>(?:0[xX][0-9a-fA-F]+|\d+)[uU])
    |(?P<int>0[xX][0-9a-fA-F]+|\d+)
    |(?P<quoted>`[A-Za-z0-9_.\-/ ]+`)
    |(?P<ident>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|\|\||==|!=|<=|>=|\.\?|\[\?|[-+*/%<>!?:.,(){}\[\]])""",
    re.VERBOSE | re.DOTALL,
)
RESERVED = frozenset(
    ("as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
     "loop", "package", "namespace", "return", "var", "void", "while")
)  # fmt: skip
_WORDS = {"true": True, "false": False, "null": None}
_INT_MIN, _INT_MAX, _UINT_MAX = -(2**63), 2**63 - 1, 2**64 - 1


class Token(Struct, frozen=True, gc=False):
    kind: str
    text: str
    at: int


def _tokens(source: str) -> list[Token]:
    found, at = [], 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            raise CelError(f"Syntax error: token recognition error at character {at + 1}")
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup or "", match[0], at))
        at = match.end()
    return [*found, Token("end", "the end", at)]


def _string(text: str) -> str | bytes:
    """The value of a string or bytes literal: Python's own escapes are a superset but for `?`
    and the backtick."""
    prefix = re.match(r"[rRbB]*", text)
    marks = prefix[0].lower() if prefix else ""
    body = text[len(marks) :].replace("\\?", "?").replace("\\`", "`")
    if "b" not in marks:
        return str(ast.literal_eval(("r" if "r" in marks else "") + body))
    if "r" in marks:
        return str(ast.literal_eval(f"r{body}")).encode()
    encoded = "".join(
        c if ord(c) < 128 else "".join(f"\\x{b:02x}" for b in c.encode()) for c in body
    )
    return bytes(ast.literal_eval(f"b{encoded}"))


def _escaped_bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode())


# ------------------------------------------------------------------ the parser

_BINARY = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "in": 3,
    "+": 4, "-": 4, "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_ONE_VARIABLE = {"all": "all", "exists": "exists", "exists_one": "exists_one",
                 "existsOne": "exists_one", "filter": "filter", "map": "map"}  # fmt: skip
_TWO_VARIABLES = {"all": "all", "exists": "exists", "existsOne": "exists_one",
                  "exists_one": "exists_one", "transformList": "transformList",
                  "transformMap": "transformMap"}  # fmt: skip


def parse(source: str) -> Node:
    """The tree of an expression. Raises CelError."""
    return parse_with_places(source)[0]


def parse_with_places(source: str) -> tuple[Node, dict[int, int]]:
    """The tree, and where its nodes begin (calls of operators: where the sign stands), by the
    nodes' id() while the tree lives. Raises CelError."""
    if len(source) > SOURCE_CHARACTERS_MAX:
        raise CelError(f"the expression has more than {SOURCE_CHARACTERS_MAX} characters")
    parser = _Parser(_tokens(source))
    found = parser.expression()
    parser.expect("end")
    return found, parser.places


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0
        self.places: dict[int, int] = {}

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _take(self) -> Token:
        token = self._next
        self._at += token.kind != "end"
        return token

    def _skip(self, sign: str) -> bool:
        if self._next.kind == "sign" and self._next.text == sign:
            self._at += 1
            return True
        return False

    def expect(self, what: str) -> None:
        if self._next.kind == what or self._skip(what):
            return
        raise self._unexpected(what)

    def _unexpected(self, wanted: str = "") -> CelError:
        token = self._next
        more = f", expecting '{wanted}'" if wanted else ""
        return CelError(
            f"Syntax error: unexpected '{token.text}' at character {token.at + 1}{more}"
        )

    def expression(self) -> Node:
        self._depth += 1
        if self._depth > NESTING_MAX:
            raise CelError(f"the expression is nested more than {NESTING_MAX} deep")
        found = self._binary(1)
        if self._skip("?"):
            at = self._tokens[self._at - 1].at
            chosen = self._binary(1)
            self.expect(":")
            found = Call("?:", (found, chosen, self.expression()))
            self.places[id(found)] = at
        self._depth -= 1
        return found

    def _binary(self, least: int) -> Node:
        left = self._unary()
        while True:
            token = self._next
            power = _BINARY.get(token.text, 0) if token.kind in ("sign", "ident") else 0
            if power < least:
                return left
            self._at += 1
            left = Call(token.text, (left, self._binary(power + 1)))
            self.places[id(left)] = token.at

    def _unary(self) -> Node:
        at = self._next.at
        found = self._signed()
        self.places.setdefault(id(found), at)
        return found

    def _signed(self) -> Node:
        signs = 0
        first = self._next.text if self._next.kind == "sign" else ""
        if first not in ("!", "-"):
            return self._member()
        while self._skip(first):
            signs += 1
        if first == "-" and self._next.kind in ("int", "float"):
            return self._member(negative=signs % 2 == 1)
        again = self._next.kind == "sign" and self._next.text in ("!", "-")
        operand = self._unary() if again else self._member()
        return Call(f"{first}_", (operand,)) if signs % 2 else operand

    def _member(self, negative: bool = False) -> Node:
        found = self._primary(negative)
        while True:
            if self._skip(".?"):
                found = Select(found, self._field(), optional=True)
            elif self._skip("."):
                name = self._field()
                found = self._called(found, name) if self._skip("(") else Select(found, name)
            elif self._skip("[?"):
                found = Index(found, self.expression(), optional=True)
                self.expect("]")
            elif self._skip("["):
                found = Index(found, self.expression())
                self.expect("]")
            elif self._next.text == "{" and (name := _type_name(found)):
                self._at += 1
                found = self._message(name)
            else:
                return found

    def _message(self, type_name: str) -> Node:
        fields = []
        while not self._skip("}"):
            optional = self._skip("?")
            field = self._field()
            self.expect(":")
            fields.append((field, self.expression(), optional))
            if not self._skip(","):
                self.expect("}")
                break
        return Message(type_name, tuple(fields))

    def _field(self) -> str:
        token = self._take()
        if token.kind == "quoted":
            return token.text[1:-1]
        if token.kind != "ident":
            self._at -= token.kind != "end"
            raise self._unexpected("a field name")
        return token.text

    def _primary(self, negative: bool) -> Node:
        token = self._take()
        match token.kind:
            case "int" | "uint" | "float":
                return Constant(_number(token, negative))
            case "string":
                try:
                    return Constant(_string(token.text))
                except (SyntaxError, ValueError) as error:
                    raise CelError(f"bad string literal {token.text}") from error
            case "ident":
                return self._word(token)
        if token.text == "(":
            found = self.expression()
            self.expect(")")
            return found
        if token.text in ("[", "[?"):
            return self._list(first_optional=token.text == "[?")
        if token.text == "{":
            return self._map()
        if token.text == "." and self._next.kind == "ident":
            return self._word(self._take())
        self._at -= token.kind != "end"
        raise self._unexpected()

    def _word(self, token: Token) -> Node:
        if token.text in _WORDS:
            return Constant(_WORDS[token.text])
        if token.text in RESERVED:
            raise CelError(f"Syntax error: '{token.text}' is a reserved word")
        if not self._skip("("):
            return Ident(token.text)
        arguments = self._arguments(")")
        if token.text == "has":
            if len(arguments) != 1 or not isinstance(arguments[0], Select):
                raise CelError("invalid argument to has() macro: expected has(a.b)")
            return Select(arguments[0].operand, arguments[0].field, test=True)
        return Call(token.text, arguments)

    def _called(self, target: Node, name: str) -> Node:
        arguments = self._arguments(")")
        macro = _macro(target, name, arguments)
        return macro or Call(name, arguments, target)

    def _arguments(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while not self._skip(end):
            found.append(self.expression())
            if not self._skip(","):
                self.expect(end)
                break
        return tuple(found)

    def _list(self, first_optional: bool) -> Node:
        items: list[Node] = []
        optional: list[bool] = []
        while not self._skip("]"):
            optional.append(self._skip("?") or (first_optional and not items))
            items.append(self.expression())
            if not self._skip(","):
                self.expect("]")
                break
        return ListOf(tuple(items), tuple(optional))

    def _map(self) -> Node:
        entries = []
        while not self._skip("}"):
            optional = self._skip("?")
            key = self.expression()
            self.expect(":")
            entries.append((key, self.expression(), optional))
            if not self._skip(","):
                self.expect("}")
                break
        return MapOf(tuple(entries))


def _type_name(node: Node) -> str:
    """`a.b.c` of plain names; "" for everything else."""
    if isinstance(node, Ident):
        return node.name
    if isinstance(node, Select) and not node.test and not node.optional:
        before = _type_name(node.operand)
        return f"{before}.{node.field}" if before else ""
    return ""


def _number(token: Token, negative: bool) -> int | float:
    text = ("-" if negative else "") + token.text
    if token.kind == "float":
        return float(text)
    if token.kind == "uint":
        if negative:
            raise CelError("no such overload: -_(uint)")
        value: int = Uint(int(token.text[:-1], 0 if "x" in token.text.lower() else 10))
        fits = value <= _UINT_MAX
    else:
        value = int(text, 0 if "x" in token.text.lower() else 10)
        fits = _INT_MIN <= value <= _INT_MAX
    if not fits:
        raise CelError(f"the number {text} is out of range")
    return value


def _macro(target: Node, name: str, arguments: tuple[Node, ...]) -> Node | None:
    """What a call of a macro stands for; None for ordinary calls."""
    count = len(arguments)
    if target == Ident("cel") and name == "bind" and count == 3:
        return Bind(_variable(arguments[0]), arguments[1], arguments[2])
    if name in ("optMap", "optFlatMap") and count == 2:
        return Bind(_variable(arguments[0]), target, arguments[1], name)  # type: ignore[arg-type]
    if name in _ONE_VARIABLE and count == 2:
        return Comprehension(
            _ONE_VARIABLE[name], target, (_variable(arguments[0]),), arguments[1],  # type: ignore[arg-type]
        )  # fmt: skip
    if name == "map" and count == 3:
        return Comprehension("map", target, (_variable(arguments[0]),), arguments[2], arguments[1])
    if name in _TWO_VARIABLES and count in (3, 4) and (count == 3 or name.startswith("transform")):
        variables = (_variable(arguments[0]), _variable(arguments[1]))
        condition = arguments[2] if count == 4 else None
        return Comprehension(_TWO_VARIABLES[name], target, variables, arguments[-1], condition)  # type: ignore[arg-type]
    return None


def _variable(node: Node) -> str:
    if not isinstance(node, Ident):
        raise CelError("the argument of a macro must be a simple name")
    return node.name
