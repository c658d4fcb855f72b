"""Single requests and connections, as proxies log them while somebody looks.

A proxy sends one text per request, its fields in the order of `Request` and divided by a character
that no header may hold.
"""

from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from weft.telemetry import edge_labels

BETWEEN = "\x1f"
"""ASCII's unit separator; HTTP allows no control characters in headers and paths."""
KEPT_MAX = 5000
UNKNOWN = "-"


class Request(Struct, frozen=True, rename="camel"):
    """A request, or a connection of which only bytes are known."""

    source: str
    """namespace/workload of the caller."""
    destination: str
    """namespace/workload that answered; empty when none did."""
    version: str
    service: str
    method: str
    authority: str
    path: str
    protocol: str
    status: int
    """0 for connections, and for requests that got no answer."""
    grpc_status: str
    flags: str
    """Envoy's response flags: why it went wrong."""
    details: str
    duration_ms: float
    received_bytes: int
    sent_bytes: int
    request_id: str
    trace_id: str
    route: str
    endpoint: str
    attempts: int
    user_agent: str
    node: str = ""
    at: float = 0
    """When it began, in seconds since the epoch."""
    number: int = 0
    """Grows from request to request."""


FIELDS = (
    "source", "destination", "service", "method", "authority", "path", "protocol", "status",
    "grpc_status", "flags", "details", "duration_ms", "received_bytes", "sent_bytes", "request_id",
    "traceparent", "route", "endpoint", "attempts", "user_agent",
)  # fmt: skip
"""Of a text. Source and destination are parties, folded; the service is a callee, folded."""


def read(text: str, *, node: str, at: float, number: int) -> Request | None:
    """A request from a proxy's text; None when it is of another shape."""
    parts = text.split(BETWEEN)
    if len(parts) != len(FIELDS):
        return None
    said = {name: "" if part == UNKNOWN else part for name, part in zip(FIELDS, parts, strict=True)}
    answering = said["destination"].split("|")
    return Request(
        source=_name(said["source"]),
        destination=_name(said["destination"]),
        version=answering[4] if len(answering) > 4 else "",
        service=said["service"].split("|")[0],
        method=said["method"],
        authority=said["authority"],
        path=said["path"],
        protocol=said["protocol"] or "TCP",
        status=_number(said["status"]),
        grpc_status=said["grpc_status"],
        flags=said["flags"],
        details=said["details"],
        duration_ms=float(_number(said["duration_ms"])),
        received_bytes=_number(said["received_bytes"]),
        sent_bytes=_number(said["sent_bytes"]),
        request_id=said["request_id"],
        trace_id=_trace_id(said["traceparent"]),
        route=said["route"],
        endpoint=said["endpoint"],
        attempts=_number(said["attempts"]),
        user_agent=said["user_agent"],
        node=node,
        at=at,
        number=number,
    )


def _name(party: str) -> str:
    workload, _, rest = party.partition("|")
    namespace = rest.partition("|")[0]
    if workload in ("", edge_labels.UNKNOWN):
        return ""
    return f"{namespace}/{workload}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() else 0


def _trace_id(traceparent: str) -> str:
    """Source: W3C Trace Context, "traceparent Header"."""
    parts = traceparent.split("-")
    return parts[1] if len(parts) == 4 else ""


class RequestLog:
    """The newest requests, in fixed memory."""

    def __init__(self) -> None:
        self._kept: deque[Request] = deque(maxlen=KEPT_MAX)
        self.newest = 0

    def add(self, texts: Iterable[tuple[str, float]], node: str) -> None:
        """Texts of a proxy, each with the time its request began."""
        for text, at in texts:
            found = read(text, node=node, at=at, number=self.newest + 1)
            if found is not None:
                self.newest += 1
                self._kept.append(found)

    def since(
        self, number: int, wanted: Callable[[Request], bool], most: int
    ) -> tuple[Request, ...]:
        """The newest `most` that came after `number`, oldest first."""
        found: list[Request] = []
        for request in reversed(self._kept):
            if request.number <= number or len(found) >= most:
                break
            if wanted(request):
                found.append(request)
        return tuple(reversed(found))


class Filter(Struct, frozen=True):
    """What of the requests is wanted; empty fields want all."""

    source: str = ""
    """A workload, with its namespace before it or without."""
    destination: str = ""
    """A workload or a service."""
    method: str = ""
    path: str = ""
    """How the path begins."""
    status: str = ""
    """`503`, `5xx`, or `error`: 500 and above, no answer, or a gRPC status that says so."""
    slower_ms: float = 0

    def wants(self, request: Request) -> bool:
        return (
            (not self.source or _is(self.source, request.source))
            and (not self.destination or self._goes_there(request))
            and (not self.method or self.method.upper() == request.method)
            and request.path.startswith(self.path)
            and (not self.status or _has_status(self.status, request))
            and request.duration_ms >= self.slower_ms
        )

    def _goes_there(self, request: Request) -> bool:
        host = request.service
        services = (host, host.split(".")[0], "/".join(reversed(host.split(".")[:2])))
        return _is(self.destination, request.destination) or self.destination in services


def _is(wanted: str, workload: str) -> bool:
    return wanted in (workload, workload.partition("/")[2])


def _has_status(wanted: str, request: Request) -> bool:
    if wanted == "error":
        return is_error(request)
    if wanted.endswith("xx"):
        return str(request.status // 100) == wanted[:-2]
    return str(request.status) == wanted


def is_error(request: Request) -> bool:
    """Whether it failed by the server's fault, or got no answer."""
    if not request.method:
        return request.flags != ""
    if request.status == 0 or request.status >= 500:
        return True
    return request.grpc_status not in ("", "0")
