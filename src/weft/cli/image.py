"""`weft image`: what image names mean on this machine."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click
import msgspec

from weft.cli import options, output
from weft.lib.instance import data_dir_of, run_dir_of
from weft.node.images import ImageStore, familiar, layers_in_use
from weft.node.oci.documents import ImageError
from weft.node.runtime import Image
from weft.views.tables import render

ENGINES = ("docker", "podman")
DIGEST_DIGITS_SHOWN = 12
IMAGE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


def _store(data_dir: str | None) -> ImageStore:
    return ImageStore(Path(data_dir_of(data_dir)))


@click.group(
    epilog="Examples: weft image import web.tar · weft image add web:1 --dir ./web -- python app.py"
)
def image() -> None:
    """Say what image names mean on this machine.

    A container image has its own file system and comes from an archive, a layout or an engine. A
    process image is a directory and a command of this machine. The same manifests run both.
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


@image.command("import", epilog="Example: weft image import web.tar")
@click.argument("source")
@click.option("--name", multiple=True, help="Name it so, whatever the archive says; repeatable.")
@click.option(
    "--engine", type=click.Choice(ENGINES), help="SOURCE is an image of this container engine."
)
@options.data_dir
def import_(source: str, name: tuple[str, ...], engine: str | None, data_dir: str | None) -> None:
    """Take container images from SOURCE: a `docker save` archive, or an OCI layout (an archive or
    a directory). With --engine, from an engine on this machine."""
    store = _store(data_dir)
    try:
        if engine is None:
            found = store.import_from(Path(source).expanduser(), name)
        else:
            found = _from_engine(store, engine, source, name)
    except ImageError as error:
        output.fail(str(error), "nothing was imported")
    except OSError as error:
        output.fail(f"{error.filename or source}: {error.strerror}", "nothing was imported")
    for each in found:
        assert each.oci is not None
        output.note(f"{familiar(each.name)}: {_size(each.oci.size_bytes)}, {each.oci.digest}")


def _from_engine(
    store: ImageStore, engine: str, name: str, names: tuple[str, ...]
) -> tuple[Image, ...]:
    program = shutil.which(engine)
    if program is None:
        output.fail(f"there is no `{engine}` in PATH", "import an archive instead")
    with tempfile.TemporaryDirectory(prefix="weft-image-") as directory:
        file = Path(directory) / "image.tar"
        command = [program, "save", "--output", str(file), "--", name]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            why = (done.stderr.strip().splitlines() or ["it does not say why"])[-1]
            output.fail(f"{engine} save {name}: {why}", f"`{engine} images` shows what it has")
        return store.import_from(file, names)


@image.command("list", epilog="Example: weft image list -o json")
@options.format_only
@options.data_dir
def list_(form: str, data_dir: str | None) -> None:
    """List the images of both kinds."""
    images = _store(data_dir).list()
    if form != "table":
        output.structured({"items": [_summary(found) for found in images]}, form)
        return
    rows = [(familiar(found.name), *_row(found)) for found in images]
    if not rows:
        output.note("No images: weft image import FILE, or weft image add NAME --dir DIR")
        return
    header = ("Name", "Kind", "Digest or directory", "Size", "Command")
    output.lines(render(header, rows, output.style()))


def _summary(found: Image) -> dict[str, Any]:
    """One image of the list, for programs."""
    shown: dict[str, Any] = {"name": familiar(found.name)}
    if found.oci is None:
        shown |= {"kind": "process", "directory": found.directory}
    else:
        shown |= {"kind": "container", "digest": found.oci.digest}
        shown["sizeBytes"] = found.oci.size_bytes
    return shown | {"command": [*found.command, *found.args]}


def _row(found: Image) -> tuple[str, str, str, str]:
    runs = " ".join((*found.command, *found.args))
    if found.oci is None:
        return "process", found.directory, "", runs
    digest = found.oci.digest[: len("sha256:") + DIGEST_DIGITS_SHOWN]
    return "container", digest, _size(found.oci.size_bytes), runs


def _size(size: int) -> str:
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


@image.command()
@click.argument("name")
@click.option("-o", "--output", "form", type=click.Choice(["json", "yaml", "table"]),
              default="json", show_default=True, help="How to print.")  # fmt: skip
@options.data_dir
def inspect(name: str, form: str, data_dir: str | None) -> None:
    """Show what is known of an image. Values of variables are shown, too."""
    found = _store(data_dir).resolve(name)
    if found is None:
        output.fail(f"no image `{name}`", "`weft image list` shows what there is")
    body = msgspec.to_builtins(found)
    if form == "table":
        output.lines(render(("Field", "Value"), list(body.items())))
    else:
        output.structured(body, form)


@image.command()
@click.argument("name")
@options.data_dir
def remove(name: str, data_dir: str | None) -> None:
    """Forget an image; pods that run it go on. Its files go with `weft image prune`."""
    if not _store(data_dir).remove(name):
        output.fail(f"no image `{name}`", "`weft image list` shows what there is")
    output.note(f"{name} removed")


@image.command()
@options.data_dir
def prune(data_dir: str | None) -> None:
    """Remove files that belong to no image and no container."""
    directory = data_dir_of(data_dir)
    try:
        freed = _store(data_dir).prune(layers_in_use(Path(run_dir_of(directory))))
    except ImageError as error:
        output.fail(str(error), "nothing was removed")
    output.note(f"{_size(freed)} freed")
