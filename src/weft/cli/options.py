"""Options that several commands share."""

import click

data_dir = click.option(
    "--data-dir",
    metavar="DIR",
    help="Where this instance keeps its state (default: $WEFT_HOME, else ~/.weft).",
)
namespace = click.option(
    "-n", "--namespace", default="default", show_default=True, help="Namespace to work in."
)
files = click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="DIR_OR_FILE",
    help="Manifests; may be repeated; `-` is standard input.",
)
form = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "wide", "json", "yaml", "name"]),
    default="table",
    help="How to print.",
)
format_only = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    help="How to print.",
)
