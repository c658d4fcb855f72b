"""From a container's spec to what the runtime starts: image, environment, volumes, limits, user.

Writes the pod's volumes on the way.
"""

import logging
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.api.suggest import nearest
from weft.lib.quantity import parse_quantity
from weft.node import last_words, service_account, volume_files
from weft.node.agent_settings import Parts
from weft.node.downward import PodFacts, TokenKey
from weft.node.environment import (
    CONFIG_ERROR,
    Command,
    Refusal,
    command,
    hostname_refusal,
    kernel_hostname,
)
from weft.node.image_container import with_image
from weft.node.oci.security import asked_user
from weft.node.pod_containers import IMAGE_BACK_OFF, IMAGE_MISSING
from weft.node.pod_state import PodState
from weft.node.runtime import ContainerSpec, Limits, Mount
from weft.node.volumes import mounts, plan_volumes, tokens_read

log = logging.getLogger("weft.node")

NEVER_PRESENT = "ErrImageNeverPull"
IMAGE_REASONS = (IMAGE_MISSING, IMAGE_BACK_OFF, NEVER_PRESENT)
"""Waiting reasons of containers that wait for an image."""
NO_USER: "tuple[int | None, int | None, tuple[int, ...]]" = (None, None, ())
"""The image has its own."""


class Runner(Protocol):
    """What is needed of a pod's runner."""

    state: PodState
    parts: Parts
    directory: Path

    def facts(self) -> PodFacts: ...
    def etc_directory(self) -> str: ...
    def memory_directory(self) -> Path: ...


def prepare(
    runner: Runner, container: Container, container_id: str, log_path: str
) -> ContainerSpec | Refusal:
    """What to start, or why it cannot be started now."""
    pod, parts, facts = runner.state.pod, runner.parts, runner.facts()
    image = parts.images.resolve(container.image)
    if image is None:
        return missing_image(container, parts.images.names())
    if (failed := hostname_refusal(pod)) is not None:
        return failed
    directories = write_volumes(runner)
    if isinstance(directories, Refusal):
        return directories
    made = command(pod, container, image, parts.objects, facts)
    if isinstance(made, Refusal):
        return made
    mounted = mounts(pod, container, directories, made.env, own_root=image.oci is not None)
    if isinstance(mounted, Refusal):
        return mounted
    if (failed := _make_sub_paths(mounted, directories.values())) is not None:
        return failed
    user = _user(pod, container, parts.settings.as_root) if image.oci is None else NO_USER
    if isinstance(user, Refusal):
        return user
    if parts.settings.etc_overlay:
        taken = {mount.target for mount in mounted}
        own = own_mounts(runner, container, container_id)
        mounted += tuple(mount for mount in own if mount.target not in taken)
    spec = ContainerSpec(
        id=container_id, argv=made.argv, env=made.env, cwd=made.cwd, log_path=log_path,
        netns=runner.state.sandbox.netns or parts.settings.home, etc_dir=runner.etc_directory(),
        hostname="" if pod.spec.host_network else kernel_hostname(pod),
        mounts=mounted, limits=limits(container, parts.settings.pod_pids_max),
        stdin=bool(container.stdin), stdin_once=bool(container.stdin_once),
        tty=bool(container.tty), uid=user[0], gid=user[1], supplemental_groups=user[2],
        hidden=_hidden(parts.settings.hidden, made),
    )  # fmt: skip
    if image.oci is None:
        return spec
    try:
        return with_image(runner, container, image, made, spec)
    except OSError as error:
        return Refusal(CONFIG_ERROR, f"{error.filename}: {error.strerror}")


def _hidden(directories: tuple[str, ...], made: Command) -> tuple[str, ...]:
    """Those without the program and its files."""
    used = [Path(made.cwd), Path(made.argv[0])]
    return tuple(d for d in directories if not any(path.is_relative_to(d) for path in used))


def own_mounts(runner: Runner, container: Container, container_id: str) -> tuple[Mount, ...]:
    """What every container gets where no volume is in its place."""
    try:
        offered = (
            last_words.offer(container, runner.directory, container_id),
            offer_service_account(runner),
        )
    except OSError as error:
        log.warning("files left out container=%s error=%s", container_id, error)
        return ()
    return tuple(mount for mount in offered if mount is not None)


def offer_service_account(runner: Runner) -> Mount | None:
    """Bring its files up to date; where to show them. OSError."""
    pod, parts = runner.state.pod, runner.parts
    token = parts.tokens.of(pod.metadata.uid).get(TokenKey(), "")
    directory = runner.memory_directory()
    return service_account.offer(
        pod, parts.objects, parts.settings.service_account_ca, token, directory
    )


def tokens_wanted(runner: Runner) -> frozenset[TokenKey]:
    """Every token that the pod's files need."""
    pod, parts = runner.state.pod, runner.parts
    mounted = service_account.mounts(pod, parts.objects, parts.settings.service_account_ca)
    return tokens_read(pod) | (frozenset({TokenKey()}) if mounted else frozenset())


def _make_sub_paths(mounted: tuple[Mount, ...], volumes: Collection[str]) -> Refusal | None:
    """A subPath that does not exist is made, as a directory. What containers write into a volume
    may be links: none may lead a subPath out of it."""
    for mount in mounted:
        source = Path(mount.source)
        inside = (Path(v) for v in volumes if source.is_relative_to(v))
        try:
            if not any(source.resolve().is_relative_to(volume.resolve()) for volume in inside):
                return Refusal(CONFIG_ERROR, f"subPath {mount.source} leads out of its volume")
            if not mount.read_only and not source.exists():
                source.mkdir(parents=True)
        except OSError as error:
            return Refusal(CONFIG_ERROR, f"subPath {mount.source}: {error}")
    return None


def write_volumes(runner: Runner) -> dict[str, str] | Refusal:
    """Bring the pod's volumes up to date: host paths by volume name."""
    plans = plan_volumes(runner.state.pod, runner.parts.objects, runner.facts())
    if isinstance(plans, Refusal):
        return plans
    directories: dict[str, str] = {}
    for plan in plans:
        base = runner.memory_directory() if plan.in_memory else runner.directory
        try:
            directories[plan.name] = volume_files.prepare(plan, base / "volumes" / plan.name)
        except (OSError, ValueError) as error:
            return Refusal(CONFIG_ERROR, f'volume "{plan.name}": {error}')
    return directories


def missing_image(container: Container, known: tuple[str, ...]) -> Refusal:
    """What to do about an image that this node does not have."""
    name = container.image
    text = f'no image "{name}" on this node: weft image add {name} --dir DIR -- COMMAND'
    if close := nearest(name, known) or nearest(name.partition(":")[0], known):
        text += f' (there is "{close}")'
    never = container.image_pull_policy == "Never"
    return Refusal(NEVER_PRESENT if never else IMAGE_MISSING, text)


def limits(container: Container, pids_max: int = 0) -> Limits:
    """The container's limits. Unreadable quantities count as none: the API refuses them."""
    values = container.resources.limits if container.resources is not None else {}
    found: dict[str, float] = {}
    for name in ("cpu", "memory"):
        if name in values:
            try:
                found[name] = float(parse_quantity(values[name]))
            except ValueError:
                continue
    memory = found.get("memory")
    return Limits(
        cpu_cores=found.get("cpu"),
        memory_bytes=None if memory is None else int(memory),
        pids=pids_max or None,
    )


def _user(
    pod: Pod, container: Container, as_root: bool
) -> tuple[int | None, int | None, tuple[int, ...]] | Refusal:
    """User, group and further groups; the container's word before the pod's."""
    asked = asked_user(pod, container)
    uid = asked.uid
    if asked.non_root and (uid == 0 or (uid is None and as_root)):
        why = (
            "container's runAsUser breaks non-root policy"
            if uid == 0
            else ("container has runAsNonRoot and image will run as root")
        )
        text = f'{why} (pod: "{pod.metadata.name}", container: {container.name})'
        return Refusal(CONFIG_ERROR, text)
    return uid, asked.gid, asked.groups
