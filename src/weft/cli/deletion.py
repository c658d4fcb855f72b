"""`weft delete`: until the objects are gone, as kubectl does."""

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import click
import orjson
from msgspec import Struct

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.cli import options, output
from weft.cli.connection import Connection, connect
from weft.cli.resources import documents_of, run, split_target
from weft.lib.aio import ticks
from weft.runtime.client import Client
from weft.views.deletion import holds

LOOK_SECONDS = 0.05
LOOK_SECONDS_MAX = 0.5
TELL_SECONDS = 3.0
"""After this long it is said what an object still waits for."""


class Target(Struct, frozen=True):
    """What is to go; `uid` tells it from one of the same name that is made meanwhile."""

    kind: Kind
    name: str
    namespace: str
    uid: str = ""

    @property
    def label(self) -> str:
        return f"{self.kind.singular}/{self.name}"


@click.command(epilog="Examples: weft delete deploy web · weft delete -f examples/weather/")
@click.argument("what", nargs=-1)
@options.files
@options.namespace
@options.data_dir
@click.option("--now", "at_once", is_flag=True, help="Give pods one second to end.")
@click.option(
    "--wait", type=bool, default=True, show_default=True, metavar="BOOLEAN",
    help="Return when the objects are gone; --wait=false: when their deletion is noted.",
)  # fmt: skip
@click.option(
    "--timeout", type=options.PATIENCE, default="0s", show_default=True,
    help="How long --wait waits, then exit code 1 and what holds them; 0: as long as it takes.",
)  # fmt: skip
@click.option("--ignore-not-found", is_flag=True, help="What is gone already is no error.")
def delete(
    what: tuple[str, ...],
    files: tuple[str, ...],
    namespace: str,
    data_dir: str | None,
    at_once: bool,
    wait: bool,
    timeout: float,
    ignore_not_found: bool,
) -> None:
    """Delete objects by name, or those that files describe, and wait until they are gone."""
    if not what and not files:
        output.fail("nothing to delete", "weft delete KIND NAME, or weft delete -f FILE")
    documents = documents_of(files) if files else ()

    async def work() -> None:
        targets = [
            Target(d.kind, d.name, (d.namespace or namespace) if d.kind.namespaced else "")
            for d in documents
            if d.kind
        ]
        async with connect(data_dir) as connection:
            targets += await _named(connection, what, namespace)
            failed, asked = False, []
            for target in targets:
                try:
                    asked.append(await ask(connection.client, target, at_once))
                    print(f"{target.label} deleted")
                except ApiError as error:
                    if not (ignore_not_found and error.code == 404):
                        failed = True
                        output.error(error.message)
            if wait:
                failed |= await gone(connection.client, asked, timeout)
        if failed:
            sys.exit(1)

    run(work())


async def _named(connection: Connection, what: tuple[str, ...], namespace: str) -> list[Target]:
    if not what:
        return []
    kind, names = await split_target(connection, what)
    if not names:
        output.fail(f"which {kind.plural}?", f"weft delete {kind.singular} NAME")
    return [Target(kind, name, namespace if kind.namespaced else "") for name in names]


async def ask(client: Client, target: Target, at_once: bool = False) -> Target:
    """Note the deletion; the target with its uid."""
    answer = orjson.loads(
        await client.delete(
            *(target.kind, target.name, target.namespace),
            grace_period_seconds=1 if at_once else None,
            propagation="Background",
        )
    )
    uid = (answer.get("metadata") or {}).get("uid") or (answer.get("details") or {}).get("uid")
    return Target(target.kind, target.name, target.namespace, uid or "")


async def gone(client: Client, targets: list[Target], seconds_max: float = 0.0) -> bool:
    """Wait for all; True when time is over first."""
    began, pause = ticks(), LOOK_SECONDS
    told: set[str] = set()
    left = targets
    while left:
        there = [(t, await _left(client, t)) for t in left]
        left = [t for t, found in there if found is not None]
        waited = ticks() - began
        late = 0 < seconds_max <= waited
        for target, found in there:
            if found is None:
                continue
            if late:
                output.error(f"{target.label} is still there: {holds(found)}")
            elif waited >= TELL_SECONDS and target.label not in told:
                told.add(target.label)
                output.note(f"waiting for {target.label}: {holds(found)}")
        if late:
            return bool(left)
        if left:
            await asyncio.sleep(pause)
            pause = min(pause * 1.3, LOOK_SECONDS_MAX)
    return False


async def _left(client: Client, target: Target) -> Mapping[str, Any] | None:
    """The object, unless it is gone or another has its name."""
    try:
        found: dict[str, Any] = orjson.loads(
            await client.get(target.kind, target.name, target.namespace)
        )
    except ApiError as error:
        if error.code == 404:
            return None
        raise
    same = not target.uid or found["metadata"].get("uid") == target.uid
    return found if same else None
