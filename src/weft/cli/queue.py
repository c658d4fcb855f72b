"""`weft queue`: the queues, and who waits in one for what."""

import asyncio
from collections.abc import Coroutine
from typing import Any
from urllib.parse import quote

import click
import msgspec

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect
from weft.cli.resources import TABLE
from weft.lib.aio import now
from weft.offline.queue_document import QueueDocument
from weft.views.queues import queue_lines
from weft.views.tables import render

QUEUES = "/weft/v1/queues"
OWN = "/apis/queue.weft.dev/v1alpha1/queues"
KUEUE = "/apis/kueue.x-k8s.io/v1beta2/clusterqueues"


@click.group(epilog="Example: weft queue get batch")
def queue() -> None:
    """Queues of Jobs and pods (label `weft.dev/queue`), and why something waits."""


@queue.command("list", epilog="Examples: weft queue list · weft queue list -o json")
@options.format_only
@options.data_dir
def list_(form: str, data_dir: str | None) -> None:
    """All queues, and Kueue's ClusterQueues if there are any."""

    async def work() -> list[str]:
        async with connect(data_dir) as connection:
            if form != "table":
                output.structured(await connection.json("GET", OWN), form)
                return []
            tables = [await connection.json("GET", path, TABLE) for path in (OWN, KUEUE)]
        lines: list[str] = []
        for table in tables[:1] + [t for t in tables[1:] if t["rows"]]:
            heads = [c["name"] for c in table["columnDefinitions"]]
            rows = render(heads, [row["cells"] for row in table["rows"]], output.style())
            lines += [*([""] if lines else []), *rows]
        return lines

    _print(work())


@queue.command(epilog="Example: weft queue get batch")
@click.argument("name")
@options.format_only
@options.data_dir
def get(name: str, form: str, data_dir: str | None) -> None:
    """Who runs and who waits in a Queue or ClusterQueue, in order, and what would let it run."""

    async def work() -> list[str]:
        async with connect(data_dir) as connection:
            found = await connection.json("GET", f"{QUEUES}?name={quote(name)}")
        if not found:
            output.fail(f"there is no queue `{name}`", "`weft queue list` lists them")
        document = msgspec.convert(found, QueueDocument)
        if form != "table":
            output.structured(msgspec.to_builtins(document), form)
            return []
        return queue_lines(document, now(), output.style())

    _print(work())


def _print(work: Coroutine[Any, Any, list[str]]) -> None:
    try:
        output.lines(asyncio.run(work))
    except ApiError as error:
        output.fail(error.message)
