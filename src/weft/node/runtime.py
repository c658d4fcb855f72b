"""What the agent asks of the machine: containers, pod networks, images. Implementations are shells.

The same interface serves process images and container images.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Protocol

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


class Rootfs(Struct, frozen=True):
    """The file system of a container that has one of its own."""

    layers: tuple[str, ...]
    """Directories, topmost first."""
    directory: str
    """Where what the container writes is kept; removed with the container by its owner."""


class Spaces(Struct, frozen=True):
    """Namespaces that the containers of one pod share; made with the first of them."""

    directory: str
    hostname: str = ""
    processes: bool = False
    """Also their processes (`shareProcessNamespace`)."""


class EngineContainer(Struct, frozen=True):
    """What a container engine (Docker, Podman) is told of a container, beside its spec."""

    image: str
    """Its full name."""
    name: str
    """What the engine calls it."""
    pod: str
    """Uid of its pod."""
    labels: Mapping[str, str] = {}
    user: str = ""
    """`user[:group]`, names or numbers; empty is the image's own."""
    groups: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    privileged: bool = False
    read_only_root: bool = False
    seccomp: bool = True
    """The engine's own filter."""
    masked: bool = True
    """Parts of /proc and /sys are hidden or read-only."""
    host_pid: bool = False
    host_ipc: bool = False
    shared_pid: bool = False
    """It sees the processes of all containers of the pod."""
    etc: Mapping[str, str] = {}
    """Files for /etc by name."""
    nodes_own: frozenset[str] = frozenset()
    """Those of them that are the machine's: read-only."""
    stop_seconds: int = 10
    """How long the engine waits when it is told to stop it, by others than weft."""


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
    rootfs: Rootfs | None = None
    """A container from an image; otherwise it is a process that sees the machine's files."""
    oci: Mapping[str, Any] = {}
    """With `rootfs`: its configuration after the OCI runtime specification."""
    spaces: Spaces | None = None
    processes_of: str = ""
    """With `rootfs`: id of the container from an image whose processes it sees and signals."""
    runtime: str = ""
    """Path of runc or crun, which starts it; empty: the pod host does."""
    of_node: bool = False
    """A part of the node, not of a pod: it keeps what rights the pod host has."""
    hidden: tuple[str, ...] = ()
    """Directories of the machine in which it shall see nothing."""
    engine: EngineContainer | None = None
    """A container engine makes it from its own store of images."""
    respawn: bool = False
    """The pod host itself starts it again when it ends (only for node daemons such as Envoy)."""
    respawn_argv: tuple[str, ...] = ()
    """What it is then started with, when that differs."""


class PodsUsage(Struct, frozen=True):
    """Of all pods together. None: not limited, or not counted on this machine."""

    memory_limit: int | None = None
    memory: int | None = None
    """Working set bytes."""
    pids_limit: int | None = None
    pids: int | None = None


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

    async def limit(self, container_id: str, limits: Limits) -> None:
        """Change the limits of one that runs; those that are None stay. An exception when it
        cannot be done, for example less memory than it uses."""

    async def retire(self, container_id: str) -> None:
        """When it ends, it is not started again."""

    async def kill(self, container_id: str) -> None:
        """SIGKILL everything in it."""

    async def release(self, directory: str) -> None:
        """A pod's `Spaces` are not needed any more; idempotent."""

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

    async def limit_pods(self, memory_bytes: int | None, pids: int | None) -> None:
        """What all but those `of_node` may have together; None is no limit. An exception says why
        this is not enforced."""

    async def pods_usage(self) -> PodsUsage:
        """What they have now."""


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


class OciImage(Struct, frozen=True):
    """What makes an image a container image."""

    digest: str
    """Of its manifest for this platform."""
    id: str
    """Digest of its configuration."""
    layers: tuple[str, ...] = ()
    """Digests of the unpacked layers, lowest first."""
    user: str = ""
    """As the image says it: names or numbers, `user[:group]`."""
    stop_signal: str = ""
    platform: str = ""
    created: str = ""
    size_bytes: int = 0
    """Unpacked."""
    ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    origin: Literal["import", "pull"] = "import"
    """An imported image is this machine's own word: nothing is pulled over it."""
    repositories: tuple[str, ...] = ()
    """Where it was pulled from."""


class Image(Struct, frozen=True):
    """What a name means on this machine: a process image (a directory and a command) or, with
    `oci`, a container image, whose `directory` is inside it."""

    name: str
    directory: str
    command: tuple[str, ...]
    env: Mapping[str, str] = {}
    args: tuple[str, ...] = ()
    """Follow `command`, unless the container says something else."""
    oci: OciImage | None = None


class Images(Protocol):
    def resolve(self, name: str) -> Image | None:
        """The image of this name (tag `latest` is implied), or None."""

    def names(self) -> tuple[str, ...]:
        """All names, for suggestions."""

    def id_of(self, name: str) -> str:
        """`imageID` of containers that run the image of this name."""

    def layers(self, image: OciImage) -> tuple[str, ...]:
        """Directories of its layers, topmost first."""
