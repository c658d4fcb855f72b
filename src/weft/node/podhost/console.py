"""A container's standard files: pipes to the log writer, its own input, or a terminal."""

import contextlib
import os

from weft.node.podhost import loglink
from weft.node.podhost.records import Container
from weft.node.podhost.spawn import Files

STDIN = "stdin"


def open_files(container: Container) -> Files:
    """The child's side of everything; the caller closes it after the fork."""
    if container.has_terminal:
        outer, inner = os.openpty()
        os.set_blocking(outer, False)
        container.terminal_fd = outer
        container.log_done = not container.spec["log_path"]
        return inner, os.dup(inner), os.dup(inner)
    stdin = _open_stdin(container) if container.spec.get("stdin") else -1
    return (stdin, *loglink.open_pipes(container))


def _open_stdin(container: Container) -> int:
    """A pipe with a name. Unless its input is to end with the first attachment, the child holds
    both ends: it then never ends, whatever becomes of the pod host."""
    path = container.fifo(STDIN)
    if not os.path.exists(path):
        os.mkfifo(path, 0o600)
        if container.spec["uid"] is not None:
            os.chown(path, container.spec["uid"], -1)  # may open /dev/stdin again
    hold(container)
    once = container.spec.get("stdin_once")
    return os.open(path, (os.O_RDONLY if once else os.O_RDWR) | os.O_CLOEXEC)


def hold(container: Container) -> None:
    """Open what keeps the input from ending; also after an adoption."""
    with contextlib.suppress(FileNotFoundError):
        container.stdin_fd = loglink.hold(container.fifo(STDIN))


def end_stdin(container: Container) -> None:
    """No attachment follows: the container reads the end of its input."""
    if container.stdin_fd >= 0:
        os.close(container.stdin_fd)
        container.stdin_fd = -1
    with contextlib.suppress(FileNotFoundError):
        os.unlink(container.fifo(STDIN))


def close(container: Container) -> None:
    """The container has ended."""
    end_stdin(container)
    if container.terminal_fd >= 0:
        os.close(container.terminal_fd)
        container.terminal_fd = -1


def input_of(container: Container) -> int:
    """A descriptor of its own for whoever writes to the container (and sets its terminal's
    size); -1 when it has no input."""
    if container.has_terminal:
        if container.terminal_fd < 0:
            raise LookupError("its terminal was lost when the pod host was killed")
        return os.dup(container.terminal_fd)
    if container.stdin_fd < 0:
        return -1
    return os.open(container.fifo(STDIN), os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
