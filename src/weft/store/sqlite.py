"""The embedded engine: one SQLite file, one writer thread, group commit.

The file holds a log of versions (key, value or NULL for a deletion) and nothing else: the present
is the log replayed. Reads and watches are served from memory. A transaction is checked and given
its revision on the event loop, made durable by the writer thread together with all others that
wait (WAL, synchronous=FULL: it survives a power cut), and only then becomes visible and is
acknowledged. When a commit fails, every transaction staged on top of it fails as well.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from weft.store.interface import Conflict, Event, StoreError, Txn
from weft.store.local import LocalStore
from weft.store.mvcc import FIRST_REVISION, Mvcc, Staged, Superseded

log = logging.getLogger("weft.store")

GROUP_COMMIT_TXNS_MAX = 1024
"""Transactions that share one commit (one fsync)."""
TXN_CHANGES_MAX = 1 << 16
"""Changes of one transaction; a version's row id is revision * TXN_CHANGES_MAX + its index."""
WAL_BYTES_KEPT_MAX = 64 * 1024 * 1024
"""The write-ahead log is cut back to this size after a checkpoint."""
APPLICATION_ID = 0x77656674
"""Marks the file as ours ("weft")."""
FORMAT_VERSION = 1
FILE_MODE = 0o600

_SCHEMA = (
    "CREATE TABLE log (id INTEGER PRIMARY KEY, key TEXT NOT NULL, value BLOB, "
    "create_revision INTEGER NOT NULL)",
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT_VERSION}",
)
_INSERT = "INSERT INTO log (id, key, value, create_revision) VALUES (?, ?, ?, ?)"
_FORGET = "DELETE FROM log WHERE id >= ? AND id < ? AND key = ?"


class _Write(Struct, frozen=True):
    staged: Staged
    done: asyncio.Future[None]
    generation: int
    """Grows when staged transactions are rolled back; older writes must not reach the file."""


class _Forget(Struct, frozen=True):
    versions: tuple[Superseded, ...]
    oldest: int
    done: asyncio.Future[None] | None


_Job = _Write | _Forget


class SqliteStore(LocalStore):
    """The embedded engine. Construct with `await SqliteStore.open(path)`."""

    def __init__(self, path: Path, lock: int, database: sqlite3.Connection, mvcc: Mvcc) -> None:
        super().__init__(mvcc)
        self._path = path
        self._lock = lock
        self._database = database
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._generation = 0
        self._failed_generation = -1
        """Written by the writer thread only."""
        self._broken = ""
        self._writer = threading.Thread(target=self._write_all, name="weft-store", daemon=True)
        self._writer.start()

    @classmethod
    async def open(cls, path: Path) -> "SqliteStore":
        """Open or create the file (mode 0600; its directory must exist) and load it.

        Raises StoreError when it is in use, damaged, foreign or not accessible.
        """
        lock, database, mvcc = await asyncio.to_thread(_open, path)
        return cls(path, lock, database, mvcc)

    async def apply(self, txn: Txn) -> int:
        """As Store.apply."""
        if len(txn.ops) > TXN_CHANGES_MAX:
            raise ValueError(f"a transaction has {len(txn.ops)} operations")
        while True:
            self._check_writable()
            try:
                staged = self._mvcc.stage(txn)
            except Conflict as conflict:
                # It may clash with a write that is not durable yet: see what becomes of that one.
                pending = self._mvcc.pending_revision(conflict.key)
                if not pending:
                    raise
            else:
                if staged.changes:
                    return await self._write(staged)
                pending = max((self._mvcc.pending_revision(op.key) for op in txn.ops), default=0)
                if not pending:
                    return self._mvcc.revision
            await asyncio.wait([self._waiting[pending]])

    async def compact(self, revision: int) -> None:
        """As Store.compact."""
        self._check_writable()
        versions = self._mvcc.compact(revision)
        done = self._loop.create_future()
        self._jobs.put(_Forget(versions, self._mvcc.oldest_revision, done))
        await done

    async def close(self) -> None:
        """As Store.close; idempotent. Writes already accepted are made durable first."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        self._hub.close()
        with contextlib.suppress(sqlite3.Error):
            self._database.close()
        os.close(self._lock)

    def _check_writable(self) -> None:
        self._check_open()
        if self._broken:
            raise StoreError(self._broken)

    async def _write(self, staged: Staged) -> int:
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting[staged.revision] = done
        self._jobs.put(_Write(staged, done, self._generation))
        await asyncio.shield(done)
        return staged.revision

    # --- on the writer thread

    def _write_all(self) -> None:
        ending = False
        while not ending:
            jobs: list[_Job] = []
            job = self._jobs.get()
            while True:
                if job is None:
                    ending = True
                    break
                jobs.append(job)
                if len(jobs) >= GROUP_COMMIT_TXNS_MAX:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            if jobs:
                self._write_group(jobs)

    def _write_group(self, jobs: Sequence[_Job]) -> None:
        error: Exception | None = None
        fresh = [
            j for j in jobs if isinstance(j, _Forget) or j.generation > self._failed_generation
        ]
        try:
            _commit(self._database, fresh)
        except Exception as failure:  # whatever it is, every caller must hear of it
            error = failure
            generations = [job.generation for job in fresh if isinstance(job, _Write)]
            self._failed_generation = max([self._failed_generation, *generations])
            with contextlib.suppress(sqlite3.Error):
                self._database.rollback()
        with contextlib.suppress(RuntimeError):  # the loop is gone: nobody waits any more
            self._loop.call_soon_threadsafe(self._finish, jobs, error)

    # --- back on the event loop

    def _finish(self, jobs: Sequence[_Job], error: Exception | None) -> None:
        failure = StoreError(_explain(self._path, error)) if error else None
        if isinstance(error, sqlite3.Error) and not _is_passing(error):
            self._broken = str(failure)
        events: list[Event] = []
        for job in jobs:
            if isinstance(job, _Forget):
                if failure:
                    log.warning("cannot compact error=%s", failure)
                continue
            if failure is None and job.generation == self._generation:
                events += self._mvcc.commit(job.staged)
        if failure is not None and any(
            isinstance(job, _Write) and job.generation == self._generation for job in jobs
        ):
            self._generation += 1
            self._mvcc.rollback()
        if events:
            self._hub.publish(events, self._mvcc.oldest_revision)
            self._compact_when_due()
        for job in jobs:
            self._answer(job, failure)

    def _answer(self, job: _Job, failure: StoreError | None) -> None:
        if isinstance(job, _Write):
            if self._waiting.get(job.staged.revision) is job.done:
                del self._waiting[job.staged.revision]
            if failure is None and job.generation < self._generation:
                failure = StoreError(f"cannot write {self._path}: an earlier write failed")
        if job.done is None or job.done.done():
            return
        if failure is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(failure)
            job.done.exception()  # the caller may be gone; it is not an error of the loop then

    def _compact_when_due(self) -> None:
        if due := self._mvcc.compaction_due():
            versions = self._mvcc.compact(due)
            self._jobs.put(_Forget(versions, self._mvcc.oldest_revision, None))


def _commit(database: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
    if not jobs:
        return
    database.execute("BEGIN IMMEDIATE")
    for job in jobs:
        if isinstance(job, _Forget):
            rows = [
                (v.revision * TXN_CHANGES_MAX, (v.revision + 1) * TXN_CHANGES_MAX, v.key)
                for v in job.versions
            ]
            database.executemany(_FORGET, rows)
            database.execute(
                "UPDATE meta SET value = ? WHERE name = 'oldest_revision'", (job.oldest,)
            )
    database.executemany(
        _INSERT,
        [
            (
                job.staged.revision * TXN_CHANGES_MAX + index,
                change.event.key,
                None if change.after is None else change.after.value,
                change.event.create_revision,
            )
            for job in jobs
            if isinstance(job, _Write)
            for index, change in enumerate(job.staged.changes)
        ],
    )
    database.execute("COMMIT")


def _open(path: Path) -> tuple[int, sqlite3.Connection, Mvcc]:
    lock = _lock(path)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
        path.chmod(FILE_MODE)
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
    except (OSError, sqlite3.Error) as error:
        os.close(lock)
        raise StoreError(f"cannot open {path}: {error}") from error
    try:
        _prepare(path, database)
        return lock, database, _load(database)
    except BaseException as error:
        database.close()
        os.close(lock)
        if isinstance(error, sqlite3.Error):
            raise StoreError(_explain(path, error)) from error
        raise


def _lock(path: Path) -> int:
    """Lock `<path>.lock`, which also says who holds it, for as long as this process lives."""
    name = f"{path}.lock"
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    except OSError as error:
        raise StoreError(
            f"cannot open {name}: {error.strerror}; is its directory there?"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(lock, 32).decode(errors="replace").strip()
        os.close(lock)
        raise StoreError(
            f"{path} is in use by process {holder or '(unknown)'}: "
            "stop it, or use another data directory"
        ) from error
    os.ftruncate(lock, 0)
    os.write(lock, f"{os.getpid()}\n".encode())
    return lock


def _prepare(path: Path, database: sqlite3.Connection) -> None:
    """Set the durability pragmas and create or check the schema."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    (mode,) = database.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StoreError(f"{path}: the file system cannot hold a write-ahead log ({mode})")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT_MAX}")
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if not tables and not application:
        database.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            database.execute(statement)
        database.execute("INSERT INTO meta VALUES ('oldest_revision', ?)", (FIRST_REVISION,))
        database.execute("COMMIT")
        return
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is another program's database: choose another data directory")
    if version != FORMAT_VERSION:
        raise StoreError(
            f"{path} has format {version}, this weft reads {FORMAT_VERSION}: "
            "use the weft that wrote it"
        )


def _load(database: sqlite3.Connection) -> Mvcc:
    mvcc = Mvcc()
    (oldest,) = database.execute("SELECT value FROM meta WHERE name = 'oldest_revision'").fetchone()
    mvcc.revision = mvcc.oldest_revision = oldest
    for row, key, value, create_revision in database.execute(
        "SELECT id, key, value, create_revision FROM log ORDER BY id"
    ):
        mvcc.restore(key, value, create_revision, row // TXN_CHANGES_MAX)
    return mvcc


def _is_passing(error: sqlite3.Error) -> bool:
    """Whether the file is sound and later writes may work."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM)


def _explain(path: Path, error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return f"cannot write {path}: the disk is full; free space, writes then work again"
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return (
            f"{path} is damaged ({error}): restore a copy, or move it away to start with an "
            "empty store"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path} is in use by another process: stop it, or use another data directory"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN):
        return f"cannot write {path} ({error}): check its owner and mode"
    return f"cannot use {path} ({error}): check the disk, then restart"
