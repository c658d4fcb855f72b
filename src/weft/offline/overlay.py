"""A set of objects as it is, and as it will be once some are written."""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from weft.api.apply import without_last_applied
from weft.api.k8s.core_v1 import Secret
from weft.api.kinds import Kind
from weft.api.objects import decode, key_of
from weft.api.snapshot import ObjectSnapshot
from weft.offline.differences import Difference, compared
from weft.xds.readable import digest

Json = Mapping[str, Any]

SERVER_METADATA = (
    "managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink",
)  # fmt: skip
"""What the server writes by itself."""


class Written(Struct, frozen=True):
    """An object that an apply writes, as it is and as it will be; None: it is not there."""

    kind: Kind
    before: Json | None
    after: Json

    @property
    def difference(self) -> Difference | None:
        """What a person would see change; None when nothing does."""
        namespace, name = key_of(self.after)
        shown = f"{namespace}/{name}" if namespace else name
        before = _shown(self.kind, self.before) if self.before is not None else None
        return compared(self.kind.kind, shown, before, _shown(self.kind, self.after))


def with_written(live: Iterable[Struct], written: Iterable[Written]) -> ObjectSnapshot:
    """The objects after the writes."""
    values = {(type(obj), *key_of(obj)): obj for obj in live}
    for each in written:
        if each.kind.struct is not None:
            obj = decode(each.kind.struct, each.after)
            values[type(obj), *key_of(obj)] = obj
    return ObjectSnapshot(values.values())


def _shown(kind: Kind, value: Json) -> dict[str, Any]:
    """Without what the server adds by itself; the values of Secrets are digests."""
    value = without_last_applied(value)
    meta = {k: v for k, v in value["metadata"].items() if k not in SERVER_METADATA}
    shown = {k: v for k, v in value.items() if k != "status"} | {"metadata": meta}
    if kind.struct is Secret:
        for field in ("data", "stringData"):
            if shown.get(field):
                shown[field] = {key: digest(text) for key, text in shown[field].items()}
    return shown
