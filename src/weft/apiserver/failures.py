"""Refusals, worded as Kubernetes words them (apimachinery's api/errors), for clients that parse."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from weft.api.errors import ApiError, not_found
from weft.api.kinds import Kind

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
EXPIRED_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start "
    "a new list without the continue parameter, or use the continue token in this response to "
    "retrieve the remainder of the results. Continuing with the provided token results in an "
    "inconsistent list - objects that were created, modified, or deleted between the time the "
    "first chunk was returned and now may show up in the list."
)


def qualified(kind: Kind) -> str:
    """`deployments.apps`, as messages name resources."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def details(kind: Kind, name: str, **more: Any) -> dict[str, Any]:
    """A Status' details about one object."""
    found = {"name": name, "group": kind.group, "kind": kind.plural} | more
    return {k: v for k, v in found.items() if v not in ("", None, [])}


def missing(kind: Kind, name: str) -> ApiError:
    """404: no such object."""
    error = not_found(kind.plural, name, kind.group)
    error.details = details(kind, name)
    return error


def no_such_path() -> ApiError:
    """404: the server serves nothing there."""
    return ApiError(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str) -> ApiError:
    """409 on creation."""
    message = f'{qualified(kind)} "{name}" already exists'
    return ApiError(409, "AlreadyExists", message, details(kind, name))


def conflict(kind: Kind, name: str, why: str = MODIFIED) -> ApiError:
    """409: the write was made against another state of the object."""
    message = f'Operation cannot be fulfilled on {qualified(kind)} "{name}": {why}'
    return ApiError(409, "Conflict", message, details(kind, name))


def bad_request(message: str) -> ApiError:
    """400: the request makes no sense as it is written."""
    return ApiError(400, "BadRequest", message)


def no_common_protocol(offered: str, known: Sequence[str]) -> ApiError:
    """403: a stream in none of the dialects that are served."""
    text = f"client supports [{offered}], server accepts [{' '.join(known)}]"
    return ApiError(403, "Forbidden", f"unable to upgrade: unable to negotiate protocol: {text}")


def forbidden(
    kind: Kind, name: str, why: str, causes: Sequence[Mapping[str, Any]] = ()
) -> ApiError:
    """403: understood, but not allowed."""
    subject = (
        f'{qualified(kind)} "{name}" is forbidden' if name else f"{qualified(kind)} is forbidden"
    )
    return ApiError(403, "Forbidden", f"{subject}: {why}", details(kind, name, causes=list(causes)))


def invalid(kind: Kind, name: str, causes: Iterable[Mapping[str, Any]]) -> ApiError:
    """422: each cause has reason (FieldValue...), message and field."""
    found = list(causes)
    lines = [f"{c['field']}: {c['message']}" for c in found]
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    full = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    about = {"name": name, "group": kind.group, "kind": kind.kind, "causes": found}
    about = {k: v for k, v in about.items() if v != ""}
    return ApiError(422, "Invalid", f'{full} "{name}" is invalid: {text}', about)


def gone(message: str) -> ApiError:
    """410: history does not reach back that far."""
    return ApiError(410, "Expired", message)


def expired_pages(token: str) -> ApiError:
    """410 for a page: with `token` the list goes on at the present state."""
    return ApiError(410, "Expired", EXPIRED_CONTINUE, continue_token=token)


def unsupported_media_type(accepted: Sequence[str]) -> ApiError:
    """415: a body in a format that this path does not read."""
    return ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(accepted),
    )


def not_acceptable(offered: Sequence[str]) -> ApiError:
    """406: no format the client accepts."""
    return ApiError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: " + ", ".join(offered),
    )


def method_not_allowed() -> ApiError:
    """405."""
    return ApiError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )


def unauthorized() -> ApiError:
    """401."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def too_large(limit_bytes: int) -> ApiError:
    """413: the request body."""
    return ApiError(
        413,
        "RequestEntityTooLarge",
        f"Request entity too large: limit is {limit_bytes}",
    )


def body_too_slow(seconds: float) -> ApiError:
    """408: the request's body did not come in time."""
    return ApiError(408, "Timeout", f"the request's body was not complete after {seconds:g} s")


def timeout_future(asked: int, current: int) -> ApiError:
    """504: a revision that this server has not reached (a client of another cluster's life)."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return ApiError(
        504,
        "Timeout",
        f"Too large resource version: {asked}, current: {current}",
        {"causes": [cause], "retryAfterSeconds": 1},
    )


def internal(message: str) -> ApiError:
    """500."""
    return ApiError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        {"causes": [{"message": message}]},
    )


def store_failed(error: Exception) -> ApiError:
    """503: the store does not serve (disk full, closed)."""
    return unavailable(f"the store does not serve: {error}")


def unavailable(message: str) -> ApiError:
    """503: something that is needed does not serve now; worth another try."""
    return ApiError(503, "ServiceUnavailable", message, {"retryAfterSeconds": 1})


def not_served(message: str) -> ApiError:
    """503: this server lacks what is needed. Told to come again, kubectl tries for ten seconds."""
    return ApiError(503, "ServiceUnavailable", message)


def too_many_requests(retry_after_seconds: int) -> ApiError:
    """429: the server has more to do than it can."""
    return ApiError(
        429,
        "TooManyRequests",
        "the server has received too many requests and has asked us to try again later",
        {"retryAfterSeconds": retry_after_seconds},
    )


def terminating(kind: Kind, name: str, namespace: str) -> ApiError:
    """403: nothing new in a namespace that ends."""
    cause = {
        "reason": "NamespaceTerminating",
        "message": f"namespace {namespace} is being terminated",
        "field": "metadata.namespace",
    }
    why = f"unable to create new content in namespace {namespace} because it is being terminated"
    return forbidden(kind, name, why, [cause])
