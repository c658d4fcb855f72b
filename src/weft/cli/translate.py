"""`weft translate`: the Envoy configuration that files result in."""

from typing import Any

import click

from weft.cli import options, output

TYPES = ("listeners", "scopes", "routes", "clusters", "endpoints", "extensions", "secrets")
EXAMPLES = """\b
Examples:
  weft translate -f manifests/
  weft translate -f manifests/ --type routes -o json
  weft translate -f manifests/ --node node-b --type clusters
"""


@click.command(epilog=EXAMPLES)
@options.files
@click.option("--node", help="Name of the node whose proxy it is for (default: the first one).")
@click.option("--type", "kind", type=click.Choice([*TYPES, "all"]), default="all",
              show_default=True, help="Which resources to print.")  # fmt: skip
@click.option("-o", "--output", "form", type=click.Choice(["yaml", "json", "table"]),
              default="yaml", show_default=True,
              help="How to print: table is names alone.")  # fmt: skip
@click.option("-n", "--namespace", default="default", show_default=True,
              help="Namespace of objects that name none.")  # fmt: skip
def translate(
    files: tuple[str, ...], node: str | None, kind: str, form: str, namespace: str
) -> None:
    """Print the Envoy configuration that files result in. Nothing runs and nothing is asked.

    Every workload of the files counts as running and ready; Services get addresses and endpoints
    accordingly. Without Node objects there is one node, named `node`. Keys and certificates are not
    shown. What is wrong with the objects is said on standard error, and the exit code is then 1.
    """
    from weft.api.k8s.core_v1 import Node  # noqa: PLC0415 - slow to import
    from weft.cli.offline import read_sound, report  # noqa: PLC0415
    from weft.offline.configuration import configuration  # noqa: PLC0415
    from weft.offline.objects import objects_of  # noqa: PLC0415

    if not files:
        output.fail("say which files: -f DIR_OR_FILE", "`-f -` reads standard input", code=2)
    documents, refused = read_sound(files)
    snapshot = objects_of(documents, namespace)
    nodes = {each.metadata.name: each for each in snapshot.list(Node)}
    chosen = nodes.get(node) if node else next(iter(nodes.values()))
    if chosen is None:
        output.fail(f"there is no node `{node}`", f"nodes: {', '.join(nodes)}", code=2)
    found = configuration(snapshot, chosen)
    if form == "table":
        output.lines(_names(found.resources, kind))
    else:
        output.structured(_by_type(found.resources, kind), form)
    if report(found.diagnostics, documents, namespace) or refused:
        raise SystemExit(1)


def _names(resources: Any, kind: str) -> list[str]:
    from weft.views.tables import render  # noqa: PLC0415 - slow to import
    from weft.xds.readable import WORDS  # noqa: PLC0415

    wanted = TYPES if kind == "all" else (kind,)
    rows = [(WORDS[each.type_url], each.name, len(each.body)) for each in resources]
    rows = [row for row in rows if row[0] in wanted]
    rows.sort(key=lambda row: (wanted.index(row[0]), row[1]))
    return render(("Type", "Name", "Bytes"), rows)


def _by_type(resources: Any, kind: str) -> dict[str, list[dict[str, Any]]]:
    from weft.xds.readable import WORDS, readable  # noqa: PLC0415 - slow to import

    wanted = TYPES if kind == "all" else (kind,)
    found: dict[str, list[dict[str, Any]]] = {word: [] for word in wanted}
    for resource in resources:
        word = WORDS[resource.type_url]
        if word in found:
            found[word].append(readable(resource))
    return found
