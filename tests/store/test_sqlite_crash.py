"""A writer is killed at random moments, again and again; nothing it acknowledged may be lost."""

import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.store.test_sqlite import history, opened

ROUNDS = 25


def run_and_kill(path: Path, seed: int, seconds: float) -> list[tuple[int, str, str]]:
    """Let the writer run for a while; gives the (revision, key, value) it acknowledged."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.store.crash_writer", str(path), str(seed)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent.parent,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"open\n"
    lines: list[bytes] = []
    reader = threading.Thread(target=lambda: lines.extend(child.stdout or ()))
    reader.start()
    time.sleep(seconds)
    child.kill()
    child.wait()
    reader.join()
    child.stdout.close()
    told = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(int(revision), key, value) for revision, key, value in told]


@pytest.mark.slow
async def test_no_acknowledged_write_is_lost_by_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    chance = random.Random(20)
    acknowledged: dict[str, tuple[int, str]] = {}
    total, last = 0, 1
    for round_ in range(ROUNDS):
        told = run_and_kill(path, round_, chance.uniform(0.0, 0.25))
        total += len(told)
        for revision, key, value in told:
            acknowledged[key] = max(acknowledged.get(key, (0, "")), (revision, value))
        async with opened(path) as store:
            assert store.revision >= max((revision for revision, _, _ in told), default=last)
            now = {e.key: e for e in (await store.range("")).entries}
            events = await history(store, store.oldest_revision)
            revisions = sorted({e.revision for e in events})
            # One history: no gap, and up to the present.
            assert revisions == list(range(revisions[0], store.revision + 1)) if revisions else True
            by_change = {(e.key, e.revision): e for e in events}
            for revision, key, value in told:
                if revision >= store.oldest_revision:
                    event = by_change[key, revision]
                    assert (event.type == "delete") == (value == "-")
                    assert event.type == "delete" or event.value.decode() == value
            for key, (revision, value) in acknowledged.items():
                entry = now.get(key)
                later = [e for e in events if e.key == key and e.revision > revision]
                if entry is not None and entry.mod_revision == revision:
                    assert entry.value.decode() == value
                elif entry is None and value == "-":
                    continue
                else:
                    # Overwritten by a write whose acknowledgement the kill swallowed.
                    assert later, f"{key} was acknowledged at {revision} and is not there"
                    acknowledged[key] = (
                        later[-1].revision,
                        "-" if later[-1].type == "delete" else later[-1].value.decode(),
                    )
            last = store.revision
    assert total > 500
