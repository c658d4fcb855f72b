"""What new claims and volumes get: the default storage class, and finalizers that protect their
data. Pure but for reading the store.

Source: Kubernetes' DefaultStorageClass and StorageObjectInUseProtection admission.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from weft.api import registry
from weft.api.k8s.storage_v1 import StorageClass
from weft.api.persistent_volumes import (
    ANNOTATION_DEFAULT_CLASS,
    FINALIZER_CLAIM,
    FINALIZER_VOLUME,
)
from weft.apiserver import codec, keys
from weft.apiserver.access import Review, Verdict
from weft.store.interface import Store

_NOTHING = Verdict()
_PROTECTED = {
    "persistentvolumeclaims": FINALIZER_CLAIM,
    "persistentvolumes": FINALIZER_VOLUME,
}


class ClaimPolicies:
    """access.Admission."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def review(self, asked: Review) -> Verdict:
        new, kind = asked.new, asked.kind
        if new is None or asked.operation != "CREATE" or asked.subresource or kind.group:
            return _NOTHING
        finalizer = _PROTECTED.get(kind.plural)
        if finalizer is None:
            return _NOTHING
        new = _protected(new, finalizer)
        if kind.plural == "persistentvolumeclaims" and _names_no_class(new):
            found = await self._store.range(keys.prefix(registry.kind_for(StorageClass), ""))
            name = default_class(codec.to_object(e.value) for e in found.entries)
            if name:
                new = new | {"spec": {**(new.get("spec") or {}), "storageClassName": name}}
        return Verdict(new)


def _protected(obj: dict[str, Any], finalizer: str) -> dict[str, Any]:
    metadata = obj.get("metadata") or {}
    present = metadata.get("finalizers") or []
    if finalizer in present:
        return obj
    return obj | {"metadata": {**metadata, "finalizers": [*present, finalizer]}}


def _names_no_class(claim: Mapping[str, Any]) -> bool:
    """An empty name is a choice: no class. Claims for a certain volume take its class."""
    annotations = (claim.get("metadata") or {}).get("annotations") or {}
    old = "volume.beta.kubernetes.io/storage-class"
    return (claim.get("spec") or {}).get("storageClassName") is None and old not in annotations


def default_class(classes: Iterable[Mapping[str, Any]]) -> str:
    """The newest class that is marked as the default; "" without one."""
    marked = [
        c
        for c in classes
        if (c["metadata"].get("annotations") or {}).get(ANNOTATION_DEFAULT_CLASS) == "true"
    ]
    newest = max(marked, key=lambda c: str(c["metadata"].get("creationTimestamp")), default=None)
    return str(newest["metadata"]["name"]) if newest else ""
