"""What differs between two configurations of a node, resource by resource."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import yaml
from msgspec import Struct
from msgspec.structs import replace

from weft.offline.configuration import Configuration
from weft.xds.readable import WORDS, readable
from weft.xds.resource import TYPE_URLS, Resource, world_of

CONTEXT_LINES = 3
Change = Literal["added", "removed", "changed"]


class Difference(Struct, frozen=True, rename="camel"):
    """A resource, or an object, that is not the same before and after."""

    kind: str
    """`routes`, `clusters`, …; or the kind of an object."""
    name: str
    change: Change
    lines: tuple[str, ...] = ()
    """A unified diff of YAML; secrets are digests in it."""
    about: str = ""
    """Whose it is, where the name does not tell: `pod default/web-0`."""


def differences(before: Configuration, after: Configuration) -> tuple[Difference, ...]:
    """All resources that differ, in the order in which they would be sent."""
    old, new = world_of(before.resources), world_of(after.resources)
    pods = {w.uid: f"pod {w.namespace}/{w.name}" for w in (*before.model.workloads,
                                                           *after.model.workloads)}  # fmt: skip
    return tuple(
        replace(found, about=pods.get(name.partition("|")[2], ""))
        for type_url in TYPE_URLS
        for name in sorted(old[type_url].keys() | new[type_url].keys())
        if (found := _difference(type_url, name, old[type_url].get(name), new[type_url].get(name)))
    )


def _difference(
    type_url: str, name: str, before: Resource | None, after: Resource | None
) -> Difference | None:
    if before is not None and after is not None and before.version == after.version:
        return None
    old = readable(before) if before is not None else None
    new = readable(after) if after is not None else None
    return compared(WORDS[type_url], name, old, new)


def compared(
    kind: str, name: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None
) -> Difference | None:
    """Two plain values; None when both are the same."""
    if before == after:
        return None
    change: Change = "added" if before is None else "removed" if after is None else "changed"
    return Difference(kind, name, change, tuple(_unified(before, after)))


def _unified(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Iterator[str]:
    lines = difflib.unified_diff(_yaml(before), _yaml(after), lineterm="", n=CONTEXT_LINES)
    for number, line in enumerate(lines):
        if number > 1:  # the first two name files, which there are none of
            yield line


def _yaml(value: Mapping[str, Any] | None) -> list[str]:
    if value is None:
        return []
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True).splitlines()
