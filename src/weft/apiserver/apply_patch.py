"""The body of a server-side apply: what it must and must not say. Pure."""

from collections.abc import Mapping
from typing import Any

from weft.api.kinds import Kind
from weft.apiserver import codec, failures, subresources, verbs
from weft.apiserver.request import Target, WriteOptions

_OPTIONS = Kind("meta.k8s.io", "v1", "PatchOptions", "patchoptions")


def check_options(options: WriteOptions) -> None:
    """Raises ApiError 422 for an apply whose client does not say who it is."""
    if not options.field_manager:
        raise failures.invalid(_OPTIONS, "", [_cause(
            "FieldValueRequired", "Required value: is required for apply patch", "fieldManager",
        )])  # fmt: skip


def check_no_force(options: WriteOptions) -> None:
    """Raises ApiError 422 for `force` with a patch that knows no conflicts."""
    if options.force:
        raise failures.invalid(_OPTIONS, "", [_cause(
            "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force",
        )])  # fmt: skip


def _cause(reason: str, message: str, field: str) -> dict[str, str]:
    return {"reason": reason, "message": message, "field": field}


def configuration(target: Target, body: Any) -> dict[str, Any]:
    """The applied configuration as an object of the target's kind. Raises ApiError 400."""
    if not isinstance(body, Mapping):
        raise failures.bad_request("an apply patch must be one YAML or JSON object")
    for field in ("apiVersion", "kind"):
        if not body.get(field):
            raise failures.bad_request(f"an apply patch must say its {field}")
    found = dict(body)
    if target.subresource == "scale":
        found = _of_scale(target, found)
    found = verbs.identify(target, found)
    metadata = found["metadata"] = dict(found["metadata"])
    if metadata.get("managedFields"):
        raise failures.bad_request("metadata.managedFields must be nil")
    if metadata.setdefault("name", target.name) != target.name:
        raise failures.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({target.name})"
        )
    if target.kind.namespaced and metadata.setdefault("namespace", target.namespace) != (
        target.namespace
    ):
        raise failures.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return found


def _of_scale(target: Target, scale: dict[str, Any]) -> dict[str, Any]:
    """What an applied Scale says about its workload."""
    if (scale["apiVersion"], scale["kind"]) != (subresources.SCALE_VERSION, "Scale"):
        raise failures.bad_request(f"expected a Scale of {subresources.SCALE_VERSION}")
    spec = scale.get("spec") or {}
    return {
        "apiVersion": codec.api_version(target.kind, target.version),
        "kind": target.kind.kind,
        "metadata": scale.get("metadata") or {},
        "spec": {"replicas": spec["replicas"]} if "replicas" in spec else {},
    }


def created_twice(target: Target, config: Mapping[str, Any]) -> Exception | None:
    """409 for a configuration that means an object which does not exist (any more)."""
    metadata = config["metadata"]
    if metadata.get("uid"):
        return verbs.precondition_failed(target.kind, target.name, "UID", metadata["uid"], "")
    if metadata.get("resourceVersion"):
        return failures.conflict(target.kind, target.name)
    return None
