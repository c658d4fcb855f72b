"""Values of the pod machine: what is known of a pod on this node, what happened, what to do.

Times are seconds since the epoch. Everything is frozen; `weft.node.pod_machine.step` makes the next
state. A container *instance* is one run of a container: `<pod uid>_<container>_<restart count>`.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from weft.api.k8s.container_v1 import Container, EphemeralContainer, ResourceRequirements
from weft.api.k8s.pod_v1 import Pod, PodStatus

# --- limits, in seconds unless the name says otherwise
LISTENERS_READY_SECONDS = 10.0
"""Wait for the proxy before saying so (netns isolation) or starting anyway (host isolation)."""
LISTENERS_REMOVED_SECONDS = 2.0
"""Wait for the proxy to close a pod's listeners before its network is removed anyway: it does so
in milliseconds, or it is down, or it hangs. One that hangs holds the old network until it closes
them, which harms nobody: paths are never used again, addresses as late as possible."""
KILL_WINDOW_SECONDS = 2.0
"""Least time between SIGTERM and SIGKILL (kubelet's minimumGracePeriodInSeconds)."""
KILL_REPEAT_SECONDS = 5.0
"""A container that does not end after SIGKILL gets it again."""
BACKOFF_FIRST_SECONDS = 10.0
BACKOFF_MAX_SECONDS = 300.0
BACKOFF_RESET_SECONDS = 600.0
"""A container that ran this long starts over with its back-off."""
REFUSED_FIRST_SECONDS = 2.0
REFUSED_MAX_SECONDS = 300.0
"""Between two attempts of a container that could not be started for want of an image or file; a
change of what it waits for starts it at once."""
SANDBOX_RETRY_FIRST_SECONDS = 1.0
SANDBOX_RETRY_MAX_SECONDS = 30.0
LISTENING_WAIT_SECONDS = 5.0
"""Without a readiness probe a container is ready when its declared TCP ports accept connections,
or after this time."""
PROBE_EARLY_SECONDS = 0.05
"""Until it first succeeds a startup or readiness probe is also tried between its periods, at
doubling distances from this one; such attempts never count as failures."""
GRACE_DEFAULT_SECONDS = 30
NODE_STOP_GRACE_SECONDS = 10.0
"""Longest grace period when the node itself stops."""

Role = Literal["init", "sidecar", "app", "ephemeral"]
ProbeKind = Literal["startup", "liveness", "readiness", "listening"]
Hook = Literal["postStart", "preStop"]


class Exit(Struct, frozen=True):
    """How an instance ended. `reason` as Kubernetes: Completed, Error, OOMKilled, StartError,
    ContainerStatusUnknown."""

    id: str
    exit_code: int
    reason: str
    signal: int = 0
    message: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0


class ProbeRecord(Struct, frozen=True):
    """Progress of one probe of the current instance."""

    kind: ProbeKind
    next_at: float
    """When to run it next, unless it runs."""
    regular_at: float
    """Its next regular time; failures before it are early attempts."""
    running: bool = False
    attempts: int = 0
    successes: int = 0
    failures: int = 0


class Stop(Struct, frozen=True):
    """An instance that is being stopped."""

    deadline: float
    """End of its grace period."""
    drained: bool
    """No request is in flight any more, or nobody waits for that."""
    hook_done: bool
    signalled: bool = False
    kill_at: float = 0.0
    """When to send SIGKILL; set with SIGTERM."""


class ContainerRecord(Struct, frozen=True):
    """A container of the pod and its current instance."""

    name: str
    role: Role
    stage: Literal["waiting", "starting", "running", "stopping", "exited"] = "waiting"
    restarts: int = 0
    reason: str = ""
    """Why it waits, e.g. PodInitializing, ErrImagePull, CrashLoopBackOff."""
    message: str = ""
    refusals: int = 0
    """Attempts in a row that did not get as far as starting."""
    retry_at: float | None = None
    backoff: float = 0.0
    """The next restart's delay; 0 restarts at once."""
    started_at: float = 0.0
    image_id: str = ""
    exit: Exit | None = None
    """Of the current instance, in stage `exited`."""
    last_exit: Exit | None = None
    post_start: bool = False
    """Its postStart hook still runs."""
    started: bool = False
    ready: bool = False
    probes: tuple[ProbeRecord, ...] = ()
    stop: Stop | None = None
    resources: ResourceRequirements | None = None
    """What the current instance has in force."""
    resizing: bool = False
    """They are being changed."""
    resize_error: str = ""
    resize_at: float | None = None
    """When to try again."""


class Sandbox(Struct, frozen=True):
    """The pod's network."""

    stage: Literal["absent", "creating", "waiting", "ready", "closing", "deleting", "deleted"] = (
        "absent"
    )
    """`waiting` for the proxy's listeners; `closing` until they are removed."""
    address: str = ""
    netns: str = ""
    annotations: Mapping[str, str] = {}
    deadline: float | None = None
    """Of the wait in stages `waiting` and `closing`; the next attempt in stage `absent`."""
    failures: int = 0


class End(Struct, frozen=True):
    """The pod as a whole is being ended."""

    cause: Literal["deleted", "removed", "deadline", "evicted", "completed", "failed", "stopped"]
    """`removed`: its object is gone. `completed`: its containers ended by themselves. `failed`:
    an init container failed for good. `stopped`: the node stops; the pod runs again when the node
    is back."""
    deadline: float
    drained: bool = False
    message: str = ""
    """Why it was evicted."""


class MachineSettings(Struct, frozen=True):
    isolation: Literal["netns", "host"] = "netns"
    host_ip: str = ""


class PodState(Struct, frozen=True):
    """All that the node knows and remembers about one pod."""

    pod: Pod
    settings: MachineSettings
    created_at: float
    sandbox: Sandbox = Sandbox()
    containers: tuple[ContainerRecord, ...] = ()
    """Init containers and sidecars first, in the order of the spec."""
    end: End | None = None
    removed: bool = False
    """The object is gone from the API."""
    finishing: bool = False
    """Its last deletion was asked for."""
    timer_at: float | None = None
    status: PodStatus | None = None
    """As last reported."""
    unfit: tuple[str, str] | None = None
    """Why the node has no room for what the spec asks now: reason and message."""

    @property
    def uid(self) -> str:
        return self.pod.metadata.uid

    @property
    def host_network(self) -> bool:
        """It runs in the node's own network: nothing is made for it, and no proxy listens."""
        return bool(self.pod.spec.host_network)

    @property
    def deleting(self) -> bool:
        return self.removed or bool(self.pod.metadata.deletion_timestamp)


def instance_id(uid: str, container: str, restarts: int) -> str:
    """Safe as a file name: container names are DNS labels and have no underscore."""
    return f"{uid}_{container}_{restarts}"


def parse_instance_id(container_id: str) -> tuple[str, str, int] | None:
    """(pod uid, container, restart count), or None when it names no container of a pod."""
    parts = container_id.rsplit("_", 2)
    if len(parts) != 3 or not parts[2].isdecimal() or not parts[0]:
        return None
    return parts[0], parts[1], int(parts[2])


def spec_of(pod: Pod, name: str) -> Container | None:
    """The container's spec."""
    every = (*pod.spec.init_containers, *pod.spec.containers)
    found = next((c for c in every if c.name == name), None)
    if found is None:
        ephemeral = (c for c in pod.spec.ephemeral_containers if c.name == name)
        found = next(map(_as_container, ephemeral), None)
    return found


def target_of(pod: Pod, name: str) -> str:
    """The container that an ephemeral one looks at (`targetContainerName`); "" for none."""
    every = (c for c in pod.spec.ephemeral_containers if c.name == name)
    return next((c.target_container_name for c in every), "") or ""


def _as_container(ephemeral: EphemeralContainer) -> Container:
    """It has all fields of a container, and the name of the one it looks at."""
    fields = Container.__struct_fields__
    return Container(**{name: getattr(ephemeral, name) for name in fields})


def container_ports(pod: Pod) -> tuple[int, ...]:
    """Numbers of the TCP ports that the pod declares."""
    every = (*pod.spec.init_containers, *pod.spec.containers)
    return tuple(
        port.container_port
        for container in every
        for port in container.ports
        if port.container_port and port.protocol in ("", "TCP")
    )


def grace_of(pod: Pod) -> float:
    """Grace period in force: of the deletion, else of the spec."""
    for seconds in (
        pod.metadata.deletion_grace_period_seconds,
        pod.spec.termination_grace_period_seconds,
    ):
        if seconds is not None:
            return float(max(seconds, 0))
    return float(GRACE_DEFAULT_SECONDS)


# --- events


class PodObserved(Struct, frozen=True):
    """The pod's object, new or changed (also when its deletion was asked for)."""

    pod: Pod
    unfit: tuple[str, str] | None = None
    """Why the node has no room for it as it is now."""


class PodRemoved(Struct, frozen=True):
    """The pod's object is gone."""


class FoundContainer(Struct, frozen=True):
    """An instance that the runtime knew already. `exit` None: it runs."""

    id: str
    started_at: float
    exit: Exit | None = None


class Adopted(Struct, frozen=True):
    """What was found of the pod on this node when the agent started: its network, its
    instances. Always the first event."""

    address: str = ""
    netns: str = ""
    annotations: Mapping[str, str] = {}
    containers: tuple[FoundContainer, ...] = ()


class SandboxCreated(Struct, frozen=True):
    address: str
    netns: str = ""
    annotations: Mapping[str, str] = {}


class SandboxFailed(Struct, frozen=True):
    message: str


class ListenersAcknowledged(Struct, frozen=True):
    """The node's proxy serves the pod."""


class ContainerStarted(Struct, frozen=True):
    id: str
    started_at: float
    image_id: str = ""


class ContainerRefused(Struct, frozen=True):
    """It could not be tried: no image, a ConfigMap is missing."""

    id: str
    reason: str
    message: str


class ContainerExited(Struct, frozen=True):
    exit: Exit


class ContainerResized(Struct, frozen=True):
    """Its limits were changed, or could not be."""

    id: str
    resources: ResourceRequirements
    error: str = ""


class HookFinished(Struct, frozen=True):
    id: str
    hook: Hook
    error: str = ""


class ProbeSucceeded(Struct, frozen=True):
    id: str
    kind: ProbeKind


class ProbeFailed(Struct, frozen=True):
    id: str
    kind: ProbeKind
    message: str


class DrainFinished(Struct, frozen=True):
    """Every proxy acknowledged the pod as draining, and no request is in flight."""


class ListenersRemoved(Struct, frozen=True):
    pass


class SandboxDeleted(Struct, frozen=True):
    pass


class DependenciesChanged(Struct, frozen=True):
    """Images, ConfigMaps or Secrets that the pod may wait for changed."""

    named: bool = False
    """It is one that the pod reads: containers that failed may do better now."""


class NodeStopped(Struct, frozen=True):
    """The node goes down: end the pod, keep its object. Nobody waits for requests in flight."""


class Evicted(Struct, frozen=True):
    """The node lacks what the pod takes: it ends for good."""

    message: str
    grace: float = 0.0
    """Seconds at most; 0.0: at once."""


class TimerFired(Struct, frozen=True):
    pass


Event = (
    PodObserved | PodRemoved | Adopted | SandboxCreated | SandboxFailed | ListenersAcknowledged
    | ContainerStarted | ContainerRefused | ContainerExited | ContainerResized | HookFinished
    | ProbeSucceeded | ProbeFailed | DrainFinished | ListenersRemoved | SandboxDeleted
    | DependenciesChanged | NodeStopped | Evicted | TimerFired
)  # fmt: skip


# --- actions


class CreateSandbox(Struct, frozen=True):
    """Make the pod's network: SandboxCreated or SandboxFailed."""


class AnnotatePod(Struct, frozen=True):
    """Write annotations on the pod's object."""

    annotations: Mapping[str, str]


class AwaitListeners(Struct, frozen=True):
    """ListenersAcknowledged, once the proxy serves what was reported of the pod."""


class StartContainer(Struct, frozen=True):
    """ContainerStarted, ContainerRefused or ContainerExited (StartError)."""

    container: str
    id: str
    restarts: int


class ResizeContainer(Struct, frozen=True):
    """Change the limits of a running instance to those of the spec: ContainerResized."""

    container: str
    id: str


class RunHook(Struct, frozen=True):
    """HookFinished, at the latest after `timeout` seconds."""

    container: str
    id: str
    hook: Hook
    timeout: float


class RunProbe(Struct, frozen=True):
    """ProbeSucceeded or ProbeFailed."""

    container: str
    id: str
    kind: ProbeKind


class SignalContainer(Struct, frozen=True):
    id: str
    signal: str
    """e.g. SIGTERM."""


class KillContainer(Struct, frozen=True):
    """SIGKILL to everything in it."""

    id: str


class RemoveContainer(Struct, frozen=True):
    """Forget an instance that ended."""

    id: str


class AwaitDrain(Struct, frozen=True):
    """DrainFinished."""

    address: str
    ports: tuple[int, ...] = ()
    """The pod's, where it shares the address with others; else all."""


class AwaitListenersRemoved(Struct, frozen=True):
    """ListenersRemoved, after what was reported of the pod reached the API."""


class DeleteSandbox(Struct, frozen=True):
    """Remove the pod's network: SandboxDeleted."""


class ReportStatus(Struct, frozen=True):
    """Write the pod's status; a later one replaces an earlier one not yet written."""

    status: PodStatus


class RecordEvent(Struct, frozen=True):
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    container: str = ""


class FinishDeletion(Struct, frozen=True):
    """Delete the object with grace period 0, after the last status was written."""


class Forget(Struct, frozen=True):
    """Nothing is left of the pod: drop its machine and its files."""


class SetTimer(Struct, frozen=True):
    """TimerFired at this time; replaces the timer before. None: no timer."""

    at: float | None


Action = (
    CreateSandbox | AnnotatePod | AwaitListeners | StartContainer | ResizeContainer | RunHook
    | RunProbe | SignalContainer | KillContainer | RemoveContainer | AwaitDrain
    | AwaitListenersRemoved | DeleteSandbox | ReportStatus | RecordEvent | FinishDeletion | Forget
    | SetTimer
)  # fmt: skip
