"""pods/NAME/exec, attach and portforward: what is asked for, in which dialect, and who does it.

The processes and sockets are a `NodeStreams`'; the dialects of clients are in `channels` and
`spdy_session`. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct

from weft.api.errors import ApiError
from weft.apiserver import failures
from weft.apiserver.logs import choose_container
from weft.apiserver.request import flag

EXEC, ATTACH, PORT_FORWARD = "exec", "attach", "portforward"
SUBRESOURCES = (EXEC, ATTACH, PORT_FORWARD)

PLAIN_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io")
BASE64_PROTOCOLS = ("v4.base64.channel.k8s.io", "base64.channel.k8s.io")
"""The same in text frames: a digit for the channel, then base64."""
WEBSOCKET_PROTOCOLS = (*PLAIN_PROTOCOLS, *BASE64_PROTOCOLS)
SPDY_PROTOCOLS = ("v4.channel.k8s.io",)
"""Of exec and attach; since Kubernetes 1.4 every client knows it."""
PORT_FORWARD_SPDY = "portforward.k8s.io"
PORT_FORWARD_TUNNEL = "SPDY/3.1+portforward.k8s.io"
"""SPDY frames inside a WebSocket's messages (kubectl 1.31 and newer)."""
PORT_FORWARD_WEBSOCKET = ("v4.channel.k8s.io", "v4.base64.channel.k8s.io")
"""Two channels for each port of the query (the official Python client)."""
PORTS_MAX = 32
"""In one WebSocket: its channels are numbered by a byte."""

Stream = Literal["stdout", "stderr"]


class Place(Struct, frozen=True):
    """Which pod, and where it runs."""

    node: str
    namespace: str
    pod: str
    uid: str
    container: str = ""


class Options(Struct, frozen=True):
    """Query parameters of exec and attach."""

    container: str = ""
    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


class Process(Protocol):
    """A process to talk to, on whichever node it runs."""

    async def read(self, stream: Stream) -> bytes:
        """The next piece of output; b"" at its end."""

    async def write(self, data: bytes) -> None:
        """To its standard input. BrokenPipeError when it reads no more."""

    async def end_input(self) -> None: ...

    def resize(self, columns: int, rows: int) -> None: ...

    async def wait(self) -> int:
        """Its exit code; output may still be on its way."""

    async def close(self) -> None:
        """Let go: a command that still runs is killed. Idempotent."""


class Connection(Protocol):
    """A connection to a port of a pod. OSError when it breaks."""

    async def read(self, size: int) -> bytes: ...
    async def write(self, data: bytes) -> None: ...
    async def end_output(self) -> None: ...
    async def close(self) -> None: ...


class NodeStreams(Protocol):
    """The nodes' side. A node elsewhere is reached by the same three calls."""

    async def exec(self, where: Place, options: Options) -> Process:
        """Raises ApiError."""

    async def attach(self, where: Place, options: Options) -> Process:
        """Raises ApiError."""

    async def connect(self, where: Place, port: int) -> Connection:
        """Raises OSError: nobody listens there, or the pod does not run."""


def parse_options(subresource: str, query: Mapping[str, str], commands: Sequence[str]) -> Options:
    """Raises ApiError 400."""
    options = Options(
        query.get("container", ""),
        tuple(commands),
        flag(query, "stdin"),
        flag(query, "stdout"),
        flag(query, "stderr"),
        flag(query, "tty"),
    )
    if subresource == EXEC and not options.command:
        raise failures.bad_request("you must specify at least one command for the container")
    if not (options.stdin or options.stdout or options.stderr):
        raise failures.bad_request("you must specify at least 1 of stdin, stdout, stderr")
    return options


_OPTION_KINDS = {"exec": "PodExecOptions", "attach": "PodAttachOptions"}
_FLAGS = ("stdin", "stdout", "stderr", "tty")


def options_object(
    subresource: str, query: Mapping[str, str], commands: Sequence[str]
) -> dict[str, Any]:
    """What is asked for, as admission sees it. Raises ApiError 400."""
    found: dict[str, Any] = {
        "kind": _OPTION_KINDS.get(subresource, "PodPortForwardOptions"),
        "apiVersion": "v1",
    }
    if subresource not in _OPTION_KINDS:
        return found
    found |= {name: True for name in _FLAGS if flag(query, name)}
    if container := query.get("container"):
        found["container"] = container
    if commands:
        found["command"] = list(commands)
    return found


def parse_ports(values: Sequence[str]) -> tuple[int, ...]:
    """The query's `ports`, each a number or several with commas. Raises ApiError 400."""
    ports = []
    for text in (part for value in values for part in value.split(",")):
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            raise failures.bad_request(f'unable to parse "{text}" as a port')
        ports.append(int(text))
    if not ports or len(ports) > PORTS_MAX:
        raise failures.bad_request(f"query parameter ports: 1 to {PORTS_MAX} port numbers")
    return tuple(ports)


def place(pod: Mapping[str, Any], asked: str) -> Place:
    """Where the pod (and its container) is. Raises ApiError 400: it is nowhere, or which?"""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    name, node = metadata["name"], spec.get("nodeName") or ""
    if not node:
        raise failures.bad_request(f"pod {name} does not have a host assigned")
    container = choose_container(pod, asked)
    return Place(node, metadata["namespace"], name, metadata["uid"], container)


def choose_protocol(offered: str, known: Sequence[str]) -> str:
    """The first that a client offers (comma separated) and that is known; "" for none."""
    return next((p for p in (q.strip() for q in offered.split(",")) if p in known), "")


def outcome(exit_code: int) -> dict[str, Any]:
    """The Status that ends an exec."""
    if exit_code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {exit_code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    }


def failed(error: ApiError) -> dict[str, Any]:
    """The Status of an exec that came to nothing after the connection was made."""
    return dict(error.status())


def window_size(decoded: Any) -> tuple[int, int] | None:
    """Columns and rows of a resize message; None for what is no size."""
    if not isinstance(decoded, Mapping):
        return None
    width, height = decoded.get("Width"), decoded.get("Height")
    if not (isinstance(width, int) and isinstance(height, int)):
        return None
    return (width, height) if 0 < width < 65536 and 0 < height < 65536 else None
