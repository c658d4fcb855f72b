"""Conditions in CEL, for Envoy's access rules: a checked condition as the tree that Envoy takes.

Envoy counts a condition that fails as one that does not hold. So none may fail: what may be absent
is looked for first, and what may have another type is asked for its type.
"""

from collections.abc import Sequence
from typing import Any

from google.api.expr.v1alpha1 import syntax_pb2

from weft.mesh.model import AccessCondition, Condition
from weft.xds.identity import PRINCIPAL_KEY
from weft.xds.proto import Proto

JWT_METADATA = "envoy.filters.http.jwt_authn"
_Expr = syntax_pb2.Expr
_SIGNS = {
    "&&": "_&&_", "||": "_||_", "!_": "!_", "?:": "_?_:_", "==": "_==_", "!=": "_!=_",
    "<": "_<_", "<=": "_<=_", ">": "_>_", ">=": "_>=_", "in": "@in", "+": "_+_",
}  # fmt: skip
_METHODS = {
    "startsWith", "endsWith", "contains", "matches", "lowerAscii", "upperAscii",
    "getHours", "getMinutes", "getDayOfWeek", "getDate", "getMonth", "getFullYear",
}  # fmt: skip
_TYPES = {"text": "string", "list": "list", "truth": "bool"}


def set_conditions(policy: Proto, found: Sequence[AccessCondition], payload: str) -> None:
    """Let an RBAC policy hold only where all of these do. `payload` is the key under which the
    verified token's claims are."""
    if not found:
        return
    policy.condition.CopyFrom(_Tree(payload).expression(_joined(found)))
    policy.cel_config.enable_string_concat = True
    policy.cel_config.enable_string_conversion = True
    policy.cel_config.enable_string_functions = True


def _joined(found: Sequence[AccessCondition]) -> Condition:
    parts: list[Condition] = []
    for each in found:
        one = each.cel[0]
        for other in each.cel[1:]:
            one = ("call", "||", one, other)
        parts.append(("call", "!_", one) if each.negated else one)
    joined = parts[0]
    for part in parts[1:]:
        joined = ("call", "&&", joined, part)
    return joined


class _Tree:
    """Every node has a number of its own."""

    def __init__(self, payload: str) -> None:
        self._payload = payload
        self._number = 0

    def _new(self) -> Proto:
        self._number += 1
        return _Expr(id=self._number)

    def expression(self, condition: Condition) -> Proto:
        operation, *operands = condition
        if operation == "value":
            return self._value(operands[0])
        if operation == "list":
            found = self._new()
            found.list_expr.elements.extend(self.expression(item) for item in operands)
            return found
        if operation == "call":
            name, *parts = operands
            made = [self.expression(part) for part in parts]
            if name in _METHODS:
                return self._call(name, *made[1:], target=made[0])
            return self._call(_SIGNS.get(str(name), str(name)), *made)
        if operation in ("method", "time"):
            return self._field(self._name("request"), operation)
        if operation == "path":
            return self._field(self._name("request"), "url_path")
        if operation == "principal":
            # Objects of the filter state are bytes to CEL.
            held = self._call("_[_]", self._name("filter_state"), self._value(PRINCIPAL_KEY))
            there = self._in(PRINCIPAL_KEY, self._name("filter_state"))
            return self._call("_?_:_", there, self._call("string", held), self._value(""))
        if operation in ("header", "has_header"):
            if operation == "has_header":
                return self._in(operands[0], self._headers())
            there = self._in(operands[0], self._headers())
            held = self._call("_[_]", self._headers(), self._value(operands[0]))
            return self._call("_?_:_", there, held, self._value(""))
        return self._claim(operation, operands)

    def _value(self, value: Any) -> Proto:
        found = self._new()
        if isinstance(value, bool):
            found.const_expr.bool_value = value
        elif isinstance(value, int):
            found.const_expr.int64_value = value
        elif isinstance(value, float):
            found.const_expr.double_value = value
        else:
            found.const_expr.string_value = value
        return found

    def _name(self, name: str) -> Proto:
        found = self._new()
        found.ident_expr.name = name
        return found

    def _field(self, operand: Proto, name: str) -> Proto:
        found = self._new()
        found.select_expr.operand.CopyFrom(operand)
        found.select_expr.field = name
        return found

    def _call(self, name: str, *arguments: Proto, target: Proto | None = None) -> Proto:
        found = self._new()
        found.call_expr.function = name
        if target is not None:
            found.call_expr.target.CopyFrom(target)
        found.call_expr.args.extend(arguments)
        return found

    def _in(self, key: str, holder: Proto) -> Proto:
        return self._call("@in", self._value(key), holder)

    def _headers(self) -> Proto:
        return self._field(self._name("request"), "headers")

    def _claim(self, operation: str, operands: list[Any]) -> Proto:
        if operation == "claim":
            kind, *steps = operands
        else:
            sign, number, *steps = operands
            kind = ""
        there = self._there([JWT_METADATA, self._payload, *steps])
        if kind == "present":
            return there
        at = [JWT_METADATA, self._payload, *steps]
        if not kind:
            is_number = self._is(at, "double")
            holds = self._call(_SIGNS[sign], self._at(at), self._value(float(number)))
            return self._all(there, is_number, holds)
        if kind == "truth":
            return self._all(there, self._is(at, "bool"), self._at(at))
        empty = self._value("") if kind == "text" else self._new()
        if kind == "list":
            empty.list_expr.SetInParent()
        return self._call(
            "_?_:_", self._all(there, self._is(at, _TYPES[kind])), self._at(at), empty
        )

    def _all(self, *parts: Proto) -> Proto:
        found = parts[0]
        for part in parts[1:]:
            found = self._call("_&&_", found, part)
        return found

    def _is(self, steps: list[str], kind: str) -> Proto:
        return self._call("_==_", self._call("type", self._at(steps)), self._name(kind))

    def _at(self, steps: list[str]) -> Proto:
        found = self._field(self._name("metadata"), "filter_metadata")
        for step in steps:
            found = self._call("_[_]", found, self._value(step))
        return found

    def _there(self, steps: list[str]) -> Proto:
        """Whether each step is there; one that leads through no map is not."""
        parts = []
        for number, step in enumerate(steps):
            if number > 2:
                parts.append(self._is(steps[:number], "map"))
            parts.append(self._in(step, self._at(steps[:number])))
        return self._all(*parts)
