import os
import stat
from pathlib import Path

import pytest

from weft.lib.files import own_directory, replace_file

NOBODY = 65534


def test_a_file_is_replaced_at_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old")
    path.chmod(0o644)
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["token"]


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("theirs")
    (tmp_path / "token").symlink_to(tmp_path / "theirs")
    replace_file(tmp_path / "token", b"new")
    assert (tmp_path / "theirs").read_text() == "theirs"
    assert not (tmp_path / "token").is_symlink()


def test_what_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    replace_file(path, b"old")

    def fail(_: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["token"]


def test_a_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    own_directory(tmp_path / "a/b")
    own_directory(tmp_path / "a/b")
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o700


def test_directories_that_others_can_change_are_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(PermissionError, match="written by others"):
        own_directory(tmp_path / "open")
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError, match="link"):
        own_directory(tmp_path / "link")


@pytest.mark.root
def test_another_user_s_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", NOBODY, NOBODY)
    with pytest.raises(PermissionError, match="belongs to user 65534"):
        own_directory(tmp_path / "theirs")
