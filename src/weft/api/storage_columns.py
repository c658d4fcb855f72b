"""Table columns of volumes, their claims, and classes.

Source: pkg/printers/internalversion/printers.go of Kubernetes 1.33.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weft.api.column_parts import UNSET, age_of, name_of, spec_of, status_of

Json = Mapping[str, Any]
Cells = list[Any]

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_SHORT = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes(modes: Iterable[str]) -> str:
    had = set(modes)
    return ",".join(short for mode, short in _SHORT.items() if mode in had)


def _phase(obj: Json) -> str:
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    return str(status_of(obj).get("phase") or "")


def _volume(obj: Json, now: float) -> Cells:
    spec = spec_of(obj)
    claim = spec.get("claimRef") or {}
    return [
        name_of(obj),
        str((spec.get("capacity") or {}).get("storage") or ""),
        _modes(spec.get("accessModes") or ()),
        spec.get("persistentVolumeReclaimPolicy") or "",
        _phase(obj),
        f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or UNSET,
        status_of(obj).get("reason") or "",
        age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _claim(obj: Json, now: float) -> Cells:
    spec, status = spec_of(obj), status_of(obj)
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        _phase(obj),
        spec.get("volumeName") or "",
        str((status.get("capacity") or {}).get("storage") or "") if bound else "",
        _modes(status.get("accessModes") or ()) if bound else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _class(obj: Json, now: float) -> Cells:
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    default = " (default)" if annotations.get(DEFAULT_CLASS) == "true" else ""
    return [
        name_of(obj) + default,
        obj.get("provisioner") or "",
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or UNSET,
        str(bool(obj.get("allowVolumeExpansion"))).lower(),
        age_of(obj, now),
    ]


TABLES: dict[tuple[str, str], tuple[str, Callable[[Json, float], Cells]]] = {
    ("", "PersistentVolume"): (
        "Name Capacity Access_Modes Reclaim_Policy Status Claim StorageClass "
        "VolumeAttributesClass Reason Age +VolumeMode",
        _volume,
    ),
    ("", "PersistentVolumeClaim"): (
        "Name Status Volume Capacity Access_Modes StorageClass VolumeAttributesClass Age "
        "+VolumeMode",
        _claim,
    ),
    ("storage.k8s.io", "StorageClass"): (
        "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
        _class,
    ),
}
"""By group and kind: the columns, as weft.api.columns reads them, and the cells."""
