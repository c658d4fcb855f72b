"""`weft image`: what image names mean on this machine."""

import os
import re
import shutil
from pathlib import Path

import click

from weft.cli import options, output
from weft.lib.instance import data_dir_of
from weft.node.images import ImageStore, familiar
from weft.views.tables import render

IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


def _store(data_dir: str | None) -> ImageStore:
    return ImageStore(Path(data_dir_of(data_dir)))


@click.group(
    epilog="Examples: weft image add web:latest --dir ./web -- python app.py · weft image list"
)
def image() -> None:
    """Say what image names mean on this machine.

    A process image is a directory and a command: manifests that name it run unchanged where no
    container engine exists.
    """


@image.command(epilog="Example: weft image add user-service:1.0 --dir ./user -- python app.py")
@click.argument("name")
@click.option("--dir", "directory", default=".", help="Working directory of the command.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment; may be repeated.")
@options.data_dir
@click.argument("command", nargs=-1)
def add(
    name: str, directory: str, env: tuple[str, ...], data_dir: str | None, command: tuple[str, ...]
) -> None:
    """Define NAME as COMMAND run in a directory. Programs are looked up in the PATH of now.

    Without a COMMAND the manifests must say what runs (`command` or `args`).
    """
    if not IMAGE_NAME.fullmatch(name):
        output.fail(f"`{name}` is no image name", "write it as in the manifest, e.g. shop/user:1.0")
    path = Path(directory).expanduser().resolve()
    if not path.is_dir():
        output.fail(f"{directory} is not a directory", "give the program's directory with --dir")
    if command and shutil.which(command[0]) is None and not (path / command[0]).exists():
        output.fail(
            f"`{command[0]}` is neither in PATH nor in {path}",
            "name the program as you would type it in that directory",
        )
    bad = [item for item in env if "=" not in item]
    if bad:
        output.fail(f"--env {bad[0]} has no value", "write it as NAME=VALUE")
    variables = {"PATH": os.environ.get("PATH", os.defpath)}
    variables |= dict(item.split("=", 1) for item in env)
    added = _store(data_dir).add(name, path, command, variables)
    runs = " ".join(added.command) or "what the manifest says"
    output.note(f"{familiar(added.name)}: {runs} (in {added.directory})")


@image.command("list")
@options.data_dir
def list_(data_dir: str | None) -> None:
    """List the images."""
    store = _store(data_dir)
    rows = [
        (name, found.directory, " ".join(found.command))
        for name in store.names()
        if (found := store.resolve(name))
    ]
    if not rows:
        output.note("No images. Add one: weft image add NAME --dir DIR -- COMMAND")
        return
    output.lines(render(("Name", "Directory", "Command"), rows, output.style()))


@image.command()
@click.argument("name")
@options.data_dir
def remove(name: str, data_dir: str | None) -> None:
    """Forget an image; pods that run it go on."""
    if not _store(data_dir).remove(name):
        output.fail(f"no image `{name}`", "`weft image list` shows what there is")
    output.note(f"{name} removed")
