"""Options that several commands share."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from weft.lib.durations import parse_duration
from weft.lib.instance import ENGINES
from weft.node import pressure
from weft.node.oci import registries

CERT_SECONDS_MIN = 5.0


class Duration(click.ParamType):  # type: ignore[type-arg]
    """A time span such as `12h`, as seconds; at least `least`, of which `sentence` says why. Where
    numbers may be `bare` they are seconds."""

    name = "duration"

    def __init__(self, least: float, sentence: str, *, bare: bool = False) -> None:
        self.least, self.sentence, self.bare = least, sentence, bare

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        if self.bare and value.replace(".", "", 1).isdecimal():
            value += "s"
        try:
            found = parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if found < self.least:
            self.fail(self.sentence, param, ctx)
        return found


LIFE = Duration(CERT_SECONDS_MIN, f"a certificate lives for {CERT_SECONDS_MIN:.0f} s at least")
_PATIENCE = Duration(0.0, "a time is not negative; 0 is no limit")
PATIENCE = Duration(0.0, "a time is not negative", bare=True)

_IDENTITY = (
    click.option(
        "--ca-dir",
        default="",
        metavar="DIR",
        callback=lambda _context, _option, value: value and os.path.abspath(value),
        help="The mesh's authority: ca-cert.pem, ca-key.pem, root-cert.pem, cert-chain.pem as in"
        " Istio's `cacerts`.  [default: weft makes its own]",
    ),
    click.option(
        "--workload-cert-ttl", type=LIFE, default="12h", show_default=True,
        help="Life of workloads' certificates.",
    ),
    click.option(
        "--root-cert-ttl", type=LIFE, default="87600h", show_default=True,
        help="Life of the mesh's roots; the next overlaps with the last.",
    ),
)  # fmt: skip


def _registries(_context: Any, _option: Any, value: str) -> str:
    try:
        registries.read(Path(value).read_text() if value else "")
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}") from None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value and os.path.abspath(value)


def _socket(_context: Any, _option: Any, value: str) -> str:
    path = value.removeprefix("unix://")
    if "://" in path:
        raise click.BadParameter(f"{value}: only a Unix socket of this machine can be used")
    return path and os.path.abspath(path)


def _with(command: Any, options: Sequence[Callable[[Any], Any]]) -> Any:
    """The command with these, in `--help` in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def identity(command: Any) -> Any:
    """How the mesh's identities are made."""
    return _with(command, _IDENTITY)


_CLIENTS = (
    click.option(
        "--client-request-timeout", type=_PATIENCE, default="1h", show_default=True,
        help="How long callers of gateways may take to send a request; 0: as long as they like.",
    ),
    click.option(
        "--client-idle-timeout", type=_PATIENCE, default="10m", show_default=True,
        help="How long their connections are kept without a request; 0: as long as they like.",
    ),
)  # fmt: skip


def clients(command: Any) -> Any:
    """How long callers from outside are waited for."""
    return _with(command, _CLIENTS)


_IMAGES = (
    click.option(
        "--oci-runtime", type=click.Choice(["auto", "builtin", "runc", "crun", *ENGINES]),
        default="auto", show_default=True,
        help="What starts containers from images; auto: crun or runc where PATH has one; docker,"
        " podman: that engine, from its own images, too.",
    ),
    click.option(
        "--engine-socket", default="", metavar="PATH", callback=_socket,
        help="Where that engine listens.  [default: $DOCKER_HOST, $CONTAINER_HOST, its usual one]",
    ),
    click.option(
        "--registries", default="", metavar="FILE", callback=_registries,
        help="Mirrors, authorities and credentials of image registries (YAML, as k3s has it).",
    ),
)  # fmt: skip


def images(command: Any) -> Any:
    """Where images come from and what runs them."""
    return _with(command, _IMAGES)


def _thresholds(_context: Any, _option: Any, value: str) -> str:
    try:
        pressure.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


_NODE = (
    click.option(
        "--eviction-hard", default=pressure.EVICTION_HARD_DEFAULT, show_default=True,
        callback=_thresholds, metavar="SIGNAL<AMOUNT,...",
        help="Below these, pods are evicted, one after the other: memory.available, pid.available;"
        " quantities or percentages.",
    ),
    click.option(
        "--eviction-pressure-transition-period", type=_PATIENCE, default="5m", show_default=True,
        help="How long the node counts as short of something after it was last.",
    ),
    click.option(
        "--pod-max-pids", type=click.IntRange(min=0), default=4096, show_default=True,
        help="Processes and threads that a container may have; 0: no limit.",
    ),
)  # fmt: skip


def node(command: Any) -> Any:
    """How a node protects itself; named as kubelet's."""
    return _with(command, _NODE)


data_dir = click.option(
    "--data-dir",
    metavar="DIR",
    help="Where this instance keeps its state (default: $WEFT_HOME, else ~/.weft).",
)
namespace = click.option(
    "-n", "--namespace", default="default", show_default=True, help="Namespace to work in."
)
files = click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="DIR_OR_FILE",
    help="Manifests; may be repeated; `-` is standard input.",
)
form = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "wide", "json", "yaml", "name"]),
    default="table",
    help="How to print.",
)
format_only = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    help="How to print.",
)
