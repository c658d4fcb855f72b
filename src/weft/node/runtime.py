"""What the agent asks of the machine: containers, pod networks, images. Implementations are shells.

The same interface serves process images (podhost), and later OCI runtimes and engines.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Literal, Protocol

from msgspec import Struct


class Mount(Struct, frozen=True):
    """A host directory or file that the container sees at `target` (absolute)."""

    source: str
    target: str
    read_only: bool = False
    optional: bool = False
    """Left out where it cannot be made."""


class Limits(Struct, frozen=True):
    """None is no limit."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    pids: int | None = None


class ContainerSpec(Struct, frozen=True):
    """Everything needed to start one container instance."""

    id: str
    """Unique per instance: `<pod uid>_<container>_<restart count>`; safe as a file name."""
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/"
    log_path: str = ""
    """CRI log file (`time stream F|P line`), appended to; rotation is the log writer's."""
    netns: str = ""
    """Path of the network namespace to join; empty is the node's own network."""
    etc_dir: str = ""
    """Directory laid read-only over /etc (resolv.conf, hosts, hostname, nsswitch.conf)."""
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    limits: Limits = Limits()
    stdin: bool = False
    """It has an input that can be attached to, else /dev/null."""
    stdin_once: bool = False
    """Its input ends with the first attachment."""
    tty: bool = False
    """Its input and output are a terminal."""
    uid: int | None = None
    gid: int | None = None
    supplemental_groups: tuple[int, ...] = ()
    oom_kill_all: bool = True
    no_new_privileges: bool = False
    respawn: bool = False
    """The pod host itself starts it again when it ends (only for node daemons such as Envoy)."""
    respawn_argv: tuple[str, ...] = ()
    """What it is then started with, when that differs."""


class ContainerState(Struct, frozen=True):
    """What is known of a container instance. `exit_code` None: it runs."""

    id: str
    pid: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int | None = None
    signal: int = 0
    reason: str = ""
    """Completed, Error, OOMKilled, StartError, ContainerStatusUnknown; empty while running."""
    message: str = ""
    restarts: int = 0
    """How often the pod host started it again (`respawn`)."""
    log_written: bool = True
    """All that it printed is in its log."""


class ExecResult(Struct, frozen=True):
    exit_code: int
    output: bytes


class Process(Protocol):
    """A command inside a container, or the container's own process, seen by one who talks to it.
    `close` when done: a command is killed by it, a container goes on."""

    async def read(self, stream: Literal["stdout", "stderr"]) -> bytes:
        """The next piece; b"" at the end. A terminal's output is all stdout."""

    async def write(self, data: bytes) -> None:
        """To its standard input. BrokenPipeError when it reads no more."""

    async def end_input(self) -> None:
        """Nothing more is written."""

    def resize(self, columns: int, rows: int) -> None:
        """Of its terminal; nothing without one."""

    async def wait(self) -> int:
        """Its exit code; of an attachment 0 at the end of the container's output. Output may
        still be on its way."""

    async def close(self) -> None:
        """Idempotent."""


class Command(Struct, frozen=True):
    """What to run inside a container, and which of its files the caller holds."""

    argv: tuple[str, ...]
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False
    stdin_once: bool = False
    """The container's own input ends with this attachment."""


class ContainerRuntime(Protocol):
    """Containers outlive whoever holds this; a new holder finds them by `list`."""

    async def start(self, spec: ContainerSpec) -> ContainerState:
        """Start it. A failure to start is a state with reason StartError, not an exception."""

    async def signal(self, container_id: str, signal_number: int) -> None:
        """Signal its first process; no error when it has ended."""

    async def retire(self, container_id: str) -> None:
        """When it ends, it is not started again."""

    async def kill(self, container_id: str) -> None:
        """SIGKILL everything in it."""

    async def remove(self, container_id: str) -> None:
        """Forget an ended container and free what it held (not its log)."""

    async def list(self) -> tuple[ContainerState, ...]:
        """Every container not yet removed, running or ended."""

    def events(self) -> AsyncIterator[ContainerState]:
        """Every end of a container, also those that ended while nobody listened."""

    async def exec(
        self, container_id: str, argv: tuple[str, ...], timeout_seconds: float
    ) -> ExecResult:
        """Run a command inside (its namespaces, environment and directory). TimeoutError."""

    async def open_exec(self, container_id: str, command: Command) -> Process:
        """Start a command inside, to talk to. LookupError when the container does not run."""

    async def open_attach(self, container_id: str, command: Command) -> Process:
        """Listen to (and talk to) the container's own process; no `argv`."""

    async def usage(self, container_id: str) -> tuple[float, int]:
        """CPU seconds so far and working set bytes."""


class PodNetwork(Struct, frozen=True):
    """A pod's place in the network."""

    address: str
    netns: str = ""
    gateway: str = ""


class Network(Protocol):
    """Pod networks outlive whoever holds this."""

    async def create(self, pod_uid: str) -> PodNetwork:
        """Make it, or return what exists. In host isolation: a loopback address, no namespace."""

    async def delete(self, pod_uid: str) -> None:
        """Remove it and free its address; idempotent."""

    async def list(self) -> dict[str, PodNetwork]:
        """By pod uid."""


class Image(Struct, frozen=True):
    """A process image: a directory and a command on this machine."""

    name: str
    directory: str
    command: tuple[str, ...]
    env: Mapping[str, str] = {}


class Images(Protocol):
    def resolve(self, name: str) -> Image | None:
        """The image of this name (tag `latest` is implied), or None."""

    def names(self) -> tuple[str, ...]:
        """All names, for suggestions."""
