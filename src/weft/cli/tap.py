"""`weft tap`: single requests as they pass."""

import asyncio
import json
import sys
from typing import Any
from urllib.parse import urlencode

import click
import msgspec

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect
from weft.telemetry.requests import Request
from weft.views.requests import request_line

REQUESTS = "/weft/v1/requests"
WAIT_SECONDS = 2
EXAMPLES = """\b
Examples:
  weft tap deploy/frontend                    what it calls, and who calls it
  weft tap --to reviews --status error        failed calls of a service
  weft tap --status 5xx --path /api -o json   for programs, a line each
  weft tap --slower 500 --count 10            ten that took half a second
"""


@click.command(epilog=EXAMPLES)
@click.argument("workload", default="", metavar="[deploy/NAME]")
@click.option("--from", "source", default="", metavar="NAME", help="Only calls of this workload.")
@click.option("--to", default="", metavar="NAME", help="Only calls to this workload or service.")
@click.option("--method", default="", help="Only this method.")
@click.option("--path", default="", help="Only paths that begin so.")
@click.option("--status", default="", metavar="503|5xx|error", help="Only these outcomes.")
@click.option("--slower", type=float, default=0.0, metavar="MS", help="Only what took so long.")
@click.option("--percent", type=click.IntRange(1, 100), default=100, show_default=True,
              help="Share of all requests that is looked at.")  # fmt: skip
@click.option("--count", type=click.IntRange(min=1), help="End after so many.")
@click.option("-o", "--output", "form", type=click.Choice(["text", "table", "json", "yaml"]),
              default="text",
              help="How to print: json is a line each, yaml a document each.")  # fmt: skip
@options.data_dir
def tap(
    workload: str,
    source: str,
    to: str,
    method: str,
    path: str,
    status: str,
    slower: float,
    percent: int,
    count: int | None,
    form: str,
    data_dir: str | None,
) -> None:
    """Show requests and connections as they pass: who called whom, what, what came of it and why.

    Proxies tell of single requests only while somebody looks. Ctrl-C ends it.
    """
    name = workload.rpartition("/")[2]
    query: dict[str, Any] = {
        "from": source,
        "to": to,
        "method": method,
        "path": path,
        "status": status,
        "slower": slower,
        "percent": percent,
        "wait": WAIT_SECONDS,
    }

    async def work() -> None:
        shown, after = 0, None
        async with connect(data_dir) as connection:
            output.note("looking at requests from now on; Ctrl-C ends it")
            while count is None or shown < count:
                asked = query if after is None else query | {"after": after}
                body = await connection.json("GET", f"{REQUESTS}?{urlencode(asked)}")
                after = body["newest"]
                found = msgspec.convert(body["requests"], tuple[Request, ...])
                wanted = [r for r in found if not name or name in _names(r)]
                for request in wanted if count is None else wanted[: count - shown]:
                    _show(request, form)
                    shown += 1

    try:
        asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
    except KeyboardInterrupt:
        return


def _names(request: Request) -> tuple[str, ...]:
    return tuple(each.partition("/")[2] for each in (request.source, request.destination))


def _show(request: Request, form: str) -> None:
    if form == "json":
        print(json.dumps(msgspec.to_builtins(request), ensure_ascii=False), flush=True)
    elif form == "yaml":
        print("---")
        output.structured(msgspec.to_builtins(request), form)
        sys.stdout.flush()
    else:
        print(request_line(request, output.style()), flush=True)
