"""`weft why`: where a request goes, and why."""

import asyncio
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
import msgspec

from weft.api.errors import ApiError
from weft.cli import options, output
from weft.cli.connection import connect

if TYPE_CHECKING:
    from weft.mesh.explain.answer import Answer

WHY = "/weft/v1/why"
EXAMPLES = """\b
Examples:
  weft why --from deploy/frontend GET http://reviews/api -H 'end-user: jason'
  weft why --from pod/frontend-0 -n shop http://cart:8080/items?page=2
  weft why --gateway 80 http://www.example.com/
  weft why --from external http://127.0.0.1:30080/ -H 'Host: shop.example.com'
  weft why --from 203.0.113.7 tcp://192.168.1.10:5432
  weft why --from deploy/frontend tcp://db:5432
  weft why --from deploy/frontend tls://api.example.com:443
  weft why -f manifests/ --from deploy/frontend http://reviews/
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--from",
    "caller",
    metavar="KIND/NAME",
    help="Who calls: deploy/NAME or pod/NAME; external, or an address, for somebody outside the "
    "mesh who calls the address and port of the URL (Gateways, NodePorts, load balancers, "
    "hostPorts); gateway/NAME.",
)
@click.option("--gateway", type=int, metavar="PORT", help="From outside, at this Gateway port.")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
              help="A header of the request; may be repeated.")  # fmt: skip
@options.namespace
@options.files
@options.format_only
@options.data_dir
@click.argument("request", nargs=-1, required=True, metavar="[METHOD] URL")
def why(
    caller: str | None,
    gateway: int | None,
    headers: tuple[str, ...],
    namespace: str,
    files: tuple[str, ...],
    form: str,
    data_dir: str | None,
    request: tuple[str, ...],
) -> None:
    """Say where a request would go, and why: listener, virtual host, the routes that were looked
    at, back ends and their endpoints, and whether Envoy has acknowledged all of it.

    URL begins with http:// (the default), https://, grpc://, tcp://, tls:// or udp://. With -f the
    answer is for the files alone, as if their pods ran; no instance is asked.
    """
    from weft.mesh.explain.request import RequestError, read_header, read_request  # noqa: PLC0415

    if len(request) > 2:
        output.fail(f"`{' '.join(request)}` is more than a method and a URL", "quote the URL")
    who = _who(caller, gateway)
    method, url = request if len(request) == 2 else ("GET", request[0])
    try:
        pairs = [read_header(text) for text in headers]
        asked = read_request(method, url, pairs)
    except RequestError as error:
        output.fail(str(error), "for example: weft why --from deploy/web GET http://api/items")
    if files:
        answer = _offline(files, who, namespace, asked)
    else:
        question = {"caller": who, "namespace": namespace, "method": method, "url": url,
                    "headers": pairs}  # fmt: skip
        answer = _live(data_dir, question)
    _print(answer, form)


def _who(caller: str | None, gateway: int | None) -> str:
    if gateway is not None and caller is None:
        return f"gateway:{gateway}"
    if caller is None or gateway is not None:
        output.fail(
            "say who calls, once",
            "`--from deploy/NAME`, `--from pod/NAME`, `--from gateway/NAME`, `--from external` or "
            "`--gateway PORT`",
        )
    return caller


def _offline(files: tuple[str, ...], caller: str, namespace: str, request: Any) -> "Answer":
    from weft.cli.offline import read_sound  # noqa: PLC0415 - slow to import
    from weft.mesh.explain.answer import Question  # noqa: PLC0415
    from weft.mesh.explain.callers import NoCaller  # noqa: PLC0415
    from weft.offline.explanations import explain_documents  # noqa: PLC0415

    documents, _ = read_sound(files)
    found = explain_documents(documents, Question(caller, namespace, request))
    if isinstance(found, NoCaller):
        output.fail(found.message, found.hint)
    return found.answer


def _live(data_dir: str | None, question: dict[str, Any]) -> "Answer":
    from weft.mesh.explain.answer import Answer  # noqa: PLC0415 - slow to import

    async def work() -> Any:
        async with connect(data_dir) as connection:
            return await connection.json("GET", f"{WHY}?question={quote(json.dumps(question))}")

    try:
        reply = asyncio.run(work())
    except ApiError as error:
        output.fail(error.message)
    if reply.get("problem"):
        output.fail(reply["problem"], reply.get("hint", ""))
    return msgspec.convert(reply["answer"], Answer)


def _print(answer: "Answer", form: str) -> None:
    from weft.views.why import why_lines  # noqa: PLC0415 - slow to import

    if form == "table":
        output.lines(why_lines(answer, output.style()))
    else:
        output.structured(msgspec.to_builtins(answer), form)
