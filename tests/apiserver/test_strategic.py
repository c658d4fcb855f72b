"""Strategic merge patches against the real schemas of Kubernetes' kinds."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apiserver.support import kind
from tests.examples import examples
from weft.apiserver.rules import patch_rules
from weft.apiserver.strategic import FieldRule, PatchError, strategic_merge


def merge(original: Any, patch: Any, of: str = "pods") -> Any:
    return strategic_merge(original, patch, patch_rules(kind(of)))


def containers(*names: str) -> list[dict[str, Any]]:
    return [{"name": n, "image": f"{n}:1"} for n in names]


def test_lists_of_named_objects_merge_by_their_key() -> None:
    old = {"spec": {"containers": containers("a", "b")}}
    patch = {"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]}}
    merged = merge(old, patch)["spec"]["containers"]
    assert [c["image"] for c in merged] == ["a:1", "b:2", "c:1"]
    assert old["spec"]["containers"][1]["image"] == "b:1"


def test_rules_reach_through_templates_and_lists() -> None:
    def spec(env: list[Any]) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"containers": [{"name": "a", "env": env}]}}}}

    merged = merge(
        spec([{"name": "A", "value": "1"}]), spec([{"name": "B", "value": "2"}]), "deployments"
    )
    env = merged["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [e["name"] for e in env] == ["A", "B"]


def test_a_list_without_a_merge_key_is_replaced() -> None:
    old = {"spec": {"containers": [{"name": "a", "args": ["1", "2"]}]}}
    merged = merge(old, {"spec": {"containers": [{"name": "a", "args": ["3"]}]}})
    assert merged["spec"]["containers"][0]["args"] == ["3"]


def test_null_removes_and_delete_directive_removes_an_element() -> None:
    old = {
        "metadata": {"labels": {"a": "1", "b": "2"}},
        "spec": {"containers": containers("a", "b")},
    }
    patch = {
        "metadata": {"labels": {"a": None}},
        "spec": {"containers": [{"name": "a", "$patch": "delete"}]},
    }
    merged = merge(old, patch)
    assert merged["metadata"]["labels"] == {"b": "2"}
    assert [c["name"] for c in merged["spec"]["containers"]] == ["b"]


def test_replace_directive_in_maps_and_lists() -> None:
    old = {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": containers("a", "b")}}
    patch = {
        "metadata": {"labels": {"$patch": "replace", "c": "3"}},
        "spec": {"containers": [{"$patch": "replace"}, *containers("z")]},
    }
    merged = merge(old, patch)
    assert merged["metadata"]["labels"] == {"c": "3"}
    assert [c["name"] for c in merged["spec"]["containers"]] == ["z"]


def test_retain_keys_drops_the_other_fields_of_a_union() -> None:
    old = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert merge(old, patch, "deployments")["spec"]["strategy"] == {"type": "Recreate"}
    bad = {"spec": {"strategy": {"$retainKeys": [], "type": "Recreate"}}}
    with pytest.raises(PatchError, match="type"):
        merge(old, bad, "deployments")


def test_primitive_lists_are_sets_with_their_own_deletion() -> None:
    old = {"metadata": {"finalizers": ["a", "b"]}}
    assert merge(old, {"metadata": {"finalizers": ["c", "a"]}})["metadata"]["finalizers"] == [
        "a", "b", "c",
    ]  # fmt: skip
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert merge(old, patch)["metadata"]["finalizers"] == ["b"]


def test_element_order_of_the_patch_wins_and_others_keep_their_place() -> None:
    old = {"spec": {"containers": containers("server", "a", "b")}}
    patch = {
        "spec": {
            "$setElementOrder/containers": [{"name": "new"}, {"name": "b"}, {"name": "a"}],
            "containers": [{"name": "new", "image": "new:1"}],
        }
    }
    names = [c["name"] for c in merge(old, patch)["spec"]["containers"]]
    assert [n for n in names if n != "server"] == ["new", "b", "a"]
    assert "server" in names


def test_order_alone_reorders() -> None:
    old = {"spec": {"containers": containers("a", "b")}}
    patch = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert [c["name"] for c in merge(old, patch)["spec"]["containers"]] == ["b", "a"]


def test_service_ports_merge_by_port() -> None:
    old = {"spec": {"ports": [{"port": 80, "nodePort": 30080}]}}
    merged = merge(old, {"spec": {"ports": [{"port": 80, "name": "http"}]}}, "services")
    assert merged["spec"]["ports"] == [{"port": 80, "nodePort": 30080, "name": "http"}]


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ({"spec": {"containers": [{"image": "x"}]}}, "merge key `name`"),
        ({"spec": {"$patch": "explode"}}, "explode"),
        ([], "JSON object"),
        ({"spec": {"containers": ["x"]}}, "list of objects"),
    ],
)
def test_a_wrong_patch_says_what_is_wrong(patch: Any, text: str) -> None:
    with pytest.raises(PatchError, match=text):
        merge({"spec": {"containers": containers("a")}}, patch)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=8,
)


@examples(60)
@given(st.dictionaries(st.sampled_from("abc"), JSON), st.dictionaries(st.sampled_from("abc"), JSON))
def test_without_merged_lists_it_is_a_json_merge_patch(
    old: dict[str, Any], patch: dict[str, Any]
) -> None:
    from weft.apiserver.patches import merge as json_merge

    def lists_as_text(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: lists_as_text(v) for k, v in value.items()}
        return str(value) if isinstance(value, list) else value

    old, patch = lists_as_text(old), lists_as_text(patch)
    assert strategic_merge(old, patch, lambda _: FieldRule()) == json_merge(old, patch)
