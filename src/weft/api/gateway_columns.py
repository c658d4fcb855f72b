"""Table cells of Gateway API kinds, as the columns of their CRDs show them."""

from collections.abc import Mapping, Sequence
from typing import Any

Json = Mapping[str, Any]


def gateway_class(obj: Json, age: str) -> list[Any]:
    spec = obj.get("spec") or {}
    accepted = _condition(obj, "Accepted")
    name = _name(obj)
    return [name, spec.get("controllerName") or "", accepted, age, spec.get("description") or ""]


def gateway(obj: Json, age: str) -> list[Any]:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    addresses = [a.get("value") or "" for a in status.get("addresses") or ()]
    programmed = _condition(obj, "Programmed")
    return [_name(obj), spec.get("gatewayClassName") or "", ",".join(addresses), programmed, age]


def listener_set(obj: Json, age: str) -> list[Any]:
    return [_name(obj), _condition(obj, "Accepted"), _condition(obj, "Programmed"), age]


def route(obj: Json, age: str) -> list[Any]:
    return [_name(obj), _list((obj.get("spec") or {}).get("hostnames") or ()), age]


def plain(obj: Json, age: str) -> list[Any]:
    return [_name(obj), age]


def _list(values: Sequence[Any]) -> str:
    return "[" + ",".join(f'"{value}"' for value in values) + "]" if values else ""


def _condition(obj: Json, kind: str) -> str:
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((c.get("status") or "" for c in found if c.get("type") == kind), "Unknown")


def _name(obj: Json) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")
