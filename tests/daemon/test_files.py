from pathlib import Path

import pytest

from weft.apiserver.access import user_of_token
from weft.daemon.files import BadTokens, admin_token, prepare_directories
from weft.lib.instance import Settings


def settings(directory: Path) -> Settings:
    return Settings(str(directory / "data"), str(directory / "run/x"))


def test_the_token_is_made_once_and_private(tmp_path: Path) -> None:
    prepare_directories(settings(tmp_path))
    token, tokens = admin_token(settings(tmp_path))
    user = user_of_token(tokens, token)
    assert user is not None
    assert "system:masters" in user.groups
    assert admin_token(settings(tmp_path))[0] == token
    assert (tmp_path / "data/tokens.csv").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("text", "why"), [("", "no token of weft-admin"), ("half a lin", "line 1"), ("t,bob,1", "no t")]
)
def test_a_damaged_file_of_tokens_says_what_to_do(tmp_path: Path, text: str, why: str) -> None:
    prepare_directories(settings(tmp_path))
    (tmp_path / "data/tokens.csv").write_text(text)
    with pytest.raises(BadTokens, match=f"{why}.*remove"):
        admin_token(settings(tmp_path))


def test_a_run_directory_below_another_one_s_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(PermissionError):
        prepare_directories(settings(tmp_path))
