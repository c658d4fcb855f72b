"""Label and field selectors."""

import pytest

from weft.api.k8s.meta_v1 import LabelSelector, LabelSelectorRequirement
from weft.api.selectors import (
    EVERYTHING,
    format_selector,
    from_selector,
    matches_labels,
    matches_selector,
    parse_fields,
    parse_labels,
)

WEB = {"app": "web", "tier": "front", "example.com/team": "a"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("app=web", True), ("app==web", True), ("app=db", False), ("app!=db", True),
        ("app!=web", False), ("missing!=x", True), ("missing=x", False), ("app", True),
        ("missing", False), ("!missing", True), ("!app", False), ("app in (web, db)", True),
        ("app in (db)", False), ("app notin (db)", True), ("missing notin (x)", True),
        ("app=web,tier in (back,front),!old", True), ("app=web,tier=back", False),
        ("example.com/team=a", True), (" app = web , tier ", True), ("missing=", False),
    ],
)  # fmt: skip
def test_label_selectors(text: str, matches: bool) -> None:
    assert parse_labels(text).matches(WEB) is matches


@pytest.mark.parametrize("text", ["=a", "a in", "a in (x", "a=b,,c", "a b", "a>1", "a=b c"])
def test_bad_label_selectors(text: str) -> None:
    with pytest.raises(ValueError, match="unable to parse requirement"):
        parse_labels(text)


def test_selector_values() -> None:
    wanted = LabelSelector(
        match_labels={"app": "web"},
        match_expressions=(
            LabelSelectorRequirement(key="tier", operator="In", values=("front", "back")),
            LabelSelectorRequirement(key="old", operator="DoesNotExist"),
            LabelSelectorRequirement(key="tier", operator="Exists"),
            LabelSelectorRequirement(key="app", operator="NotIn", values=("db",)),
        ),
    )
    assert matches_selector(wanted, WEB)
    assert not matches_selector(wanted, WEB | {"old": ""})
    assert not matches_selector(wanted, {"app": "web"})
    assert format_selector(wanted) == "app=web,tier in (back,front),!old,tier,app notin (db)"


def test_absent_chooses_nothing_and_empty_everything() -> None:
    assert not matches_selector(None, WEB)
    assert matches_selector({}, {})
    assert from_selector({}) == EVERYTHING
    assert format_selector({}) == "<none>"
    assert not matches_labels({}, WEB)
    assert matches_labels({"app": "web"}, WEB)
    assert not matches_labels({"app": "web"}, None)


def test_json_and_value_say_the_same() -> None:
    body = {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}
    assert matches_selector(body, WEB)
    assert matches_selector(body, {})


POD = {
    "metadata": {"name": "a", "namespace": "n"},
    "spec": {"nodeName": "n1", "hostNetwork": True},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True), ("metadata.name=a", True), ("metadata.name==b", False),
        ("status.phase!=Running", False), ("spec.nodeName=n1,status.phase=Running", True),
        ("spec.unknown=", True), ("spec.unknown=x", False), ("spec.hostNetwork=true", True),
        ("metadata.name=a,", True), ("metadata.name.deeper=x", False),
    ],
)  # fmt: skip
def test_field_selectors(text: str, matches: bool) -> None:
    assert parse_fields(text).matches(POD) is matches


def test_field_values_may_hold_commas() -> None:
    found = parse_fields(r"reason=a\,b,type!=x")
    assert found.value_of("reason") == "a,b"
    assert found.value_of("type") is None
    with pytest.raises(ValueError, match="invalid field selector"):
        parse_fields("nonsense")
