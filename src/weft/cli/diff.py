"""`weft diff`: what applying files would change, in the objects and in Envoy."""

import asyncio
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec
import orjson

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.cli import options, output
from weft.cli.connection import connect

if TYPE_CHECKING:
    from msgspec import Struct

    from weft.api.manifests import Document
    from weft.api.snapshot import Snapshot
    from weft.offline.differences import Difference
    from weft.offline.overlay import Written
    from weft.runtime.client import Client

DIFFERENT, TROUBLE = 1, 2
"""Exit codes, as those of diff(1)."""
NOT_FOUND = 404
LEFT_OUT = ("Event", "Lease")
"""Kinds that change all the time and route nothing."""
POD_MAKERS = ("Deployment", "Rollout", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob")


@click.command(epilog="Example: weft diff -f manifests/ && echo nothing would change")
@options.files
@options.namespace
@click.option("-o", "--output", "form", type=click.Choice(["text", "table", "json", "yaml"]),
              default="text", help="How to print.")  # fmt: skip
@options.data_dir
def diff(files: tuple[str, ...], namespace: str, form: str, data_dir: str | None) -> None:
    """Say what `weft apply` of these files would change: the objects, and then the configuration
    of each node's Envoy, resource by resource. Nothing is written.

    Pods that would start or end because of it are not part of the answer. Keys, certificates and
    values of Secrets are shown as digests. Exit code: 0 nothing would change, 1 something would,
    2 there was an error.
    """
    if not files:
        output.fail("say which files: -f DIR_OR_FILE", "`-f -` reads standard input", code=TROUBLE)
    try:
        found = asyncio.run(_compare(files, namespace, data_dir))
    except ApiError as error:
        output.fail(error.message, code=TROUBLE)
    objects, nodes = found
    if form in ("text", "table"):
        from weft.views.diff import diff_lines  # noqa: PLC0415 - slow to import

        output.lines(diff_lines(objects, nodes, output.style()))
        if any(each.kind in POD_MAKERS for each in objects):
            output.note("Pods that would start or end are not part of this.")
    else:
        shown = {"objects": objects, "nodes": nodes}
        output.structured(msgspec.to_builtins(shown), form)
    if objects or any(nodes.values()):
        sys.exit(DIFFERENT)


async def _compare(
    files: tuple[str, ...], namespace: str, data_dir: str | None
) -> "tuple[list[Difference], dict[str, tuple[Difference, ...]]]":
    from weft.cli.apply import BadManifests, in_order, read_documents  # noqa: PLC0415
    from weft.offline.overlay import with_written  # noqa: PLC0415

    try:
        documents = in_order(read_documents(files))
    except BadManifests as error:
        output.note(str(error))
        sys.exit(TROUBLE)
    async with connect(data_dir) as connection:
        client = connection.client
        namespaces = {
            d.name for d in documents if d.kind is not None and d.kind.kind == "Namespace"
        }
        written = [await _dry_run(client, d, namespace, namespaces) for d in documents]
        live = await _live(client)
    before, after = with_written(live, ()), with_written(live, written)
    objects = [found for each in written if (found := each.difference) is not None]
    return objects, _nodes(before, after)


async def _dry_run(
    client: "Client", document: "Document", namespace: str, new_namespaces: set[str]
) -> "Written":
    """What the server would make of the object. Raises ApiError, with the object's place."""
    from weft.api.apply import apply_patch, with_last_applied  # noqa: PLC0415
    from weft.cli.apply import placed  # noqa: PLC0415
    from weft.offline.objects import settled  # noqa: PLC0415
    from weft.offline.overlay import Written  # noqa: PLC0415

    kind = document.kind
    assert kind is not None  # read_documents lets no unknown kind through
    wanted, place = placed(document, kind, namespace)
    name = document.name
    try:
        try:
            live = orjson.loads(await client.get(kind, name, place))
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
            if place in new_namespaces and not await _exists(client, place):
                return Written(kind, None, settled(kind, wanted, place))
            made = await client.create(kind, with_last_applied(wanted), place, dry_run=True)
            return Written(kind, None, orjson.loads(made))
        patch = apply_patch(live, wanted)
        if not patch:
            return Written(kind, live, live)
        changed = await client.patch(kind, name, patch, place, dry_run=True)
        return Written(kind, live, orjson.loads(changed))
    except ApiError as error:
        where = f"{document.file}:{document.line}: {kind.singular}/{name} is refused"
        raise ApiError(error.code, error.reason, f"{where}: {error.message}") from error


async def _exists(client: "Client", namespace: str) -> bool:
    kind = registry.by_resource("", "v1", "namespaces")
    assert kind is not None
    try:
        await client.get(kind, namespace)
    except ApiError as error:
        if error.code != NOT_FOUND:
            raise
        return False
    return True


async def _live(client: "Client") -> "list[Struct]":
    """Every object that may matter to the mesh."""
    from weft.api.objects import decode  # noqa: PLC0415 - slow to import

    async def of(kind: Kind) -> "list[Struct]":
        assert kind.struct is not None
        found = await client.list(kind)
        return [decode(kind.struct, item) for item in found.items]

    kinds = [k for k in registry.KINDS if k.struct is not None and k.kind not in LEFT_OUT]
    return [obj for found in await asyncio.gather(*map(of, kinds)) for obj in found]


def _nodes(before: "Snapshot", after: "Snapshot") -> "dict[str, tuple[Difference, ...]]":
    from weft.api.k8s.core_v1 import Node  # noqa: PLC0415 - slow to import
    from weft.offline.configuration import configuration  # noqa: PLC0415
    from weft.offline.differences import differences  # noqa: PLC0415

    old = {node.metadata.name: node for node in before.list(Node)}
    found = {}
    for node in after.list(Node):
        was = old.get(node.metadata.name)
        if was is not None:
            then = configuration(before, was, _settings(before))
            later = configuration(after, node, _settings(after))
            found[node.metadata.name] = differences(then, later)
    return found


def _settings(snapshot: "Snapshot") -> Any:
    """Files that Gateways name are looked for here: the instance runs on this machine."""
    from weft.mesh.build import BuildSettings  # noqa: PLC0415 - slow to import
    from weft.mesh.server_certificates import referenced_files  # noqa: PLC0415

    paths: Sequence[str] = sorted(referenced_files(snapshot))
    return BuildSettings(missing_files=frozenset(p for p in paths if not os.path.isfile(p)))
