"""Mistakes of users: each is answered in words that help, never with a traceback."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.cli.command_tree import ACTS, commands, forms, showing
from weft.cli.main import COMMANDS, main


def run(*words: str, data_dir: Path) -> Result:
    result = CliRunner().invoke(main, list(words), env={"WEFT_HOME": str(data_dir)})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def refused(result: Result, *parts: str) -> None:
    assert result.exit_code != 0
    for part in parts:
        assert part in result.stderr, result.stderr


@pytest.mark.parametrize("words", ["status", "get pods", "describe pod/a", "logs a", "delete po a"])
def test_commands_say_when_weft_does_not_run(words: str, tmp_path: Path) -> None:
    refused(run(*words.split(), data_dir=tmp_path), f"weft does not run on {tmp_path}", "`weft up`")


def test_a_killed_weft_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text("apiVersion: v1\nkind: Config\n")
    (tmp_path / "weft.json").write_text('{"pid": 1, "port": 6443, "isolation": "host"}')
    refused(run("get", "pods", data_dir=tmp_path), "weft does not run")


def test_down_where_nothing_ever_ran_makes_nothing(tmp_path: Path) -> None:
    result = run("down", data_dir=tmp_path / "none")
    refused(result, "weft does not run on")
    assert not (tmp_path / "none").exists()


def test_an_unknown_kind_is_compared_with_those_there_are(tmp_path: Path) -> None:
    from weft.cli.resources import kind_named

    with pytest.raises(SystemExit):
        kind_named("podz")
    assert kind_named("po").kind == "Pod"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        (b"a: [b", "no valid YAML"),
        (b"kind: Deploymint\napiVersion: apps/v1\nmetadata: {name: a}", "`kind: Deployment`"),
    ],
)
def test_files_that_cannot_be_used_are_named(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    refused(run("apply", "-f", str(path), data_dir=tmp_path), str(path), said)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    refused(run("apply", "-f", "/none.yaml", data_dir=tmp_path), "error: /none.yaml does not exist")
    (tmp_path / "empty").mkdir()
    result = run("apply", "-f", str(tmp_path / "empty"), data_dir=tmp_path)
    refused(result, "holds no .yaml, .yml, .json files")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "secret.yaml"
    path.write_text("")
    path.chmod(0)
    refused(run("apply", "-f", str(path), data_dir=tmp_path), f"{path} cannot be read")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--port 99999", "99999 is not in the range 0<=x<=65535"),
        ("--port x", "'x' is not a valid integer"),
        ("--gateway-address 300.1.1.1", "no IPv4 address of this machine"),
        ("--gateway-address 192.0.2.1", "no IPv4 address of this machine"),
        ("--isolation vm", "'vm' is not one of"),
    ],
)
def test_options_of_up_that_cannot_be_are_refused(words: str, said: str, tmp_path: Path) -> None:
    refused(run("up", *words.split(), data_dir=tmp_path), said)


@pytest.mark.parametrize(
    "words", ["up --detach", "image add web -- python3", "image list", "down", "status"]
)
def test_a_data_directory_that_cannot_be_is_named(words: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(run(*words.split(), data_dir=tmp_path / "file" / "below"), str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("web --dir /none", "/none is not a directory"),
        ("web -- no-such-program", "`no-such-program` is neither in PATH nor in"),
        ("we!b -- sh", "`we!b` is no image name"),
        ("web --env A -- sh", "--env A has no value"),
    ],
)
def test_images_that_cannot_run_are_refused(words: str, said: str, tmp_path: Path) -> None:
    refused(run("image", "add", *words.split(), data_dir=tmp_path), said)


def test_an_image_is_added_listed_and_removed(tmp_path: Path) -> None:
    added = run("image", "add", "web", "--dir", str(tmp_path), "--", "sh", data_dir=tmp_path)
    assert added.stderr == f"web:latest: sh (in {tmp_path})\n"
    assert "web:latest" in run("image", "list", data_dir=tmp_path).stdout
    assert run("image", "remove", "web", data_dir=tmp_path).exit_code == 0
    refused(run("image", "remove", "web", data_dir=tmp_path), "no image `web`")


def test_an_unknown_command_is_compared_with_those_there_are(tmp_path: Path) -> None:
    result = run("aply", data_dir=tmp_path)
    refused(result, "there is no command `aply`", "did you mean `weft apply`?")
    assert result.exit_code == 2
    refused(run("xyzzy", data_dir=tmp_path), "`weft --help` lists them")


def test_a_file_without_objects_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n---\n")
    path = str(tmp_path / "empty.yaml")
    refused(run("apply", "-f", path, data_dir=tmp_path), f"there are no objects in {path}")


@pytest.mark.parametrize("name", [*COMMANDS, ""])
def test_every_help_has_an_example(name: str, tmp_path: Path) -> None:
    result = run(*name.split(), "--help", data_dir=tmp_path)
    assert result.exit_code == 0
    assert "example" in result.stdout.lower()


def test_all_that_shows_data_prints_json_yaml_and_tables() -> None:
    every = dict(commands())
    assert set(every) >= ACTS
    lacking = [name for name in showing() if not {"json", "yaml", "table"} <= {*forms(every[name])}]
    assert lacking == []
