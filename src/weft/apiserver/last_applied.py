"""Objects that `kubectl apply` wrote before server-side apply did: its annotation says which
fields are its own. Pure.

Source: Kubernetes' managed fields (lastappliedmanager.go, lastappliedupdater.go). Only the manager
`kubectl` takes fields over by the annotation; any other name opts out.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from weft.api.schema import Schema
from weft.apiserver.field_paths import Place
from weft.apiserver.structured_merge import MergeError, compare, field_set

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"


def taken_over(
    schema: Schema, live: Mapping[str, Any], manager: str, api_version: str
) -> set[Place]:
    """What `manager` may change without a conflict: fields that client-side apply set, and that
    still are as it set them."""
    text = _annotation(live)
    if manager != MANAGER or not text:
        return set()
    try:
        applied = orjson.loads(text)
    except ValueError:
        return set()
    if not isinstance(applied, dict) or applied.get("apiVersion") != api_version:
        return set()
    try:
        owned = field_set(schema, applied)
        difference = compare(schema, applied, live)
    except MergeError:
        return set()
    return owned - difference.added - difference.modified - difference.removed


def refreshed(
    obj: dict[str, Any], config: Mapping[str, Any], manager: str, api_version: str
) -> dict[str, Any]:
    """The object whose annotation, where it has one, tells what was applied now: so client-side
    apply can go on from there."""
    if manager != MANAGER or not _annotation(obj):
        return obj
    metadata = dict(config["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(ANNOTATION, None)
    metadata["annotations"] = annotations
    applied = dict(config) | {"apiVersion": api_version, "metadata": metadata}
    text = orjson.dumps(applied, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    known = obj["metadata"] | {"annotations": obj["metadata"]["annotations"] | {ANNOTATION: text}}
    return obj | {"metadata": known}


def _annotation(obj: Mapping[str, Any]) -> str:
    found = (obj["metadata"].get("annotations") or {}).get(ANNOTATION)
    return found if isinstance(found, str) else ""
