"""PATCH bodies applied to an object's JSON. Pure."""

import copy
from collections.abc import Mapping
from typing import Any

import jsonpatch
import jsonpointer

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.apiserver import failures
from weft.apiserver.strategic import PatchError, Rules, strategic_merge
from weft.runtime.client import PatchType

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
JSON_PATCH_OPERATIONS_MAX = 10_000
_TYPES: dict[str, PatchType] = {
    JSON_PATCH: "json",
    MERGE_PATCH: "merge",
    STRATEGIC_PATCH: "strategic",
    APPLY_PATCH: "apply",
}


def accepted(kind: Kind) -> tuple[str, ...]:
    """The patch formats of a kind. Istio's kinds are custom resources upstream, and those know no
    strategic merge; clients choose by this."""
    merges = (MERGE_PATCH, STRATEGIC_PATCH) if builtin(kind) else (MERGE_PATCH,)
    return (JSON_PATCH, *merges, APPLY_PATCH)


def builtin(kind: Kind) -> bool:
    """Whether the kind is one of Kubernetes' own."""
    own = "." not in kind.group or kind.group.endswith(".k8s.io")
    return own and kind.definition is None


def patch_type(kind: Kind, content_type: str) -> PatchType:
    """The patch format of a media type. Raises ApiError 415."""
    found = _TYPES.get(content_type.partition(";")[0].strip().lower())
    if found is None or (found == "strategic" and not builtin(kind)):
        raise failures.unsupported_media_type(accepted(kind))
    return found


def apply(patch: PatchType, original: Mapping[str, Any], body: Any, rules: Rules) -> dict[str, Any]:
    """The patched object. Raises ApiError 400 for a bad patch, 422 for one that does not fit."""
    if patch == "json":
        return _json_patch(original, body)
    if patch == "merge":
        if not isinstance(body, Mapping):
            raise failures.bad_request("a JSON merge patch must be a JSON object")
        merged: dict[str, Any] = merge(original, body)
        return merged
    try:
        return strategic_merge(original, body, rules)
    except PatchError as error:
        raise failures.bad_request(str(error)) from error


def merge(original: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(original) if isinstance(original, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _json_patch(original: Mapping[str, Any], body: Any) -> dict[str, Any]:
    if not isinstance(body, list):
        raise failures.bad_request("a JSON patch must be a list of operations")
    if len(body) > JSON_PATCH_OPERATIONS_MAX:
        raise ApiError(
            413,
            "RequestEntityTooLarge",
            f"The allowed maximum operations in a JSON patch is {JSON_PATCH_OPERATIONS_MAX}, "
            f"got {len(body)}",
        )
    try:
        patched = jsonpatch.JsonPatch(body).apply(copy.deepcopy(dict(original)))
    except jsonpatch.InvalidJsonPatch as error:
        raise failures.bad_request(f"the JSON patch is not valid: {error}") from error
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException, TypeError) as error:
        raise ApiError(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request: "
            f"the JSON patch does not fit the object: {error}",
        ) from error
    if not isinstance(patched, dict):
        raise failures.bad_request("the patched object is not a JSON object")
    return patched
