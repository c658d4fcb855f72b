"""`weft exec|cp|port-forward`: into a pod, without kubectl."""

import asyncio
import contextlib
import os
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

import click

from weft.cli import options, output, remote
from weft.cli.connection import connect
from weft.cli.pod_choice import pod_and_owner, pod_of, target_port
from weft.cli.resources import run
from weft.lib.fdio import FdStream

container_option = click.option("-c", "--container", default="", help="Which container.")


class CommandAfterDashes(click.Command):
    """With `--` before the command, options may stand on both sides of the pod, as for kubectl."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = "--" in args
        return super().parse_args(ctx, args)


@click.command(
    cls=CommandAfterDashes,
    name="exec",
    epilog="Examples: weft exec web -- ls -l · weft exec -it deploy/web -- sh",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.option("-i", "--stdin", "interactive", is_flag=True, help="Pass our standard input on.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="The command gets a terminal.")
@container_option
@options.namespace
@options.data_dir
@click.argument("pod")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(
    interactive: bool,
    terminal: bool,
    container: str,
    namespace: str,
    data_dir: str | None,
    pod: str,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND in a container of POD, or of a pod of deploy/NAME; ends with its exit code."""
    if terminal and not (interactive and sys.stdin.isatty()):
        output.fail("-t needs -i and a terminal to type at", "weft exec -it POD -- sh")
    words = command[1:] if command[0] == "--" else command
    code = remote.EXIT_UNKNOWN

    async def work() -> None:
        nonlocal code
        stdin = FdStream(os.dup(0)) if interactive else None
        files = remote.Files(stdin, _writer(sys.stdout), _writer(sys.stderr))
        keys = remote.raw_terminal(sys.stdin) if terminal else contextlib.nullcontext()
        async with connect(data_dir) as connection:
            try:
                name = await pod_of(connection, pod, namespace)
                with keys:
                    code = await remote.execute(
                        connection.target, namespace, name, container, words, files,
                        terminal=terminal,
                    )  # fmt: skip
            finally:
                if stdin is not None:
                    os.set_blocking(0, True)  # the shell we return to shares the description

    run(work())
    sys.exit(code)


def _writer(stream: Any) -> Any:
    def write(data: bytes) -> None:
        stream.buffer.write(data)
        stream.flush()

    return write


# ------------------------------------------------------------------ cp


@click.command(
    epilog="Examples: weft cp ./conf web:/etc/app · weft cp shop/web:/var/log/app.log ./app.log"
)
@click.argument("source")
@click.argument("target")
@container_option
@options.namespace
@options.data_dir
def cp(source: str, target: str, container: str, namespace: str, data_dir: str | None) -> None:
    """Copy files and directories to or from a pod: [NAMESPACE/]POD:PATH. The container needs
    `tar`."""
    there, here = _remote(source, namespace), _remote(target, namespace)
    if (there is None) == (here is None):
        output.fail("one of SOURCE and TARGET must be POD:PATH", "weft cp ./file web:/tmp/file")

    async def work() -> None:
        async with connect(data_dir) as connection:
            if here is not None:
                await _upload(connection.target, Path(source), here, container)
            elif there is not None:
                await _download(connection.target, there, Path(target), container)

    run(work())


_Place = tuple[str, str, PurePosixPath]
"""Namespace, pod, path."""


def _remote(text: str, namespace: str) -> _Place | None:
    """None for a local path."""
    before, colon, path = text.partition(":")
    if not colon or not path or before.startswith((".", "/")):
        return None
    space, slash, pod = before.partition("/")
    return (space, pod, PurePosixPath(path)) if slash else (namespace, before, PurePosixPath(path))


async def _upload(target: Any, source: Path, to: _Place, container: str) -> None:
    if not source.exists():
        output.fail(f"there is no {source}")
    namespace, pod, path = to
    with tempfile.TemporaryFile() as packed:
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(source, arcname=path.name or source.name)
        packed.seek(0)
        into = str(path.parent if path.name else path)
        await _tar(target, namespace, pod, container, ["tar", "-xmf", "-", "-C", into], packed)


async def _download(target: Any, source: _Place, to: Path, container: str) -> None:
    namespace, pod, path = source
    with tempfile.TemporaryFile() as packed:
        command = ["tar", "-cf", "-", "-C", str(path.parent), "--", path.name or "."]
        await _tar(target, namespace, pod, container, command, None, packed)
        packed.seek(0)
        final = to / path.name if to.is_dir() else to
        with tempfile.TemporaryDirectory(dir=final.parent) as scratch:
            with tarfile.open(fileobj=packed) as archive:
                archive.extractall(scratch, filter="data")  # nothing leaves this directory
            found = Path(scratch) / path.name
            if not found.exists():
                output.fail(f"{path} was not sent by the container")
            os.replace(found, final)


async def _tar(
    target: Any, namespace: str, pod: str, container: str, command: list[str],
    stdin: IO[bytes] | None, stdout: IO[bytes] | None = None,
) -> None:  # fmt: skip
    told = bytearray()

    def tell(data: bytes) -> None:
        told.extend(data)

    def keep(data: bytes) -> None:
        (stdout.write if stdout is not None else tell)(data)

    feed: FdStream | None = None
    writing: asyncio.Future[None] | None = None
    if stdin is not None:
        read_end, write_end = os.pipe()
        feed = FdStream(read_end)
        writing = asyncio.ensure_future(_feed(stdin, FdStream(write_end)))
    files = remote.Files(feed, keep, tell)
    try:
        code = await remote.execute(target, namespace, pod, container, command, files)
    finally:
        if writing is not None:
            writing.cancel()
        if feed is not None:
            feed.close()
    if code:
        output.fail(bytes(told).decode(errors="replace").strip() or f"tar ended with {code}")


async def _feed(source: IO[bytes], pipe: FdStream) -> None:
    try:
        with contextlib.suppress(BrokenPipeError):
            while data := source.read(remote.PIECE_BYTES):
                await pipe.write(data)
    finally:
        pipe.close()


# ------------------------------------------------------------------ port-forward


@click.command(
    name="port-forward",
    epilog="Examples: weft port-forward web 8080 · weft port-forward svc/web 9000:80 :9090",
)
@click.argument("pod")
@click.argument("ports", nargs=-1, required=True)
@click.option("--address", default="127.0.0.1", show_default=True, help="Where to listen here.")
@options.namespace
@options.data_dir
def port_forward(
    pod: str, ports: tuple[str, ...], address: str, namespace: str, data_dir: str | None
) -> None:
    """Make ports of POD, or of a pod of deploy/NAME or svc/NAME, reachable here, as
    [LOCAL:]REMOTE, until interrupted."""
    pairs = [_ports(text) for text in ports]

    async def work() -> None:
        async with connect(data_dir) as connection, contextlib.AsyncExitStack() as stack:
            name, owner = await pod_and_owner(connection, pod, namespace)
            found = await connection.json("GET", remote.pod_path(namespace, name, "status", []))
            for local, wanted in pairs:
                far: int | None = wanted
                if owner.get("kind") == "Service":
                    far = target_port(owner, found, wanted)
                if far is None:
                    there = ", ".join(str(port["port"]) for port in owner["spec"]["ports"])
                    output.fail(f"{pod} has no port {wanted}", f"its ports are {there}")
                serve = _forwarder(connection.target, namespace, name, far)
                server = await asyncio.start_server(serve, address, local)
                await stack.enter_async_context(server)
                host, number = server.sockets[0].getsockname()[:2]
                print(f"Forwarding from {host}:{number} -> {far}", flush=True)
            await asyncio.Event().wait()

    run(work())


def _ports(text: str) -> tuple[int, int]:
    local, colon, far = text.rpartition(":")
    local = local or ("0" if colon else far)
    if not (local.isdecimal() and far.isdecimal() and 0 < int(far) < 65536 > int(local)):
        output.fail(f"`{text}` is no port", "write 8080, or 9000:8080, or :8080 for any free one")
    return int(local), int(far)


def _forwarder(target: Any, namespace: str, pod: str, port: int) -> Any:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if problem := await remote.forward(target, namespace, pod, port, reader, writer):
            output.error(problem)

    return serve
