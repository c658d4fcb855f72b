"""`weft trace`: the way of single requests through the services."""

import asyncio
import json
from typing import Any
from urllib.parse import quote, urlencode

import click

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect
from weft.telemetry import jaeger
from weft.views.traces import trace_rows, waterfall

TRACES = "/weft/v1/jaeger/api/traces"
NOT_FOUND = 404
EXAMPLES = """\b
Examples:
  weft trace                                          the newest
  weft trace --service reviews --failed               failed ones that passed a service
  weft trace --slower 500 --tag http.status_code=503
  weft trace 4bf92f3577b34da6a3ce929d0e0e4736         one, as a waterfall
"""


@click.command(epilog=EXAMPLES)
@click.argument("trace_id", default="", metavar="[TRACE]")
@click.option("--service", default="", help="Only traces that passed this service.")
@click.option("--failed", is_flag=True, help="Only traces with an error.")
@click.option("--slower", type=click.IntRange(min=0), default=0, metavar="MS",
              help="Only what took so long.")  # fmt: skip
@click.option("--tag", "tags", multiple=True, metavar="NAME=VALUE",
              help="Only with this attribute; may be repeated.")  # fmt: skip
@click.option("--limit", type=click.IntRange(1, jaeger.LIMIT_MAX), default=jaeger.LIMIT_DEFAULT,
              show_default=True)  # fmt: skip
@options.format_only
@options.data_dir
def trace(
    trace_id: str,
    service: str,
    failed: bool,
    slower: int,
    tags: tuple[str, ...],
    limit: int,
    form: str,
    data_dir: str | None,
) -> None:
    """List traces, or show one: which service did what when, and what failed."""
    wanted = dict(_pair(tag) for tag in tags) | ({"error": "true"} if failed else {})
    query = {"service": service, "limit": str(limit)}
    query |= {"tags": json.dumps(wanted)} if wanted else {}
    query |= {"minDuration": f"{slower}ms"} if slower else {}
    path = f"{TRACES}/{quote(trace_id, safe='')}" if trace_id else f"{TRACES}?{urlencode(query)}"

    async def work() -> Any:
        async with connect(data_dir) as connection:
            return await connection.json("GET", path)

    try:
        body = asyncio.run(work())
    except ApiError as error:
        if trace_id and error.code == NOT_FOUND:
            output.fail(f"there is no trace {trace_id}", "`weft trace` lists what is kept")
        output.fail(error.message)
    if form != "table":
        output.structured({"items": body["data"]}, form)
        return
    found = [jaeger.trace_of(value) for value in body["data"]]
    if trace_id:
        output.lines(waterfall(found[0], output.style()))
    elif found:
        output.lines(trace_rows(found, output.style()))
    else:
        print("no trace is kept that is like this")


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign:
        output.fail(f"--tag {text}: has no value", "write NAME=VALUE")
    return name, value
