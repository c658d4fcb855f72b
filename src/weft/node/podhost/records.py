"""What the pod host knows of a container, on disk and in memory."""

import json
import os
from typing import Any

from weft.node.linux.cgroups import Group

REASON_UNKNOWN = "ContainerStatusUnknown"
EXIT_UNKNOWN = 137
EXIT_START_ERROR = 128
MARK = "WEFT_CONTAINER_ID"
"""Environment variable that says to which container a process belongs."""


class Container:
    """A container instance. `exit_code` None: it runs (or waits for its respawn)."""

    def __init__(self, spec: dict[str, Any], directory: str) -> None:
        self.spec = spec
        self.directory = directory
        self.pid = 0
        self.starttime = 0
        self.started_at = 0.0
        self.finished_at = 0.0
        self.exit_code: int | None = None
        self.signal = 0
        self.reason = ""
        self.message = ""
        self.restarts = 0
        self.group = Group({})
        self.stopping = False
        """kill or signal was asked for: no respawn."""
        self.log_fds: list[int] = []
        """Both pipes held open, so that nothing written is lost while no writer of logs runs."""
        self.log_done = True
        self.stdin_fd = -1
        """Kept open for writing, so that the container's input does not end between attachments."""
        self.terminal_fd = -1
        """The outer side of its terminal."""

    @property
    def id(self) -> str:
        return str(self.spec["id"])

    @property
    def running(self) -> bool:
        return self.exit_code is None

    @property
    def has_terminal(self) -> bool:
        return bool(self.spec.get("tty"))

    def fifo(self, stream: str) -> str:
        return f"{self.directory}/{stream}"

    def view(self) -> dict[str, Any]:
        """What clients see."""
        return {
            "id": self.id,
            "pid": self.pid,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "exit_code": self.exit_code,
            "signal": self.signal,
            "reason": self.reason,
            "message": self.message,
            "restarts": self.restarts,
            "log_written": self.log_done,
        }

    def limit(self) -> None:
        """Make its control group, with its limits. OSError."""
        limits = self.spec["limits"]
        self.group.create(limits["cpu_cores"], limits["memory_bytes"], limits["pids"])
        if self.spec["oom_kill_all"]:
            self.group.kill_all_on_oom()

    def save(self) -> None:
        """Write state.json (0600: it holds the environment), atomically."""
        state = {
            **self.view(),
            "spec": self.spec,
            "starttime": self.starttime,
            "cgroup": self.group.directories,
            "stopping": self.stopping,
            "log_done": self.log_done,
        }
        path = f"{self.directory}/state.json"
        fd = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w") as file:
            json.dump(state, file)
        os.replace(f"{path}.new", path)

    def finish(self, exit_code: int, signal: int, reason: str, message: str, now: float) -> None:
        self.exit_code, self.signal, self.reason, self.message = exit_code, signal, reason, message
        self.finished_at = now
        self.save()


def load(directory: str) -> Container | None:
    """The container of a state directory; None when it was never written whole."""
    try:
        with open(f"{directory}/state.json") as file:
            state = json.load(file)
        container = Container(state["spec"], directory)
        for name in ("pid", "starttime", "started_at", "finished_at", "exit_code", "signal"):
            setattr(container, name, state[name])
        for name in ("reason", "message", "restarts", "stopping", "log_done"):
            setattr(container, name, state[name])
        container.group = Group(state["cgroup"])
    except (OSError, ValueError, KeyError):
        return None
    return container


def ending(status: int, out_of_memory: bool) -> tuple[int, int, str]:
    """(exit code, signal, reason) as Kubernetes reports a wait status."""
    code = os.waitstatus_to_exitcode(status)
    number = -code if code < 0 else 0
    exit_code = 128 + number if number else code
    if exit_code == 0:
        return 0, 0, "Completed"
    return exit_code, number, "OOMKilled" if out_of_memory else "Error"
