"""What every engine must do. A further engine joins by an entry in ENGINES."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from weft.store import local
from weft.store.interface import (
    Compacted,
    Conflict,
    Delete,
    Event,
    Expect,
    Put,
    Store,
    StoreError,
    Txn,
    Watch,
)
from weft.store.memory import MemoryStore
from weft.store.sqlite import SqliteStore


async def _memory(directory: Path) -> Store:
    return MemoryStore()


async def _sqlite(directory: Path) -> Store:
    return await SqliteStore.open(directory / "store.db")


ENGINES: dict[str, Callable[[Path], Awaitable[Store]]] = {"memory": _memory, "sqlite": _sqlite}


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await ENGINES[request.param](tmp_path)
    yield opened
    await opened.close()


def put(key: str, value: bytes, *expect: Expect) -> Txn:
    return Txn((Put(key, value),), expect)


async def take(watch: Watch, count: int) -> list[Event]:
    """The next `count` events, not more."""
    events: list[Event] = []
    async with asyncio.timeout(5):
        while len(events) < count:
            events += await anext(aiter(watch))
    assert len(events) == count
    return events


async def nothing_comes(watch: Watch) -> bool:
    try:
        await asyncio.wait_for(anext(aiter(watch)), 0.05)
    except TimeoutError:
        return True
    return False


def brief(events: Sequence[Event]) -> list[tuple[str, str, bytes, int]]:
    return [(e.type, e.key, e.value, e.revision) for e in events]


async def test_an_empty_store_is_at_revision_one(store: Store) -> None:
    assert (store.revision, store.oldest_revision) == (1, 1)
    assert await store.get("/a") is None
    found = await store.range("/")
    assert (found.entries, found.revision, found.remaining) == ((), 1, 0)


async def test_a_put_is_read_back_with_its_revisions(store: Store) -> None:
    first = await store.apply(put("/a", b"1"))
    second = await store.apply(put("/a", b"2"))
    assert second == first + 1 == store.revision
    entry = await store.get("/a")
    assert entry is not None
    assert (entry.value, entry.create_revision, entry.mod_revision) == (b"2", first, second)


async def test_a_key_created_again_has_a_new_create_revision(store: Store) -> None:
    await store.apply(put("/a", b"1"))
    await store.apply(Txn((Delete("/a"),)))
    again = await store.apply(put("/a", b"2"))
    entry = await store.get("/a")
    assert entry is not None
    assert entry.create_revision == again


async def test_a_transaction_applies_together_at_one_revision(store: Store) -> None:
    await store.apply(put("/c", b"0"))
    revision = await store.apply(Txn((Put("/a", b"1"), Put("/b", b"2"), Delete("/c"))))
    found = await store.range("/")
    assert [(e.key, e.mod_revision) for e in found.entries] == [("/a", revision), ("/b", revision)]


async def test_what_changes_nothing_makes_no_revision(store: Store) -> None:
    before = await store.apply(put("/a", b"1"))
    assert await store.apply(Txn((Delete("/absent"),))) == before
    assert await store.apply(Txn(())) == before
    assert store.revision == before


async def test_a_failed_expectation_applies_nothing(store: Store) -> None:
    revision = await store.apply(put("/a", b"1"))
    with pytest.raises(Conflict) as caught:
        await store.apply(Txn((Put("/b", b"x"), Put("/a", b"2")), (Expect("/a", revision - 1),)))
    assert (caught.value.key, caught.value.mod_revision) == ("/a", revision)
    with pytest.raises(Conflict):
        await store.apply(put("/a", b"2", Expect("/a", 0)))
    assert await store.get("/b") is None
    assert store.revision == revision
    await store.apply(put("/a", b"2", Expect("/a", revision)))
    await store.apply(put("/new", b"", Expect("/new", 0)))


async def test_of_concurrent_creations_exactly_one_wins(store: Store) -> None:
    results = await asyncio.gather(
        *(store.apply(put("/a", b"%d" % n, Expect("/a", 0))) for n in range(20)),
        return_exceptions=True,
    )
    won = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert len(won) == 1
    assert sum(isinstance(result, Conflict) for result in results) == 19
    entry = await store.get("/a")
    assert entry is not None
    assert entry.value == b"%d" % won[0]


async def test_who_is_told_conflict_can_read_what_it_conflicts_with(store: Store) -> None:
    async def loser() -> None:
        with pytest.raises(Conflict) as caught:
            await store.apply(put("/a", b"second", Expect("/a", 0)))
        entry = await store.get("/a")
        assert entry is not None
        assert entry.mod_revision == caught.value.mod_revision

    await asyncio.gather(store.apply(put("/a", b"first", Expect("/a", 0))), loser())


async def test_concurrent_counting_loses_no_increment(store: Store) -> None:
    await store.apply(put("/n", b"0"))

    async def increment() -> None:
        while True:
            entry = await store.get("/n")
            assert entry is not None
            txn = put("/n", b"%d" % (int(entry.value) + 1), Expect("/n", entry.mod_revision))
            try:
                await store.apply(txn)
            except Conflict:
                continue
            return

    await asyncio.gather(*(increment() for _ in range(10)))
    entry = await store.get("/n")
    assert entry is not None
    assert entry.value == b"10"


async def test_a_key_twice_in_a_transaction_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="twice"):
        await store.apply(Txn((Put("/a", b"1"), Delete("/a"))))


async def test_pages_of_a_list_are_consistent_while_writes_go_on(store: Store) -> None:
    for name in "bdfh":
        await store.apply(put(f"/k/{name}", b"old"))
    await store.apply(put("/other/x", b""))
    page = await store.range("/k/", limit=2)
    assert [e.key for e in page.entries] == ["/k/b", "/k/d"]
    assert page.remaining == 2
    await store.apply(Txn((Put("/k/e", b"new"), Put("/k/f", b"new"), Delete("/k/h"))))
    rest = await store.range("/k/", limit=5, after="/k/d", revision=page.revision)
    assert [(e.key, e.value) for e in rest.entries] == [("/k/f", b"old"), ("/k/h", b"old")]
    assert (rest.revision, rest.remaining) == (page.revision, 0)
    now = await store.range("/k/")
    assert [e.key for e in now.entries] == ["/k/b", "/k/d", "/k/e", "/k/f"]


async def test_a_watch_replays_history_then_follows(store: Store) -> None:
    first = await store.apply(put("/a/1", b"1"))
    await store.apply(put("/b/1", b"other"))
    watch = store.watch("/a/", first)
    second = await store.apply(put("/a/1", b"2"))
    third = await store.apply(Txn((Delete("/a/1"),)))
    events = await take(watch, 3)
    assert brief(events) == [
        ("put", "/a/1", b"1", first),
        ("put", "/a/1", b"2", second),
        ("delete", "/a/1", b"2", third),
    ]
    assert [e.previous for e in events] == [None, b"1", b"2"]
    assert {e.create_revision for e in events} == {first}


async def test_a_watch_sees_nothing_before_its_revision(store: Store) -> None:
    await store.apply(put("/a", b"1"))
    watch = store.watch("/", store.revision + 2)
    await store.apply(put("/a", b"2"))
    assert await nothing_comes(watch)
    wanted = await store.apply(put("/a", b"3"))
    assert [e.revision for e in await take(watch, 1)] == [wanted]


async def test_an_event_is_seen_only_once_it_can_be_read(store: Store) -> None:
    watch = store.watch("/", store.revision + 1)
    write = asyncio.ensure_future(store.apply(put("/a", b"1")))
    (event,) = await take(watch, 1)
    entry = await store.get("/a")
    assert entry is not None
    assert entry.mod_revision == event.revision == await write


async def test_a_cancelled_read_of_a_watch_loses_nothing(store: Store) -> None:
    watch = store.watch("/", store.revision + 1)
    seen: list[int] = []

    async def read() -> None:
        while len(seen) < 200:
            try:
                async with asyncio.timeout(0):
                    seen.extend(e.revision for e in await anext(aiter(watch)))
            except TimeoutError:
                await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(read(), *(store.apply(put(f"/{n}", b"")) for n in range(200)))
    assert seen == list(range(2, 202))


async def test_the_revision_never_runs_ahead_of_open_watches(store: Store) -> None:
    watch = store.watch("/", store.revision + 1)
    writes = [asyncio.ensure_future(store.apply(put(f"/{n}", b""))) for n in range(20)]
    last = store.revision
    while last < 21:
        await asyncio.sleep(0)
        if store.revision > last:
            last = store.revision
            assert (await take_present(watch))[-1].revision == last
    await asyncio.gather(*writes)


async def take_present(watch: Watch) -> Sequence[Event]:
    """What a watch has without waiting for anything new."""
    reading = asyncio.ensure_future(anext(aiter(watch)))
    await asyncio.sleep(0)
    assert reading.done()
    return reading.result()


async def test_watchers_of_one_prefix_see_the_same_events_in_order(store: Store) -> None:
    watches = [store.watch("/", store.revision + 1) for _ in range(3)]
    await asyncio.gather(*(store.apply(put(f"/{n}", b"")) for n in range(50)))
    seen = [[e.revision for e in await take(watch, 50)] for watch in watches]
    assert seen[0] == sorted(seen[0]) == seen[1] == seen[2]


async def test_batches_hold_whole_revisions(store: Store) -> None:
    watch = store.watch("/", store.revision + 1)
    for n in range(5):
        await store.apply(Txn((Put(f"/a{n}", b""), Put(f"/b{n}", b""))))
    async with asyncio.timeout(5):
        batch = await anext(aiter(watch))
    revisions = [e.revision for e in batch]
    assert all(revisions.count(revision) == 2 for revision in revisions)


async def test_a_closed_watch_ends(store: Store) -> None:
    watch = store.watch("/", store.revision + 1)

    async def read() -> int:
        return sum([len(batch) async for batch in watch])

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0)
    watch.close()
    watch.close()
    assert await asyncio.wait_for(reading, 5) == 0


async def test_a_slow_watcher_is_told_compacted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "WATCH_BUFFER_EVENTS_MAX", 10)
    slow, other = store.watch("/", 2), store.watch("/other", 2)
    for n in range(11):
        await store.apply(put(f"/{n}", b""))
    await store.apply(put("/other", b""))
    with pytest.raises(Compacted):
        await anext(aiter(slow))
    assert len(await take(other, 1)) == 1


async def test_compaction_forgets_history_but_not_the_present(store: Store) -> None:
    await store.apply(put("/a", b"1"))
    await store.apply(put("/a", b"2"))
    middle = await store.apply(put("/b", b"1"))
    last = await store.apply(put("/a", b"3"))
    await store.compact(middle)
    assert store.oldest_revision == middle
    with pytest.raises(Compacted) as caught:
        await store.range("/", revision=middle - 1)
    assert caught.value.oldest == middle
    with pytest.raises(Compacted):
        store.watch("/", middle - 1)
    past = await store.range("/", revision=middle)
    assert [(e.key, e.value) for e in past.entries] == [("/a", b"2"), ("/b", b"1")]
    events = await take(store.watch("/", middle), 2)
    assert [(e.revision, e.previous) for e in events] == [(middle, None), (last, b"2")]
    entry = await store.get("/a")
    assert entry is not None
    assert entry.value == b"3"


async def test_compaction_never_goes_back_or_past_the_present(store: Store) -> None:
    await store.apply(put("/a", b"1"))
    await store.compact(1000)
    assert store.oldest_revision == store.revision
    await store.compact(1)
    assert store.oldest_revision == store.revision
    assert await store.apply(put("/a", b"2")) == store.revision


async def test_a_watch_opened_before_a_compaction_goes_on(store: Store) -> None:
    watch = store.watch("/", store.revision + 1)
    await store.apply(put("/a", b"1"))
    await store.compact(store.revision)
    await store.apply(put("/a", b"2"))
    assert [e.value for e in await take(watch, 2)] == [b"1", b"2"]


async def test_after_close_watches_end_and_calls_fail(store: Store) -> None:
    watch = store.watch("/", store.revision + 1)
    await store.close()
    await store.close()
    assert [batch async for batch in watch] == []
    with pytest.raises(StoreError):
        await store.apply(put("/a", b""))
    with pytest.raises(StoreError):
        await store.get("/a")


async def test_keys_and_values_may_hold_anything(store: Store) -> None:
    keys = ["/a", "/a/é", "/a/\U0001f600", "/a\U0010ffff", "/b"]
    for key in keys:
        await store.apply(put(key, bytes(range(256))))
    found = await store.range("/a")
    assert [e.key for e in found.entries] == keys[:4]
    assert found.entries[3].value == bytes(range(256))
