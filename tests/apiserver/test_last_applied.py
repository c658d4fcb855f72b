"""What client-side apply set, and who may take it over."""

from typing import Any

import orjson
import pytest

from tests.apiserver.support import Api, kind
from weft.api.errors import ApiError
from weft.api.schema import schema_for
from weft.apiserver.last_applied import ANNOTATION, refreshed, taken_over
from weft.apiserver.request import WriteOptions

DATA = ("f:data", "f:a")


def live(applied: Any, **data: str) -> dict[str, Any]:
    text = applied if isinstance(applied, str) else orjson.dumps(applied).decode()
    return {"metadata": {"name": "m", "annotations": {ANNOTATION: text}}, "data": data}


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": data}


@pytest.mark.parametrize(
    ("obj", "manager", "owned"),
    [
        (live(config(a="1"), a="1"), "kubectl", True),
        (live(config(a="1"), a="1"), "other", False),
        (live(config(a="1"), a="2"), "kubectl", False),
        (live(config(a="1"), b="1"), "kubectl", False),
        (live(config(a="1") | {"apiVersion": "v2"}, a="1"), "kubectl", False),
        (live("{", a="1"), "kubectl", False),
        (live("[]", a="1"), "kubectl", False),
        ({"metadata": {"name": "m"}, "data": {"a": "1"}}, "kubectl", False),
    ],
)
def test_kubectl_takes_over_what_is_as_it_was_applied(
    obj: dict[str, Any], manager: str, owned: bool
) -> None:
    found = taken_over(schema_for(kind("configmaps")), obj, manager, "v1")
    assert (DATA in found) is owned


def test_the_annotation_follows_where_there_is_one() -> None:
    was = live(config(a="1"), a="2")
    text = refreshed(was, config(a="2"), "kubectl", "v1")["metadata"]["annotations"][ANNOTATION]
    assert orjson.loads(text) == config(a="2") | {"metadata": {"name": "m", "annotations": {}}}
    assert refreshed(was, config(a="2"), "other", "v1") is was
    bare = {"metadata": {"name": "m"}}
    assert refreshed(bare, config(a="2"), "kubectl", "v1") is bare


async def test_fields_that_others_changed_since_still_conflict(api: Api) -> None:
    by = {name: WriteOptions(field_manager=name) for name in ("kubectl", "kubectl-client", "x")}
    first = live(config(a="1", b="1"), a="1", b="1")
    await api.create("configmaps", first, by["kubectl-client"])
    await api.patch("configmaps", "m", {"data": {"b": "x"}}, options=by["x"])
    with pytest.raises(ApiError) as refused:
        await api.patch("configmaps", "m", config(a="2", b="2"), "apply", options=by["kubectl"])
    assert [c["field"] for c in refused.value.details["causes"]] == [".data.b"]
    done = await api.patch("configmaps", "m", config(a="2"), "apply", options=by["kubectl"])
    assert done["data"] == {"a": "2", "b": "x"}
