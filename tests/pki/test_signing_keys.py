"""The file of signing keys."""

from pathlib import Path

import pytest

from weft.pki import signing_keys
from weft.pki.ca import CaError


def test_made_once_and_private(tmp_path: Path) -> None:
    token = signing_keys.load_or_create(tmp_path / "pki").sign({"a": 1})
    path = tmp_path / "pki" / signing_keys.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert signing_keys.load_or_create(tmp_path / "pki").claims(token) == {"a": 1}


def test_old_keys_are_believed_for_a_while(tmp_path: Path) -> None:
    token = signing_keys.load_or_create(tmp_path).sign({"a": 1})
    for _ in range(signing_keys.KEYS_MAX - 1):
        signing_keys.rotate(tmp_path)
        assert signing_keys.load_or_create(tmp_path).claims(token) == {"a": 1}
    signing_keys.rotate(tmp_path)
    assert signing_keys.load_or_create(tmp_path).claims(token) is None


def test_a_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / signing_keys.FILE).write_text("nonsense")
    with pytest.raises(CaError, match="remove it"):
        signing_keys.load_or_create(tmp_path)
