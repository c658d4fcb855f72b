"""Values that Kubernetes fills in for volumes, claims and storage classes.

Source: pkg/apis/core/v1 and pkg/apis/storage/v1, defaults.go, of Kubernetes 1.33. Every function
changes the JSON it is given.
"""

from typing import Any

Json = dict[str, Any]

PENDING = "Pending"


def _fill(target: Json, **values: Any) -> None:
    for key, value in values.items():
        if target.get(key) in (None, ""):
            target[key] = value


def _sub(target: Json, key: str) -> Json:
    if target.get(key) is None:
        target[key] = {}
    found: Json = target[key]
    return found


def volume(obj: Json) -> None:
    """A PersistentVolume."""
    spec = _sub(obj, "spec")
    _fill(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    if isinstance(spec.get("hostPath"), dict) and spec["hostPath"].get("type") is None:
        spec["hostPath"]["type"] = ""
    _fill(_sub(obj, "status"), phase=PENDING)


def claim(obj: Json) -> None:
    """A PersistentVolumeClaim."""
    _fill(_sub(obj, "spec"), volumeMode="Filesystem")
    _fill(_sub(obj, "status"), phase=PENDING)


def claim_template(obj: Json) -> None:
    """A claim in a StatefulSet, which carries its own type there."""
    _fill(obj, apiVersion="v1", kind="PersistentVolumeClaim")
    claim(obj)


def storage_class(obj: Json) -> None:
    _fill(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")
