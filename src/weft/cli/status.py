"""`weft status`."""

import asyncio

import click

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect
from weft.views.status import status_lines


@click.command(epilog="Example: weft status -o json")
@options.data_dir
@click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json", "yaml"]), default="table"
)
def status(data_dir: str | None, form: str) -> None:
    """Nodes, pods, proxies, and what each Envoy has acknowledged."""

    async def work() -> None:
        async with connect(data_dir) as connection:
            document = await connection.json("GET", "/weft/v1/status")
        if form == "table":
            output.lines(status_lines(document, output.style(), output.width()))
        else:
            output.structured(document, form)

    try:
        asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
