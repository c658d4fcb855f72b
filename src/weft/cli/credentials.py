"""`weft credentials`: new keys and tokens for a running instance."""

import asyncio

import click

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect

PATHS = {"rotate": "/weft/v1/credentials-rotate", "forget": "/weft/v1/credentials-forget"}


@click.command(epilog="Example: weft credentials rotate")
@click.argument("action", type=click.Choice(list(PATHS)))
@options.data_dir
def credentials(action: str, data_dir: str | None) -> None:
    """Make new credentials (rotate): a key that signs service account tokens, the
    administrator's token in the kubeconfig, the API server's certificate. What was valid before
    stays valid until it is forgotten (forget), so that nobody is cut off meanwhile."""

    async def work() -> None:
        async with connect(data_dir) as connection:
            done = await connection.json("POST", PATHS[action])
        if error := done.get("error"):
            output.fail(f"the credentials stay as they are: {error}")
        if action == "rotate":
            print("new signing key, administrator's token and server certificate are in use")
            print("the old ones are still believed; `weft credentials forget` ends that")
        else:
            print("only the newest signing key and administrator's token are believed")

    try:
        asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
