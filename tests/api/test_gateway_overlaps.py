"""What two matches of HTTPRoutes have in common."""

import pytest

from weft.api.gateway.http_route import HTTPHeaderMatch, HTTPPathMatch, HTTPRouteMatch
from weft.api.gateway.overlaps import both, path_of_both


def path(text: str) -> HTTPPathMatch:
    if text.startswith("="):
        return HTTPPathMatch("Exact", text[1:])
    if text.startswith("~"):
        return HTTPPathMatch("RegularExpression", text[1:])
    return HTTPPathMatch("PathPrefix", text)


@pytest.mark.parametrize(
    ("one", "other", "common"),
    [
        ("/", "/a", "/a"), ("/a", "/a/b", "/a/b"), ("/a", "/ab", None),
        ("/a", "=/a", "=/a"), ("/a", "=/a/b", "=/a/b"), ("=/a", "=/b", None), ("=/a", "/a/b", None),
        ("/", "~/a.*", "~/a.*"), ("/a", "~/a.*", None), ("~x", "~x", "~x"),
    ],
)  # fmt: skip
def test_paths(one: str, other: str, common: str | None) -> None:
    wanted = path(common) if common else None
    assert path_of_both(path(one), path(other)) == wanted
    assert path_of_both(path(other), path(one)) == wanted


def test_methods_and_headers() -> None:
    header = HTTPHeaderMatch(name="x", value="y")
    get, post = HTTPRouteMatch(method="GET"), HTTPRouteMatch(method="POST")
    assert both(get, post) is None
    assert both(get, HTTPRouteMatch(headers=(header,))) == HTTPRouteMatch(
        method="GET", headers=(header,)
    )
