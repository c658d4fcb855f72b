"""What the mesh thinks of a write, said to whoever writes: warnings of kubectl and `weft apply`."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from weft.api.diagnostics import Diagnostic
from weft.api.istio import networking_v1 as istio
from weft.api.kinds import Kind
from weft.api.objects import decode, key_of
from weft.api.snapshot import Snapshot, meta
from weft.api.weft.policy_v1alpha1 import BackendPolicy, RateLimitPolicy
from weft.apiserver.access import User, Verdict
from weft.mesh.analysis import analyze
from weft.mesh.build import BuildSettings

T = TypeVar("T", bound=Struct)
REVIEWED: tuple[type[Struct], ...] = (
    istio.VirtualService,
    istio.DestinationRule,
    istio.Gateway,
    istio.ServiceEntry,
    RateLimitPolicy,
    BackendPolicy,
)
NO_VERDICT = Verdict()


class With:
    """A snapshot as it will be once `obj` is written."""

    def __init__(self, snapshot: Snapshot, obj: Struct) -> None:
        self._snapshot = snapshot
        self._obj = obj

    def get(self, cls: type[T], name: str, namespace: str = "") -> T | None:
        if isinstance(self._obj, cls) and key_of(self._obj) == (namespace, name):
            return self._obj
        return self._snapshot.get(cls, name, namespace)

    def list(self, cls: type[T], namespace: str | None = None) -> Sequence[T]:
        found = list(self._snapshot.list(cls, namespace))
        if not isinstance(self._obj, cls):
            return found
        if namespace is not None and meta(self._obj).namespace != namespace:
            return found
        kept = [o for o in found if key_of(o) != key_of(self._obj)]
        return sorted([*kept, self._obj], key=key_of)

    def owned(self, cls: type[T], uid: str) -> Sequence[T]:
        return self._snapshot.owned(cls, uid)


class MeshAdmission:
    """Warns about what a mesh object names and the mesh does not have; refuses nothing, because
    what is missing may be created next."""

    def __init__(self, snapshot: Snapshot, settings: BuildSettings) -> None:
        self._snapshot = snapshot
        self._settings = settings

    async def review(
        self,
        operation: str,
        kind: Kind,
        new: Mapping[str, Any] | None,
        old: Mapping[str, Any] | None,
        user: User,
    ) -> Verdict:
        if new is None or kind.struct not in REVIEWED:
            return NO_VERDICT
        try:
            obj = decode(kind.struct, new)
        except msgspec.ValidationError:
            return NO_VERDICT  # validation has the better words for it
        findings = analyze(With(self._snapshot, obj), self._settings)
        found = [d for d in findings if d.severity != "info" and _about(d, kind, obj)]
        return Verdict(warnings=tuple(_sentence(d) for d in found))


def _about(found: Diagnostic, kind: Kind, obj: Struct) -> bool:
    return (found.kind, found.namespace, found.name) == (kind.kind, *key_of(obj))


def _sentence(found: Diagnostic) -> str:
    place = f"{found.path}: " if found.path else ""
    hint = f" ({found.hint})" if found.hint else ""
    return f"{place}{found.message}{hint} [{found.code}]"
