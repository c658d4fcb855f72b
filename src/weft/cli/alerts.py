"""`weft alerts`: what is wrong, since when, and where to look."""

import asyncio

import click
import msgspec

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect
from weft.lib.aio import now
from weft.telemetry.alerting.document import AlertsDocument
from weft.views.alerts import alert_lines

ALERTS = "/weft/v1/alerts"
EXAMPLES = """\b
Examples:
  weft alerts                  what is wrong now, the most urgent first
  weft alerts -n shop --all    of a namespace, with what is over
  weft alerts -o json          for programs
"""


@click.command(epilog=EXAMPLES)
@click.option("-n", "--namespace", default="", help="Only of this namespace.")
@click.option("--all", "wide", is_flag=True, help="Also what is over, for an hour.")
@options.format_only
@options.data_dir
def alerts(namespace: str, wide: bool, form: str, data_dir: str | None) -> None:
    """What is wrong in the mesh, with the evidence and where to look; and how objectives stand.

    weft looks every five seconds: at errors, durations and calls that stop, compared with what is
    usual for each service; at pods, nodes and endpoints; at AlertRules and ServiceLevelObjectives.
    """

    async def work() -> AlertsDocument:
        async with connect(data_dir) as connection:
            question = f"{ALERTS}?namespace={namespace}" if namespace else ALERTS
            return msgspec.convert(await connection.json("GET", question), AlertsDocument)

    try:
        document = asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
    if form != "table":
        output.structured(msgspec.to_builtins(document), form)
    else:
        output.lines(alert_lines(document, now(), wide, output.style()))
