"""Termination messages: from the file, from the log, bounded."""

from pathlib import Path

import pytest

from weft.api.k8s.container_v1 import Container
from weft.node import last_words
from weft.node.runtime import ContainerState

FILE = Container(name="web", termination_message_path="/dev/termination-log")
LOGS = Container(name="web", termination_message_policy="FallbackToLogsOnError",
                 termination_message_path="/dev/termination-log")  # fmt: skip
FAILED = ContainerState("c", exit_code=3, reason="Error")
DONE = ContainerState("c", exit_code=0, reason="Completed")


def write_log(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"2026-11-21T00:00:00.000000Z stdout F {line}\n" for line in lines))
    return path


def message(directory: Path, container: Container, state: ContainerState = FAILED) -> str:
    return last_words.explained(state, container, directory, directory / "0.log").message


def said(directory: Path, text: str) -> None:
    mount = last_words.offer(FILE, directory, "c")
    assert mount is not None
    assert (mount.target, mount.optional, mount.read_only) == ("/dev/termination-log", True, False)
    Path(mount.source).write_text(text)


def test_the_file_is_the_message_whatever_the_exit_code(tmp_path: Path) -> None:
    said(tmp_path, "cannot reach the database")
    write_log(tmp_path / "0.log", "noise")
    for container in (FILE, LOGS):
        for state in (FAILED, DONE):
            assert message(tmp_path, container, state) == "cannot reach the database"


def test_anybody_may_write_it(tmp_path: Path) -> None:
    mount = last_words.offer(FILE, tmp_path, "c")
    assert mount is not None
    assert Path(mount.source).stat().st_mode & 0o777 == 0o666


def test_the_end_of_a_long_file(tmp_path: Path) -> None:
    said(tmp_path, "x" * 10_000 + "the end")
    found = message(tmp_path, FILE)
    assert len(found) == last_words.MESSAGE_BYTES_MAX
    assert found.endswith("xthe end")


def test_the_log_speaks_only_where_asked_and_for_failures(tmp_path: Path) -> None:
    last_words.offer(LOGS, tmp_path, "c")
    write_log(tmp_path / "0.log", "first", "last")
    assert message(tmp_path, LOGS) == "first\nlast\n"
    assert message(tmp_path, LOGS, DONE) == ""
    assert message(tmp_path, FILE) == ""


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([f"line {n}" for n in range(200)], "".join(f"line {n}\n" for n in range(120, 200))),
        (["y" * 3000, "end"], "y" * (last_words.LOG_BYTES_MAX - 5) + "\nend\n"),
    ],
)
def test_of_a_long_log_the_end(tmp_path: Path, lines: list[str], expected: str) -> None:
    write_log(tmp_path / "0.log", *lines)
    assert message(tmp_path, LOGS) == expected


def test_it_follows_what_the_runtime_says(tmp_path: Path) -> None:
    said(tmp_path, "was busy")
    state = ContainerState("c", exit_code=137, reason="OOMKilled", message="no memory")
    assert message(tmp_path, FILE, state) == "no memory: was busy"


def test_nothing_said_and_no_log(tmp_path: Path) -> None:
    assert message(tmp_path, LOGS) == ""
    assert last_words.offer(Container(name="web"), tmp_path, "c") is None
