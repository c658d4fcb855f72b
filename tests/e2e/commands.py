"""Commands of weft without the half second of CPU that their imports take: copies (forks) of one
process that has imported them.

Each is a process of its own and gets its arguments, environment, folder and pipes as any other.
`python -m tests.e2e.commands FD` is the process that is copied; it ends with who started it.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from typing import Any, NoReturn

from weft.cli.main import COMMANDS

COPIED = {
    *("alerts", "analyze", "apply", "ca", "delete", "describe", "diff", "get", "graph", "image"),
    *("logs", "node", "queue", "rollout", "status", "token", "trace", "why"),
}
"""Commands that start nothing which outlives them, and need no terminal."""
IMPORTED_LATE = ("weft.cli.manifest_analysis", "weft.cli.wait", "weft.runtime.http_client")
"""By commands, once they need them."""
REQUEST_BYTES_MAX = 128 * 1024
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
_lock = threading.Lock()
_original: list[Any] = []
"""Process, and the socket that it is asked through."""


def run(
    args: list[str], env: dict[str, str], stdin: str | None, seconds: float, netns: str = ""
) -> Any:
    """As subprocess.run of `weft ARGS`, capturing text; in a network namespace if one is named."""
    ends = [os.pipe() for _ in range(4)]
    (in_, to_in), (from_out, out), (from_err, err), (from_code, code) = ends
    asked = {"args": args, "env": env, "cwd": os.getcwd(), "netns": netns}
    request = json.dumps(asked).encode()
    try:
        socket.send_fds(_channel(), [request], [in_, out, err, code])
    finally:
        for each in (in_, out, err, code):
            os.close(each)
    writer = threading.Thread(target=_feed, args=(to_in, (stdin or "").encode()), daemon=True)
    said: dict[int, bytes] = {}
    readers = [
        threading.Thread(target=_drain, args=(end, said), daemon=True)
        for end in (from_out, from_err, from_code)
    ]
    for thread in (writer, *readers):
        thread.start()
    readers[2].join(seconds)
    if readers[2].is_alive():
        raise subprocess.TimeoutExpired(args, seconds)
    for thread in (writer, *readers):
        thread.join(seconds)
    status = int(said[from_code] or b"1")
    return subprocess.CompletedProcess(
        args, status, said[from_out].decode(), said[from_err].decode()
    )


def _feed(end: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(end, "wb") as pipe:
        pipe.write(data)


def _drain(end: int, said: dict[int, bytes]) -> None:
    with os.fdopen(end, "rb") as pipe:
        said[end] = pipe.read()


def _channel() -> socket.socket:
    with _lock:
        if not _original:
            ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-m", "tests.e2e.commands", str(its.fileno())]
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=[its.fileno()], start_new_session=True
            )
            its.close()
            _original.extend((process, ours))
        channel: socket.socket = _original[1]
        return channel


# --- the process that is copied


def serve(channel: socket.socket) -> None:
    """Until the other side is gone."""
    for command in COPIED:
        importlib.import_module(COMMANDS[command][0])
    for name in IMPORTED_LATE:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the copies that wait
    while True:
        request, fds, _, _ = socket.recv_fds(channel, REQUEST_BYTES_MAX, 4)
        if not request:
            return
        if os.fork() == 0:
            channel.close()
            _command(json.loads(request), *fds)
        for each in fds:
            os.close(each)


def _command(request: Any, in_: int, out: int, err: int, code: int) -> NoReturn:
    """Run it in one more copy and tell its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        for each in (in_, out, err):
            os.close(each)
        _, status = os.waitpid(child, 0)
        os.write(code, str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    os.close(code)
    for number, end in enumerate((in_, out, err)):
        os.dup2(end, number)
        os.close(end)
    if request["netns"]:
        enter(request["netns"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["weft", *request["args"]]
    os._exit(_exit_code())


def enter(netns: str) -> None:
    """Move this thread into a network namespace."""
    with open(f"/run/netns/{netns}", "rb") as file:
        if LIBC.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {netns}")


def _exit_code() -> int:
    from weft.cli.__main__ import run as main

    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    if isinstance(code, str):
        os.write(2, code.encode() + b"\n")
    return code if isinstance(code, int) else int(code is not None)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
