"""Verbs over a real (memory) store."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.apiserver.support import USER, Api, config_map, deployment, pod, service
from weft.api.errors import ApiError
from weft.apiserver.access import Review, Verdict
from weft.apiserver.addresses import Ranges
from weft.apiserver.request import DeleteOptions, ListOptions, WriteOptions

DRY = WriteOptions(dry_run=True)
STRICT = WriteOptions(field_validation="Strict")


async def refused(awaitable: Any, code: int, text: str = "") -> ApiError:
    with pytest.raises(ApiError) as caught:
        await awaitable
    assert caught.value.code == code, caught.value.message
    assert text in caught.value.message
    return caught.value


# ------------------------------------------------------------------ create and read


async def test_create_sets_what_the_server_owns(api: Api) -> None:
    made = await api.create("pods", pod() | {"status": {"phase": "Running"}})
    assert made["metadata"]["creationTimestamp"] == "2026-09-21T14:13:20Z"
    assert made["metadata"]["namespace"] == "default"
    assert len(made["metadata"]["uid"]) == 36
    assert made["status"]["phase"] == "Pending"
    assert made["metadata"]["resourceVersion"] == str(api.store.revision)
    assert await api.get("pods", "p") == made


async def test_generated_names_are_fresh(api: Api) -> None:
    body = {"metadata": {"generateName": "job-"}, "data": {}}
    names = {(await api.create("configmaps", body))["metadata"]["name"] for _ in range(20)}
    assert len(names) == 20
    assert all(n.startswith("job-") and len(n) == 9 for n in names)


async def test_creating_twice_is_already_exists(api: Api) -> None:
    await api.create("configmaps", config_map("a"))
    error = await refused(api.create("configmaps", config_map("a")), 409, "already exists")
    assert error.reason == "AlreadyExists"
    assert error.message == 'configmaps "a" already exists'


async def test_namespace_must_exist_and_not_end(api: Api) -> None:
    error = await refused(api.create("pods", pod(), namespace="nope"), 404)
    assert error.message == 'namespaces "nope" not found'
    await api.create("namespaces", {"metadata": {"name": "old"}})
    await api.client.delete(api.target("namespaces").kind, "old")
    error = await refused(api.create("configmaps", config_map("a"), namespace="old"), 403)
    assert error.message == (
        'configmaps "a" is forbidden: unable to create new content in namespace old because it is '
        "being terminated"
    )
    assert error.details["causes"][0]["reason"] == "NamespaceTerminating"


async def test_every_namespace_has_a_default_service_account(api: Api) -> None:
    account = await api.get("serviceaccounts", "default")
    assert account["metadata"]["uid"]


async def test_dry_run_writes_nothing_and_still_checks(api: Api) -> None:
    before = api.store.revision
    made = await api.create("configmaps", config_map("a"), DRY)
    assert made["metadata"]["uid"]
    assert "resourceVersion" not in made["metadata"]
    await refused(api.create("pods", {"metadata": {"name": "x"}, "spec": {}}, DRY), 422)
    await api.create("configmaps", config_map("b", k="1"))
    patched = await api.patch("configmaps", "b", {"data": {"k": "2"}}, options=DRY)
    assert patched["data"] == {"k": "2"}
    await api.resources.delete(api.target("configmaps", "b"), DeleteOptions(dry_run=True), USER)
    assert (await api.get("configmaps", "b"))["data"] == {"k": "1"}
    assert api.store.revision == before + 1


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ({"kind": "Secret", "metadata": {"name": "a"}}, 400, "cannot be handled as a ConfigMap"),
        ({"apiVersion": "v2", "metadata": {"name": "a"}}, 400, "does not match the expected API"),
        ({"metadata": {"name": "a", "namespace": "other"}}, 400, "does not match the namespace"),
        ({"metadata": {}}, 422, "name or generateName is required"),
        ({"metadata": {"name": "a", "resourceVersion": "5"}}, 400, "should not be set"),
        ({"metadata": {"name": "Bad_Name"}}, 422, "RFC 1123"),
        ({"metadata": {"name": "a"}, "data": {"k": 1}}, 400, "data.k"),
        ({"metadata": []}, 400, "metadata"),
        ([], 400, "JSON object"),
        (None, 400, "JSON object"),
    ],
)
async def test_bad_bodies(api: Api, body: Any, code: int, text: str) -> None:
    before = api.store.revision
    await refused(api.create("configmaps", body), code, text)
    assert api.store.revision == before


async def test_unknown_fields_by_field_validation(api: Api) -> None:
    body = deployment()
    body["spec"]["replica"] = 3
    error = await refused(api.create("deployments", body, STRICT), 400)
    assert error.message.startswith(
        'Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: '
        'unknown field "spec.replica"'
    )
    done = await api.resources.create(api.target("deployments"), body, WriteOptions(), USER)
    assert done.warnings[0].startswith('unknown field "spec.replica"')
    assert "replica" not in orjson.loads(done.body)["spec"]


async def test_istio_versions_are_one_object(api: Api) -> None:
    from weft.apiserver.request import Target

    found = api.target("virtualservices")
    beta = Target(found.kind, "v1beta1", "default")
    body = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]},
    }
    done = await api.resources.create(beta, body, WriteOptions(), USER)
    assert orjson.loads(done.body)["apiVersion"] == "networking.istio.io/v1beta1"
    assert (await api.get("virtualservices", "web"))["apiVersion"] == "networking.istio.io/v1"


# ------------------------------------------------------------------ list


async def names(api: Api, **options: Any) -> list[str]:
    page = await api.resources.list(api.target("configmaps"), ListOptions(**options))
    return [e.key.rpartition("/")[2] for e in page.entries]


async def test_list_by_labels_and_fields(api: Api) -> None:
    for name, tier in (("a", "web"), ("b", "db"), ("c", "web")):
        body = config_map(name) | {"metadata": {"name": name, "labels": {"tier": tier}}}
        await api.create("configmaps", body)
    await api.create("namespaces", {"metadata": {"name": "other"}})
    await api.create("configmaps", config_map("a"), namespace="other")
    assert await names(api) == ["a", "b", "c"]
    assert await names(api, label_selector="tier=web") == ["a", "c"]
    assert await names(api, label_selector="tier notin (web)") == ["b"]
    assert await names(api, field_selector="metadata.name=b") == ["b"]
    assert await names(api, field_selector="metadata.name!=b", label_selector="tier") == ["a", "c"]
    everywhere = await api.resources.list(
        api.target("configmaps", namespace=""), ListOptions(field_selector="metadata.name=a")
    )
    assert len(everywhere.entries) == 2
    await refused(names(api, label_selector="=="), 400)


async def test_pages_show_one_moment(api: Api) -> None:
    for at in range(5):
        await api.create("configmaps", config_map(f"c{at}"))
    target = api.target("configmaps")
    first = await api.resources.list(target, ListOptions(limit=2))
    assert first.remaining == 3
    await api.create("configmaps", config_map("c1a"))
    await api.client.delete(target.kind, "c3", "default")
    token = first.continue_token
    second = await api.resources.list(target, ListOptions(limit=2, continue_token=token))
    third = await api.resources.list(
        target, ListOptions(limit=2, continue_token=second.continue_token)
    )
    found = [e.key[-2:] for page in (first, second, third) for e in page.entries]
    assert found == ["c0", "c1", "c2", "c3", "c4"]
    assert first.revision == second.revision == third.revision
    assert not third.continue_token


async def test_pages_with_a_selector(api: Api) -> None:
    for at in range(6):
        body = {"metadata": {"name": f"c{at}", "labels": {"odd": str(at % 2)}}}
        await api.create("configmaps", body)
    options = ListOptions(limit=2, label_selector="odd=1")
    page = await api.resources.list(api.target("configmaps"), options)
    assert [e.key[-2:] for e in page.entries] == ["c1", "c3"]
    options = ListOptions("odd=1", limit=2, continue_token=page.continue_token)
    page = await api.resources.list(api.target("configmaps"), options)
    assert [e.key[-2:] for e in page.entries] == ["c5"]
    assert not page.continue_token


async def test_old_pages_expire_with_compaction(api: Api) -> None:
    for at in range(3):
        await api.create("configmaps", config_map(f"c{at}"))
    target = api.target("configmaps")
    page = await api.resources.list(target, ListOptions(limit=1))
    await api.create("configmaps", config_map("x"))
    await api.store.compact(api.store.revision)
    error = await refused(
        api.resources.list(target, ListOptions(limit=1, continue_token=page.continue_token)), 410
    )
    assert error.reason == "Expired"
    assert "results in an inconsistent list" in error.message
    going_on = error.status()["metadata"]["continue"]
    page = await api.resources.list(target, ListOptions(limit=2, continue_token=going_on))
    assert [e.key[-2:] for e in page.entries] == ["c1", "c2"]
    assert page.revision == api.store.revision
    rest = ListOptions(limit=2, continue_token=page.continue_token)
    assert [e.key[-2:] for e in (await api.resources.list(target, rest)).entries] == ["/x"]
    await refused(names(api, resource_version="99999"), 504, "Too large resource version")
    await refused(names(api, resource_version="abc"), 400)
    await refused(names(api, continue_token="@@"), 400)


async def test_which_revision_a_list_shows(api: Api) -> None:
    """The table of API concepts: with a limit a number means that very revision."""
    for at in range(3):
        await api.create("configmaps", config_map(f"c{at}"))
    old = str(api.store.revision - 1)
    assert await names(api, resource_version=old) == ["c0", "c1", "c2"]
    assert await names(api, resource_version=old, limit=9) == ["c0", "c1"]
    assert await names(api, resource_version=old, resource_version_match="Exact") == ["c0", "c1"]
    newer = {"resource_version": old, "resource_version_match": "NotOlderThan"}
    assert await names(api, **newer, limit=9) == ["c0", "c1", "c2"]
    assert await names(api, resource_version="0", limit=9) == ["c0", "c1", "c2"]
    await api.store.compact(api.store.revision)
    await refused(names(api, resource_version=old, limit=9), 410, "too old resource version")


# ------------------------------------------------------------------ update and patch


async def test_stale_updates_conflict_and_equal_ones_do_nothing(api: Api) -> None:
    made = await api.create("configmaps", config_map("a", k="1"))
    same = await api.update("configmaps", made)
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    newer = await api.update("configmaps", made | {"data": {"k": "2"}})
    assert int(newer["metadata"]["resourceVersion"]) > int(made["metadata"]["resourceVersion"])
    error = await refused(api.update("configmaps", made | {"data": {"k": "3"}}), 409)
    assert error.reason == "Conflict"
    assert error.message == (
        'Operation cannot be fulfilled on configmaps "a": the object has been modified; please '
        "apply your changes to the latest version and try again"
    )


async def test_update_without_a_revision_replaces(api: Api) -> None:
    made = await api.create("configmaps", config_map("a", k="1"))
    updated = await api.update("configmaps", config_map("a", k="2"))
    assert updated["data"] == {"k": "2"}
    assert updated["metadata"]["uid"] == made["metadata"]["uid"]
    assert updated["metadata"]["creationTimestamp"] == made["metadata"]["creationTimestamp"]
    await refused(api.update("configmaps", config_map("gone")), 404, 'configmaps "gone" not found')


async def test_spec_and_status_are_written_apart(api: Api) -> None:
    made = await api.create("deployments", deployment())
    assert made["metadata"]["generation"] == 1
    body = made | {"status": {"replicas": 9}, "spec": made["spec"] | {"replicas": 5}}
    updated = await api.update("deployments", body)
    assert updated["status"] == {}
    assert updated["metadata"]["generation"] == 2
    body = updated | {"status": {"replicas": 9}, "spec": made["spec"] | {"replicas": 7}}
    updated = await api.update("deployments", body, "status")
    assert updated["status"] == {"replicas": 9}
    assert updated["spec"]["replicas"] == 5
    assert updated["metadata"]["generation"] == 2


async def test_immutable_selector_is_refused(api: Api) -> None:
    await api.create("deployments", deployment())
    patch = {"spec": {"selector": {"matchLabels": {"x": "y"}}}}
    await refused(api.patch("deployments", "web", patch), 422, "field is immutable")


async def test_patches_of_every_kind(api: Api) -> None:
    await api.create("deployments", deployment())
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "app:2"}]}}}}
    done = await api.patch("deployments", "web", strategic, "strategic")
    assert done["spec"]["template"]["spec"]["containers"][0]["image"] == "app:2"
    ops = [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
    ]
    assert (await api.patch("deployments", "web", ops, "json"))["spec"]["replicas"] == 3
    await refused(api.patch("deployments", "web", ops, "json"), 422, "does not fit")
    await refused(api.patch("deployments", "web", {"a": 1}, "json"), 400)
    await refused(api.patch("deployments", "web", {}, "apply"), 422, "fieldManager")
    done = await api.patch("deployments", "web", {"spec": {"paused": True}})
    assert done["spec"]["paused"] is True
    await refused(api.patch("deployments", "web", {"metadata": {"name": "x"}}), 400)
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
    await refused(api.patch("deployments", "web", stale), 409)


async def test_concurrent_patches_all_count(api: Api) -> None:
    await api.create("configmaps", config_map("a"))
    await asyncio.gather(
        *(api.patch("configmaps", "a", {"data": {f"k{n}": str(n)}}) for n in range(15))
    )
    assert len((await api.get("configmaps", "a"))["data"]) == 15


async def test_null_in_a_manifest_means_absent(api: Api) -> None:
    body = pod(nodeSelector=None)
    body["metadata"]["labels"] = None
    made = await api.create("pods", body)
    assert "labels" not in made["metadata"]
    assert "nodeSelector" not in made["spec"]


# ------------------------------------------------------------------ subresources


async def test_scale_reads_and_writes_replicas(api: Api) -> None:
    await api.create("deployments", deployment())
    scale = await api.get("deployments", "web", "scale")
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 2}
    assert scale["status"]["selector"] == "app=web"
    await api.patch("deployments", "web", {"spec": {"replicas": 5}}, sub="scale")
    changed = await api.get("deployments", "web")
    assert changed["spec"]["replicas"] == 5
    assert changed["metadata"]["generation"] == 2
    scale["spec"]["replicas"] = 7
    await refused(api.update("deployments", scale, "scale"), 409)
    negative = {"spec": {"replicas": -1}}
    await refused(api.patch("deployments", "web", negative, sub="scale"), 422, "greater than")


async def test_binding_assigns_once(api: Api) -> None:
    await api.create("pods", pod())
    await api.client.bind("p", "default", "n1")
    bound = await api.get("pods", "p")
    assert bound["spec"]["nodeName"] == "n1"
    assert bound["status"]["conditions"][-1]["type"] == "PodScheduled"
    with pytest.raises(ApiError, match='pod p is already assigned to node "n1"'):
        await api.client.bind("p", "default", "n2")


# ------------------------------------------------------------------ delete


async def test_deleting_answers_with_a_status(api: Api) -> None:
    made = await api.create("configmaps", config_map("a"))
    done = await api.resources.delete(api.target("configmaps", "a"), DeleteOptions(), USER)
    status = orjson.loads(done.body)
    assert status["status"] == "Success"
    assert status["details"]["uid"] == made["metadata"]["uid"]
    await refused(api.get("configmaps", "a"), 404)


async def test_a_running_pod_ends_gracefully_and_is_removed_with_grace_0(api: Api) -> None:
    await api.create("pods", pod(terminationGracePeriodSeconds=20))
    await api.client.bind("p", "default", "n1")
    target = api.target("pods", "p")
    await api.resources.delete(target, DeleteOptions(), USER)
    ending = await api.get("pods", "p")
    assert ending["metadata"]["deletionGracePeriodSeconds"] == 20
    assert ending["metadata"]["deletionTimestamp"] == "2026-09-21T14:13:40Z"
    again = await api.get("pods", "p")
    await api.resources.delete(target, DeleteOptions(), USER)
    assert await api.get("pods", "p") == again
    await api.resources.delete(target, DeleteOptions(grace_period_seconds=5), USER)
    shorter = await api.get("pods", "p")
    assert shorter["metadata"]["deletionTimestamp"] == "2026-09-21T14:13:25Z"
    await api.resources.delete(target, DeleteOptions(grace_period_seconds=0), USER)
    await refused(api.get("pods", "p"), 404)


async def test_an_unscheduled_pod_is_removed_at_once(api: Api) -> None:
    await api.create("pods", pod())
    await api.client.delete(api.target("pods").kind, "p", "default")
    await refused(api.get("pods", "p"), 404)


async def test_finalizers_hold_an_object(api: Api) -> None:
    body = {"metadata": {"name": "a", "finalizers": ["example.com/hold"]}}
    await api.create("configmaps", body)
    await api.client.delete(api.target("configmaps").kind, "a", "default")
    held = await api.get("configmaps", "a")
    assert held["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    await refused(api.patch("configmaps", "a", more), 422, "no new finalizers can be added")
    await api.patch("configmaps", "a", {"metadata": {"finalizers": None}})
    await refused(api.get("configmaps", "a"), 404)


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")]
)
async def test_propagation_asks_the_garbage_collector(
    api: Api, policy: Any, finalizer: str
) -> None:
    await api.create("deployments", deployment())
    await api.client.delete(api.target("deployments").kind, "web", "default", propagation=policy)
    held = await api.get("deployments", "web")
    assert held["metadata"]["finalizers"] == [finalizer]
    assert held["metadata"]["deletionTimestamp"]


async def test_preconditions(api: Api) -> None:
    made = await api.create("configmaps", config_map("a"))
    target = api.target("configmaps", "a")
    error = await refused(api.resources.delete(target, DeleteOptions(uid="other"), USER), 409)
    assert "Precondition failed: UID in precondition: other" in error.message
    old = DeleteOptions(resource_version="1")
    await refused(api.resources.delete(target, old, USER), 409)
    exact = DeleteOptions(uid=made["metadata"]["uid"])
    await api.resources.delete(target, exact, USER)


async def test_a_namespace_ends_when_its_finalizer_goes(api: Api) -> None:
    await api.create("namespaces", {"metadata": {"name": "shop"}})
    await api.client.delete(api.target("namespaces").kind, "shop")
    ending = await api.get("namespaces", "shop")
    assert ending["status"]["phase"] == "Terminating"
    await api.update("namespaces", ending | {"spec": {"finalizers": []}})
    assert (await api.get("namespaces", "shop"))["spec"]["finalizers"] == ["kubernetes"]
    latest = await api.get("namespaces", "shop")
    await api.update("namespaces", latest | {"spec": {}}, "finalize")
    await refused(api.get("namespaces", "shop"), 404)
    namespace = api.target("namespaces", "default")
    await refused(api.resources.delete(namespace, DeleteOptions(), USER), 403, "may not be deleted")


async def test_delete_collection_takes_what_the_selector_names(api: Api) -> None:
    for name, tier in (("a", "web"), ("b", "db")):
        await api.create("configmaps", {"metadata": {"name": name, "labels": {"tier": tier}}})
    done = await api.resources.delete_collection(
        api.target("configmaps"), ListOptions("tier=web"), DeleteOptions(), USER
    )
    assert [i["metadata"]["name"] for i in orjson.loads(done.body)["items"]] == ["a"]
    assert await names(api) == ["b"]


# ------------------------------------------------------------------ Service addresses


async def test_services_get_addresses_and_keep_them(api: Api) -> None:
    made = await api.create("services", service(type="NodePort"))
    ip, port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
    assert ip.startswith("10.96.")
    assert made["spec"]["clusterIPs"] == [ip]
    assert 30000 <= port <= 32767
    updated = await api.update("services", service(type="NodePort", sessionAffinity="ClientIP"))
    assert updated["spec"]["clusterIP"] == ip
    assert updated["spec"]["ports"][0]["nodePort"] == port
    plain = await api.update("services", service(type="ClusterIP"))
    assert "nodePort" not in plain["spec"]["ports"][0]
    await refused(
        api.patch("services", "web", {"spec": {"clusterIP": "10.96.9.9", "clusterIPs": None}}), 422
    )


async def test_headless_and_external_services_have_no_address(api: Api) -> None:
    headless = await api.create("services", service(clusterIP="None"))
    assert headless["spec"]["clusterIPs"] == ["None"]
    body = {"metadata": {"name": "ext"}, "spec": {"type": "ExternalName", "externalName": "a.b"}}
    assert "clusterIP" not in (await api.create("services", body))["spec"]


async def test_addresses_are_exclusive_and_come_back(api: Api) -> None:
    await api.create("services", service("a", clusterIP="10.96.0.77"))
    error = await refused(
        api.create("services", service("b", clusterIP="10.96.0.77")), 422, "already allocated"
    )
    assert error.details["causes"][0]["field"] == "spec.clusterIPs"
    await refused(api.create("services", service("b", clusterIP="192.168.1.1")), 422, "valid range")
    ports = [{"port": 80, "nodePort": 31000}]
    await api.create("services", service("c", type="NodePort", ports=ports))
    again = service("d", type="NodePort", ports=ports)
    await refused(api.create("services", again), 422, "provided port is already allocated")
    await api.client.delete(api.target("services").kind, "c", "default")
    await api.client.delete(api.target("services").kind, "a", "default")
    await api.create("services", again)
    await api.create("services", service("b", clusterIP="10.96.0.77"))


async def test_many_writers_never_share_an_address_and_a_full_range_says_so() -> None:
    api = Api(Ranges("10.0.0.0/28"))
    await api.create("namespaces", {"metadata": {"name": "default"}})
    made = await asyncio.gather(*(api.create("services", service(f"s{n}")) for n in range(13)))
    assert len({m["spec"]["clusterIP"] for m in made}) == 13
    await refused(api.create("services", service("one-more")), 500, "range is full")


# ------------------------------------------------------------------ admission


class Hook:
    """Warns, changes or refuses, by name."""

    async def review(self, asked: Review) -> Verdict:
        operation, new, name = asked.operation, asked.new, asked.name
        if name == "bad":
            cause = {"reason": "FieldValueInvalid", "message": "no", "field": "metadata.name"}
            return Verdict(errors=(cause,))
        if new is not None and operation == "CREATE" and name == "change":
            return Verdict({**new, "data": {"by": asked.user.name}})
        return Verdict(warnings=(f"{operation} seen",))


async def test_admission_hooks_warn_change_and_refuse(api: Api) -> None:
    api.resources.admission.append(Hook())
    await refused(api.create("configmaps", config_map("bad")), 422, "metadata.name: no")
    assert (await api.create("configmaps", config_map("change")))["data"] == {"by": "alice"}
    body = config_map("x")
    done = await api.resources.create(api.target("configmaps"), body, WriteOptions(), USER)
    assert done.warnings == ("CREATE seen",)
