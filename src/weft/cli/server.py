"""`weft server`: as `weft up`, for several machines."""

import socket
from typing import Any

import click

from weft.cli import options, output
from weft.cli.up import own_address, start, up
from weft.lib.instance import XDS_PORT_DEFAULT

EVERY_ADDRESS = "0.0.0.0"  # noqa: S104 - it is for other machines
PROBED_ADDRESS = "192.0.2.1"
"""Of a network that is nobody's (RFC 5737): only the route to it is looked at."""


@click.command(epilog="Example: weft server --listen 10.0.0.1 --detach, then weft token create")
@click.option(
    "--listen",
    default=EVERY_ADDRESS,
    show_default=True,
    callback=lambda _context, _option, value: own_address(value),
    help="Address at which other machines reach this one.",
)
@click.option(
    "--address",
    default="",
    help="Address that they know it by.  [default: --listen, else that of the default route]",
)
@click.option(
    "--xds-port",
    type=click.IntRange(0, 65535),
    default=XDS_PORT_DEFAULT,
    show_default=True,
    help="Port for their proxies (TLS with certificates on both sides); 0: free one.",
)
@click.option(
    "--node-cert-ttl",
    type=options.LIFE,
    default="8760h",
    show_default=True,
    help="Life of the certificates of nodes that join; they renew them at half of it.",
)
@click.option("--name", default="", help="Name of this node.  [default: the machine's]")
def server(
    data_dir: str | None, files: tuple[str, ...], detach: bool, listen: str, address: str,
    name: str, **rest: Any,
) -> None:  # fmt: skip
    """As `weft up`, and other machines can join (`weft agent`): API and proxies' control plane are
    reachable at --listen, by token or certificate only."""
    known = address or (listen if listen != EVERY_ADDRESS else _default_address())
    start(data_dir, files, detach, listen=listen, address=known, node_name=name, **rest)


server.params = [*up.params, *server.params]


def _default_address() -> str:
    """Of the interface with the default route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((PROBED_ADDRESS, 9))
        except OSError:
            output.fail("this machine has no default route", "give --listen or --address")
        return str(probe.getsockname()[0])
