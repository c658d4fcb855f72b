"""Watches over a real (memory) store."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.apiserver.support import Api, config_map
from weft.api.errors import ApiError
from weft.apiserver import watching
from weft.apiserver.request import ListOptions
from weft.apiserver.watching import Change


class Seen:
    """Reads a watch into (type, name, resourceVersion)."""

    def __init__(self, api: Api, **options: Any) -> None:
        options.setdefault("timeout_seconds", 5)
        target = api.target(options.pop("plural", "configmaps"))
        self._stream = api.watches.stream(target, ListOptions(**options))
        self._left: list[Change] = []

    async def next(self) -> tuple[str, str, int]:
        while not self._left:
            self._left = list(await anext(self._stream))
        change = self._left.pop(0)
        obj = orjson.loads(change.object)
        metadata = obj["metadata"]
        assert orjson.loads(change.frame.split(b"\r\n")[1]) == {"type": change.type, "object": obj}
        return change.type, metadata.get("name", ""), int(metadata["resourceVersion"])

    async def close(self) -> None:
        await self._stream.aclose()


async def test_a_watch_from_a_revision_sees_everything_after_it_once(api: Api) -> None:
    await api.create("configmaps", config_map("before"))
    revision = api.store.revision
    await api.create("configmaps", config_map("a"))
    seen = Seen(api, resource_version=str(revision))
    assert await seen.next() == ("ADDED", "a", revision + 1)
    await api.patch("configmaps", "a", {"data": {"k": "v"}})
    await api.client.delete(api.target("configmaps").kind, "a", "default")
    assert await seen.next() == ("MODIFIED", "a", revision + 2)
    assert await seen.next() == ("DELETED", "a", revision + 3)
    await seen.close()
    assert api.watches.open == 0


async def test_without_a_revision_it_starts_with_what_is_there(api: Api) -> None:
    made = await api.create("configmaps", config_map("a"))
    seen = Seen(api)
    assert await seen.next() == ("ADDED", "a", int(made["metadata"]["resourceVersion"]))
    await api.create("configmaps", config_map("b"))
    assert (await seen.next())[:2] == ("ADDED", "b")
    await seen.close()


async def test_other_namespaces_and_kinds_are_not_seen(api: Api) -> None:
    await api.create("namespaces", {"metadata": {"name": "default2"}})
    seen = Seen(api, resource_version=str(api.store.revision))
    await api.create("configmaps", config_map("x"), namespace="default2")
    await api.create("secrets", {"metadata": {"name": "s"}})
    await api.create("configmaps", config_map("mine"))
    assert (await seen.next())[1] == "mine"
    await seen.close()


async def test_objects_enter_and_leave_a_selection(api: Api) -> None:
    seen = Seen(api, label_selector="on=yes", resource_version=str(api.store.revision))
    await api.create("configmaps", config_map("a"))
    await api.patch("configmaps", "a", {"metadata": {"labels": {"on": "yes"}}})
    await api.patch("configmaps", "a", {"data": {"k": "1"}})
    await api.patch("configmaps", "a", {"metadata": {"labels": {"on": "no"}}})
    last = api.store.revision
    await api.client.delete(api.target("configmaps").kind, "a", "default")
    assert await seen.next() == ("ADDED", "a", last - 2)
    assert await seen.next() == ("MODIFIED", "a", last - 1)
    assert await seen.next() == ("DELETED", "a", last)
    await api.create("configmaps", {"metadata": {"name": "b", "labels": {"on": "yes"}}})
    assert (await seen.next())[:2] == ("ADDED", "b")
    await seen.close()


async def test_field_selectors_follow_fields(api: Api) -> None:
    from tests.apiserver.support import pod

    seen = Seen(
        api,
        plural="pods",
        field_selector="spec.nodeName=n1",
        resource_version=str(api.store.revision),
    )
    await api.create("pods", pod("p"))
    await api.create("pods", pod("q"))
    await api.client.bind("q", "default", "n1")
    assert (await seen.next())[:2] == ("ADDED", "q")
    await seen.close()


async def test_send_initial_events_ends_with_a_marked_bookmark(api: Api) -> None:
    await api.create("configmaps", config_map("a"))
    target = api.target("configmaps")
    options = ListOptions(send_initial_events=True, bookmarks=True, timeout_seconds=1)
    stream = api.watches.stream(target, options)
    first = await anext(stream)
    assert [c.type for c in first] == ["ADDED", "BOOKMARK"]
    mark = orjson.loads(first[1].object)
    assert mark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark["kind"] == "ConfigMap"
    await stream.aclose()


async def test_bookmarks_move_on_without_events(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.05)
    seen = Seen(api, bookmarks=True, resource_version=str(api.store.revision))
    await api.create("secrets", {"metadata": {"name": "s"}})
    assert await seen.next() == ("BOOKMARK", "", api.store.revision)
    await seen.close()


@pytest.mark.slow
async def test_the_timeout_ends_a_watch(api: Api) -> None:
    stream = api.watches.stream(
        api.target("configmaps"), ListOptions(timeout_seconds=1, resource_version="1")
    )
    assert [c async for c in stream] == []


async def test_forgotten_history_is_410(api: Api) -> None:
    for at in range(3):
        await api.create("configmaps", config_map(f"c{at}"))
    await api.store.compact(api.store.revision)
    with pytest.raises(ApiError) as caught:
        await Seen(api, resource_version="1").next()
    assert (caught.value.code, caught.value.reason) == (410, "Expired")
    assert "too old resource version: 1 (" in caught.value.message
    with pytest.raises(ApiError) as caught:
        await Seen(api, resource_version="9999").next()
    assert caught.value.code == 410


async def test_an_event_is_encoded_once_for_all(api: Api) -> None:
    revision = str(api.store.revision)
    streams = [
        api.watches.stream(api.target("configmaps"), ListOptions(resource_version=revision))
        for _ in range(3)
    ]
    await api.create("configmaps", config_map("a"))
    lines = [(await anext(s))[0].frame for s in streams]
    assert lines[0] is lines[1] is lines[2]
    for stream in streams:
        await stream.aclose()


async def test_closing_ends_all_watches(api: Api) -> None:
    seen = Seen(api, resource_version=str(api.store.revision))
    waiting = asyncio.ensure_future(seen.next())
    await asyncio.sleep(0.01)
    api.watches.close()
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_the_local_client_lists_and_watches(api: Api) -> None:
    client, kind = api.client, api.target("configmaps").kind
    await client.create(kind, config_map("a"), "default")
    page = await client.list(kind, "default")
    assert len(page.items) == 1
    events = client.watch(kind, resource_version=page.resource_version)
    await client.update(kind, orjson.loads(page.items[0]) | {"data": {"k": "1"}})
    event = await anext(events)
    assert event.type == "MODIFIED"
    assert orjson.loads(bytes(event.object))["data"] == {"k": "1"}
    await events.aclose()
