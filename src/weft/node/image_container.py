"""From a container's spec to a container from an image: user, confinement, configuration."""

import functools
import os
import stat
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.node.agent_settings import Parts
from weft.node.environment import CONFIG_ERROR, Command, Refusal, kernel_hostname
from weft.node.linux.capabilities import CAPABILITIES
from weft.node.oci import security
from weft.node.oci.configuration import Device, Place, Program, configuration
from weft.node.oci.unpack import read_text
from weft.node.pod_state import PodState, instance_id, spec_of, target_of
from weft.node.runtime import ContainerSpec, EngineContainer, Image, Rootfs, Spaces

SHM_MODE = 0o1777
DEVICES_MAX = 4096
GRACE_SECONDS_DEFAULT = 30
_ETC = ("resolv.conf", "hosts", "hostname")
_PASSED_OVER = ("/dev/pts", "/dev/shm", "/dev/mqueue", "/dev/fd")  # noqa: S108


class Runner(Protocol):
    """What is needed of a pod's runner."""

    state: PodState
    parts: Parts
    directory: Path

    def etc_directory(self) -> str: ...
    def memory_directory(self) -> Path: ...


def root_directory(pod_directory: Path, container_id: str) -> Path:
    """Where a container's own writes are."""
    return pod_directory / "rootfs" / container_id


def spaces_directory(pod_directory: Path) -> Path:
    """Of the namespaces that the pod's containers share."""
    return pod_directory / "spaces"


def with_image(
    runner: Runner, container: Container, image: Image, made: Command, spec: ContainerSpec
) -> ContainerSpec | Refusal:
    """The spec of a process as that of a container from the image. OSError."""
    parts, pod = runner.parts, runner.state.pod
    assert image.oci is not None
    if parts.settings.engine:
        return _with_engine(runner, container, image, spec)
    if not parts.settings.etc_overlay:
        text = "containers from images need root or user namespaces, and this machine gives neither"
        return Refusal(CONFIG_ERROR, text)
    layers = parts.images.layers(image.oci)
    identity = security.identity(
        pod, container, image.oci.user, read_text(layers, "etc/passwd"),
        read_text(layers, "etc/group"),
    )  # fmt: skip
    if isinstance(identity, Refusal):
        return identity
    confinement = security.confinement(pod, container)
    if isinstance(confinement, Refusal):
        return confinement
    possible = own_capabilities()
    confinement = replace(
        confinement, capabilities=tuple(c for c in confinement.capabilities if c in possible)
    )
    place = _place(runner, pod, confinement.privileged)
    target = _target(runner, container)
    if isinstance(target, Refusal):
        return target
    root = root_directory(runner.directory, spec.id)
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    program = Program(made.argv, made.env, made.cwd, identity, bool(container.tty))
    return replace(
        spec,
        etc_dir="", hostname="", mounts=(), rootfs=Rootfs(layers, str(root)),
        uid=None if parts.settings.rootless else identity.uid or None, gid=None,
        supplemental_groups=(), hidden=(),
        oci=configuration(program, confinement, place, spec.mounts, spec.limits),
        spaces=_spaces(pod, place), processes_of=target, runtime=parts.settings.oci_runtime,
    )  # fmt: skip


def _with_engine(
    runner: Runner, container: Container, image: Image, spec: ContainerSpec
) -> ContainerSpec | Refusal:
    """The spec of a process as that of a container that the engine makes from the image."""
    pod = runner.state.pod
    confinement = security.confinement(pod, container)
    if isinstance(confinement, Refusal):
        return confinement
    assert image.oci is not None
    user = security.engine_user(pod, container, image.oci.user)
    if isinstance(user, Refusal):
        return user
    target = _target(runner, container)
    if isinstance(target, Refusal):
        return target
    own, nodes = _etc(runner) if spec.etc_dir else ({}, {})
    meta = pod.metadata
    attempt = spec.id.rpartition("_")[2]
    possible = own_capabilities()
    engine = EngineContainer(
        image=image.name,
        name=f"k8s_{container.name}_{meta.name}_{meta.namespace}_{meta.uid}_{attempt}",
        pod=meta.uid,
        labels={
            "io.kubernetes.pod.name": meta.name, "io.kubernetes.pod.namespace": meta.namespace,
            "io.kubernetes.container.name": container.name,
        },
        user=user[0], groups=user[1], privileged=confinement.privileged,
        capabilities=tuple(c for c in confinement.capabilities if c in possible),
        read_only_root=confinement.read_only_root, seccomp=confinement.seccomp,
        masked=confinement.masked, host_pid=bool(pod.spec.host_pid),
        host_ipc=bool(pod.spec.host_ipc), shared_pid=bool(pod.spec.share_process_namespace),
        etc=own | nodes, nodes_own=frozenset(nodes), stop_seconds=_grace(pod),
    )  # fmt: skip
    return replace(
        spec, uid=None, gid=None, supplemental_groups=(), processes_of=target, engine=engine,
        no_new_privileges=confinement.no_new_privileges,
        spaces=Spaces(str(spaces_directory(runner.directory)), spec.hostname),
    )  # fmt: skip


def _grace(pod: Pod) -> int:
    seconds = pod.spec.termination_grace_period_seconds
    return GRACE_SECONDS_DEFAULT if seconds is None else int(seconds)


def _target(runner: Runner, container: Container) -> str | Refusal:
    """Id of the container whose processes an ephemeral one sees. Where all of the pod's, or the
    machine's, are seen anyway there is nothing to join."""
    state = runner.state
    name = target_of(state.pod, container.name)
    if not name or state.pod.spec.share_process_namespace or state.pod.spec.host_pid:
        return ""
    record = next((c for c in state.containers if c.name == name), None)
    where = f'targetContainerName "{name}"'
    if record is None:
        return Refusal(CONFIG_ERROR, f"{where}: the pod has no such container")
    spec = spec_of(state.pod, name)
    image = runner.parts.images.resolve(spec.image) if spec is not None else None
    if image is not None and image.oci is None:
        text = "is a process of the machine: look at it from a process image, which sees them all"
        return Refusal(CONFIG_ERROR, f"{where} {text}")
    if runner.parts.settings.rootless and not runner.parts.settings.engine:
        return Refusal(CONFIG_ERROR, f"{where}: sharing its processes needs weft to run as root")
    if record.stage != "running":
        return Refusal(CONFIG_ERROR, f"{where} does not run")
    return instance_id(state.uid, name, record.restarts)


def _place(runner: Runner, pod: Pod, privileged: bool) -> Place:
    settings = runner.parts.settings
    own, nodes = _etc(runner)
    spaces = spaces_directory(runner.directory) if not settings.rootless else None
    return Place(
        netns=runner.state.sandbox.netns or runner.parts.settings.home,
        spaces=str(spaces) if spaces is not None else "",
        hostname="" if pod.spec.host_network else kernel_hostname(pod),
        shared_memory=_shared_memory(runner),
        etc=own | nodes,
        nodes_own=frozenset(nodes),
        host_pid=bool(pod.spec.host_pid),
        host_ipc=bool(pod.spec.host_ipc),
        message_queues=os.path.isdir("/dev/mqueue"),
        shared_pid=bool(pod.spec.share_process_namespace),
        rootless=settings.rootless,
        machine=os.uname().machine,
        devices=devices() if privileged else (),
    )


def _spaces(pod: Pod, place: Place) -> Spaces | None:
    if not place.spaces:
        return None
    return Spaces(place.spaces, place.hostname, place.shared_pid)


def _shared_memory(runner: Runner) -> str:
    """One for all containers of the pod, on the memory file system."""
    if not runner.parts.settings.memory_dir:
        return ""
    directory = runner.memory_directory() / "shm"
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(SHM_MODE)
    return str(directory)


def _etc(runner: Runner) -> tuple[dict[str, str], dict[str, str]]:
    """The pod's own files, and the machine's for what a pod in its network has none of."""
    directory = Path(runner.etc_directory())
    own = {name: str(directory / name) for name in _ETC if (directory / name).exists()}
    nodes = {
        name: os.path.realpath(f"/etc/{name}")
        for name in _ETC
        if name not in own and os.path.exists(f"/etc/{name}")
    }
    return own, nodes


@functools.cache
def own_capabilities() -> frozenset[str]:
    """Those that the agent could give: a container cannot have more."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapBnd:"):
            mask = int(line.split()[1], 16)
            return frozenset(c for i, c in enumerate(CAPABILITIES) if mask >> i & 1)
    return frozenset(CAPABILITIES)


def devices() -> tuple[Device, ...]:
    """Every device of the node below /dev, but for terminals."""
    found: list[Device] = []
    for folder, directories, names in os.walk("/dev"):
        directories[:] = [d for d in directories if f"{folder}/{d}" not in _PASSED_OVER]
        for name in names:
            try:
                status = os.lstat(f"{folder}/{name}")
            except OSError:
                continue
            kinds = {stat.S_IFCHR: "c", stat.S_IFBLK: "b"}
            kind = kinds.get(stat.S_IFMT(status.st_mode), "")
            if kind and name not in ("console", "ptmx", "null", "zero", "full", "random",
                                     "urandom", "tty"):  # fmt: skip
                major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
                found.append(Device(f"{folder}/{name}", kind, major, minor))
    return tuple(found[:DEVICES_MAX])
