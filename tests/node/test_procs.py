"""Who belongs to a container where only sessions and marks tell; strangers are never touched."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from weft.node.podhost.procs import kill_members, members, send, starttime
from weft.node.podhost.records import MARK


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A session leader with a mark."""
    environment = {**os.environ, MARK: "pod_main_0"}
    process = subprocess.Popen(["sleep", "60"], start_new_session=True, env=environment)
    # The kernel lets the parent go on a moment before the new program's environment is in place.
    while not Path(f"/proc/{process.pid}/environ").read_bytes():
        time.sleep(0.001)
    yield process
    process.kill()
    process.wait()


def test_members_are_found_by_session_and_by_mark(sleeper: subprocess.Popen[bytes]) -> None:
    started = starttime(sleeper.pid)
    assert started > 0
    assert members("other", sleeper.pid, started) == [sleeper.pid]
    assert members("pod_main_0", 0, 0) == [sleeper.pid]
    assert members("pod_main", 0, 0) == []
    assert not kill_members("other", sleeper.pid, started)
    assert sleeper.wait(5) == -9
    assert kill_members("other", sleeper.pid, started)


def test_a_reused_number_is_a_stranger(sleeper: subprocess.Popen[bytes]) -> None:
    assert members("other", sleeper.pid, starttime(sleeper.pid) + 1) == []


@pytest.mark.parametrize("leader", [-1, 0, 1])
def test_no_leader_means_nobody(leader: int) -> None:
    assert members("no-such-container", leader, starttime(1)) == []
    send(leader, 0)
    assert starttime(999_999_999) == 0
