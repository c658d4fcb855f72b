"""What a request met, against what was said about it."""

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from tests.mesh.agreement.requests import Asked
from weft.mesh.caller_limits import common_name
from weft.mesh.explain import Explanation
from weft.mesh.explain.rewriting import changed
from weft.mesh.model import HeaderOperations


class Met(Struct):
    """What came back: an answer of HTTP, or bytes of a connection."""

    closed: bool = False
    status: int = 0
    headers: list[tuple[str, str]] = []
    body: bytes = b""
    echo: dict[str, Any] | None = None
    """What the back end says of itself."""
    log: dict[str, Any] = {}
    """Of the first step: the second, of an egress gateway, ends and is logged before it."""
    second: dict[str, Any] = {}

    def header(self, name: str) -> str | None:
        found = [v for n, v in self.headers if n == name]
        return ",".join(found) if found else None


def read(data: bytes | None, lines: list[dict[str, Any]]) -> Met:
    """The answer as it came, and the lines of the log."""
    *rest, log = lines or [{}]
    second = rest[0] if rest else {}
    if not data:
        return Met(closed=True, log=log)
    if not data.startswith(b"HTTP/1.1 "):
        return Met(body=data, echo=_json(data), log=log)
    head, _, body = data.partition(b"\r\n\r\n")
    line, *rest = head.decode("latin1").split("\r\n")
    headers = [(n.lower(), v.strip()) for n, _, v in (each.partition(":") for each in rest)]
    status = int(line.split(" ")[1])
    return Met(status=status, headers=headers, body=body, echo=_json(body), log=log, second=second)


def _json(text: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def disagreements(asked: Asked, said: Explanation, met: Met) -> Iterator[str]:
    """Everything in which the two differ."""
    if asked.request.speaks_http:
        yield from _http(asked, said, met)
    else:
        yield from _connection(asked, said, met)


def _connection(asked: Asked, said: Explanation, met: Met) -> Iterator[str]:
    if said.outcome in ("closed", "unavailable", "denied"):
        if met.echo is not None:
            yield f"said {said.outcome}, but {met.echo} answered"
    elif met.echo is None:
        yield f"said {said.outcome}, but nothing answered"
    else:
        where = (met.echo["address"], met.echo["port"])
        if where not in _places(asked, said):
            yield f"said {sorted(_places(asked, said))}, got {where}"


def _places(asked: Asked, said: Explanation) -> set[tuple[str, int]]:
    """Addresses that may answer."""
    if said.outcome == "passed through":
        return {(asked.address, asked.port)}
    found: set[tuple[str, int]] = set()
    for share in said.shares:
        if share.onward is not None:
            found |= _places(asked, share.onward)
        if share.destination.discovery == "original_dst":
            found.add((asked.address, asked.port))
        found |= {(e.address, e.port) for e in share.healthy}
    return found


def _http(asked: Asked, said: Explanation, met: Met) -> Iterator[str]:
    head = asked.request.method == "HEAD"
    if said.outcome == "closed":
        if not met.closed:
            yield f"said closed, got {met.status}"
        return
    if said.tcp is not None and said.outcome in ("unavailable", "denied"):
        if not met.closed:
            yield f"said no endpoint, got {met.status or met.body!r}"
        return
    if met.closed:
        yield f"said {said.outcome}, but the connection was closed"
        return
    if said.tcp is not None:
        if not head and met.echo is None:
            yield f"said the connection is passed on, got {met.status}"
        elif met.echo and (met.echo["address"], met.echo["port"]) not in _places(asked, said):
            yield f"said {sorted(_places(asked, said))}, got {met.echo}"
        return
    if said.outcome == "passed through":
        if met.status != 200 or (not head and met.echo is None):
            yield f"said passed through, got {met.status}"
        elif met.echo and (met.echo["address"], met.echo["port"]) != (asked.address, asked.port):
            yield f"said passed through to {asked.address}, got {met.echo}"
        return
    yield from _route(said, met)
    if said.outcome == "routed":
        yield from _arrived(asked, said, met)
        return
    if met.status != said.status:
        yield f"said {said.outcome} with {said.status}, got {met.status}"
    if said.outcome == "redirected" and met.header("location") != said.location:
        yield f"said location {said.location}, got {met.header('location')}"
    if met.echo is not None:
        yield f"said {said.outcome}, but {met.echo} answered"


def _route(said: Explanation, met: Met) -> Iterator[str]:
    if said.route is not None and met.log.get("route") != said.route.name:
        yield f"said route {said.route.name}, logged {met.log.get('route')}"


def _arrived(asked: Asked, said: Explanation, met: Met) -> Iterator[str]:
    inside = said.met is not None and said.met.server is None
    serving = [
        s
        for s in said.shares
        if s.healthy or s.onward or (inside and s.destination.discovery == "original_dst")
    ]
    idle = {s.destination.name for s in said.shares} - {s.destination.name for s in serving}
    took = common_name(met.log.get("destination") or "")
    onward = next((s.onward for s in serving if s.onward and s.destination.name == took), None)
    if onward is not None:
        yield from _second(asked, onward, met)
        return
    refused = {s.destination.name for s in said.shares if any(not v.allowed for _, v in s.verdicts)}
    if met.status == 403 and took in refused:
        return  # an endpoint whose policies are stricter
    if met.status == 503 and took in idle:
        return  # the share that has no endpoint
    if met.status != 200:
        yield f"said routed, got {met.status} {met.body[:100]!r}"
        return
    candidates = [s for s in serving if s.destination.name == took]
    if not candidates:
        yield f"said {[s.destination.name for s in serving]}, logged {took}"
        return
    if met.echo is not None:
        where = (met.echo["address"], met.echo["port"])
        if where not in _places(asked, said):
            yield f"said {sorted(_places(asked, said))}, got {where}"
    problems = [list(_as_sent(share, said, met)) for share in candidates]
    if all(problems):
        yield from problems[0]


def _second(asked: Asked, said: Explanation, met: Met) -> Iterator[str]:
    """The second step, as if it were the first."""
    again = Met(met.closed, met.status, met.headers, met.body, met.echo, met.second)
    yield from (f"egress gateway: {problem}" for problem in _http(asked, said, again))


def _as_sent(share: Any, said: Explanation, met: Met) -> Iterator[str]:
    """The request that arrived, and the changes to the answer's headers."""
    assert said.route is not None
    operations = (share.part.response_headers, said.route.response_headers)
    yield from _answer_headers(operations, met)
    if met.echo is None:
        return
    got: dict[str, str] = {}
    for name, value in met.echo["headers"]:
        got[name] = f"{got[name]},{value}" if name in got else value
    if met.echo["path"] != share.sent.path:
        yield f"said path {share.sent.path}, arrived {met.echo['path']}"
    if got.get("host") != share.sent.host:
        yield f"said host {share.sent.host}, arrived {got.get('host')}"
    for name in ("x-user", "x-env", "x-set", "x-add", "user-agent"):
        if got.get(name) != share.sent.headers.get(name):
            yield f"said {name} {share.sent.headers.get(name)!r}, arrived {got.get(name)!r}"


def _answer_headers(operations: tuple[HeaderOperations, ...], met: Met) -> Iterator[str]:
    expected: dict[str, str] = {}
    for each in operations:
        expected = changed(expected, each)
    for name in ("x-user", "x-env", "x-set", "x-add"):
        if met.header(name) != expected.get(name):
            yield f"said answer header {name} {expected.get(name)!r}, got {met.header(name)!r}"
