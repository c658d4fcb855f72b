import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from weft.lib.instance import Running, process_start, read_running, run_dir_of


def publish(directory: Path, pid: int, started: int) -> None:
    running = Running(pid, 6443, "host", 0.0, process_start=started)
    (directory / "weft.json").write_text(json.dumps(msgspec.to_builtins(running)))


def test_a_running_instance_is_found_until_it_ends(tmp_path: Path) -> None:
    assert read_running(str(tmp_path)) is None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        publish(tmp_path, process.pid, process_start(process.pid))
        found = read_running(str(tmp_path))
        assert found is not None
        assert found.pid == process.pid
        process.kill()
        process.wait()
        assert read_running(str(tmp_path)) is None


def test_another_process_with_the_number_of_a_killed_instance_is_not_it(tmp_path: Path) -> None:
    """`weft down` signals what it finds: after a reboot the number may be anybody's."""
    publish(tmp_path, os.getpid(), process_start(os.getpid()) - 1)
    assert read_running(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": "x"}'])
def test_a_damaged_file_is_no_instance(tmp_path: Path, text: str) -> None:
    (tmp_path / "weft.json").write_text(text)
    assert read_running(str(tmp_path)) is None


def test_run_directories_differ_by_data_directory() -> None:
    assert run_dir_of("/a") != run_dir_of("/b")
    assert len(run_dir_of("/a" * 200)) < 60
