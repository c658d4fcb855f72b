"""What Go clients parse, over HTTP: bodies of refusals, pages of one moment, how a watch begins."""

import asyncio
from typing import Any

import orjson

from tests.apiserver.serving import Running
from tests.apiserver.support import config_map, deployment

MAPS = "/api/v1/namespaces/default/configmaps"
APPLY = {"Content-Type": "application/apply-patch+yaml"}


async def refused(live: Running, method: str, path: str, **how: Any) -> tuple[int, Any]:
    """Code and Status, whose fixed parts are right."""
    code, body = await live.json(method, path, **how)
    assert (body["apiVersion"], body["kind"]) == ("v1", "Status")
    assert (body["status"], body["code"]) == ("Failure", code)
    assert body["message"]
    return code, body


async def test_conflicts(live: Running) -> None:
    _, made = await live.json("POST", MAPS, json=config_map("a"))
    code, body = await refused(live, "POST", MAPS, json=config_map("a"))
    assert (code, body["reason"]) == (409, "AlreadyExists")
    assert body["details"] == {"name": "a", "kind": "configmaps"}

    await live.json("PUT", f"{MAPS}/a", json=made | {"data": {"k": "1"}})
    code, body = await refused(live, "PUT", f"{MAPS}/a", json=made | {"data": {"k": "2"}})
    assert (code, body["reason"]) == (409, "Conflict")
    assert body["details"]["name"] == "a"
    assert "the object has been modified; please apply your changes" in body["message"]

    wrong = {"preconditions": {"uid": "another"}}
    code, body = await refused(live, "DELETE", f"{MAPS}/a", json=wrong)
    assert (code, body["reason"]) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: another" in body["message"]

    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "s"}}
    for manager, value in (("one", "1"), ("two", "2")):
        path = f"{MAPS}/s?fieldManager={manager}"
        sent = orjson.dumps(applied | {"data": {"k": value}})
        code, body = await live.json("PATCH", path, data=sent, headers=APPLY)
    assert (code, body["reason"]) == (409, "Conflict")
    (cause,) = body["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".data.k")
    assert 'conflict with "one"' in cause["message"]


async def test_what_is_not_valid(live: Running) -> None:
    wrong = deployment()
    wrong["spec"]["replicas"] = -1
    del wrong["spec"]["selector"]
    path = "/apis/apps/v1/namespaces/default/deployments"
    code, body = await refused(live, "POST", path, json=wrong)
    assert (code, body["reason"]) == (422, "Invalid")
    details = body["details"]
    assert {k: details[k] for k in ("name", "group", "kind")} == {
        "name": "web", "group": "apps", "kind": "Deployment",
    }  # fmt: skip
    causes = {cause["field"]: cause["reason"] for cause in details["causes"]}
    assert causes["spec.replicas"] == "FieldValueInvalid"
    assert causes["spec.selector"] == "FieldValueRequired"


async def test_names_that_the_server_makes(live: Running) -> None:
    made = {"metadata": {"generateName": "job-"}}
    names = [(await live.json("POST", MAPS, json=made))[1]["metadata"]["name"] for _ in range(2)]
    assert all(name.startswith("job-") and len(name) == 9 for name in names)
    assert names[0] != names[1]


async def test_pages_show_one_moment_and_say_when_it_is_gone(live: Running) -> None:
    for name in ("a", "c", "e", "g"):
        await live.json("POST", MAPS, json=config_map(name))
    _, first = await live.json("GET", f"{MAPS}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 2
    await live.json("POST", MAPS, json=config_map("d"))
    await live.json("DELETE", f"{MAPS}/e")
    token = first["metadata"]["continue"]
    _, second = await live.json("GET", MAPS, params={"limit": "2", "continue": token})
    names = [item["metadata"]["name"] for item in first["items"] + second["items"]]
    assert names == ["a", "c", "e", "g"]
    revisions = {page["metadata"]["resourceVersion"] for page in (first, second)}
    assert len(revisions) == 1
    assert not second["metadata"].get("continue")

    await live.store.compact(live.store.revision)
    code, body = await refused(live, "GET", MAPS, params={"limit": "2", "continue": token})
    assert (code, body["reason"]) == (410, "Expired")
    going_on = body["metadata"]["continue"]
    _, rest = await live.json("GET", MAPS, params={"limit": "5", "continue": going_on})
    assert [item["metadata"]["name"] for item in rest["items"]] == ["d", "g"]
    old = {"resourceVersion": "1", "resourceVersionMatch": "Exact"}
    code, body = await refused(live, "GET", MAPS, params=old)
    assert (code, body["reason"]) == (410, "Expired")
    future = {"resourceVersion": str(live.store.revision + 1000)}
    code, body = await refused(live, "GET", MAPS, params=future)
    assert code == 504
    assert "Too large resource version" in body["message"]


async def test_a_watch_that_begins_with_everything(live: Running) -> None:
    """As client-go's reflector asks since 1.35: the objects, a bookmark that ends them, then what
    changes; fields are selected all the way."""
    for name in ("a", "b"):
        await live.json("POST", MAPS, json=config_map(name))
    asked = {
        "watch": "true", "sendInitialEvents": "true", "allowWatchBookmarks": "true",
        "resourceVersionMatch": "NotOlderThan", "fieldSelector": "metadata.name!=b",
    }  # fmt: skip
    async with live.session.get(MAPS, params=asked) as response, asyncio.timeout(30):
        added = orjson.loads(await response.content.readline())
        assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "a")
        bookmark = orjson.loads(await response.content.readline())
        assert bookmark["type"] == "BOOKMARK"
        meta = bookmark["object"]["metadata"]
        assert (bookmark["object"]["kind"], bookmark["object"]["apiVersion"]) == ("ConfigMap", "v1")
        assert meta["annotations"] == {"k8s.io/initial-events-end": "true"}
        assert int(meta["resourceVersion"]) == live.store.revision
        await live.json("DELETE", f"{MAPS}/b")
        await live.json("DELETE", f"{MAPS}/a")
        deleted = orjson.loads(await response.content.readline())
        assert (deleted["type"], deleted["object"]["metadata"]["name"]) == ("DELETED", "a")
        assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(meta["resourceVersion"])
