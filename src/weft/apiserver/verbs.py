"""What create, update and delete mean for an object: pure, JSON in, JSON out.

Source of the rules: Kubernetes' API conventions and the generic registry of kube-apiserver.
Objects are plain JSON; functions that change an object take ownership of the given one.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from weft.api import registry
from weft.api.kinds import Kind
from weft.apiserver import codec, failures
from weft.apiserver.request import DeleteOptions, Target
from weft.lib.timefmt import parse_rfc3339, rfc3339

GENERATE_NAME_BASE_MAX = 58
"""Characters of generateName that are kept before the random suffix."""
SUFFIX_CHARACTERS = 5
POD_GRACE_SECONDS_DEFAULT = 30
FINALIZER_FOREGROUND = "foregroundDeletion"
FINALIZER_ORPHAN = "orphan"
UNDELETABLE_NAMESPACES = ("default", "kube-system", "kube-public")
_SERVER_METADATA = (
    "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation",
)  # fmt: skip


def known_kind(plural: str) -> Kind:
    """A kind of the core group that the server itself needs."""
    found = registry.by_resource("", "v1", plural)
    assert found is not None
    return found


class Context(Struct, frozen=True):
    """What the shell brings: the clock (seconds since the epoch) and fresh random text."""

    now: float
    uid: str = ""
    suffix: str = ""


def identify(target: Target, body: Any) -> dict[str, Any]:
    """The body as an object of the target's kind, in its stored version.

    Raises ApiError 400 when it says it is something else.
    """
    if not isinstance(body, dict):
        raise failures.bad_request(
            f"the object provided is unrecognized (must be of type {target.kind.kind}): "
            "expected a JSON object"
        )
    kind = target.kind
    expected = codec.api_version(kind, target.version)
    given = body.get("apiVersion") or expected
    if (body.get("kind") or kind.kind) != kind.kind:
        raise failures.bad_request(
            f"{body['kind']} in version {_quoted(given)} cannot be handled as a {kind.kind}"
        )
    if given != expected:
        raise failures.bad_request(
            f"the API version in the data ({given}) does not match the expected API version "
            f"({expected})"
        )
    metadata = body.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict):
        raise failures.bad_request(
            f"{kind.kind} in version {_quoted(target.version)} cannot be handled as a {kind.kind}: "
            "metadata must be an object"
        )
    rest = {k: v for k, v in body.items() if k not in ("kind", "apiVersion", "metadata")}
    head = {"kind": kind.kind, "apiVersion": codec.api_version(kind), "metadata": metadata}
    return head | rest


def _quoted(text: Any) -> str:
    version = str(text).rpartition("/")[2]
    return f'"{version}"'


def check_creatable(kind: Kind) -> None:
    """Raises ApiError 405 for a custom kind whose definition is being deleted."""
    if kind.definition is not None and kind.definition.terminating:
        error = failures.method_not_allowed()
        error.message = "create not allowed while custom resource definition is terminating"
        raise error


def place(target: Target, obj: dict[str, Any]) -> None:
    """Check and fill in metadata.namespace. Raises ApiError 400."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace") or ""
    if not target.kind.namespaced:
        metadata.pop("namespace", None)
        if namespace:
            raise failures.bad_request("namespace is not allowed on cluster-scoped objects")
        return
    if not target.namespace:
        raise failures.bad_request("an empty namespace may not be set during creation")
    if namespace and namespace != target.namespace:
        raise failures.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = target.namespace


def initialise(kind: Kind, obj: dict[str, Any], context: Context) -> None:
    """The metadata of a new object: name, uid, creationTimestamp. Raises ApiError."""
    metadata = obj["metadata"]
    if expects_state(metadata):
        raise failures.bad_request("resourceVersion should not be set on objects to be created")
    for name in (*_SERVER_METADATA, "resourceVersion", "selfLink", "managedFields"):
        metadata.pop(name, None)
    if not metadata.get("name") and (base := metadata.get("generateName")):
        metadata["name"] = str(base)[:GENERATE_NAME_BASE_MAX] + context.suffix
    if not metadata.get("name"):
        cause = {
            "reason": "FieldValueRequired",
            "message": "Required value: name or generateName is required",
            "field": "metadata.name",
        }
        raise failures.invalid(kind, "", [cause])
    metadata["uid"] = context.uid
    metadata["creationTimestamp"] = rfc3339(context.now)


def check_replacement(target: Target, old: Mapping[str, Any], new: dict[str, Any]) -> None:
    """A new state must be of the same object, and made from its present state.

    Raises ApiError 400 (another name), 409 (another uid, an older resourceVersion).
    """
    before, after = old["metadata"], new["metadata"]
    if (after.get("name") or before["name"]) != before["name"]:
        raise failures.bad_request(
            f"the name of the object ({after['name']}) does not match the name on the URL "
            f"({before['name']})"
        )
    if (after.get("namespace") or target.namespace) != target.namespace:
        raise failures.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if (after.get("uid") or before["uid"]) != before["uid"]:
        raise precondition_failed(target.kind, before["name"], "UID", after["uid"], before["uid"])
    if expects_state(after) and after["resourceVersion"] != before["resourceVersion"]:
        raise failures.conflict(target.kind, before["name"])


def expects_state(metadata: Mapping[str, Any]) -> bool:
    """Whether a write is meant for one state of its object; "0" is any, as in Kubernetes."""
    return metadata.get("resourceVersion") not in (None, "", "0")


def precondition_failed(kind: Kind, name: str, what: str, asked: str, found: str) -> Exception:
    """409: the object is not the one (or not in the state) that the caller means."""
    return failures.conflict(
        kind,
        name,
        f"Precondition failed: {what} in precondition: {asked}, {what} in object meta: {found}",
    )


def keep_identity(old: Mapping[str, Any], new: dict[str, Any]) -> None:
    """Fill in what names the object and its state, and drop what clients may not say."""
    metadata = new["metadata"]
    for name in ("name", "namespace", "resourceVersion"):
        if name in old["metadata"]:
            metadata[name] = old["metadata"][name]
        else:
            metadata.pop(name, None)
    metadata.pop("selfLink", None)


def finalized(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """PUT namespaces/NAME/finalize: only spec.finalizers counts."""
    finalizers = (new.get("spec") or {}).get("finalizers") or []
    spec = {k: v for k, v in (old.get("spec") or {}).items() if k != "finalizers"}
    if finalizers:
        spec["finalizers"] = finalizers
    return dict(old) | {"spec": spec}


def check_finalizers(kind: Kind, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """An object that is being deleted takes no new finalizers. Raises ApiError 422."""
    if not old["metadata"].get("deletionTimestamp"):
        return
    before = old["metadata"].get("finalizers") or []
    added = [f for f in new["metadata"].get("finalizers") or [] if f not in before]
    if added:
        listed = ", ".join(f'"{f}"' for f in added)
        cause = {
            "reason": "FieldValueForbidden",
            "message": "Forbidden: no new finalizers can be added if the object is being deleted, "
            f"found new finalizers []string{{{listed}}}",
            "field": "metadata.finalizers",
        }
        raise failures.invalid(kind, new["metadata"]["name"], [cause])


def is_finished(kind: Kind, obj: Mapping[str, Any]) -> bool:
    """Whether nothing holds a deleted object any more, so that it is to be removed."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if kind.plural == "namespaces":
        return not (obj.get("spec") or {}).get("finalizers")
    return not metadata.get("deletionGracePeriodSeconds")


class Deletion(Struct, frozen=True):
    """What a delete request does: removes the object, writes `obj`, or nothing (it already is
    being deleted)."""

    action: Literal["remove", "write", "none"]
    obj: dict[str, Any]


def delete(kind: Kind, obj: dict[str, Any], options: DeleteOptions, now: float) -> Deletion:
    """Decide a deletion. Raises ApiError 403, 409."""
    metadata = obj["metadata"]
    name = metadata["name"]
    if kind.plural == "namespaces" and name in UNDELETABLE_NAMESPACES:
        raise failures.forbidden(kind, name, "this namespace may not be deleted")
    if options.uid and options.uid != metadata["uid"]:
        raise precondition_failed(kind, name, "UID", options.uid, metadata["uid"])
    revision = metadata.get("resourceVersion", "")
    if options.resource_version and options.resource_version != revision:
        raise precondition_failed(kind, name, "ResourceVersion", options.resource_version, revision)
    before = dict(metadata)
    metadata = dict(metadata)
    obj = obj | {"metadata": metadata}
    _set_finalizers(metadata, options.propagation)
    grace = _grace_seconds(kind, obj, options)
    if metadata.get("deletionTimestamp"):
        _shorten(metadata, grace if options.grace_period_seconds is not None else None)
    else:
        metadata["deletionTimestamp"] = rfc3339(now + grace)
        metadata["deletionGracePeriodSeconds"] = grace
        if metadata.get("generation"):
            metadata["generation"] += 1
        if kind.plural == "namespaces":
            obj["status"] = dict(obj.get("status") or {}) | {"phase": "Terminating"}
    if is_finished(kind, obj):
        return Deletion("remove", obj)
    return Deletion("none" if metadata == before else "write", obj)


def _set_finalizers(metadata: dict[str, Any], propagation: str) -> None:
    """The garbage collector's work is asked for by finalizers; without a policy the object's own
    ones stay in force."""
    if not propagation:
        return
    known = (FINALIZER_ORPHAN, FINALIZER_FOREGROUND)
    kept = [f for f in metadata.get("finalizers") or [] if f not in known]
    if propagation == "Orphan":
        kept.append(FINALIZER_ORPHAN)
    elif propagation == "Foreground":
        kept.append(FINALIZER_FOREGROUND)
    if kept:
        metadata["finalizers"] = kept
    else:
        metadata.pop("finalizers", None)


def _grace_seconds(kind: Kind, obj: Mapping[str, Any], options: DeleteOptions) -> int:
    """Only pods that run (or are about to) get time to end."""
    if kind.plural != "pods":
        return 0
    spec = obj.get("spec") or {}
    phase = (obj.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    grace = options.grace_period_seconds
    if grace is None:
        grace = spec.get("terminationGracePeriodSeconds")
    grace = POD_GRACE_SECONDS_DEFAULT if grace is None else grace
    return 1 if grace < 0 else grace


def _shorten(metadata: dict[str, Any], grace: int | None) -> None:
    """A second delete may shorten the grace period, never lengthen it."""
    current = metadata.get("deletionGracePeriodSeconds") or 0
    if grace is None or grace >= current:
        return
    asked = parse_rfc3339(metadata["deletionTimestamp"]) - current
    metadata["deletionTimestamp"] = rfc3339(asked + grace)
    metadata["deletionGracePeriodSeconds"] = grace
