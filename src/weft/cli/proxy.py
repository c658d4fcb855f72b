"""`weft proxy`: the node's Envoy as a program."""

import asyncio

import click

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect

RESTART = "/weft/v1/proxy-restart"


@click.command(epilog="Example: weft proxy restart")
@click.argument("action", type=click.Choice(["restart"]))
@options.data_dir
def proxy(action: str, data_dir: str | None) -> None:
    """Have a new Envoy take over from the running one (restart). No request is lost: the new
    process takes the listening sockets, the old one gives connections a minute to end."""
    assert action == "restart"

    async def work() -> None:
        async with connect(data_dir) as connection:
            done = await connection.json("POST", RESTART)
        if error := done.get("error"):
            output.fail(
                f"the proxy goes on as it is: {error}",
                "`weft down` and `weft up` start it anew, with a pause",
            )
        print(f"Envoy {done['after']} took over from Envoy {done['before']}, which drains")

    try:
        asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
