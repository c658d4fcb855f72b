"""Writes for ever and tells what was acknowledged; run by test_sqlite_crash.py, and killed."""

import asyncio
import os
import random
import sys
from pathlib import Path

from weft.store import mvcc
from weft.store.interface import Conflict, Delete, Expect, Put, Txn
from weft.store.sqlite import SqliteStore

WRITERS = 8
KEYS = 60


async def write(store: SqliteStore, chance: random.Random) -> None:
    while True:
        key = f"/{chance.randrange(KEYS):03d}"
        entry = await store.get(key)
        expect = (Expect(key, entry.mod_revision if entry else 0),)
        value = b"%d" % chance.getrandbits(64) * chance.randrange(1, 60)
        gone = entry is not None and chance.random() < 0.2
        ops = (Delete(key) if gone else Put(key, value), Put(f"/other{chance.random()}", b""))
        try:
            revision = await store.apply(Txn(ops[: chance.randrange(1, 3)], expect))
        except Conflict:
            continue
        told = "-" if gone else value.decode()
        os.write(1, f"{revision} {key} {told}\n".encode())


async def main(path: Path, seed: int) -> None:
    mvcc.HISTORY_EVENTS_MAX = 400
    store = await SqliteStore.open(path)
    os.write(1, b"open\n")
    await asyncio.gather(*(write(store, random.Random(seed * 100 + n)) for n in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
