"""The labels of the mesh's metrics: Istio's, folded into one tag inside Envoy.

Envoy's stats access logger formats every tag of every statistic for each request; nineteen of them
cost a quarter of what a proxied request costs, one costs next to nothing. So the proxy counts by
one tag whose value holds all parts, and who reads the numbers unfolds it.

Label names and meanings: istio.io, "Istio Standard Metrics".
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

TAG = "edge"
"""The tag's name in Envoy."""
UNKNOWN = "unknown"
CLUSTER = "weft"
FOLDED_KEPT_MAX = 20_000
_BETWEEN, _WITHIN = ";", "|"
_VALUE, _REMOVED = "\x1f", "-"
"""Before each value that somebody asked for: headers cannot hold that character, so callers cannot
make up values of other labels. And before the name of a label that is left out."""

Labels = tuple[tuple[str, str], ...]


class Party(NamedTuple):
    """Who calls or answers."""

    workload: str
    namespace: str
    principal: str
    app: str
    version: str


class Callee(NamedTuple):
    """The service that is called."""

    host: str
    name: str
    namespace: str


class Answer(NamedTuple):
    """What came of a call; of connections that are carried as bytes only the flags are known."""

    protocol: str
    code: str
    grpc_status: str
    flags: str


def folded(part: Sequence[str]) -> str:
    """A party, a callee or an answer as one word."""
    return _WITHIN.join(part)


def tag_value(
    reporter: str, security: str, *, source: str, destination: str, callee: str, answer: str
) -> str:
    """The tag's value of folded parts, or of Envoy's format commands that give such."""
    return _BETWEEN.join((reporter, security, source, destination, callee, answer))


def with_changes(tag: str, changes: Sequence[tuple[str, str | None]]) -> str:
    """The tag's value with labels that are set to a value or, without one, left out."""
    if not changes:
        return tag
    names = ",".join(name if value is not None else _REMOVED + name for name, value in changes)
    values = "".join(_VALUE + value for _, value in changes if value is not None)
    return f"{tag}{_BETWEEN}{names}{values}"


PLAIN, MUTUAL = "none", "mutual_tls"


class Edge(NamedTuple):
    """A tag's value, unfolded."""

    reporter: str
    security: str
    source: Party
    destination: Party
    callee: Callee
    answer: Answer

    @property
    def protocol(self) -> str:
        """`http`, `grpc` or `tcp`."""
        if not self.answer.protocol:
            return "tcp"
        return "grpc" if self.answer.grpc_status else "http"


@lru_cache(maxsize=FOLDED_KEPT_MAX)
def edge(value: str) -> Edge:
    """Unfolds a tag's value. What is missing or of another shape is `unknown`."""
    parts = (value.split(_BETWEEN, 6) + [""] * 6)[:6]
    reporter, security, source, destination, callee, answer = parts
    return Edge(
        reporter,
        _security(security),
        Party(*_unfolded(source, len(Party._fields), UNKNOWN)),
        Party(*_unfolded(destination, len(Party._fields), UNKNOWN)),
        Callee(*_unfolded(callee, len(Callee._fields), UNKNOWN)),
        Answer(*_unfolded(answer, len(Answer._fields), "")),
    )


def _security(word: str) -> str:
    """Callers report the identity that the other side's certificate shows, or that it has none."""
    if word.startswith("spiffe://"):
        return MUTUAL
    return PLAIN if word == "-" else word


def _unfolded(word: str, count: int, missing: str) -> list[str]:
    # Envoy writes "-" for what it does not know.
    found = [missing if part in ("", "-") else part for part in word.split(_WITHIN)]
    return (found + [missing] * count)[:count]


@lru_cache(maxsize=FOLDED_KEPT_MAX)
def labels(value: str, removing: bool = True) -> Labels:
    """A tag's value as Istio's labels, changed as somebody asked for. Without `removing` all are
    there: leaving labels out makes equal labels of different series."""
    found = edge(value)
    listed = [
        ("reporter", found.reporter or UNKNOWN),
        *_party_labels("source", found.source),
        *_party_labels("destination", found.destination),
        ("destination_service", found.callee.host),
        ("destination_service_name", found.callee.name),
        ("destination_service_namespace", found.callee.namespace),
        ("request_protocol", found.protocol),
        ("response_flags", found.answer.flags or "-"),
        ("connection_security_policy", found.security or UNKNOWN),
    ]
    if found.answer.protocol:
        listed.append(("response_code", found.answer.code or "0"))
        listed.append(("grpc_response_status", found.answer.grpc_status))
    changes = value.split(_BETWEEN, 6)[6:]
    return _changed(listed, changes[0], removing) if changes else tuple(listed)


def _changed(listed: Sequence[tuple[str, str]], changes: str, removing: bool) -> Labels:
    names, *given = changes.split(_VALUE)
    values, found = iter(given), dict(listed)
    for name in names.split(","):
        if not name.startswith(_REMOVED):
            value = next(values, "")
            found[name] = UNKNOWN if value in ("", "-") else value
        elif removing:
            found.pop(name.removeprefix(_REMOVED), None)
    return tuple(found.items())


def _party_labels(side: str, party: Party) -> Labels:
    return (
        (f"{side}_workload", party.workload),
        (f"{side}_workload_namespace", party.namespace),
        (f"{side}_principal", party.principal),
        (f"{side}_app", party.app),
        (f"{side}_version", party.version),
        (f"{side}_canonical_service", party.app),
        (f"{side}_canonical_revision", party.version),
        (f"{side}_cluster", CLUSTER),
    )
