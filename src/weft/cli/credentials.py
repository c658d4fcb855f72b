"""`weft credentials`: new keys, tokens and roots for a running instance."""

import asyncio

import click

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect

PATHS = {
    "rotate": "/weft/v1/credentials-rotate",
    "forget": "/weft/v1/credentials-forget",
    "rotate-ca": "/weft/v1/credentials-rotate-ca",
    "forget-ca": "/weft/v1/credentials-forget-ca",
}
DONE = {
    "rotate": """\
new signing key, administrator's token and server certificate are in use
the old ones are still believed; `weft credentials forget` ends that""",
    "forget": "only the newest signing key and administrator's token are believed",
    "rotate-ca": """\
a new root signs the API server's certificate and those of clients
nobody is cut off: the old root is still trusted, and vouches for the new one
  by themselves  joined nodes (within a minute), pods, token Secrets, this instance's kubeconfig
  by you         copies of the kubeconfig: take them anew; client certificates that
                 you had signed: have them signed again; join tokens: make new ones
then `weft credentials forget-ca` ends the trust in the old root""",
    "forget-ca": """\
only the newest root is trusted; connections of clients with older certificates are closed
who is told `certificate signed by unknown authority` needs the new kubeconfig; who is told
`Unauthorized` needs a new client certificate; a node that is refused joins with a new token""",
}


@click.command(epilog="Example: weft credentials rotate")
@click.argument("action", type=click.Choice(list(PATHS)))
@click.option("--force", is_flag=True, help="With forget-ca: also when nodes would be cut off.")
@options.data_dir
def credentials(action: str, data_dir: str | None, force: bool) -> None:
    """Make new credentials (rotate): a key that signs service account tokens, the
    administrator's token in the kubeconfig, the API server's certificate; or a new root of the
    API's certificates (rotate-ca). What was valid before stays valid until it is forgotten (forget,
    forget-ca), so that nobody is cut off meanwhile."""
    if force and action != "forget-ca":
        raise click.UsageError("--force goes with forget-ca alone")
    path = PATHS[action] + ("-force" if force else "")

    async def work() -> None:
        async with connect(data_dir) as connection:
            done = await connection.json("POST", path)
        if error := done.get("error"):
            output.fail(f"the credentials stay as they are: {error}")
        print(DONE[action])

    try:
        asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
