"""Manifests read for commands that need no instance: what is sound is used, the rest is said."""

from collections.abc import Sequence

from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic, render
from weft.api.manifests import Document, diagnose
from weft.cli import output
from weft.cli.apply import BadManifests, manifest_files, text_of
from weft.offline.lines import Lines


def read_sound(names: Sequence[str]) -> tuple[tuple[Document, ...], bool]:
    """The objects of the files without errors, and whether there were others; those are reported.
    Ends the command when there is no such file."""
    documents: list[Document] = []
    problems: list[Diagnostic] = []
    try:
        for path in manifest_files(names):
            name = "standard input" if str(path) == "-" else str(path)
            checked = diagnose(text_of(path, name), name)
            documents += [d for d in checked.documents if d.valid and d.kind is not None]
            problems += checked.diagnostics
    except BadManifests as error:
        output.note(str(error))
        raise SystemExit(2) from error
    for found in problems:
        output.note(render(found))
    return tuple(documents), any(found.severity == "error" for found in problems)


def report(
    diagnostics: Sequence[Diagnostic], documents: Sequence[Document], namespace: str = "default"
) -> bool:
    """Say what is wrong with objects, with file and line; whether anything is an error."""
    lines = Lines(documents, namespace)
    for found in diagnostics:
        if found.severity != "info":
            where = "/".join(part for part in (found.namespace, found.name) if part)
            file, line = lines.locate(found.kind, found.namespace, found.name, found.path)
            output.note(render(replace(found, file=file or f"{found.kind} {where}", line=line)))
    return any(found.severity == "error" for found in diagnostics)
