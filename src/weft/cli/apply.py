"""Reading manifests and applying them: used by `weft apply` and by `weft up -f`."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from weft.api.apply import apply_patch, with_last_applied
from weft.api.diagnostics import Diagnostic, render
from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.manifests import Document, diagnose
from weft.runtime.client import Client

IMMUTABLE = ("field is immutable", "updates to statefulset spec for fields other than")
"""Kubernetes' words for changes that only a new object can have."""
SUFFIXES = (".yaml", ".yml", ".json")
CONFLICT_ATTEMPTS_MAX = 5
# What others refer to comes first; everything else keeps the order of the files.
KINDS_FIRST = (
    "Namespace", "ServiceAccount", "Secret", "ConfigMap", "Service", "ServiceEntry", "Gateway",
    "DestinationRule", "VirtualService",
)  # fmt: skip


class BadManifests(Exception):
    """Files that cannot be used: the text, for people, says everything that is wrong."""


def manifest_files(names: Sequence[str]) -> list[Path]:
    """The files named, and those in the directories named, in order. Raises BadManifests."""
    found: list[Path] = []
    for name in names:
        path = Path(name)
        if name == "-":
            found.append(path)
        elif path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix in SUFFIXES and p.is_file())
            if not inside:
                raise BadManifests(f"error: {name} holds no {', '.join(SUFFIXES)} files")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise BadManifests(f"error: {name} does not exist")
    return found


def read_documents(names: Sequence[str]) -> tuple[Document, ...]:
    """Every object of the files; all of them are sound. Raises BadManifests otherwise."""
    documents: list[Document] = []
    problems: list[Diagnostic] = []
    for path in manifest_files(names):
        name = "standard input" if str(path) == "-" else str(path)
        checked = diagnose(text_of(path, name), name)
        documents += checked.documents
        problems += [found for found in checked.diagnostics if found.severity == "error"]
    if problems:
        count = f"{len(problems)} error{'s' if len(problems) > 1 else ''}: nothing was done"
        texts = [render(found).rstrip("\n") for found in problems]
        raise BadManifests("\n\n".join([*texts, count]))
    return tuple(documents)


def text_of(path: Path, name: str) -> str:
    """The file's text. Raises BadManifests."""
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return data.decode()
    except OSError as error:
        raise BadManifests(f"error: {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadManifests(f"error: {name} is no text in UTF-8") from error


async def apply_files(
    client: Client,
    documents: Sequence[Document],
    namespace: str,
    report: Callable[[str], None],
    *,
    dry_run: bool = False,
    replace: bool = False,
) -> bool:
    """Create or change the objects; one line for each. True when the server refused some. With
    `replace`, what cannot be changed is deleted and made anew."""
    failed = False
    for document in in_order(documents):
        kind = document.kind
        assert kind is not None  # read_documents lets no unknown kind through
        wanted, place = placed(document, kind, namespace)
        label = f"{kind.singular}{'.' + kind.group if kind.group else ''}/{document.name}"
        try:
            try:
                done = await _apply(client, kind, wanted, place, dry_run)
            except ApiError as error:
                if not (replace and _is_immutable(error)):
                    raise
                done = await _make_anew(client, kind, wanted, place, dry_run)
            report(f"{label} {done}{' (dry run)' if dry_run else ''}")
        except ApiError as error:
            failed = True
            report(f"{document.file}:{document.line}: {label} refused: {error.message}")
            if _is_immutable(error):
                report("hint: `weft apply --replace` deletes it and makes it anew")
    return failed


def _is_immutable(error: ApiError) -> bool:
    return any(words in error.message for words in IMMUTABLE)


async def _make_anew(
    client: Client, kind: Kind, wanted: Mapping[str, Any], namespace: str, dry_run: bool
) -> str:
    from weft.cli.deletion import Target, ask, gone  # noqa: PLC0415 (it needs what needs this)

    if not dry_run:
        await gone(client, [await ask(client, Target(kind, wanted["metadata"]["name"], namespace))])
        await client.create(kind, with_last_applied(wanted), namespace)
    return "replaced"


def in_order(documents: Sequence[Document]) -> list[Document]:
    """What others refer to first."""
    return sorted(documents, key=_rank)


def placed(document: Document, kind: Kind, namespace: str) -> tuple[dict[str, Any], str]:
    """The object as it is sent, and the namespace it belongs to; "" when it has none."""
    # A kind's versions are the same object; it is sent in the one it is stored in.
    wanted = {**document.value, "apiVersion": kind.api_version}
    place = (document.namespace or namespace) if kind.namespaced else ""
    if place:
        wanted = {**wanted, "metadata": {**wanted["metadata"], "namespace": place}}
    return wanted, place


def _rank(document: Document) -> int:
    kind = document.kind.kind if document.kind else ""
    return KINDS_FIRST.index(kind) if kind in KINDS_FIRST else len(KINDS_FIRST)


async def _apply(
    client: Client, kind: Kind, wanted: Mapping[str, Any], namespace: str, dry_run: bool
) -> str:
    name = wanted["metadata"]["name"]
    for attempt in range(CONFLICT_ATTEMPTS_MAX):
        try:
            live = orjson.loads(await client.get(kind, name, namespace))
        except ApiError as error:
            if error.code != 404:
                raise
            await client.create(kind, with_last_applied(wanted), namespace, dry_run=dry_run)
            return "created"
        patch = apply_patch(live, wanted)
        if not patch:
            return "unchanged"
        try:
            await client.patch(kind, name, patch, namespace, dry_run=dry_run)
            return "configured"
        except ApiError as error:
            if error.code != 409 or attempt == CONFLICT_ATTEMPTS_MAX - 1:
                raise
    raise AssertionError("unreachable")
