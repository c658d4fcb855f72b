"""`weft top` and `weft graph`: what passes through the mesh now."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import click
import msgspec

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import Connection, connect
from weft.lib.durations import parse_duration
from weft.telemetry.signals import GROUPINGS, TrafficDocument, signals
from weft.views.signals import dot_lines, graph_lines, top_lines
from weft.views.tables import Style

TRAFFIC = "/weft/v1/traffic"
REFRESH_SECONDS = 2.0
QUIET = "nothing passed through the mesh in this time"
PLURALS = {f"{word}s": word for word in GROUPINGS}
TOP_EXAMPLES = """\b
Examples:
  weft top                         services, live
  weft top workloads --since 10m   workloads and versions, over ten minutes
  weft top edges -n shop --once    who calls whom, printed once
  weft top -o json                 for programs
"""
GRAPH_EXAMPLES = """\b
Examples:
  weft graph
  weft graph -n shop --since 1h
  weft graph -o dot | dot -Tsvg -o mesh.svg
"""

_since = click.option(
    "--since", default="1m", show_default=True, metavar="TIME", help="How far back: 30s, 10m, 3h."
)
_namespace = click.option("-n", "--namespace", default="", help="Only calls to this namespace.")


@click.command(epilog=TOP_EXAMPLES)
@click.argument("what", type=click.Choice(list(PLURALS)), default="services")
@_since
@_namespace
@click.option("--once", is_flag=True, help="Print once, and do not go on.")
@options.format_only
@options.data_dir
def top(what: str, since: str, namespace: str, once: bool, form: str, data_dir: str | None) -> None:
    """Rate, errors and latency of services, workloads or edges, with what the last minute was like.

    Live in a terminal (Ctrl-C ends it); printed once into a pipe, or as JSON or YAML.
    """
    by = PLURALS[what]

    def lines(document: TrafficDocument, style: Style) -> list[str]:
        return top_lines(document, by, style) if document.edges else [QUIET]

    if form != "table":
        document = _once(data_dir, since, namespace)
        found = signals(document, GROUPINGS[by][1])
        output.structured({"items": msgspec.to_builtins(found)}, form)
    elif once or not sys.stdout.isatty():
        output.lines(lines(_once(data_dir, since, namespace), output.style()))
    else:
        _run(_live(data_dir, since, namespace, lines))


@click.command(epilog=GRAPH_EXAMPLES)
@_since
@_namespace
@click.option(
    "-o", "--output", "form", type=click.Choice(["tree", "table", "dot", "json", "yaml"]),
    default="tree",
    help="How to print.",
)  # fmt: skip
@options.data_dir
def graph(since: str, namespace: str, form: str, data_dir: str | None) -> None:
    """Who calls whom: protocol, rate, errors and latency of every edge."""
    document = _once(data_dir, since, namespace)
    if form in ("json", "yaml"):
        output.structured(msgspec.to_builtins(document), form)
    elif form == "dot":
        output.lines(dot_lines(document))
    elif form == "table":
        output.lines(top_lines(document, "edge", output.style()))
    else:
        output.lines(graph_lines(document, output.style()) if document.edges else [QUIET])


def _once(data_dir: str | None, since: str, namespace: str) -> TrafficDocument:
    async def work() -> TrafficDocument:
        async with connect(data_dir) as connection:
            return await traffic_of(connection, _seconds(since), namespace)

    document: TrafficDocument = _run(work())
    return document


async def _live(
    data_dir: str | None,
    since: str,
    namespace: str,
    lines: Callable[[TrafficDocument, Style], list[str]],
) -> None:
    from rich.live import Live  # noqa: PLC0415 - slow to import
    from rich.text import Text  # noqa: PLC0415

    seconds = _seconds(since)
    async with connect(data_dir) as connection:
        with Live(auto_refresh=False, screen=True) as live:
            while True:
                document = await traffic_of(connection, seconds, namespace)
                text = "\n".join(lines(document, output.style()))
                live.update(Text.from_ansi(text), refresh=True)
                await asyncio.sleep(REFRESH_SECONDS)


async def traffic_of(
    connection: Connection, seconds: float, namespace: str = ""
) -> TrafficDocument:
    """The edges of the last `seconds`; with a namespace, those that lead to it."""
    body = await connection.json("GET", f"{TRAFFIC}?seconds={seconds:g}")
    document = msgspec.convert(body, TrafficDocument)
    if not namespace:
        return document
    kept = [
        one
        for one in document.edges
        if namespace in (one.edge.service_namespace, one.edge.destination_namespace)
    ]
    return msgspec.structs.replace(document, edges=tuple(kept))


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError:
        output.fail(f"--since {text}: is no time", "write 30s, 10m or 3h")


def _run(work: Any) -> Any:
    try:
        return asyncio.run(work)
    except ApiError as error:
        output.fail(error.message)
    except KeyboardInterrupt:
        return None
