"""What `securityContext` and the image's user come to. Pure.

Rules: kubelet's and containerd's (Kubernetes 1.33): container before pod before image.
"""

from msgspec import Struct

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.api.suggest import nearest
from weft.node.environment import CONFIG_ERROR, Refusal
from weft.node.linux.capabilities import CAPABILITIES

CAPABILITIES_DEFAULT = (
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "NET_BIND_SERVICE", "NET_RAW", "SYS_CHROOT", "AUDIT_WRITE", "SETFCAP",
)  # fmt: skip
"""containerd's, without MKNOD."""
ID_MAX = (1 << 32) - 2


class Identity(Struct, frozen=True):
    """As whom a container runs."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


class AskedUser(Struct, frozen=True):
    """Whom a pod wants a container to be: the container's word before the pod's."""

    uid: int | None = None
    gid: int | None = None
    non_root: bool | None = None
    groups: tuple[int, ...] = ()
    """Further ones, that of the volumes included."""
    image_groups: bool = True
    """Those that the image gives the user count, too."""


class Confinement(Struct, frozen=True):
    """What it may do."""

    capabilities: tuple[str, ...] = CAPABILITIES_DEFAULT
    privileged: bool = False
    no_new_privileges: bool = False
    read_only_root: bool = False
    seccomp: bool = True
    """The runtime's default filter."""
    masked: bool = True
    """Parts of /proc and /sys are hidden or read-only."""


class _User(Struct, frozen=True):
    name: str
    uid: int
    gid: int
    home: str


def asked_user(pod: Pod, container: Container) -> AskedUser:
    """From both `securityContext`s."""
    own, shared = container.security_context, pod.spec.security_context
    mine = AskedUser()
    if own is not None:
        mine = AskedUser(own.run_as_user, own.run_as_group, own.run_as_non_root)
    if shared is None:
        return mine
    return AskedUser(
        shared.run_as_user if mine.uid is None else mine.uid,
        shared.run_as_group if mine.gid is None else mine.gid,
        shared.run_as_non_root if mine.non_root is None else mine.non_root,
        shared.supplemental_groups + (() if shared.fs_group is None else (shared.fs_group,)),
        shared.supplemental_groups_policy != "Strict",
    )


def engine_user(
    pod: Pod, container: Container, image_user: str
) -> tuple[str, tuple[str, ...]] | Refusal:
    """User (`user[:group]`; empty is the image's) and further groups as an engine is told: it reads
    the image's /etc/passwd itself."""
    asked = asked_user(pod, container)
    said = image_user.partition(":")[0]
    if (refused := _root_refused(pod, container, asked, said)) is not None:
        return refused
    if asked.gid is None and not asked.image_groups:
        text = "supplementalGroupsPolicy Strict needs runAsGroup where an engine runs containers"
        return Refusal(CONFIG_ERROR, text)
    user = image_user if asked.uid is None else str(asked.uid)
    if asked.gid is not None:  # then engines add no groups of the image
        user = f"{user.partition(':')[0] or '0'}:{asked.gid}"
    return user, tuple(dict.fromkeys(map(str, asked.groups)))


def identity(
    pod: Pod, container: Container, image_user: str, passwd: str, group: str
) -> Identity | Refusal:
    """User and groups; `passwd` and `group` are the image's files."""
    asked = asked_user(pod, container)
    uid, gid = asked.uid, asked.gid
    users = _users(passwd)
    said_user, _, said_group = image_user.partition(":") if uid is None else (str(uid), "", "")
    if (refused := _root_refused(pod, container, asked, said_user)) is not None:
        return refused
    found = _find(users, said_user)
    if isinstance(found, Refusal):
        return found
    if gid is None:
        named = _group(said_group, group) if said_group else found.gid
        if isinstance(named, Refusal):
            return named
        gid = named
    members = _memberships(group, found.name) if asked.image_groups else ()
    groups = tuple(dict.fromkeys((*asked.groups, *(g for g in members if g != gid))))
    return Identity(found.uid, gid, groups, found.home or "/")


def _root_refused(pod: Pod, container: Container, asked: AskedUser, said: str) -> Refusal | None:
    uid = asked.uid
    if not asked.non_root:
        return None
    where = f'(pod: "{pod.metadata.name}", container: {container.name})'
    if uid is not None:
        if uid != 0:
            return None
        return Refusal(CONFIG_ERROR, f"container's runAsUser breaks non-root policy {where}")
    if said and not said.isdigit():
        text = (
            f"container has runAsNonRoot and image has non-numeric user ({said}), cannot verify"
            f" user is non-root {where}"
        )
        return Refusal(CONFIG_ERROR, text)
    if int(said or "0") == 0:
        text = f"container has runAsNonRoot and image will run as root {where}"
        return Refusal(CONFIG_ERROR, text)
    return None


def _users(passwd: str) -> list[_User]:
    found = []
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) >= 6 and fields[2].isdigit() and fields[3].isdigit():
            found.append(_User(fields[0], int(fields[2]), int(fields[3]), fields[5]))
    return found


def _find(users: list[_User], said: str) -> _User | Refusal:
    said = said or "0"
    for user in users:
        if user.name == said or (said.isdigit() and user.uid == int(said)):
            return user
    if not said.isdigit():
        return Refusal(CONFIG_ERROR, f'the image runs as "{said}", and its /etc/passwd has no such')
    if int(said) > ID_MAX:
        return Refusal(CONFIG_ERROR, f"user {said} is above {ID_MAX}")
    return _User("", int(said), 0, "/root" if said == "0" else "/")


def _group(said: str, group: str) -> int | Refusal:
    for name, number, _ in _groups(group):
        if said in (name, str(number)):
            return number
    if said.isdigit() and int(said) <= ID_MAX:
        return int(said)
    return Refusal(CONFIG_ERROR, f'the image runs as group "{said}", which its /etc/group lacks')


def _groups(group: str) -> list[tuple[str, int, tuple[str, ...]]]:
    found = []
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdigit():
            found.append((fields[0], int(fields[2]), tuple(fields[3].split(","))))
    return found


def _memberships(group: str, name: str) -> tuple[int, ...]:
    return tuple(number for _, number, members in _groups(group) if name and name in members)


def confinement(pod: Pod, container: Container) -> Confinement | Refusal:
    """What the container may do."""
    own, shared = container.security_context, pod.spec.security_context
    profile = shared.seccomp_profile if shared is not None else None
    if own is not None and own.seccomp_profile is not None:
        profile = own.seccomp_profile
    kind = profile.type if profile is not None else ""
    if kind == "Localhost":
        text = "seccompProfile Localhost is not supported; RuntimeDefault and Unconfined are"
        return Refusal(CONFIG_ERROR, text)
    if own is None:
        return Confinement(seccomp=kind != "Unconfined")
    privileged = bool(own.privileged)
    capabilities = _capabilities(container, privileged)
    if isinstance(capabilities, Refusal):
        return capabilities
    return Confinement(
        capabilities=capabilities,
        privileged=privileged,
        no_new_privileges=own.allow_privilege_escalation is False,
        read_only_root=bool(own.read_only_root_filesystem),
        seccomp=kind != "Unconfined" and not privileged,
        masked=not privileged and own.proc_mount != "Unmasked",
    )


def _capabilities(container: Container, privileged: bool) -> tuple[str, ...] | Refusal:
    if privileged:
        return CAPABILITIES
    own = container.security_context
    wanted = own.capabilities if own is not None else None
    held = set(CAPABILITIES_DEFAULT)
    if wanted is None:
        return CAPABILITIES_DEFAULT
    add = [_plain(name) for name in wanted.add]
    drop = [_plain(name) for name in wanted.drop]
    for name in (*add, *drop):
        if name != "ALL" and name not in CAPABILITIES:
            close = nearest(name, CAPABILITIES)
            hint = f" (there is {close})" if close else ""
            return Refusal(CONFIG_ERROR, f'unknown capability "{name}" to add or drop{hint}')
    if "ALL" in add:
        held = set(CAPABILITIES)
    if "ALL" in drop:
        held = set()
    held = (held | {n for n in add if n != "ALL"}) - {n for n in drop if n != "ALL"}
    return tuple(name for name in CAPABILITIES if name in held)


def _plain(name: str) -> str:
    return name.upper().removeprefix("CAP_")
