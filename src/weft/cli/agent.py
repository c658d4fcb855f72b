"""`weft server` and `weft agent`: several machines."""

import ipaddress
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from weft.cli import options, output
from weft.cli.up import LOG_LEVELS, STOP_SIGNALS, daemon_command, own_address, start_detached
from weft.lib import join_token
from weft.lib.files import replace_file
from weft.lib.instance import (
    API_PORT_DEFAULT,
    Settings,
    data_dir_of,
    node_name_default,
    read_running,
    run_dir_of,
)

POD_RANGES = tuple(ipaddress.IPv4Network(text) for text in ("10.244.0.0/14", "10.248.0.0/14"))
POD_PREFIX = 24
TOKEN_VARIABLE = "WEFT_TOKEN"  # noqa: S105 - a name


@click.command(
    epilog="Example: weft agent --join https://10.0.0.1:6443 --token-file token --name worker-1"
)
@options.data_dir
@click.option("--join", "server", required=True, metavar="URL", help="API of the `weft server`.")
@click.option(
    "--token",
    default="",
    metavar="TOKEN",
    help="What `weft token create` printed there; better in a file or in $WEFT_TOKEN, for command"
    " lines can be read by others. Needed the first time only.",
)
@click.option("--token-file", default="", metavar="FILE", help="A file that holds it.")
@click.option("--name", default="", help="Name of the node.  [default: the machine's]")
@click.option(
    "--address",
    default="",
    metavar="IP",
    help="Address of this machine for other nodes.  [default: the one it reaches the server from]",
)
@click.option(
    "--pod-cidr",
    default="",
    metavar="NETWORK",
    callback=lambda _context, _option, value: _pod_network(value),
    help="This node's pods, such as 10.244.7.0/24.  [default: the server gives one]",
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Label of the node.")
@click.option(
    "--gateway-address",
    default="",
    metavar="IP",
    help="Address that ingress gateways listen on.  [default: --address]",
)
@options.images
@options.node
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="warning", show_default=True)
@click.option("--detach", is_flag=True, help="Run in the background; return when it runs.")
def agent(
    data_dir: str | None, server: str, token: str, token_file: str, name: str, address: str,
    labels: tuple[str, ...], detach: bool, **rest: Any,
) -> None:  # fmt: skip
    """Make this machine a node of a `weft server`: its pods run here, meshed with all others.

    It comes back without the token after a restart, and its pods go on while the server is away.
    """
    directory = data_dir_of(data_dir)
    if running := read_running(directory):
        output.fail(f"weft already runs on {directory} (process {running.pid})")
    if wrong := options.check_node(rest):
        output.fail(wrong, "`weft agent --help` says what these options mean")
    url = _server(server)
    Path(directory).mkdir(parents=True, exist_ok=True, mode=0o700)
    own = own_address(address) if address else _own_address_towards(url)
    rest["gateway_address"] = rest["gateway_address"] or own
    settings = Settings(
        data_dir=directory, run_dir=run_dir_of(directory), node_name=name or node_name_default(),
        join=url, address=own, labels=_labels(labels), **rest,
    )  # fmt: skip
    _keep_token(settings, token, token_file)
    command = daemon_command("agent", settings)
    if detach:
        start_detached(settings, command)
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        os.execv(command[0], command)  # noqa: S606 - our own interpreter and module


def _keep_token(settings: Settings, token: str, token_file: str) -> None:
    """Where the daemon finds it, for its owner only."""
    text = token or os.environ.get(TOKEN_VARIABLE, "")
    if token_file:
        standard_input = token_file == "-"  # noqa: S105 - a file's name
        text = sys.stdin.read() if standard_input else Path(token_file).read_text()
    if not text:
        return
    try:
        join_token.parse(text)
    except ValueError as error:
        output.fail(f"{error} [WEFT2680]", "`weft token create` on the server prints one")
    replace_file(Path(settings.join_token_file), text.strip().encode())


def _server(url: str) -> str:
    text = url if "://" in url else f"https://{url}"
    parts = urlsplit(text)
    try:
        port = parts.port or API_PORT_DEFAULT
    except ValueError:
        port = 0
    if parts.scheme != "https" or not parts.hostname or not port:
        raise click.BadParameter(f"{url}: write it like https://10.0.0.1:6443")
    return f"https://{parts.hostname}:{port}"


def _own_address_towards(url: str) -> str:
    """The address that this machine reaches the server from."""
    host = urlsplit(url).hostname or ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
        except OSError as error:
            output.fail(
                f"no way to {host}: {error.strerror or error}", "check --join, or give --address"
            )
        return str(probe.getsockname()[0])


def _pod_network(text: str) -> str:
    if not text:
        return ""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it like 10.244.7.0/24") from None
    if network.prefixlen != POD_PREFIX or not any(network.subnet_of(r) for r in POD_RANGES):
        raise click.BadParameter(
            f"{text} is no /{POD_PREFIX} of 10.244.0.0 to 10.251.255.255, where pods are [WEFT2688]"
        )
    return str(network)


def _labels(texts: tuple[str, ...]) -> dict[str, str]:
    bad = [text for text in texts if "=" not in text]
    if bad:
        raise click.BadParameter(f"label `{bad[0]}` has no value; write NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)
