"""Server-side apply and field ownership, as the documentation of Kubernetes tells it."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.apiserver.support import Api, deployment, kind, pod, service
from weft.api.errors import ApiError
from weft.api.schema import schema_for
from weft.apiserver.field_paths import places, present, show, tree_of
from weft.apiserver.request import WriteOptions
from weft.apiserver.structured_merge import compare, tree_of_all


def by(manager: str, *, force: bool = False, **more: Any) -> WriteOptions:
    return WriteOptions(field_manager=manager, force=force, tracks=True, **more)


async def apply(
    api: Api,
    plural: str,
    obj: dict[str, Any],
    manager: str,
    sub: str = "",
    *,
    force: bool = False,
    **more: Any,
) -> dict[str, Any]:
    options = by(manager, force=force, **more)
    return await api.patch(plural, obj["metadata"]["name"], obj, "apply", sub, options)


def owners(obj: dict[str, Any]) -> dict[str, set[str]]:
    """Manager/operation[/subresource] to the places it owns, as messages show them."""
    found = {}
    for entry in obj["metadata"].get("managedFields", []):
        sub = f"/{entry['subresource']}" if "subresource" in entry else ""
        key = f"{entry['manager']}/{entry['operation']}{sub}"
        found[key] = {show(place) for place in places(entry["fieldsV1"])}
    return found


def config(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


async def test_apply_creates_then_merges_and_removes_what_is_left_out(api: Api) -> None:
    made = await apply(api, "configmaps", config(a="1", b="2"), "me")
    assert owners(made) == {"me/Apply": {".data.a", ".data.b"}}
    assert made["metadata"]["managedFields"][0]["fieldsType"] == "FieldsV1"
    other = await api.patch("configmaps", "c", {"data": {"x": "9"}}, options=by("other"))
    assert owners(other)["other/Update"] == {".data.x"}
    later = await apply(api, "configmaps", config(b="3"), "me")
    assert later["data"] == {"b": "3", "x": "9"}
    assert owners(later) == {"me/Apply": {".data.b"}, "other/Update": {".data.x"}}
    emptied = await apply(api, "configmaps", {k: v for k, v in config().items() if k != "data"},
                          "me")  # fmt: skip
    assert emptied["data"] == {"x": "9"}
    assert list(owners(emptied)) == ["other/Update"]


async def test_an_equal_apply_writes_nothing(api: Api) -> None:
    first = await apply(api, "deployments", with_kind(deployment()), "me")
    api.clock.now += 100
    again = await apply(api, "deployments", with_kind(deployment()), "me")
    assert again == first


def with_kind(obj: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Service"} | obj


async def test_conflicts_name_manager_and_fields(api: Api) -> None:
    await apply(api, "deployments", deployment(replicas=2), "me")
    await api.patch("deployments", "web", {"spec": {"replicas": 5}}, options=by("scaler"))
    await api.patch("deployments", "web", {"spec": {"paused": True}}, options=by("scaler"))
    with pytest.raises(ApiError) as caught:
        await apply(api, "deployments", deployment(replicas=3), "me")
    error = caught.value
    assert (error.code, error.reason) == (409, "Conflict")
    assert error.message == (
        'Apply failed with 1 conflict: conflict with "scaler" using apps/v1: .spec.replicas'
    )
    assert error.details["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "scaler" using apps/v1',
            "field": ".spec.replicas",
        }
    ]
    assert (await api.get("deployments", "web"))["spec"]["replicas"] == 5
    both = deployment(replicas=3)
    both["spec"]["paused"] = False
    with pytest.raises(ApiError, match=r"2 conflicts: conflicts with \"scaler\" using apps/v1:\n"):
        await apply(api, "deployments", both, "me")
    forced = await apply(api, "deployments", deployment(replicas=3), "me", force=True)
    assert forced["spec"]["replicas"] == 3
    assert owners(forced)["scaler/Update"] == {".spec.paused"}


async def test_equal_values_are_shared_and_kept_while_one_owns_them(api: Api) -> None:
    await apply(api, "configmaps", config(a="1"), "one")
    both = await apply(api, "configmaps", config(a="1"), "two")
    assert owners(both) == {"one/Apply": {".data.a"}, "two/Apply": {".data.a"}}
    without = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    assert (await apply(api, "configmaps", without, "one"))["data"] == {"a": "1"}
    assert "data" not in await apply(api, "configmaps", without, "two")


async def test_list_elements_by_their_keys(api: Api) -> None:
    """Containers by name, ports by port and protocol (whose default counts), order as applied."""
    obj = deployment()
    containers = obj["spec"]["template"]["spec"]["containers"]
    containers[0]["ports"] = [{"containerPort": 80}]
    made = await apply(api, "deployments", obj, "me")
    mine = owners(made)["me/Apply"]
    pod = ".spec.template.spec"
    assert f'{pod}.containers[name="c"].ports[containerPort=80,protocol="TCP"]' in mine
    sidecar = deployment()
    sidecar["spec"]["template"]["spec"]["containers"] = [{"name": "side", "image": "s:1"}]
    both = await apply(api, "deployments", sidecar, "injector")
    names = [c["name"] for c in both["spec"]["template"]["spec"]["containers"]]
    assert names == ["c", "side"]
    containers.insert(0, {"name": "first", "image": "f:1"})
    ordered = await apply(api, "deployments", obj, "me")
    names = [c["name"] for c in ordered["spec"]["template"]["spec"]["containers"]]
    assert sorted(names) == ["c", "first", "side"]
    assert names.index("first") < names.index("c")
    containers.pop(0)
    gone = await apply(api, "deployments", obj, "me")
    names = [c["name"] for c in gone["spec"]["template"]["spec"]["containers"]]
    assert names == ["c", "side"]


async def test_atomic_values_have_one_owner(api: Api) -> None:
    await apply(api, "services", with_kind(service(selector={"app": "web"})), "me")
    changed = service(selector={"app": "web", "v": "2"})
    with pytest.raises(ApiError, match=r"\.spec\.selector"):
        await apply(api, "services", with_kind(changed), "other")


async def test_finalizers_are_a_set(api: Api) -> None:
    obj = config()
    obj["metadata"]["finalizers"] = ["a.io/x"]
    await apply(api, "configmaps", obj, "one")
    obj["metadata"]["finalizers"] = ["b.io/y"]
    both = await apply(api, "configmaps", obj, "two")
    assert both["metadata"]["finalizers"] == ["a.io/x", "b.io/y"]
    assert '.metadata.finalizers[="b.io/y"]' in owners(both)["two/Apply"]


async def test_what_nobody_was_seen_to_set_belongs_to_before_first_apply(api: Api) -> None:
    await api.create("deployments", deployment(replicas=2))
    with pytest.raises(ApiError, match='conflict with "before-first-apply" using apps/v1'):
        await apply(api, "deployments", deployment(replicas=3), "me")
    same = await apply(api, "deployments", deployment(replicas=2), "me")
    assert {"before-first-apply/Update", "me/Apply"} == owners(same).keys()


async def test_updates_are_tracked(api: Api) -> None:
    made = await api.create("deployments", deployment(), by("creator"))
    mine = owners(made)["creator/Update"]
    assert {".spec.replicas", ".spec.selector", ".metadata.labels"} <= mine
    assert not {".spec", ".metadata", ".status", ".metadata.name", ".kind"} & mine
    status = await api.patch(
        "deployments", "web", {"status": {"replicas": 2}}, sub="status", options=by("ctl")
    )
    assert owners(status)["ctl/Update/status"] == {".status.replicas"}
    changed = await api.patch("deployments", "web", {"spec": {"replicas": 9}}, options=by("x"))
    assert owners(changed)["x/Update"] == {".spec.replicas"}
    assert ".spec.replicas" not in owners(changed)["creator/Update"]
    removed = await api.patch("deployments", "web", {"metadata": {"labels": None}}, options=by("x"))
    assert not [p for p in owners(removed)["creator/Update"] if p.startswith(".metadata")]


async def test_own_writes_are_not_tracked_until_somebody_else_writes(api: Api) -> None:
    made = await api.client.create(api.target("configmaps").kind, config(a="1"), "default")
    assert b"managedFields" not in made
    await api.client.patch(api.target("configmaps").kind, "c", {"data": {"b": "1"}}, "default")
    assert "managedFields" not in (await api.get("configmaps", "c"))["metadata"]
    await api.patch("configmaps", "c", {"data": {"x": "1"}}, options=by("other"))
    await api.client.patch(api.target("configmaps").kind, "c", {"data": {"y": "1"}}, "default")
    found = owners(await api.get("configmaps", "c"))
    assert found == {"other/Update": {".data.x"}, "weft/Update": {".data.y"}}


async def test_clients_may_write_managed_fields(api: Api) -> None:
    """kubectl's migration from client-side apply does, by JSON patch; `[{}]` forgets."""
    await api.create("configmaps", config(a="1"), by("kubectl-client-side-apply"))
    entry = (await api.get("configmaps", "c"))["metadata"]["managedFields"][0]
    moved = [entry | {"manager": "kubectl", "operation": "Apply"}]
    patch = [{"op": "replace", "path": "/metadata/managedFields", "value": moved}]
    after = await api.patch("configmaps", "c", patch, "json", options=by("kubectl"))
    assert owners(after) == {"kubectl/Apply": {".data", ".data.a"}}
    assert "data" not in await apply(
        api, "configmaps", {k: v for k, v in config().items() if k != "data"}, "kubectl"
    )
    again = await api.patch("configmaps", "c", {"data": {"z": "1"}}, options=by("q"))
    again["metadata"]["managedFields"] = []
    assert owners(await api.update("configmaps", again, options=by("q")))
    again["metadata"]["managedFields"] = [{}]
    again["metadata"].pop("resourceVersion")
    assert not owners(await api.update("configmaps", again, options=by("q")))
    again["metadata"]["managedFields"] = [{"operation": "Nonsense"}]
    assert not owners(await api.update("configmaps", again, options=by("q")))


async def test_status_and_scale_are_applied_on_their_own(api: Api) -> None:
    await apply(api, "deployments", deployment(replicas=2), "me")
    status = deployment() | {"spec": {"replicas": 7}, "status": {"replicas": 2}}
    after = await apply(api, "deployments", status, "ctl", "status")
    assert after["status"]["replicas"] == 2
    assert after["spec"]["replicas"] == 2
    assert owners(after)["ctl/Apply/status"] == {".status.replicas"}
    scale = {
        "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"},
        "spec": {"replicas": 4},
    }  # fmt: skip
    with pytest.raises(ApiError, match=r'conflict with "me": \.spec\.replicas'):
        await apply(api, "deployments", scale, "hpa", "scale")
    done = await apply(api, "deployments", scale, "hpa", "scale", force=True)
    assert (done["kind"], done["spec"]["replicas"]) == ("Scale", 4)
    found = owners(await api.get("deployments", "web"))
    assert found["hpa/Apply/scale"] == {".spec.replicas"}
    assert ".spec.replicas" not in found["me/Apply"]


async def test_dry_run_changes_nothing(api: Api) -> None:
    shown = await apply(api, "configmaps", config(a="1"), "me", dry_run=True)
    assert shown["data"] == {"a": "1"}
    with pytest.raises(ApiError, match="not found"):
        await api.get("configmaps", "c")


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        ({"kind": ""}, 400, "must say its kind"),
        ({"kind": "Secret"}, 400, "cannot be handled as a ConfigMap"),
        ({"metadata": {"name": "x"}}, 400, "does not match the name on the URL"),
        ({"metadata": {"name": "c", "namespace": "n"}}, 400, "namespace"),
        ({"metadata": {"name": "c", "managedFields": [{}]}}, 400, "must be nil"),
        ({"metadata": {"name": "c", "resourceVersion": "1"}}, 409, "modified"),
        ({"metadata": {"name": "c", "uid": "1"}}, 409, "UID"),
        ({"dada": {}}, 400, "unknown field"),
        ({"data": []}, 400, "must be of type"),
    ],
)
async def test_configurations_that_are_refused(
    api: Api, change: dict[str, Any], code: int, text: str
) -> None:
    with pytest.raises(ApiError, match=text) as caught:
        await api.patch("configmaps", "c", config() | change, "apply", options=by("me"))
    assert caught.value.code == code


async def test_requests_that_are_refused(api: Api) -> None:
    with pytest.raises(ApiError, match="is required for apply patch") as caught:
        await api.patch("configmaps", "c", config(), "apply", options=WriteOptions())
    assert caught.value.code == 422
    await api.create("configmaps", config())
    with pytest.raises(ApiError, match="may not be specified for non-apply"):
        await api.patch("configmaps", "c", {}, options=by("me", force=True))
    twice = deployment()
    twice["spec"]["template"]["spec"]["containers"] *= 2
    with pytest.raises(ApiError, match="duplicate entries for key") as caught:
        await apply(api, "deployments", twice, "me")
    assert caught.value.code == 400


async def test_many_managers_become_one(api: Api) -> None:
    await api.create("configmaps", config(), by("first"))
    for number in range(14):
        api.clock.now += 1
        change = {"data": {f"k{number}": "v"}}
        await api.patch("configmaps", "c", change, options=by(f"m{number:02}"))
    found = owners(await api.get("configmaps", "c"))
    assert len(found) == 10
    assert ".data.k0" in found["ancient-changes/Update"]
    assert found["m13/Update"] == {".data.k13"}


@pytest.mark.parametrize(
    ("plural", "obj"),
    [
        ("deployments", deployment()),
        ("services", service(selector={"a": "b"}, externalIPs=["1.2.3.4"])),
        ("pods", pod(volumes=[{"name": "v", "emptyDir": {}}], nodeSelector={"a": "b"},
                     tolerations=[], affinity={}, hostAliases=[{"ip": "1.2.3.4"}])),
    ],
)  # fmt: skip
def test_the_walk_of_a_new_object_finds_what_a_comparison_finds(
    plural: str, obj: dict[str, Any]
) -> None:
    schema = schema_for(kind(plural))
    assert places(tree_of_all(schema, obj)) == compare(schema, {}, obj).added


STEPS = st.sampled_from(["f:a", "f:b", 'k:{"n":1}', 'v:"x"', "i:0"])


@given(st.sets(st.lists(STEPS, min_size=1, max_size=4).map(tuple)))
def test_sets_survive_their_written_form(found: set[tuple[str, ...]]) -> None:
    tree = tree_of(found)
    assert places(tree) == found
    assert present(tree, found) == found
    assert orjson.dumps(tree_of(places(tree))) == orjson.dumps(tree)
