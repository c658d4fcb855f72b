"""Matches of HTTPRoutes: what two of them have in common."""

from msgspec.structs import replace

from weft.api.gateway.http_route import HTTPPathMatch, HTTPRouteMatch


def both(one: HTTPRouteMatch, other: HTTPRouteMatch) -> HTTPRouteMatch | None:
    """The match that holds where both do; None when that is nowhere, or cannot be written as one
    match: two expressions for paths, an expression and a prefix other than `/`, two methods."""
    path = path_of_both(one.path, other.path)
    if path is None or (one.method and other.method and one.method != other.method):
        return None
    return replace(
        one,
        path=path,
        method=one.method or other.method,
        headers=(*one.headers, *other.headers),
        query_params=(*one.query_params, *other.query_params),
    )


def path_of_both(one: HTTPPathMatch, other: HTTPPathMatch) -> HTTPPathMatch | None:
    for wide, narrow in ((one, other), (other, one)):
        if wide == narrow or _is_all(wide):
            return narrow
        if wide.type == "PathPrefix" and narrow.type in ("Exact", "PathPrefix"):
            prefix = wide.value.rstrip("/")
            if narrow.value == prefix or narrow.value.startswith(f"{prefix}/"):
                return narrow
    return None


def _is_all(path: HTTPPathMatch) -> bool:
    return path.type == "PathPrefix" and path.value in ("", "/")
