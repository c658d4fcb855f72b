"""Label and field selectors over stored bytes: parses no more of an object than it must."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from weft.api.conversions import stored_path
from weft.api.kinds import Kind
from weft.api.selectors import FieldSelector, parse_fields, parse_labels
from weft.apiserver import codec, custom, failures, keys, selectable_fields

LabelMatch = Callable[[Mapping[str, str]], bool]
FieldMatch = Callable[[Mapping[str, Any]], bool]


class Selection(Struct, frozen=True):
    """Which objects a list or watch is about."""

    kind: Kind
    labels: LabelMatch | None = None
    fields: FieldMatch | None = None
    name: str = ""
    """Set when the field selector pins metadata.name."""

    namespace: str = ""
    """Set when it pins metadata.namespace."""

    @property
    def everything(self) -> bool:
        """Whether no object is left out."""
        bare = self.labels is None and self.fields is None
        return bare and not self.name and not self.namespace

    def matches(self, key: str, value: bytes) -> bool:
        """`value` is a stored object, `key` where it is stored."""
        if self.name or self.namespace:
            namespace, name = keys.names(self.kind, key)
            if self.name not in ("", name) or self.namespace not in ("", namespace):
                return False
        if self.labels is not None and not self.labels(codec.labels(value)):
            return False
        return self.fields is None or self.fields(orjson.loads(value))

    def takes(self, obj: Mapping[str, Any]) -> bool:
        """As `matches`, of an object that is not stored."""
        metadata = obj["metadata"]
        if self.name not in ("", metadata["name"]):
            return False
        if self.labels is not None and not self.labels(metadata.get("labels") or {}):
            return False
        return self.fields is None or self.fields(obj)


def check_selectable(kind: Kind, version: str, paths: Iterable[tuple[str, ...]]) -> None:
    """Raises ApiError 400 for fields that the kind does not let select by."""
    if kind.definition is None:
        known = selectable_fields.selectable(kind)
        for path in paths:
            if path not in known:
                raise failures.bad_request(selectable_fields.refusal(kind, path))
        return
    chosen = custom.version_of(kind, version).selectable
    for path in paths:
        if path not in selectable_fields.EVERYWHERE and path not in chosen:
            raise failures.bad_request(
                f"field label not supported: {'.'.join(path)} (name it in selectableFields of the "
                "CustomResourceDefinition)"
            )


def compile_selection(kind: Kind, version: str, labels: str, fields: str) -> Selection:
    """Raises ApiError 400 for a selector that cannot be read."""
    if not labels and not fields:
        return Selection(kind)
    try:
        by_label = parse_labels(labels)
        by_field = parse_fields(fields)
    except ValueError as error:
        raise failures.bad_request(str(error)) from error
    check_selectable(kind, version, (need.path for need in by_field.requirements))
    if kind.view_of:
        moved = (replace(n, path=stored_path(kind, n.path)) for n in by_field.requirements)
        by_field = replace(by_field, requirements=tuple(moved))
    name = by_field.value_of("metadata", "name") or ""
    names_only = all(
        need.path in selectable_fields.EVERYWHERE and need.equal for need in by_field.requirements
    )
    return Selection(
        kind,
        by_label.matches if by_label.requirements else None,
        _by_fields(kind, by_field) if not names_only else None,
        name,
        by_field.value_of("metadata", "namespace") or "",
    )


def _by_fields(kind: Kind, selector: FieldSelector) -> FieldMatch:
    if kind.definition is not None:
        return selector.matches
    needs = selector.requirements

    def match(obj: Mapping[str, Any]) -> bool:
        found = (selectable_fields.text_of(kind, need.path, obj) for need in needs)
        return all(
            (text == need.value) is need.equal for text, need in zip(found, needs, strict=True)
        )

    return match
