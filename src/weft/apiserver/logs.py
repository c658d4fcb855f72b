"""pods/NAME/log: what is asked for, whether it can be had, and who delivers it.

The bytes come from a `LogSource`; the answers to impossible requests are the kubelet's. Pure.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from msgspec import Struct, structs

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.apiserver import failures
from weft.apiserver.request import flag, number
from weft.lib.timefmt import parse_rfc3339

_LOG_OPTIONS = Kind("", "v1", "PodLogOptions", "pods/log")


class LogOptions(Struct, frozen=True):
    """Query parameters of pods/log."""

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    since: float | None = None
    """Seconds since the epoch; only lines from then on."""
    tail_lines: int | None = None
    limit_bytes: int | None = None


class LogSource(Protocol):
    """Where logs are. `node` is the pod's; `options.container` always names a container."""

    def read(
        self, node: str, namespace: str, pod: str, uid: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        """The log in pieces, whole lines not needed; with `follow` until the container ends.

        `limit_bytes` is the server's business. Raises ApiError before the first piece.
        """


def parse_options(query: Mapping[str, str], now: float) -> LogOptions:
    """Raises ApiError 400, 422."""
    since = None
    seconds = number(query, "sinceSeconds")
    if seconds is not None and query.get("sinceTime"):
        raise _invalid("sinceSeconds", "Forbidden: at most one of `sinceTime` or `sinceSeconds` "
                       "may be specified")  # fmt: skip
    if seconds is not None:
        if seconds < 1:
            raise _invalid("sinceSeconds", f"Invalid value: {seconds}: must be greater than 0")
        since = now - seconds
    elif text := query.get("sinceTime"):
        try:
            since = parse_rfc3339(text)
        except ValueError:
            raise failures.bad_request(f'sinceTime: "{text}" is not an RFC 3339 time') from None
    tail, limit = number(query, "tailLines"), number(query, "limitBytes")
    if tail is not None and tail < 0:
        message = f"Invalid value: {tail}: must be greater than or equal to 0"
        raise _invalid("tailLines", message)
    if limit is not None and limit < 1:
        raise _invalid("limitBytes", f"Invalid value: {limit}: must be greater than 0")
    return LogOptions(
        query.get("container", ""),
        flag(query, "follow"),
        flag(query, "previous"),
        flag(query, "timestamps"),
        since,
        tail,
        limit,
    )


def with_container(options: LogOptions, container: str) -> LogOptions:
    """The options with the container settled."""
    return structs.replace(options, container=container)


def _invalid(field: str, message: str) -> ApiError:
    reason = "FieldValueForbidden" if message.startswith("Forbidden") else "FieldValueInvalid"
    cause = {"reason": reason, "message": message, "field": field}
    return failures.invalid(_LOG_OPTIONS, "", [cause])


def choose_container(pod: Mapping[str, Any], asked: str) -> str:
    """The container that a request for its log, or into it, means. Raises ApiError 400."""
    name = pod["metadata"]["name"]
    spec = pod.get("spec") or {}
    usual = [c["name"] for c in spec.get("containers") or []]
    initial = [c["name"] for c in spec.get("initContainers") or []]
    ephemeral = [c["name"] for c in spec.get("ephemeralContainers") or []]
    if asked:
        if asked not in usual + initial + ephemeral:
            raise failures.bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    if len(usual) == 1:
        return str(usual[0])
    choice = f"choose one of: [{' '.join(usual)}]"
    if initial:
        choice += f" or one of the init containers: [{' '.join(initial)}]"
    raise failures.bad_request(f"a container name must be specified for pod {name}, {choice}")


def check_started(pod: Mapping[str, Any], container: str, previous: bool) -> None:
    """A container without a log yet is an error that says why. Raises ApiError 400."""
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    listed = [
        *(status.get("containerStatuses") or []),
        *(status.get("initContainerStatuses") or []),
        *(status.get("ephemeralContainerStatuses") or []),
    ]
    found = next((c for c in listed if c.get("name") == container), None)
    about = f'container "{container}" in pod "{name}"'
    if found is None:
        raise failures.bad_request(f"{about} is not available")
    last = (found.get("lastState") or {}).get("terminated")
    state = found.get("state") or {}
    if previous:
        if not last:
            raise failures.bad_request(
                f'previous terminated container "{container}" in pod "{name}" not found'
            )
        return
    if state.get("running") or state.get("terminated") or last:
        return
    reason = (state.get("waiting") or {}).get("reason")
    why = {
        None: "is waiting to start - no logs yet",
        "ErrImagePull": "is waiting to start: image can't be pulled",
        "ImagePullBackOff": "is waiting to start: trying and failing to pull image",
    }.get(reason, f"is waiting to start: {reason}")
    raise failures.bad_request(f"{about} {why}")
