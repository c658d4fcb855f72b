"""CEL trees as programs: names resolved once, then run with a bound on what they may do. Pure.

A program is a tree of closures over an environment: a list whose first item counts down the
steps that are left, and whose others are the variables' values.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from msgspec import Struct

from weft.api.cel import library, operators
from weft.api.cel.syntax import (
    STEPS_MAX,
    Bind,
    Call,
    CelError,
    Comprehension,
    Constant,
    Ident,
    Index,
    ListOf,
    MapOf,
    Message,
    Node,
    Select,
    parse,
)
from weft.api.cel.values import NONE, TYPES, OptionalOf, no_overload, type_name

Env = list[Any]
Run = Callable[[Env], Any]
_STRING_STEP_CHARACTERS = 64
"""Characters of a text that a call may look at for one step."""


class Program(Struct, frozen=True):
    """A compiled expression."""

    source: str
    variables: tuple[str, ...]
    run: Run
    slots: int

    def evaluate(self, values: Mapping[str, Any], steps_max: int = STEPS_MAX) -> Any:
        """The value. Raises CelError, also when more than `steps_max` steps would be needed."""
        return self.evaluate_counted(values, steps_max)[0]

    def evaluate_counted(self, values: Mapping[str, Any], steps_max: int) -> tuple[Any, int]:
        """The value, and the steps that are left."""
        env: Env = [steps_max, *(values.get(name) for name in self.variables)]
        env += [None] * (self.slots - len(env))
        return self.run(env), env[0]


Methods = Mapping[str, Callable[..., Any]]


class Types(Protocol):
    """Types that expressions may make values of."""

    functions: Mapping[str, Callable[..., Any]]
    """Known beside the library's."""

    def check(self, type_name: str, fields: frozenset[str]) -> None:
        """Raises CelError for what does not exist."""

    def make(self, type_name: str, fields: Mapping[str, Any]) -> Any:
        """The value. Raises CelError."""


def compile_expression(
    source: str,
    variables: Sequence[str],
    methods: Methods = MappingProxyType({}),
    types: Types | None = None,
) -> Program:
    """`methods` are known beside the library's. Raises CelError for bad syntax, unknown names and
    functions."""
    compiler = _Compiler(variables, methods, types)
    run = compiler.node(parse(source))
    return Program(source, tuple(variables), run, compiler.slots)


def _spend(env: Env, steps: int) -> None:
    env[0] -= steps
    if env[0] < 0:
        raise CelError("operation cancelled: actual cost limit exceeded")


class _Compiler:
    def __init__(self, variables: Sequence[str], methods: Methods, types: Types | None) -> None:
        self._types = types
        self._functions = library.FUNCTIONS
        if types is not None:
            self._functions = {**library.FUNCTIONS, **types.functions}
        self._methods = {**library.METHODS, **methods} if methods else library.METHODS
        self._scope = {name: at for at, name in enumerate(variables, 1)}
        self.slots = len(variables) + 1

    def node(self, node: Node) -> Run:
        match node:
            case Constant(value=value):
                return lambda env: value
            case Ident():
                return self._ident(node)
            case Select():
                return self._select(node)
            case Index():
                return self._index(node)
            case Call():
                return self._call(node)
            case ListOf():
                return self._list(node)
            case MapOf():
                return self._map(node)
            case Message():
                return self._message(node)
            case Comprehension():
                return self._comprehension(node)
            case Bind():
                return self._bind(node)
        raise CelError(f"unknown expression {node}")

    def _ident(self, node: Ident) -> Run:
        slot = self._scope.get(node.name)
        if slot is not None:
            return lambda env: env[slot]
        if node.name in TYPES:
            found = TYPES[node.name]
            return lambda env: found
        raise CelError(f"undeclared reference to '{node.name}' (in container '')")

    def _qualified(self, node: Node | None) -> str:
        """`a.b.c` when nothing of that is a variable; "" otherwise."""
        if isinstance(node, Ident):
            return "" if node.name in self._scope else node.name
        if isinstance(node, Select) and not node.test and not node.optional:
            before = self._qualified(node.operand)
            return f"{before}.{node.field}" if before else ""
        return ""

    def _select(self, node: Select) -> Run:
        if (name := self._qualified(node)) in TYPES:
            found = TYPES[name]
            return lambda env: found
        operand, field = self.node(node.operand), node.field
        if node.test:
            return lambda env: _has(operand(env), field)
        if node.optional:
            return lambda env: operators.optional_field(operand(env), field)

        def run(env: Env) -> Any:
            value = operand(env)
            try:
                return value[field]
            except (KeyError, TypeError):
                return operators.field(value, field)

        return run

    def _index(self, node: Index) -> Run:
        operand, index = self.node(node.operand), self.node(node.index)
        if node.optional:
            return lambda env: operators.optional_index(operand(env), index(env))
        return lambda env: operators.index(operand(env), index(env))

    # ------------------------------------------------------------ calls

    def _call(self, node: Call) -> Run:
        arguments = [self.node(a) for a in node.arguments]
        if node.function == "&&":
            return _both(*arguments)
        if node.function == "||":
            return _either(*arguments)
        if node.function == "?:":
            return _choice(*arguments)
        if node.target is None and (binary := operators.BINARY.get(node.function)):
            left, right = arguments
            return lambda env: binary(left(env), right(env))
        if node.target is None and (unary := operators.UNARY.get(node.function)):
            (operand,) = arguments
            return lambda env: unary(operand(env))
        name = self._qualified(node.target) if node.target else ""
        full = f"{name}.{node.function}" if name else node.function
        if node.target is None or (name and full in self._functions):
            return self._function(full, self._functions, arguments)
        return self._function(node.function, self._methods, [self.node(node.target), *arguments])

    def _function(
        self, name: str, known: Mapping[str, Callable[..., Any]], arguments: list[Run]
    ) -> Run:
        function = known.get(name)
        if function is None:
            raise CelError(f"undeclared reference to '{name}' (in container '')")
        library.check_count(name, function, len(arguments))

        def run(env: Env) -> Any:
            values = [argument(env) for argument in arguments]
            size = sum(len(v) for v in values if isinstance(v, str | bytes | list))
            _spend(env, 1 + size // _STRING_STEP_CHARACTERS)
            return function(*values)

        return run

    # ------------------------------------------------------------ aggregates

    def _list(self, node: ListOf) -> Run:
        items = [(self.node(i), o) for i, o in zip(node.items, node.optional, strict=True)]

        def run(env: Env) -> list[Any]:
            found: list[Any] = []
            for item, optional in items:
                value = item(env)
                if not optional:
                    found.append(value)
                elif operators.optional(value).present:
                    found.append(value.value)
            _spend(env, len(found))
            return found

        return run

    def _map(self, node: MapOf) -> Run:
        entries = [(self.node(k), self.node(v), o) for k, v, o in node.entries]

        def run(env: Env) -> dict[Any, Any]:
            found: dict[Any, Any] = {}
            for key, value, optional in entries:
                name, item = operators.map_key(key(env)), value(env)
                if name in found:
                    raise CelError(f"duplicate map key: {name!r}")
                if not optional:
                    found[name] = item
                elif operators.optional(item).present:
                    found[name] = item.value
            _spend(env, len(found))
            return found

        return run

    def _message(self, node: Message) -> Run:
        if self._types is None:
            raise CelError(f"undeclared reference to '{node.type_name}' (in container '')")
        names = [name for name, _, _ in node.fields]
        if len(set(names)) < len(names):
            raise CelError(f"duplicate field in '{node.type_name}'")
        self._types.check(node.type_name, frozenset(names))
        make, name = self._types.make, node.type_name
        fields = [(field, self.node(value), optional) for field, value, optional in node.fields]

        def run(env: Env) -> Any:
            found: dict[str, Any] = {}
            for field, value, optional in fields:
                item = value(env)
                if not optional:
                    found[field] = item
                elif operators.optional(item).present:
                    found[field] = item.value
            _spend(env, 1 + len(found))
            return make(name, found)

        return run

    # ------------------------------------------------------------ macros

    def _inside(self, variables: Sequence[str], *nodes: Node | None) -> tuple[list[int], list[Any]]:
        """Slots for new variables, and what is compiled where they are known."""
        before = dict(self._scope)
        slots = []
        for name in variables:
            self._scope[name] = self.slots
            slots.append(self.slots)
            self.slots += 1
        found = [self.node(n) if n is not None else None for n in nodes]
        self._scope = before
        return slots, found

    def _bind(self, node: Bind) -> Run:
        value = self.node(node.value)
        (slot,), (body,) = self._inside((node.variable,), node.body)

        def run(env: Env) -> Any:
            env[slot] = value(env)
            return body(env)

        def run_optional(env: Env) -> Any:
            found = operators.optional(value(env))
            if not found.present:
                return NONE
            env[slot] = found.value
            result = body(env)
            return result if node.optional == "optFlatMap" else OptionalOf(True, result)

        return run_optional if node.optional else run

    def _comprehension(self, node: Comprehension) -> Run:
        target = self.node(node.target)
        slots, (body, condition) = self._inside(node.variables, node.body, node.condition)
        two = len(slots) == 2
        finish = _FINISHERS[node.macro]

        def bound(env: Env) -> Any:
            for key, value in _elements(target(env), two, node.macro):
                _spend(env, 1)
                if two:
                    env[slots[0]], env[slots[1]] = key, value
                else:
                    env[slots[0]] = key
                if condition is None or operators.boolean(condition(env), "filter"):
                    yield key, body

        return lambda env: finish(bound(env), env)


def _elements(value: Any, two: bool, macro: str) -> Any:
    if isinstance(value, list):
        return enumerate(value) if two else ((item, None) for item in value)
    if isinstance(value, Mapping):
        return list(value.items()) if two else [(key, None) for key in value]
    raise CelError(f"expression of type '{type_name(value)}' cannot be range of a comprehension")


def _all(found: Any, env: Env) -> bool:
    failed: CelError | None = None
    for _, body in found:
        try:
            if not operators.boolean(body(env), "all"):
                return False
        except CelError as error:
            failed = error
    if failed is not None:
        raise failed
    return True


def _exists(found: Any, env: Env) -> bool:
    failed: CelError | None = None
    for _, body in found:
        try:
            if operators.boolean(body(env), "exists"):
                return True
        except CelError as error:
            failed = error
    if failed is not None:
        raise failed
    return False


_FINISHERS: Mapping[str, Callable[[Any, Env], Any]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": lambda found, env: sum(
        operators.boolean(body(env), "exists_one") for _, body in found
    ) == 1,
    "filter": lambda found, env: [
        key for key, body in found if operators.boolean(body(env), "filter")
    ],
    "map": lambda found, env: [body(env) for _, body in found],
    "transformList": lambda found, env: [body(env) for _, body in found],
    "transformMap": lambda found, env: {key: body(env) for key, body in found},
}  # fmt: skip


def _has(value: Any, field: str) -> bool:
    if isinstance(value, OptionalOf):
        return value.present and _has(value.value, field)
    if not isinstance(value, Mapping):
        raise no_overload("has", value)
    return value.get(field) is not None


def _both(left: Run, right: Run) -> Run:
    """`&&` takes a false from either side, whatever the other one comes to."""

    def run(env: Env) -> bool:
        try:
            if not operators.boolean(left(env), "_&&_"):
                return False
        except CelError:
            if not operators.boolean(right(env), "_&&_"):
                return False
            raise
        return operators.boolean(right(env), "_&&_")

    return run


def _either(left: Run, right: Run) -> Run:
    def run(env: Env) -> bool:
        try:
            if operators.boolean(left(env), "_||_"):
                return True
        except CelError:
            if operators.boolean(right(env), "_||_"):
                return True
            raise
        return operators.boolean(right(env), "_||_")

    return run


def _choice(condition: Run, yes: Run, no: Run) -> Run:
    def run(env: Env) -> Any:
        return yes(env) if operators.boolean(condition(env), "_?_:_") else no(env)

    return run
