"""What a pod's volumes hold and where containers see them. Pure; `volume_files` writes them.

Rules: Kubernetes' configMap, secret, downwardAPI, projected, emptyDir and hostPath volumes.
"""

import base64
import posixpath
from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from weft.api import persistent_volumes as pv
from weft.api.k8s.container_v1 import Container, VolumeMount
from weft.api.k8s.core_v1 import ConfigMap, Secret
from weft.api.k8s.persistent_volume_v1 import PersistentVolume, PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.volume_v1 import (
    DownwardAPIVolumeFile,
    KeyToPath,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from weft.api.snapshot import Snapshot
from weft.node.downward import (
    TOKEN_SECONDS_DEFAULT,
    PodFacts,
    TokenKey,
    field_value,
    resource_value,
)
from weft.node.environment import CONFIG_ERROR, Refusal, expand, secret_bytes
from weft.node.runtime import Mount

MODE_DEFAULT = 0o644
WHOLE_MACHINE = (
    'volume "{}" is the whole machine (hostPath /), which a process image cannot mount: it sees '
    "the machine's files at / already (for `kubectl debug node/...`: use a shell there, or a "
    "container image, which gets them at its mountPath)"
)
SUPPORTED = (
    "emptyDir, configMap, secret, downwardAPI, projected, hostPath, persistentVolumeClaim, "
    "ephemeral"
)


class File(Struct, frozen=True):
    """A file of a volume; `path` is relative to it."""

    path: str
    data: bytes
    mode: int = MODE_DEFAULT


class VolumePlan(Struct, frozen=True):
    """A volume of one pod."""

    name: str
    kind: Literal["empty", "files", "host", "local"]
    in_memory: bool = False
    """On a memory file system, where the node has one: secrets and `medium: Memory`."""
    files: tuple[File, ...] = ()
    host_path: str = ""
    host_type: str = ""
    group: int | None = None
    """fsGroup: owner group of the volume."""


class _Missing(Exception):
    """Ends the making of a plan; never leaves this module."""


def plan_volumes(pod: Pod, objects: Snapshot, facts: PodFacts) -> tuple[VolumePlan, ...] | Refusal:
    """All volumes of the pod, or what is missing for them."""
    plans = []
    for volume in pod.spec.volumes:
        try:
            plans.append(_plan(pod, volume, objects, facts))
        except _Missing as missing:
            return Refusal(CONFIG_ERROR, f'volume "{volume.name}": {missing}')
    return tuple(plans)


def mounts(
    pod: Pod,
    container: Container,
    directories: Mapping[str, str],
    env: Mapping[str, str],
    *,
    own_root: bool = False,
) -> tuple[Mount, ...] | Refusal:
    """Mounts of a container; `directories` are the volumes' host paths by name. With a root of its
    own, as container images have, it may see the machine's below it."""
    found = []
    for mount in container.volume_mounts:
        if mount.name not in directories:
            text = f'volumeMounts name "{mount.name}": the pod has no such volume'
            return Refusal(CONFIG_ERROR, text)
        sub_path = mount.sub_path or expand(mount.sub_path_expr, env)
        if not _inside(sub_path):
            return Refusal(CONFIG_ERROR, f'subPath "{sub_path}" must not leave its volume')
        source = posixpath.join(directories[mount.name], sub_path).rstrip("/") or "/"
        if source == "/" and not own_root:
            return Refusal(CONFIG_ERROR, WHOLE_MACHINE.format(mount.name))
        target = posixpath.normpath(posixpath.join("/", mount.mount_path))
        found.append(Mount(source, target, read_only=_read_only(pod, mount)))
    return tuple(sorted(found, key=lambda m: m.target.count("/")))


def objects_read(pod: Pod) -> frozenset[tuple[type, str]]:
    """ConfigMaps and Secrets, by class and name, whose change changes the pod's volumes."""
    found: set[tuple[type, str]] = set()
    for volume in pod.spec.volumes:
        if volume.config_map is not None:
            found.add((ConfigMap, volume.config_map.name))
        if volume.secret is not None:
            found.add((Secret, volume.secret.secret_name))
        for source in volume.projected.sources if volume.projected is not None else ():
            if source.config_map is not None:
                found.add((ConfigMap, source.config_map.name))
            if source.secret is not None:
                found.add((Secret, source.secret.name))
    return frozenset(found)


def reads_downward(pod: Pod) -> bool:
    """Whether a volume shows fields of the pod itself."""
    return any(
        v.downward_api is not None
        or (v.projected is not None and any(s.downward_api for s in v.projected.sources))
        for v in pod.spec.volumes
    )


def _read_only(pod: Pod, mount: VolumeMount) -> bool:
    volume = next((v for v in pod.spec.volumes if v.name == mount.name), Volume())
    holds_files = volume.config_map or volume.secret or volume.projected or volume.downward_api
    claim = volume.persistent_volume_claim
    denied = claim is not None and bool(claim.read_only)
    return bool(mount.read_only) or holds_files is not None or denied


def _inside(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _plan(pod: Pod, volume: Volume, objects: Snapshot, facts: PodFacts) -> VolumePlan:
    name = volume.name
    security = pod.spec.security_context
    group = security.fs_group if security is not None else None
    if (empty := volume.empty_dir) is not None:
        return VolumePlan(name, "empty", in_memory=empty.medium == "Memory", group=group)
    if volume.persistent_volume_claim is not None or volume.ephemeral is not None:
        return _claimed(pod, volume, objects, group)
    if (host := volume.host_path) is not None:
        return VolumePlan(name, "host", host_path=host.path, host_type=host.type)
    files, secret = _files_of(pod, volume, objects, facts)
    unique = {f.path: f for f in files}
    if bad := next((p for p in unique if not _inside(p)), None):
        raise _Missing(f'path "{bad}" must stay inside the volume')
    return VolumePlan(name, "files", in_memory=secret, files=tuple(unique.values()), group=group)


def _claimed(pod: Pod, volume: Volume, objects: Snapshot, group: int | None) -> VolumePlan:
    """The directory of the volume that the claim is bound to; made when it is ours."""
    source = volume.persistent_volume_claim
    name = source.claim_name if source is not None else pv.ephemeral_name(pod, volume.name)
    claim = objects.get(PersistentVolumeClaim, name, pod.metadata.namespace)
    if claim is None:
        raise _Missing(f'persistentvolumeclaim "{name}" not found')
    found = objects.get(PersistentVolume, claim.spec.volume_name)
    if found is None or not pv.is_bound(claim):
        raise _Missing(f'persistentvolumeclaim "{name}" is not bound to a volume')
    if found.spec.local is not None:
        kind = "DirectoryOrCreate" if pv.is_ours(found) else "Directory"
        path = found.spec.local.path
        return VolumePlan(volume.name, "local", host_path=path, host_type=kind, group=group)
    if found.spec.host_path is not None:
        host = found.spec.host_path
        return VolumePlan(volume.name, "host", host_path=host.path, host_type=host.type)
    text = f'persistentvolume "{found.metadata.name}" is of a type that is not supported'
    raise _Missing(f"{text} (supported: local, hostPath)")


def _files_of(
    pod: Pod, volume: Volume, objects: Snapshot, facts: PodFacts
) -> tuple[tuple[File, ...], bool]:
    """The files, and whether some are secret."""
    namespace = pod.metadata.namespace
    if (cm := volume.config_map) is not None:
        data = _config_map(objects, namespace, cm.name, bool(cm.optional))
        return _select("configmap", data, cm.items, cm.default_mode, bool(cm.optional)), False
    if (s := volume.secret) is not None:
        data = _secret(objects, namespace, s.secret_name, bool(s.optional))
        return _select("secret", data, s.items, s.default_mode, bool(s.optional)), True
    if (d := volume.downward_api) is not None:
        return _downward(pod, d.items, d.default_mode, facts), False
    if (p := volume.projected) is not None:
        parts = [_projection(pod, s, p.default_mode, objects, facts) for s in p.sources]
        return tuple(f for part in parts for f in part), any(
            s.secret or s.service_account_token for s in p.sources
        )
    raise _Missing(f"its type is not supported (supported: {SUPPORTED})")


def _projection(
    pod: Pod, source: VolumeProjection, mode: int | None, objects: Snapshot, facts: PodFacts
) -> tuple[File, ...]:
    namespace = pod.metadata.namespace
    if (cm := source.config_map) is not None:
        data = _config_map(objects, namespace, cm.name, bool(cm.optional))
        return _select("configmap", data, cm.items, mode, bool(cm.optional))
    if (s := source.secret) is not None:
        data = _secret(objects, namespace, s.name, bool(s.optional))
        return _select("secret", data, s.items, mode, bool(s.optional))
    if source.downward_api is not None:
        return _downward(pod, source.downward_api.items, mode, facts)
    if (token := source.service_account_token) is not None:
        text = facts.tokens.get(token_key(token))
        if text is None:
            raise _Missing("its service account token is not there yet")
        chosen = MODE_DEFAULT if mode is None else mode
        return (File(token.path, text.encode(), chosen),)
    # Trust bundles are not published: an absent file, not an error.
    return ()


def token_key(source: ServiceAccountTokenProjection) -> TokenKey:
    """Which token a projection means."""
    return TokenKey(source.audience, source.expiration_seconds or TOKEN_SECONDS_DEFAULT)


def tokens_read(pod: Pod) -> frozenset[TokenKey]:
    """The tokens that the pod's volumes show."""
    return frozenset(
        token_key(source.service_account_token)
        for volume in pod.spec.volumes
        if volume.projected is not None
        for source in volume.projected.sources
        if source.service_account_token is not None
    )


def _config_map(
    objects: Snapshot, namespace: str, name: str, optional: bool
) -> Mapping[str, bytes] | None:
    found = objects.get(ConfigMap, name, namespace)
    if found is None:
        if optional:
            return None
        raise _Missing(f'configmap "{name}" not found')
    binary = {k: base64.b64decode(v) for k, v in found.binary_data.items()}
    return {k: v.encode() for k, v in found.data.items()} | binary


def _secret(
    objects: Snapshot, namespace: str, name: str, optional: bool
) -> Mapping[str, bytes] | None:
    found = objects.get(Secret, name, namespace)
    if found is None:
        if optional:
            return None
        raise _Missing(f'secret "{name}" not found')
    return secret_bytes(found)


def _select(
    kind: str, data: Mapping[str, bytes] | None, items: Iterable[KeyToPath], mode: int | None,
    optional: bool,
) -> tuple[File, ...]:  # fmt: skip
    if data is None:
        return ()
    mode = MODE_DEFAULT if mode is None else mode
    wanted = tuple(items)
    if not wanted:
        return tuple(File(k, v, mode) for k, v in sorted(data.items()))
    if missing := next((i.key for i in wanted if i.key not in data), None):
        if not optional:
            raise _Missing(f"{kind} references non-existent key: {missing}")
        wanted = tuple(i for i in wanted if i.key in data)
    return tuple(File(i.path, data[i.key], i.mode if i.mode is not None else mode) for i in wanted)


def _downward(
    pod: Pod, items: Iterable[DownwardAPIVolumeFile], mode: int | None, facts: PodFacts
) -> tuple[File, ...]:
    files = []
    for item in items:
        if item.field_ref is not None:
            value = field_value(pod, item.field_ref.field_path, facts)
            if value is None:
                raise _Missing(f"unsupported fieldPath: {item.field_ref.field_path}")
        elif item.resource_field_ref is not None:
            try:
                value = resource_value(pod, Container(), item.resource_field_ref, facts)
            except ValueError as error:
                raise _Missing(str(error)) from error
        else:
            continue
        chosen = item.mode if item.mode is not None else mode
        files.append(File(item.path, value.encode(), MODE_DEFAULT if chosen is None else chosen))
    return tuple(files)
