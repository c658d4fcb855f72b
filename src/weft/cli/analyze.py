"""`weft analyze`: what is wrong or doubtful in files, in what is stored, or in both together."""

import asyncio
import os
import sys
from collections.abc import Sequence

import click
from msgspec import Struct

from weft.api.diagnostics import Diagnostic, Severity
from weft.api.errors import ApiError
from weft.api.manifests import Document, diagnose
from weft.api.objects import decode
from weft.api.snapshot import ObjectSnapshot
from weft.cli import manifest_analysis as sets
from weft.cli import options, output
from weft.cli.apply import BadManifests, manifest_files, text_of
from weft.cli.connection import Connection, connect
from weft.cli.resources import path_of
from weft.mesh.analysis.suppression import Suppression, parse, unsuppressed
from weft.mesh.build import DEFAULTS, BuildSettings
from weft.mesh.server_certificates import referenced_files
from weft.views import findings as views

NOT_ANALYSED = 2
"""Exit code when there was nothing to look at, or no way to."""
EPILOG = """\b
Examples:
  weft analyze examples/weather/              files alone
  weft analyze --live                         what is stored
  weft analyze mesh/ --live                   what would be wrong after `weft apply -f mesh/`
  cat vs.yaml | weft analyze - -o json
  weft analyze . --fail-on warning --suppress "WEFT2403=Service shop/*"

\b
Exit codes: 0 nothing as bad as --fail-on, 1 findings, 2 nothing could be analysed.
Codes: docs/diagnostics.md. An object's annotation `weft.dev/analyze-suppress: WEFT2403`
(or `*`) silences findings about it.
"""


class _Suppress(click.ParamType[Suppression]):
    name = "CODE=Kind ns/name"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Suppression:
        try:
            return parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(epilog=EPILOG)
@click.argument("paths", nargs=-1, metavar="[FILE|DIR|-]...")
@options.files
@click.option("--live", is_flag=True, help="Look at what is stored, below the files if any.")
@click.option(
    "-n",
    "--namespace",
    metavar="NS",
    help="Namespace of objects that name none (default: default); with --live, report on it only.",
)
@click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["text", "table", "json", "yaml", "github"]),
    default="text",
    show_default=True,
    help="How to print; `github` annotates the lines of a change.",
)
@click.option(
    "--show",
    type=click.Choice(views.SEVERITIES),
    default="info",
    show_default=True,
    help="Report nothing less severe.",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="From which severity on the exit code is 1.",
)
@click.option(
    "--suppress",
    "suppressions",
    type=_Suppress(),
    multiple=True,
    help="Do not report a code, about all objects or some; `*` stands for any part.",
)
@options.data_dir
def analyze(
    paths: tuple[str, ...],
    files: tuple[str, ...],
    live: bool,
    namespace: str | None,
    form: str,
    show: Severity,
    fail_on: str,
    suppressions: tuple[Suppression, ...],
    data_dir: str | None,
) -> None:
    """Say what is wrong or doubtful in manifests, in what is stored, or in both together.

    Changes nothing. Without --live no instance is needed: hosts, Secrets and Gateways that the
    files do not hold count as missing.
    """
    names = (*paths, *files)
    if not names and not live:
        output.fail("nothing to analyse", "weft analyze DIR_OR_FILE, or --live", NOT_ANALYSED)
    try:
        checked, documents, count = _read(names)
        stored = asyncio.run(_stored(data_dir)) if live else sets.offline()
    except BadManifests as error:
        output.note(str(error))
        sys.exit(NOT_ANALYSED)
    except ApiError as error:
        output.fail(error.message, code=NOT_ANALYSED)
    manifests = sets.read(documents, namespace or "default")
    objects = sets.overlaid(stored, manifests)
    settings = _settings(objects) if live else DEFAULTS
    found = (*checked, *sets.findings(objects, manifests, settings))
    if live and namespace:
        found = tuple(each for each in found if each.namespace in (namespace, ""))
    found = unsuppressed(found, suppressions, sets.annotations(objects))
    looked_at = len(documents) if names else len(objects)
    _print(_ordered(views.at_least(found, show)), views.Scope(looked_at, count, live), form)
    if fail_on != "never" and views.at_least(found, "error" if fail_on == "error" else "warning"):
        sys.exit(1)


def _read(names: Sequence[str]) -> tuple[tuple[Diagnostic, ...], list[Document], int]:
    """What the manifest reader says, the documents, and how many files there are."""
    found: list[Diagnostic] = []
    documents: list[Document] = []
    files = manifest_files(names)
    for path in files:
        name = "standard input" if str(path) == "-" else str(path)
        checked = diagnose(text_of(path, name), name)
        documents += checked.documents
        found += checked.diagnostics
    return tuple(found), documents, len(files)


async def _stored(data_dir: str | None) -> list[Struct]:
    async with connect(data_dir, NOT_ANALYSED) as connection:
        return await stored_objects(connection)


async def stored_objects(connection: Connection) -> list[Struct]:
    """Every object that an instance has of the kinds that the analysis reads. Raises ApiError."""
    found: list[Struct] = []
    for kind in sets.kinds():
        assert kind.struct is not None
        answer = await connection.json("GET", path_of(kind, ""))
        found += [decode(kind.struct, item) for item in answer["items"]]
    return found


async def report_set(connection: Connection, documents: Sequence[Document], namespace: str) -> None:
    """Print what is wrong or doubtful about the objects of a set that is applied. Raises ApiError.

    Only here is the whole set known: the server sees one object after the other.
    """
    manifests = sets.read(documents, namespace)
    objects = sets.overlaid(await stored_objects(connection), manifests)
    found = [d for d in sets.findings(objects, manifests, _settings(objects)) if d.file]
    told = unsuppressed(views.at_least(found, "warning"), (), sets.annotations(objects))
    for line in views.finding_lines(_ordered(told), output.style(sys.stderr)):
        output.note(line)


def _settings(objects: Sequence[Struct]) -> BuildSettings:
    """With the certificate files that are missing on this machine, where the instance runs."""
    wanted = referenced_files(ObjectSnapshot(objects))
    return BuildSettings(missing_files=frozenset(p for p in wanted if not os.path.isfile(p)))


def _ordered(found: Sequence[Diagnostic]) -> tuple[Diagnostic, ...]:
    """As they stand in the files; then what is stored, the worst first."""
    rank = {severity: n for n, severity in enumerate(views.SEVERITIES)}
    return tuple(
        sorted(found, key=lambda d: (not d.file, d.file, d.line, rank[d.severity], d.kind, d.name))
    )


def _print(found: Sequence[Diagnostic], scope: views.Scope, form: str) -> None:
    style = output.style()
    if form in ("json", "yaml"):
        output.structured(views.document(found, scope), form)
        return
    if form == "github":
        output.lines(views.github_lines(found))
    elif form == "table":
        output.lines(views.finding_table(found, style))
    else:
        output.lines(views.finding_lines(found, style))
    output.note(views.summary(found, scope))
