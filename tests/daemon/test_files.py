from pathlib import Path

import pytest
from msgspec import structs

from weft.apiserver.access import user_of_token
from weft.daemon.files import (
    BadTokens,
    admin_token,
    keep_first_choices,
    prepare_directories,
    with_service_cidr,
)
from weft.lib.instance import Settings
from weft.node.rootless import first_isolation


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


def test_the_network_of_services_is_chosen_once(tmp_path: Path) -> None:
    usual = settings(tmp_path)
    prepare_directories(usual)
    small = structs.replace(usual, service_cidr="10.0.0.0/24")
    other = structs.replace(usual, service_cidr="10.1.0.0/24")
    assert with_service_cidr(small) == small
    assert with_service_cidr(other) == other, "nothing is kept before it is in use"
    keep_first_choices(small, "netns")
    assert with_service_cidr(usual) == small
    keep_first_choices(small, "host")
    assert first_isolation(usual.data_dir) == "netns", "the first one"
    with pytest.raises(OSError, match=r"have addresses of 10\.0\.0\.0/24, which was chosen"):
        with_service_cidr(other)


def test_an_instance_that_began_with_the_usual_network_keeps_it(tmp_path: Path) -> None:
    usual = settings(tmp_path)
    prepare_directories(usual)
    (Path(usual.data_dir) / "kubeconfig").touch()
    assert with_service_cidr(usual) == usual
    with pytest.raises(OSError, match="have addresses of the usual network"):
        with_service_cidr(structs.replace(usual, service_cidr="10.0.0.0/24"))
