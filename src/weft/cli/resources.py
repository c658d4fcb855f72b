"""`weft apply|get|describe|logs`: the everyday verbs, without kubectl."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.suggest import nearest
from weft.cli import custom_kinds, options, output
from weft.cli.connection import Connection, connect
from weft.lib.aio import now
from weft.views.describe import describe as describe_lines
from weft.views.tables import render

if TYPE_CHECKING:
    from weft.api.manifests import Document

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's work; an API error ends it with the server's own words."""
    try:
        asyncio.run(work)
    except ApiError as error:
        output.fail(error.message)
    except KeyboardInterrupt:
        sys.exit(130)


def kind_named(text: str) -> Kind:
    """`pods`, `po`, `Pod`, `deploy`: the kind, or an error that names the nearest one."""
    kind = registry.by_name(text)
    if kind is None:
        names = [name for k in registry.KINDS for name in (k.plural, k.singular, *k.short_names)]
        close = nearest(text, names)
        output.fail(
            f"there is no kind `{text}`",
            f"did you mean `{close}`?" if close else "`kubectl api-resources` lists them",
        )
    return kind


async def kind_on(connection: Connection, text: str) -> Kind:
    """As `kind_named`; else a custom kind of the server."""
    if registry.by_name(text) is None and (found := await custom_kinds.find(connection, text)):
        return found
    return kind_named(text)


async def split_target(connection: Connection, words: tuple[str, ...]) -> tuple[Kind, list[str]]:
    """`pod a b` or `pod/a`: the kind and the names."""
    first = words[0]
    if "/" in first:
        kind_text, name = first.split("/", 1)
        return await kind_on(connection, kind_text), [name, *words[1:]]
    return await kind_on(connection, first), list(words[1:])


def path_of(kind: Kind, namespace: str, name: str = "", **query: str) -> str:
    prefix = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    place = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    tail = f"/{quote(name)}" if name else ""
    wanted = {key: value for key, value in query.items() if value}
    return f"{prefix}{place}/{kind.plural}{tail}" + (f"?{urlencode(wanted)}" if wanted else "")


def documents_of(files: tuple[str, ...]) -> "tuple[Document, ...]":
    # Reading manifests brings all rules along, which commands that only read never need.
    from weft.cli.apply import BadManifests, read_documents  # noqa: PLC0415

    try:
        documents = read_documents(files)
    except BadManifests as error:
        output.note(str(error))
        sys.exit(1)
    if not documents:
        output.fail(f"there are no objects in {', '.join(files)}")
    return documents


@click.command(
    epilog="Examples: weft apply -f examples/weather/ · weft apply -f web.yaml --wait --timeout 10s"
)
@options.files
@options.namespace
@options.data_dir
@click.option("--dry-run", is_flag=True, help="Ask the server what it would do; change nothing.")
@click.option(
    "--replace", is_flag=True,
    help="Delete and make anew what cannot be changed, such as the template of a Job.",
)  # fmt: skip
@click.option(
    "--wait",
    is_flag=True,
    help="Return when all nodes have acknowledged the mesh objects and workloads are rolled out.",
)
@click.option(
    "--timeout", type=options.PATIENCE, default="60s", show_default=True,
    help="How long --wait waits; then exit code 1 and what is missing.",
)  # fmt: skip
def apply(
    files: tuple[str, ...],
    namespace: str,
    data_dir: str | None,
    dry_run: bool,
    replace: bool,
    wait: bool,
    timeout: float,
) -> None:
    """Create or change the objects that files describe. Nothing is sent if a file is wrong."""
    if not files:
        output.fail("no files given", "weft apply -f DIR_OR_FILE")
    documents = documents_of(files)
    from weft.cli.analyze import report_set  # noqa: PLC0415 - as in documents_of
    from weft.cli.apply import apply_files  # noqa: PLC0415
    from weft.cli.wait import wait_for  # noqa: PLC0415

    async def work() -> None:
        async with connect(data_dir) as connection:
            failed = await apply_files(
                *(connection.client, documents, namespace, print), dry_run=dry_run, replace=replace
            )
            await report_set(connection, documents, namespace)
            missing: list[str] = []
            if wait and not dry_run:
                client = connection.client
                missing = await wait_for(client, documents, namespace, print, timeout)
        if missing:
            for line in missing:
                output.note(line)
            output.fail(f"{len(missing)} of what was applied is not in force")
        if failed:
            sys.exit(1)

    run(work())


@click.command(epilog="Examples: weft get pods -o wide · weft get svc,deploy · weft get pod/web-1")
@click.argument("what", nargs=-1, required=True)
@options.namespace
@click.option("-A", "--all-namespaces", is_flag=True, help="Of every namespace.")
@click.option("-l", "--selector", default="", help="Label selector, e.g. app=web.")
@options.form
@options.data_dir
def get(
    what: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    form: str,
    data_dir: str | None,
) -> None:
    """List objects, or show some by name."""
    where = "" if all_namespaces else namespace

    async def work() -> None:
        async with connect(data_dir) as connection:
            if "," in what[0] or what[0] == "all":
                kinds = (
                    [k for k in registry.KINDS if "all" in k.categories]
                    if what[0] == "all"
                    else [await kind_on(connection, part) for part in what[0].split(",")]
                )
                await _print_lists(connection, kinds, where, selector, form)
                return
            kind, names = await split_target(connection, what)
            if names:
                await _print_named(connection, kind, names, namespace, form)
            else:
                await _print_lists(connection, [kind], where, selector, form)

    run(work())


async def _print_lists(
    connection: Connection, kinds: list[Kind], namespace: str, selector: str, form: str
) -> None:
    items: list[Any] = []
    shown = 0
    for kind in kinds:
        path = path_of(kind, namespace, labelSelector=selector)
        if form in ("table", "wide"):
            table = await connection.json("GET", path, accept=TABLE)
            if table.get("rows"):
                if shown:
                    print()
                shown += 1
                _print_table(table, form == "wide", kind if len(kinds) > 1 else None, not namespace)
        else:
            answer = await connection.json("GET", path)
            for item in answer["items"]:
                items.append({"apiVersion": kind.api_version, "kind": kind.kind, **item})
    if form in ("table", "wide"):
        if not shown:
            place = f" in namespace {namespace}" if namespace else ""
            output.note(f"No {', '.join(k.plural for k in kinds)} found{place}.")
    elif form == "name":
        output.lines(f"{i['kind'].lower()}/{i['metadata']['name']}" for i in items)
    else:
        output.structured({"apiVersion": "v1", "kind": "List", "items": items}, form)


def _print_table(table: dict[str, Any], wide: bool, prefix: Kind | None, spaces: bool) -> None:
    columns = table["columnDefinitions"]
    shown = [i for i, c in enumerate(columns) if wide or not c.get("priority")]
    headers = [columns[i]["name"] for i in shown]
    rows = []
    for row in table["rows"]:
        cells = [str(row["cells"][i]) for i in shown]
        if prefix:
            cells[0] = f"{prefix.singular}/{cells[0]}"
        if spaces and (namespace := row.get("object", {}).get("metadata", {}).get("namespace")):
            cells.insert(0, namespace)
        rows.append(cells)
    if rows and len(rows[0]) > len(headers):
        headers.insert(0, "Namespace")
    output.lines(render(headers, rows, output.style()))


async def _print_named(
    connection: Connection, kind: Kind, names: list[str], namespace: str, form: str
) -> None:
    place = namespace if kind.namespaced else ""
    accept = TABLE if form in ("table", "wide") else "application/json"
    found = [
        await connection.json("GET", path_of(kind, place, name), accept=accept) for name in names
    ]
    if form == "name":
        output.lines(f"{kind.singular}/{item['metadata']['name']}" for item in found)
    elif accept == TABLE:
        merged = {**found[0], "rows": [row for table in found for row in table["rows"]]}
        _print_table(merged, form == "wide", None, False)
    else:
        many = {"apiVersion": "v1", "kind": "List", "items": found}
        output.structured(found[0] if len(found) == 1 else many, form)


@click.command(epilog="Example: weft describe pod/weather-frontend-5d8-x2x")
@click.argument("what", nargs=-1, required=True)
@options.namespace
@options.data_dir
def describe(what: tuple[str, ...], namespace: str, data_dir: str | None) -> None:
    """Show an object, what it is made of and what happened to it."""

    async def work() -> None:
        async with connect(data_dir) as connection:
            kind, names = await split_target(connection, what)
            place = namespace if kind.namespaced else ""
            if not names:
                listed = await connection.json("GET", path_of(kind, place))
                names = [item["metadata"]["name"] for item in listed["items"]]
            for i, name in enumerate(names):
                obj = await connection.json("GET", path_of(kind, place, name))
                uid = obj["metadata"]["uid"]
                events = await connection.json(
                    "GET",
                    f"/api/v1/{f'namespaces/{place}/' if place else ''}events?"
                    + urlencode({"fieldSelector": f"involvedObject.uid={uid}"}),
                )
                if i:
                    print("\n")
                output.lines(describe_lines(obj, events["items"], now()))

    run(work())


@click.command(epilog="Examples: weft logs web-1 -f · weft logs deploy/weather-frontend --tail 20")
@click.argument("what")
@options.namespace
@options.data_dir
@click.option("-c", "--container", default="", help="Container; needed when a pod has several.")
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows.")
@click.option("--tail", default="", metavar="N", help="Only the last N lines.")
@click.option("--since", default="", metavar="SECONDS", help="Only lines this young.")
@click.option("-p", "--previous", is_flag=True, help="Of the container that ran before.")
@click.option("--timestamps", is_flag=True)
def logs(
    what: str,
    namespace: str,
    data_dir: str | None,
    container: str,
    follow: bool,
    tail: str,
    since: str,
    previous: bool,
    timestamps: bool,
) -> None:
    """Print the logs of a pod, or of a pod of a Deployment, Job or Service."""
    from weft.cli.pod_choice import pod_of  # noqa: PLC0415 (it needs this module)

    flags = {"follow": follow, "previous": previous, "timestamps": timestamps}
    query = {"container": container, "tailLines": tail, "sinceSeconds": since}
    query |= {name: "true" for name, wanted in flags.items() if wanted}

    async def work() -> None:
        async with connect(data_dir) as connection:
            pod = await pod_of(connection, what, namespace)
            wanted = {key: value for key, value in query.items() if value}
            path = f"/api/v1/namespaces/{namespace}/pods/{quote(pod)}/log?{urlencode(wanted)}"
            async for chunk in connection.stream(path):
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()

    run(work())
