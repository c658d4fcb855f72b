"""Values of labels that proxies can fill in, and those that they cannot."""

import pytest

from weft.mesh.label_changes import changed
from weft.mesh.model import LabelChange


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("'shop'", {"literal": "shop"}),
        ('"a b"', {"literal": "a b"}),
        ("''", {"literal": ""}),
        ("request.method", {"command": "%REQUEST_HEADER(:METHOD)%"}),
        ("request.headers['x-user']", {"command": "%REQUEST_HEADER(x-user)%"}),
        ('response.headers["x-shard"]', {"command": "%RESPONSE_HEADER(x-shard)%"}),
    ],
)
def test_texts_and_attributes(value: str, wanted: dict[str, str]) -> None:
    found = changed("requests_total", "team", "UPSERT", value)
    assert found == LabelChange("requests_total", "team", **wanted)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("size", "string(request.size)"),
        ("x", "request.headers['a)%']"),
        ("x", "'a' + 'b'"),
        ("x", "'a\x1fb'"),
        ("x", ""),
        ("le", "'5'"),
        ('a="b",c', "'x'"),
        ("-x", "'x'"),
    ],
)
def test_others_are_left(label: str, value: str) -> None:
    assert changed("requests_total", label, "UPSERT", value) is None


def test_a_label_is_left_out_whatever_its_value() -> None:
    found = changed("requests_total", "response_flags", "REMOVE", "")
    assert found == LabelChange("requests_total", "response_flags")
    assert changed("requests_total", 'a="b"', "REMOVE", "") is None
