"""`weft ca`: the authority behind the identities of the mesh."""

import asyncio
from typing import Any

import click

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect

SHOW, ROTATE, ROTATE_NOW = "/weft/v1/ca", "/weft/v1/ca/rotate", "/weft/v1/ca/rotate-now"


@click.group(epilog="Example: weft ca show")
def ca() -> None:
    """The authority that signs workloads' certificates."""


@ca.command(epilog="Example: weft ca show")
@options.data_dir
@options.format_only
def show(data_dir: str | None, form: str) -> None:
    """Roots, intermediates, how long they live, and what needs attention."""
    _tell(_ask(data_dir, "GET", SHOW), form)


@ca.command(epilog="Example: weft ca rotate")
@click.option("--now", "hurry", is_flag=True, help="Sign with it as soon as all proxies trust it.")
@options.data_dir
@options.format_only
def rotate(data_dir: str | None, form: str, hurry: bool) -> None:
    """Make a new root. It is trusted at once, signs after an hour (workloads that weft does not run
    take it from ConfigMap kube-system/istio-ca-root-cert meanwhile), and the old one is trusted
    until nothing it signed is in use. No request is lost."""
    _tell(_ask(data_dir, "POST", ROTATE_NOW if hurry else ROTATE), form)


def _ask(data_dir: str | None, method: str, path: str) -> Any:
    async def work() -> Any:
        async with connect(data_dir) as connection:
            return await connection.json(method, path)

    try:
        found = asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
    if refused := found.get("error"):
        output.fail(refused)
    return found


def _tell(page: Any, form: str) -> None:
    if form != "table":
        output.structured(page, form)
        return
    own = page["source"] == "own"
    print(f"authority     {'made by weft' if own else page['source']}")
    for each in page["authorities"]:
        print(f"  {each['name']}  {each['state']:<13} until {each['notAfter']}")
    workloads = page["workloads"]
    first = f", the first ends {workloads['firstEnds']}" if workloads["firstEnds"] else ""
    print(f"certificates  {workloads['certificates']} of {workloads['seconds']:.0f} s{first}")
    for name in page["alarms"]:
        print(f"attention     {name} ends soon or has ended")
    if page["problem"]:
        print(f"attention     {page['problem']}")
