"""What becomes of a request on its way: as the back end sees it, or where a redirect leads."""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from weft.mesh.explain import regex
from weft.mesh.explain.paths import without_query
from weft.mesh.explain.request import IN_HOST, Request
from weft.mesh.model import HeaderOperations, HttpMatch, HttpRoute, Redirect, WeightedDestination

_HOST_NAMES = ("host", ":authority")


class Sent(Struct, frozen=True):
    """A request as a back end gets it."""

    host: str
    path: str
    headers: Mapping[str, str] = {}
    """Those that the caller sent, changed by the route; names in lower case."""


def sent(request: Request, route: HttpRoute, match: HttpMatch, share: WeightedDestination) -> Sent:
    """What the endpoints of a share get."""
    headers = {n.lower(): v for n, v in request.headers.items() if n.lower() not in _HOST_NAMES}
    for operations in (share.request_headers, route.request_headers):
        headers = changed(headers, operations)
    return Sent(_host(request, route, share), _path(request.path, route, match), headers)


def changed(headers: Mapping[str, str], operations: HeaderOperations) -> dict[str, str]:
    """Headers after the operations: removed first, then set, then added."""
    removed = {name.lower() for name in operations.remove}
    result = {name: value for name, value in headers.items() if name not in removed}
    for header in operations.set:
        if header.name.lower() not in _HOST_NAMES:
            result[header.name.lower()] = header.value
    for header in operations.add:
        name = header.name.lower()
        if name not in _HOST_NAMES:
            result[name] = f"{result[name]},{header.value}" if name in result else header.value
    return result


def _host(request: Request, route: HttpRoute, share: WeightedDestination) -> str:
    own = _set_host(share.request_headers)
    rewritten = route.rewrite.authority if route.rewrite is not None else ""
    return own or rewritten or _set_host(route.request_headers) or request.authority


def _set_host(operations: HeaderOperations) -> str:
    headers: Iterable[tuple[str, str]] = (
        (h.name.lower(), h.value) for h in (*operations.set, *operations.add)
    )
    return next((value for name, value in headers if name in _HOST_NAMES), "")


def _path(path: str, route: HttpRoute, match: HttpMatch) -> str:
    rewrite = route.rewrite
    if rewrite is None:
        return path
    if rewrite.regex:
        return with_substitution(path, rewrite.regex, rewrite.substitution)
    return path if rewrite.prefix is None else with_prefix(path, match, rewrite.prefix)


def with_substitution(path: str, pattern: str, substitution: str) -> str:
    """Matches are replaced in the path only; the query stays."""
    bare = without_query(path)
    return regex.substituted(pattern, substitution, bare) + path[len(bare) :]


def with_prefix(path: str, match: HttpMatch, prefix: str) -> str:
    """The matched prefix, or the whole path of other matches, is replaced."""
    if not prefix:
        return path
    wanted = match.path
    if wanted is None or wanted.kind == "present":
        length = 1
    elif wanted.kind == "prefix":
        length = len(wanted.value)
    else:
        length = len(without_query(path))
    return prefix + path[length:]


def location(redirect: Redirect, request: Request, match: HttpMatch) -> str:
    """The Location header of a redirect."""
    was = "https" if request.scheme == "https" else "http"
    scheme = redirect.scheme or was
    name, colon, port = request.authority.partition(":")
    if redirect.host:
        name, colon, port = redirect.host, "", ""
    if redirect.port:
        colon, port = ":", str(redirect.port)
    elif scheme != was and port == str(IN_HOST.get(was)):
        colon, port = "", ""
    path = request.path
    if redirect.path:
        query = path[len(without_query(path)) :]
        path = redirect.path if "?" in redirect.path else redirect.path + query
    elif redirect.prefix_rewrite:
        path = with_prefix(path, match, redirect.prefix_rewrite)
    elif redirect.regex:
        path = with_substitution(path, redirect.regex, redirect.substitution)
    return f"{scheme}://{name}{colon}{port}{path}"
