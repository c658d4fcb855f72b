"""What only the SQLite engine promises: durability, recovery, one owner, clear failures."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from weft.store import mvcc, sqlite
from weft.store.interface import (
    Compacted,
    Conflict,
    Delete,
    Event,
    Expect,
    Put,
    StoreError,
    Txn,
)
from weft.store.sqlite import SqliteStore


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = await SqliteStore.open(path)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def put(key: str, value: bytes = b"", *expect: Expect) -> Txn:
    return Txn((Put(key, value),), expect)


def start(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=subprocess.PIPE)


async def history(store: SqliteStore, revision: int) -> list[Event]:
    watch = store.watch("", revision)
    try:
        return list(await asyncio.wait_for(anext(aiter(watch)), 1))
    except TimeoutError:
        return []
    finally:
        watch.close()


async def test_everything_is_there_after_a_restart(path: Path) -> None:
    async with opened(path) as store:
        await store.apply(Txn((Put("/a", b"1"), Put("/b", b"1"))))
        await store.apply(put("/a", b"2"))
        await store.apply(Txn((Delete("/b"),)))
        await store.apply(put("/b", bytes(range(256))))
        await store.apply(put("/é\U0001f600", b""))
        now, events = await store.range(""), await history(store, 1)
        past = await store.range("", revision=2)
    async with opened(path) as store:
        assert await store.range("") == now
        assert await store.range("", revision=2) == past
        assert await history(store, 1) == events
        assert await store.apply(put("/c")) == now.revision + 1


async def test_the_oldest_revision_survives_a_restart(path: Path) -> None:
    async with opened(path) as store:
        for n in range(6):
            await store.apply(put("/a", b"%d" % n))
        await store.apply(Txn((Delete("/a"),)))
        await store.compact(5)
        events, past = await history(store, 5), await store.range("", revision=5)
        assert events[0].previous == b"2"
    async with opened(path) as store:
        assert store.oldest_revision == 5
        assert await history(store, 5) == events
        assert await store.range("", revision=5) == past
        with pytest.raises(Compacted):
            store.watch("", 4)


async def test_the_revision_survives_a_compaction_of_everything(path: Path) -> None:
    async with opened(path) as store:
        await store.apply(put("/a"))
        revision = await store.apply(Txn((Delete("/a"),)))
        await store.compact(revision)
    async with opened(path) as store:
        assert store.revision == revision


async def test_the_file_does_not_grow_with_history(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mvcc, "HISTORY_EVENTS_MAX", 100)
    async with opened(path) as store:
        for _ in range(10):
            await asyncio.gather(*(store.apply(put(f"/{n}", b"x" * 1000)) for n in range(100)))
        assert store.oldest_revision > store.revision - 110
    with sqlite3.connect(path) as database:
        (rows,) = database.execute("SELECT count(*) FROM log").fetchone()
    assert rows <= 100 + 110


async def test_writes_that_wait_share_a_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups: list[int] = []
    commit = sqlite._commit

    def counting(database: sqlite3.Connection, jobs: Sequence[sqlite._Job]) -> None:
        groups.append(len(jobs))
        commit(database, jobs)

    monkeypatch.setattr(sqlite, "_commit", counting)
    async with opened(path) as store:
        revisions = await asyncio.gather(*(store.apply(put(f"/{n}")) for n in range(500)))
    assert list(revisions) == list(range(2, 502))
    assert sum(groups) == 500
    assert len(groups) < 100


async def test_full_durability_is_on(path: Path) -> None:
    async with opened(path) as store:
        ask = store._database.execute
        assert ask("PRAGMA journal_mode").fetchone() == ("wal",)
        assert ask("PRAGMA synchronous").fetchone() == (2,)
        assert path.stat().st_mode & 0o777 == 0o600
        wal = path.with_name("store.db-wal")
        await store.apply(put("/a"))
        assert wal.stat().st_mode & 0o777 == 0o600


async def test_a_file_open_to_others_is_made_private(path: Path) -> None:
    async with opened(path):
        pass
    path.chmod(0o644)
    async with opened(path):
        assert path.stat().st_mode & 0o777 == 0o600


async def test_only_one_may_open_the_file(path: Path) -> None:
    async with opened(path) as store:
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}: stop it"):
            await SqliteStore.open(path)
        await store.apply(put("/a"))
    async with opened(path) as store:
        assert await store.get("/a") is not None


async def test_another_process_is_named(path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path\n"
        "from weft.store.sqlite import SqliteStore\n"
        "async def main():\n"
        "    store = await SqliteStore.open(Path(sys.argv[1])); print('open', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    child = start(sys.executable, "-c", code, str(path))
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"open\n"
        with pytest.raises(StoreError, match=f"in use by process {child.pid}"):
            await SqliteStore.open(path)
    finally:
        child.kill()
        child.communicate()
    async with opened(path):
        pass


@pytest.mark.parametrize("damage", ["head", "pages", "text"])
async def test_a_damaged_file_is_explained(path: Path, damage: str) -> None:
    async with opened(path) as store:
        for n in range(500):
            await store.apply(put(f"/{n}", b"x" * 500))
    data = bytearray(path.read_bytes())
    match damage:
        case "head":
            data[:100] = b"\0" * 100
        case "pages":
            data[8192:] = b"\xff" * (len(data) - 8192)
        case "text":
            data = bytearray(b"this is not a database\n" * 100)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=r"store\.db is damaged .*: restore a copy, or move it"):
        await SqliteStore.open(path)


async def test_foreign_and_newer_files_are_left_alone(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mine (x)")
    database.commit()
    database.close()
    with pytest.raises(StoreError, match="another program's database"):
        await SqliteStore.open(path)
    other = path.with_name("newer.db")
    async with opened(other):
        pass
    database = sqlite3.connect(other)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(StoreError, match="has format 2, this weft reads 1"):
        await SqliteStore.open(other)


async def test_a_missing_directory_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is its directory there"):
        await SqliteStore.open(tmp_path / "absent" / "store.db")


async def fill(store: SqliteStore) -> int:
    """Write until the disk is full; gives how many writes were acknowledged."""
    for n in range(10_000):
        try:
            await store.apply(put(f"/{n}", b"x" * 10_000))
        except StoreError as error:
            failure = error
            break
    else:
        raise AssertionError("the disk never filled up")
    assert "disk is full; free space" in str(failure)
    return n


async def test_a_full_disk_fails_writes_cleanly_and_can_be_helped(path: Path) -> None:
    async with opened(path) as store:
        store._database.execute("PRAGMA max_page_count = 100")
        written = await fill(store)
        assert written > 5
        revision = store.revision
        assert revision == 1 + written
        with pytest.raises(StoreError):
            await store.apply(put("/big", b"x" * 50_000))
        assert await store.get("/big") is None
        store._database.execute("PRAGMA max_page_count = 100000")
        assert await store.apply(put("/later")) == revision + 1
        now = await store.range("")
    async with opened(path) as store:
        assert await store.range("") == now


@pytest.mark.root
async def test_a_really_full_file_system(tmp_path: Path) -> None:
    assert start("mount", "-t", "tmpfs", "-o", "size=600k", "weft-test", str(tmp_path)).wait() == 0
    try:
        async with opened(tmp_path / "store.db") as store:
            ballast = tmp_path / "ballast"
            ballast.write_bytes(b"x" * 200_000)
            assert await fill(store) > 3
            ballast.unlink()
            await store.apply(put("/later"))
            now = await store.range("")
        async with opened(tmp_path / "store.db") as store:
            assert await store.range("") == now
    finally:
        assert start("umount", str(tmp_path)).wait() == 0


def failing(monkeypatch: pytest.MonkeyPatch, code: int, *, at: int) -> None:
    """The commit number `at` fails with this SQLite error; each commits one transaction."""
    monkeypatch.setattr(sqlite, "GROUP_COMMIT_TXNS_MAX", 1)
    commit, count = sqlite._commit, 0

    def commit_or_fail(database: sqlite3.Connection, jobs: Sequence[sqlite._Job]) -> None:
        nonlocal count
        count += bool(jobs)
        if jobs and count == at:
            error = sqlite3.OperationalError("made to fail")
            error.sqlite_errorcode = code
            raise error
        commit(database, jobs)

    monkeypatch.setattr(sqlite, "_commit", commit_or_fail)


async def test_what_builds_on_a_failed_write_fails_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, sqlite3.SQLITE_FULL, at=4)
    async with opened(path) as store:
        watch = store.watch("", 2)
        results = await asyncio.gather(
            *(store.apply(put(f"/{n}", b"first")) for n in range(10)), return_exceptions=True
        )
        assert results[:3] == [2, 3, 4]
        assert all(isinstance(r, StoreError) for r in results[3:])
        assert "an earlier write failed" in str(results[9])
        assert store.revision == 4
        assert await store.apply(put("/9", b"second", Expect("/9", 0))) == 5
        events: list[Event] = []
        while len(events) < 4:
            events += await anext(aiter(watch))
        assert [e.revision for e in events] == [2, 3, 4, 5]
        now = await store.range("")
    async with opened(path) as store:
        assert await store.range("") == now
        assert [e.value for e in now.entries] == [b"first"] * 3 + [b"second"]


async def test_a_conflict_with_a_write_that_fails_is_no_conflict(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, sqlite3.SQLITE_FULL, at=1)
    async with opened(path) as store:
        first, second = await asyncio.gather(
            store.apply(put("/a", b"first", Expect("/a", 0))),
            store.apply(put("/a", b"second", Expect("/a", 0))),
            return_exceptions=True,
        )
        assert isinstance(first, StoreError)
        assert second == 2
        with pytest.raises(Conflict):
            await store.apply(put("/a", b"third", Expect("/a", 0)))


async def test_after_an_error_of_the_disk_nothing_more_is_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, sqlite3.SQLITE_IOERR, at=2)
    async with opened(path) as store:
        await store.apply(put("/a", b"1"))
        for _ in range(2):
            with pytest.raises(StoreError, match="check the disk, then restart"):
                await store.apply(put("/a", b"2"))
        entry = await store.get("/a")
        assert entry is not None
        assert entry.value == b"1"
    async with opened(path) as store:
        await store.apply(put("/a", b"2"))


async def test_close_finishes_what_was_accepted(path: Path) -> None:
    store = await SqliteStore.open(path)
    writes = [asyncio.ensure_future(store.apply(put(f"/{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    await store.close()
    assert await asyncio.gather(*writes) == list(range(2, 52))
    async with opened(path) as store:
        assert store.revision == 51


async def test_a_caller_that_gives_up_does_not_stop_its_write(path: Path) -> None:
    async with opened(path) as store:
        write = asyncio.ensure_future(store.apply(put("/a")))
        await asyncio.sleep(0)
        write.cancel()
        await store.apply(put("/b"))
        assert await store.get("/a") is not None
