"""Which kinds are served at the moment: weft's own, and those that definitions add. Pure.

A catalog is a value: a change makes a new one, so documents made from it can be kept beside it.
"""

from collections.abc import Mapping
from typing import Any

from weft.api import registry
from weft.api.crd.definition import kind_of
from weft.api.crd.names import built_in, is_established
from weft.api.kinds import Kind


class Catalog:
    """The built-in kinds and the custom ones. Equal only to itself."""

    def __init__(self, customs: Mapping[str, Kind] | None = None) -> None:
        self.customs: Mapping[str, Kind] = dict(customs or {})
        """By the name of their CustomResourceDefinition."""
        self.kinds: tuple[Kind, ...] = (*registry.KINDS, *self.customs.values())
        self._by_resource = {
            (k.group, version, k.plural): k for k in self.customs.values() for version in k.versions
        }
        self._by_key = {(k.group or "core", k.plural): k for k in self.kinds if k.view_of is None}

    def by_resource(self, group: str, version: str, plural: str) -> Kind | None:
        """As in URL paths; built-in kinds win."""
        built = registry.by_resource(group, version, plural)
        return built or self._by_resource.get((group, version, plural))

    def by_key(self, key: str) -> Kind | None:
        """Of an object in the store."""
        _, _, group, plural, *_ = (*key.split("/", 4), "", "")
        return self._by_key.get((group, plural))

    def with_definition(self, crd: Mapping[str, Any]) -> "Catalog":
        """With what a valid CustomResourceDefinition defines, or without it when its names are
        not accepted or weft serves the kind itself."""
        name = crd["metadata"]["name"]
        served = is_established(crd) and built_in(crd) is None
        if served and any(v.get("served") for v in crd["spec"]["versions"]):
            return Catalog({**self.customs, name: kind_of(crd)})
        return self.without(name)

    def without(self, name: str) -> "Catalog":
        if name not in self.customs:
            return self
        return Catalog({k: v for k, v in self.customs.items() if k != name})


BUILT_IN = Catalog()
