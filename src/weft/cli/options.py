"""Options that several commands share."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from weft.lib.durations import parse_duration
from weft.lib.instance import ENGINES
from weft.node import pressure, reserved
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


def _checked(parse: Callable[[str], object]) -> Callable[[Any, Any, str], str]:
    """A callback that refuses what `parse` does."""

    def check(_context: Any, _option: Any, value: str) -> str:
        try:
            parse(value)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
        return value

    return check


_NODE = (
    click.option(
        "--eviction-hard", default=pressure.EVICTION_HARD_DEFAULT, show_default=True,
        callback=_checked(pressure.parse), metavar="SIGNAL<AMOUNT,...",
        help="Below these, pods are evicted, one after the other: memory.available, pid.available,"
        " nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree; quantities or"
        " percentages.",
    ),
    click.option(
        "--eviction-soft", default="", callback=_checked(pressure.parse),
        metavar="SIGNAL<AMOUNT,...",
        help="Below these, pods are evicted after a grace period, and end gracefully.",
    ),
    click.option(
        "--eviction-soft-grace-period", default="", metavar="SIGNAL=TIME,...",
        callback=_checked(pressure.parse_times),
        help="How long each soft threshold may be crossed.",
    ),
    click.option(
        "--eviction-max-pod-grace-period", type=click.FloatRange(min=0), default=0, metavar="N",
        help="Seconds at most for pods that are evicted by a soft threshold.  [default: 0]",
    ),
    click.option(
        "--eviction-minimum-reclaim", default="", metavar="SIGNAL=AMOUNT,...",
        callback=_checked(pressure.parse_amounts),
        help="How much more than the threshold must be there before eviction stops.",
    ),
    click.option(
        "--eviction-pressure-transition-period", type=_PATIENCE, default="5m", show_default=True,
        help="How long the node counts as short of something after it was last.",
    ),
    click.option(
        "--system-reserved", default="", callback=_checked(reserved.parse),
        metavar="RESOURCE=AMOUNT,...",
        help="Not for pods: cpu, memory, ephemeral-storage, pid.",
    ),
    click.option(
        "--kube-reserved", default="", callback=_checked(reserved.parse),
        metavar="RESOURCE=AMOUNT,...", help="The same, for weft and Envoy.",
    ),
    click.option(
        "--enforce-node-allocatable", type=click.Choice(reserved.ENFORCED), default="pods",
        show_default=True,
        help="pods: together they get no more memory and processes than is not reserved.",
    ),
    click.option(
        "--image-gc-high-threshold", type=click.IntRange(0, 100), default=85, show_default=True,
        metavar="PERCENT",
        help="Use of the disk at which pulled images that no pod needs are removed; 100: never.",
    ),
    click.option(
        "--image-gc-low-threshold", type=click.IntRange(0, 100), default=80, show_default=True,
        metavar="PERCENT", help="Use of the disk at which that ends.",
    ),
    click.option(
        "--pod-max-pids", type=click.IntRange(min=0), default=4096, show_default=True,
        help="Processes and threads that a container may have; 0: no limit.",
    ),
)  # fmt: skip


def node(command: Any) -> Any:
    """How a node protects itself; named as kubelet's."""
    return _with(command, _NODE)


def check_node(rest: Mapping[str, Any]) -> str:
    """What is wrong with options of `node` together; "" for nothing."""
    options = pressure.Options(
        rest["eviction_hard"], rest["eviction_soft"], rest["eviction_soft_grace_period"],
        rest["eviction_minimum_reclaim"],
    )  # fmt: skip
    kept = reserved.together(rest["system_reserved"], rest["kube_reserved"])
    try:
        pressure.thresholds(options)
        if kept:
            from weft.node.machine_facts import machine_facts, pids_max  # noqa: PLC0415 - is slow

            reserved.pod_limits(kept, machine_facts("/").memory_bytes, pids_max())
    except ValueError as error:
        return str(error)
    low, high = rest["image_gc_low_threshold"], rest["image_gc_high_threshold"]
    if low >= high:
        return f"--image-gc-low-threshold {low} must be less than the high one, {high}"
    return ""


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
