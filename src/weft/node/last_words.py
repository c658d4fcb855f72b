"""What a container says of its end: `terminationMessagePath`, or the end of its log. Blocking;
small files only.

Rules: kubelet's getTerminationMessage (Kubernetes 1.33).
"""

import os
from pathlib import Path

from msgspec.structs import replace

from weft.api.k8s.container_v1 import Container
from weft.node.logs import last_lines
from weft.node.runtime import ContainerState, Mount

MESSAGE_BYTES_MAX = 4096
"""Of the file, its end."""
LOG_BYTES_MAX = 2048
LOG_LINES_MAX = 80
"""Of the log, its end: whichever of both is less."""
LOG_WAIT_SECONDS = 1.0
"""How long the end of a container waits for the end of its log to be written."""
_ANYBODY_WRITES = 0o666
_FROM_LOGS = "FallbackToLogsOnError"


def message_file(pod_directory: Path, container_id: str) -> Path:
    """Where an instance's message is on this machine."""
    return pod_directory / "messages" / container_id


def offer(container: Container, pod_directory: Path, container_id: str) -> Mount | None:
    """Make the file that the instance may write its message to. OSError."""
    target = container.termination_message_path
    if not target.startswith("/"):
        return None
    file = message_file(pod_directory, container_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    file.chmod(_ANYBODY_WRITES)
    return Mount(str(file), target, optional=True)


def reads_log(container: Container, state: ContainerState) -> bool:
    """Whether the log's end may become the message."""
    return container.termination_message_policy == _FROM_LOGS and bool(state.exit_code)


def explained(
    state: ContainerState, container: Container, pod_directory: Path, log: Path
) -> ContainerState:
    """The ended instance with what it said itself after what the runtime says."""
    words = _end_of(message_file(pod_directory, state.id))
    if not words and reads_log(container, state):
        words = last_lines(log, LOG_LINES_MAX)[-LOG_BYTES_MAX:]
    text = words.decode(errors="replace")
    return replace(state, message=": ".join(filter(None, (state.message, text))))


def _end_of(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(max(0, size - MESSAGE_BYTES_MAX))
            return stream.read(MESSAGE_BYTES_MAX)
    except OSError:
        return b""
