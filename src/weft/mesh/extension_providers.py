"""External authorization: the services that policies of action CUSTOM ask.

They stand in the MeshConfig's `extensionProviders`, as `envoyExtAuthzHttp` and `envoyExtAuthzGrpc`.
Source: Istio's MeshConfig reference.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weft.api.k8s.core_v1 import ConfigMap
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import Authorizer, CheckedBody, StringMatch
from weft.mesh.values import seconds

PROVIDERS = "extensionProviders"
HTTP, GRPC = "envoyExtAuthzHttp", "envoyExtAuthzGrpc"
TIMEOUT_SECONDS = 600.0
"""Istio's default."""
FORBIDDEN = 403
STATUSES = range(100, 600)
PORT_MAX = 65535
_COMMON = {"service", "port", "timeout", "failOpen", "statusOnError", "includeRequestBodyInCheck"}
_HTTP_ONLY = {
    "pathPrefix", "includeRequestHeadersInCheck", "includeHeadersInCheck",
    "includeAdditionalHeadersInCheck", "headersToUpstreamOnAllow", "headersToDownstreamOnDeny",
    "headersToDownstreamOnAllow",
}  # fmt: skip
Problem = Callable[[str, str], None]
"""(field, what is wrong with it)."""


def authorizers(
    found: ConfigMap, value: Mapping[str, Any], where: str, report: Findings
) -> tuple[Authorizer, ...]:
    """The providers that decide on requests; one that cannot be read is left out and reported, so
    that policies which name it refuse."""
    given = value.get(PROVIDERS)
    made: dict[str, Authorizer] = {}
    for index, provider in enumerate(given if isinstance(given, list) else ()):
        if not isinstance(provider, Mapping):
            continue
        for kind in (HTTP, GRPC):
            settings = provider.get(kind)
            name = provider.get("name")
            if settings is None or not isinstance(name, str) or not name:
                continue
            path = f"{where}.{PROVIDERS}[{index}].{kind}"

            def problem(field: str, text: str, path: str = path) -> None:
                report.add(f.PROVIDER_INVALID, found, f"{path}.{field}", problem=text)

            one = _authorizer(name, kind, settings, problem)
            if one is not None and name not in made:
                made[name] = one
    return tuple(made.values())


def _authorizer(name: str, kind: str, given: Any, problem: Problem) -> Authorizer | None:
    if not isinstance(given, Mapping):
        problem("", "it is no object")
        return None
    known = _COMMON | (_HTTP_ONLY if kind == HTTP else set())
    for field in given:
        if field not in known:
            problem(str(field), "it is not honoured")
    service, port = given.get("service"), given.get("port")
    if not isinstance(service, str) or not service:
        problem("service", "it names no service")
        return None
    if not isinstance(port, int) or not 0 < port <= PORT_MAX:
        problem("port", "it is no port")
        return None
    status = _status(given.get("statusOnError"), problem)
    timeout = given.get("timeout") or ""
    return Authorizer(
        name=name,
        grpc=kind == GRPC,
        host=service.rpartition("/")[2],
        port=port,
        timeout=seconds(str(timeout), TIMEOUT_SECONDS, lambda text: problem("timeout", text))
        or TIMEOUT_SECONDS,
        fail_open=given.get("failOpen") is True,
        status_on_error=status,
        body=_body(given.get("includeRequestBodyInCheck")),
        path_prefix=str(given.get("pathPrefix") or ""),
        request_headers=(
            *_names(given, "includeRequestHeadersInCheck", problem),
            *_names(given, "includeHeadersInCheck", problem),
        ),
        added_headers=_added(given.get("includeAdditionalHeadersInCheck")),
        upstream_headers=_names(given, "headersToUpstreamOnAllow", problem),
        denied_headers=_names(given, "headersToDownstreamOnDeny", problem),
        allowed_headers=_names(given, "headersToDownstreamOnAllow", problem),
    )


def _status(given: Any, problem: Problem) -> int:
    if given is None or given == "":
        return FORBIDDEN
    text = str(given)
    if text.isdecimal() and int(text) in STATUSES:
        return int(text)
    problem("statusOnError", f"`{text}` is no status")
    return FORBIDDEN


def _body(given: Any) -> CheckedBody | None:
    if not isinstance(given, Mapping):
        return None
    most = given.get("maxRequestBytes")
    if not isinstance(most, int) or most <= 0:
        return None
    return CheckedBody(
        most, given.get("allowPartialMessage") is True, given.get("packAsBytes") is True
    )


def _names(given: Mapping[str, Any], field: str, problem: Problem) -> tuple[StringMatch, ...]:
    """Names of headers: `x-user`, `x-user-*` or `*-user`."""
    value = given.get(field) or ()
    if not isinstance(value, Sequence) or isinstance(value, str):
        problem(field, "it is no list of header names")
        return ()
    return tuple(_name(str(each).lower()) for each in value)


def _name(text: str) -> StringMatch:
    if text.endswith("*"):
        return StringMatch("prefix", text[:-1])
    if text.startswith("*"):
        return StringMatch("suffix", text[1:])
    return StringMatch("exact", text)


def _added(given: Any) -> tuple[tuple[str, str], ...]:
    if not isinstance(given, Mapping):
        return ()
    return tuple(sorted((str(name).lower(), str(value)) for name, value in given.items()))
