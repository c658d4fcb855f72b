"""Which findings are about which object."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.api import registry
from weft.api.diagnostics import Diagnostic
from weft.api.objects import key_of

ObjectKey = tuple[str, str, str, str]
"""(group, kind, namespace, name); the group only where the bare kind means another one."""


def object_key(obj: Struct) -> ObjectKey:
    """The key under which findings about the object are filed."""
    return (registry.group_told(type(obj)), type(obj).__name__, *key_of(obj))


def diagnostic_key(found: Diagnostic) -> ObjectKey:
    """The object that a finding is about."""
    return (found.group, found.kind, found.namespace, found.name)


def about(found: Diagnostic, obj: Struct) -> bool:
    """Whether a finding is about the object."""
    return diagnostic_key(found) == object_key(obj)


def findings_of(found: Iterable[Diagnostic], obj: Struct) -> tuple[Diagnostic, ...]:
    """The findings about one object, in their order."""
    key = object_key(obj)
    return tuple(each for each in found if diagnostic_key(each) == key)


def by_object(found: Iterable[Diagnostic]) -> Mapping[ObjectKey, tuple[Diagnostic, ...]]:
    """All findings by the object that they are about."""
    groups: dict[ObjectKey, list[Diagnostic]] = {}
    for each in found:
        groups.setdefault(diagnostic_key(each), []).append(each)
    return {key: tuple(group) for key, group in groups.items()}
