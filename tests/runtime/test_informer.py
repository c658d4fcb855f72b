import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.runtime.support import BentClient, config, eventually, kind, new_client, pod
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.pod_v1 import Pod
from weft.api.kinds import Kind
from weft.api.objects import to_json
from weft.runtime import informer
from weft.runtime.client import WatchEvent
from weft.runtime.informer import Informers

MAPS = kind("configmaps")


@pytest.fixture
async def client() -> BentClient:
    return await new_client()


@pytest.fixture
async def informers(
    client: BentClient, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Informers]:
    monkeypatch.setattr(informer, "RETRY_SECONDS_MIN", 0.005)
    made = Informers(client, [ConfigMap])
    yield made
    await made.close()


Seen = list[tuple[str | None, str | None]]


def record(informers: Informers) -> Seen:
    """The values of key `v` before and after, of every change."""
    seen: Seen = []

    def on_change(cls: Any, before: Any, after: Any) -> None:
        seen.append((before and before.data["v"], after and after.data["v"]))

    informers.subscribe(on_change)
    return seen


def in_cache(informers: Informers) -> dict[str, str]:
    return {o.metadata.name: o.data["v"] for o in informers.cache.list(ConfigMap)}


async def put(client: BentClient, name: str, value: str) -> None:
    await client.create(MAPS, to_json(config(name, v=value)))


async def change(client: BentClient, name: str, value: str) -> None:
    await client.patch(MAPS, name, {"data": {"v": value}}, "default")


async def test_what_is_there_is_listed_and_what_comes_is_watched(
    client: BentClient, informers: Informers
) -> None:
    seen = record(informers)
    await put(client, "a", "1")
    informers.start()
    await informers.synced()
    assert in_cache(informers) == {"a": "1"}
    await put(client, "b", "1")
    await change(client, "a", "2")
    await client.delete(MAPS, "b", "default")
    await eventually(lambda: len(seen) == 4)
    assert seen == [(None, "1"), (None, "1"), ("1", "2"), ("1", None)]
    assert in_cache(informers) == {"a": "2"}
    assert informers.cache.revision(ConfigMap) == client.store.revision


async def test_long_lists_are_read_in_pages(
    client: BentClient, informers: Informers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "LIST_PAGE_OBJECTS", 3)
    for n in range(10):
        await put(client, f"a{n}", "1")
    informers.start()
    await informers.synced()
    assert len(in_cache(informers)) == 10
    assert client.calls.count("list configmaps") == 4


async def test_a_broken_watch_resumes_without_a_list_and_without_a_gap(
    client: BentClient, informers: Informers
) -> None:
    await put(client, "a", "0")
    informers.start()
    await informers.synced()
    seen = record(informers)

    def fail_every_third_event(verb: str, kind: Kind) -> None:
        if verb == "event" and client.calls.count("event configmaps") % 3 == 0:
            raise ApiError(503, "ServiceUnavailable", "gone for a moment")

    client.before = fail_every_third_event
    for n in range(1, 11):
        await change(client, "a", str(n))
    await eventually(lambda: in_cache(informers) == {"a": "10"})
    assert seen == [(str(n), str(n + 1)) for n in range(10)]
    assert client.calls.count("list configmaps") == 1
    assert client.calls.count("watch configmaps") > 3


async def test_after_410_the_list_shows_what_was_missed(
    client: BentClient, informers: Informers
) -> None:
    for name in ("gone", "changed", "same"):
        await put(client, name, "1")
    informers.start()
    await informers.synced()
    away = asyncio.Event()
    client.before = lambda verb, kind: away.wait() if verb == "event" else None
    await change(client, "same", "2")
    await asyncio.sleep(0.01)

    def gone(verb: str, kind: Kind) -> None:
        if verb == "event":
            client.before = lambda verb, kind: None
            raise ApiError(410, "Expired", "too old")

    await client.delete(MAPS, "gone", "default")
    await change(client, "changed", "2")
    await put(client, "new", "1")
    seen = record(informers)
    client.before = gone
    away.set()
    await eventually(lambda: client.calls.count("list configmaps") == 2)
    await eventually(lambda: len(in_cache(informers)) == 3)
    assert in_cache(informers) == {"changed": "2", "same": "2", "new": "1"}
    assert sorted(seen, key=str) == sorted(
        [("1", "2"), ("1", "2"), (None, "1"), ("1", None)], key=str
    )
    await put(client, "later", "1")
    await eventually(lambda: "later" in in_cache(informers))


async def test_a_failing_list_is_tried_again(client: BentClient, informers: Informers) -> None:
    await put(client, "a", "1")
    failures = iter([ApiError(503, "ServiceUnavailable", "no"), RuntimeError("bug"), None])

    def fail_twice(verb: str, kind: Kind) -> None:
        if verb == "list" and (error := next(failures, None)) is not None:
            raise error

    client.before = fail_twice
    informers.start()
    async with asyncio.timeout(5):
        await informers.synced()
    assert in_cache(informers) == {"a": "1"}


async def test_an_object_that_cannot_be_read_is_skipped(
    client: BentClient, informers: Informers, caplog: pytest.LogCaptureFixture
) -> None:
    await put(client, "good", "1")
    await put(client, "bad", "1")
    informers.start()
    await informers.synced()

    def spoil(event: WatchEvent) -> WatchEvent:
        obj = msgspec.json.decode(event.object)
        if obj["metadata"]["name"] == "bad":
            obj["data"] = 7
        return WatchEvent(event.type, msgspec.Raw(msgspec.json.encode(obj)))

    client.bend = spoil
    with caplog.at_level(logging.WARNING):
        await change(client, "bad", "2")
        await change(client, "good", "2")
        await eventually(lambda: in_cache(informers)["good"] == "2")
    assert in_cache(informers)["bad"] == "1"
    assert "object skipped kind=configmaps namespace=default name=bad" in caplog.text
    await client.delete(MAPS, "bad", "default")
    await eventually(lambda: "bad" not in in_cache(informers))


async def test_a_kind_the_api_does_not_serve_has_no_objects(
    client: BentClient, informers: Informers
) -> None:
    def no_pods(verb: str, kind: Kind) -> None:
        if kind.plural == "pods":
            raise ApiError(404, "NotFound", "the server could not find the requested resource")

    client.before = no_pods
    informers.add(Pod)
    informers.start()
    async with asyncio.timeout(5):
        await informers.synced()
    assert list(informers.cache.list(Pod)) == []


async def test_a_bookmark_moves_the_revision_only(client: BentClient, informers: Informers) -> None:
    seen = record(informers)
    informers.start()
    await informers.synced()

    def to_bookmark(event: WatchEvent) -> WatchEvent:
        return WatchEvent("BOOKMARK", event.object)

    client.bend = to_bookmark
    await put(client, "a", "1")
    await eventually(lambda: informers.cache.revision(ConfigMap) == client.store.revision)
    assert seen == []
    assert in_cache(informers) == {}


async def test_a_class_may_join_later(client: BentClient, informers: Informers) -> None:
    informers.start()
    await informers.synced()
    await client.create(kind("pods"), to_json(pod("p")))
    informers.add(Pod)
    informers.add(Pod)
    async with asyncio.timeout(5):
        await informers.synced([Pod])
    assert [p.metadata.name for p in informers.cache.list(Pod)] == ["p"]
    assert client.calls.count("list pods") == 1


async def test_a_failing_callback_harms_nobody_else(
    client: BentClient, informers: Informers
) -> None:
    def broken(cls: Any, before: Any, after: Any) -> None:
        raise ValueError("bug")

    informers.subscribe(broken)
    seen = record(informers)
    informers.start()
    await put(client, "a", "1")
    await eventually(lambda: seen == [(None, "1")])


async def test_close_stops_watching(client: BentClient, informers: Informers) -> None:
    informers.start()
    await informers.synced()
    await informers.close()
    await put(client, "a", "1")
    await asyncio.sleep(0.02)
    assert in_cache(informers) == {}


async def test_by_name_only_what_is_followed_is_known(
    client: BentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "RETRY_SECONDS_MIN", 0.005)
    informers = Informers(client)
    informers.by_name(ConfigMap)
    informers.add(ConfigMap)
    informers.start()
    for name in ("a", "b"):
        await put(client, name, "1")
    await informers.synced()
    assert in_cache(informers) == {}
    await informers.follow(ConfigMap, frozenset({("default", "a"), ("default", "none")}))
    assert in_cache(informers) == {"a": "1"}
    await change(client, "a", "2")
    await eventually(lambda: in_cache(informers) == {"a": "2"})
    await put(client, "none", "3")
    await eventually(lambda: in_cache(informers) == {"a": "2", "none": "3"})
    await informers.follow(ConfigMap, frozenset({("default", "none")}))
    assert in_cache(informers) == {"none": "3"}
    await client.delete(MAPS, "none", "default")
    await eventually(lambda: in_cache(informers) == {})
    await informers.close()


async def test_a_selector_and_what_is_needed_before(client: BentClient) -> None:
    informers = Informers(client)
    informers.select(Pod, "spec.nodeName=n1")
    informers.add(Pod)
    prepared: list[str] = []

    async def prepare(found: Pod) -> None:
        assert informers.cache.get(Pod, found.metadata.name, "default") is None
        prepared.append(found.metadata.name)

    informers.prepare[Pod] = prepare
    for name, node in (("x", "n1"), ("y", "n2")):
        body = to_json(pod(name))
        body["spec"] = {**body.get("spec", {}), "nodeName": node,
                        "containers": [{"name": "c", "image": "i"}]}  # fmt: skip
        await client.create(kind("pods"), body)
    informers.start()
    await informers.synced()
    assert [p.metadata.name for p in informers.cache.list(Pod)] == prepared == ["x"]
    await informers.close()
