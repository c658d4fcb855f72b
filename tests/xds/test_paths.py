"""Which paths a policy means: RE2 and Python agree on the expressions used here."""

import re

import pytest

from weft.mesh.model import StringMatch
from weft.mesh.path_patterns import DOUBTFUL
from weft.xds.paths import any_writing


def refused(pattern: StringMatch, path: str) -> bool:
    expression = any_writing(pattern).path.safe_regex.regex
    return bool(re.fullmatch(expression, path) or re.fullmatch(DOUBTFUL, path))


@pytest.mark.parametrize(
    "path",
    ["/admin/x", "//admin/x", "/%61dmin/x", "/ADMIN/x", "/admin%2Fx", "/admin%5cx", "/admin;a=b/x",
     "/admin/x;v=1", "/admin/x/", "/a/..%2fadmin/x", "/a/%2e%2e%2fadmin/x", "/a/..;/admin/x",
     "/%2561dmin/x%252e", "/admin//x", "/admin\\x"],
)  # fmt: skip
def test_all_writings_are_refused(path: str) -> None:
    assert refused(StringMatch("exact", "/admin/x"), path)


@pytest.mark.parametrize("path", ["/admin", "/admin/xy", "/user/x", "/a/b.c/..d", "/admin/x/y"])
def test_other_paths_are_not(path: str) -> None:
    assert not refused(StringMatch("exact", "/admin/x"), path)


def test_prefixes_suffixes_and_templates() -> None:
    assert refused(StringMatch("prefix", "/adm"), "/%61dmin/anything")
    assert refused(StringMatch("suffix", "/x"), "/a/b;c/%78")
    assert not refused(StringMatch("suffix", "/x"), "/a/by")
    assert refused(StringMatch("template", "/items/{*}/parts/{**}"), "/%69tems/7//parts/a/b")
    assert not refused(StringMatch("template", "/items/{*}"), "/items/7/8")
    assert refused(StringMatch("regex", "/items/[^/]+"), "/ITEMS/7")
