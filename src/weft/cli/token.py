"""`weft token`: what other machines join with."""

import base64
import contextlib
import secrets
import string
from typing import Any

import click

from weft.api.registry import by_resource
from weft.cli import options, output
from weft.cli.connection import Connection, run
from weft.lib import join_token
from weft.lib.aio import now
from weft.lib.durations import parse_duration
from weft.lib.timefmt import parse_rfc3339, rfc3339
from weft.views.tables import render

PREFIX = "bootstrap-token-"
NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type
ALPHABET = string.ascii_lowercase + string.digits
ID_CHARS, SECRET_CHARS = 6, 16
TTL_DEFAULT = "24h"
PATH = f"/api/v1/namespaces/{NAMESPACE}/secrets"


@click.group(epilog="Example: weft token create --ttl 1h")
def token() -> None:
    """Tokens with which machines join (`weft agent --join URL --token TOKEN`)."""


@token.command(epilog="Example: weft token create --ttl 1h")
@options.data_dir
@click.option(
    "--ttl", default=TTL_DEFAULT, show_default=True, help="How long it lets machines in; 0: ever."
)
@click.option("--description", default="", help="Who it is for.")
@options.format_only
def create(data_dir: str | None, ttl: str, description: str, form: str) -> None:
    """Make a token and print it. It also says which server to trust."""
    seconds = _seconds(ttl)

    async def work(connection: Connection) -> None:
        ident, word = _random(ID_CHARS), _random(SECRET_CHARS)
        data = {
            "token-id": ident,
            "token-secret": word,
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:weft:default-node-token",
            **({"description": description} if description else {}),
            **({"expiration": rfc3339(now() + seconds)} if seconds else {}),
        }
        kind = by_resource("", "v1", "secrets")
        assert kind is not None
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": f"{PREFIX}{ident}", "namespace": NAMESPACE},
            "type": SECRET_TYPE,
            "data": {k: base64.b64encode(v.encode()).decode() for k, v in data.items()},
        }
        await connection.client.create(kind, body)
        made = join_token.render(connection.target.ca, f"{ident}.{word}")
        if form == "table":
            print(made)
        else:
            output.structured({"id": ident, "token": made}, form)

    run(data_dir, work)


@token.command("list", epilog="Example: weft token list -o json")
@options.format_only
@options.data_dir
def list_(form: str, data_dir: str | None) -> None:
    """List the tokens; not their secrets."""

    async def work(connection: Connection) -> None:
        found = await connection.json("GET", f"{PATH}?fieldSelector=type%3D{SECRET_TYPE}")
        rows = [_row(secret) for secret in found["items"]]
        if form != "table":
            output.structured({"items": rows}, form)
        elif not rows:
            output.note("No tokens. Make one: weft token create")
        else:
            cells = [(r["id"], _expiry(r["expires"]), r["description"]) for r in rows]
            output.lines(render(("Id", "Expires", "Description"), cells, output.style()))

    run(data_dir, work)


@token.command()
@click.argument("ident", metavar="ID")
@options.data_dir
def delete(ident: str, data_dir: str | None) -> None:
    """No machine joins with this token any more; those that did stay. ID may be a whole token."""
    with contextlib.suppress(ValueError):
        ident = join_token.parse(ident).word
    name = f"{PREFIX}{ident.partition('.')[0]}"

    async def work(connection: Connection) -> None:
        kind = by_resource("", "v1", "secrets")
        assert kind is not None
        await connection.client.delete(kind, name, NAMESPACE)
        output.note(f"token {name.removeprefix(PREFIX)} deleted")

    run(data_dir, work)


def _row(secret: dict[str, Any]) -> dict[str, str]:
    """As `-o json` prints it; without an end `expires` is empty."""
    data = secret.get("data") or {}
    texts = {k: base64.b64decode(v).decode(errors="replace") for k, v in data.items()}
    names = {"id": "token-id", "expires": "expiration", "description": "description"}
    return {name: texts.get(key, "") for name, key in names.items()}


def _expiry(expires: str) -> str:
    with contextlib.suppress(ValueError):
        if expires and parse_rfc3339(expires) < now():
            return f"{expires} (expired)"
    return expires or "never"


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _seconds(text: str) -> float:
    if text == "0":
        return 0.0
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(f"--ttl {text}: {error}; write it like 30m or 24h") from None
