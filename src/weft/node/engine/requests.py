"""From a container's spec to what an engine's REST API is asked (Docker Engine API). Pure."""

import posixpath
from collections.abc import Mapping
from typing import Any

from weft.node.engine import holder
from weft.node.runtime import ContainerSpec, EngineContainer, Limits, Mount

LABEL_INSTANCE = "weft.dev/instance"
LABEL_ID = "weft.dev/container-id"
LABEL_LOG = "weft.dev/log"
LABEL_IMAGE = "weft.dev/image"
LABEL_POD = "io.kubernetes.pod.uid"
LABEL_CONTAINER = "io.kubernetes.container.name"
HOLDER_NAME = "POD"
"""Of a pod's holder, where containers have their names; as with Kubernetes and Docker."""
PERIOD_MICROSECONDS = 100_000
LOG_CONFIG = {"Type": "json-file", "Config": {"max-size": "20m"}}
"""Read back after weft was away; what is kept is in weft's own log files."""
_ETC = ("hostname", "hosts", "resolv.conf")


def holder_name(made: EngineContainer) -> str:
    """What the engine calls the holder of the container's pod."""
    _, _, pod = made.name.split("_", 2)
    return f"k8s_{HOLDER_NAME}_{pod.rsplit('_', 1)[0]}_0"


def holder_request(spec: ContainerSpec, instance: str) -> dict[str, Any]:
    """Of the pod's holder, made before the pod's first container."""
    made = _made(spec)
    labels = {name: text for name, text in made.labels.items() if name != LABEL_CONTAINER}
    host = not spec.netns
    config: dict[str, Any] = {
        "NetworkMode": "host" if host else "none",
        "IpcMode": "host" if made.host_ipc else "shareable",
        "CapDrop": ["ALL"],
        "CapAdd": [] if host else ["SYS_ADMIN"],  # to enter the pod's network, nothing else
        "ReadonlyRootfs": True,
        "LogConfig": {"Type": "none"} if host else LOG_CONFIG,
        "RestartPolicy": {"Name": "no"},
    }
    if not host:
        config["Mounts"] = [_mount(Mount(spec.netns, holder.NETNS, read_only=True))]
    request = {
        "Image": holder.IMAGE,
        "StopSignal": "SIGKILL",
        "Labels": {
            **labels, LABEL_INSTANCE: instance, LABEL_POD: made.pod, LABEL_CONTAINER: HOLDER_NAME,
        },
        "HostConfig": config,
    }  # fmt: skip
    if spec.hostname:
        request["Hostname"] = spec.hostname
    else:
        config["UTSMode"] = "host"
    return request


def container_request(
    spec: ContainerSpec, instance: str, image: str, pod_holder: str, target: str = "",
    *, podman: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """`pod_holder` and `target` (whose processes it sees) are the engine's ids."""
    made = _made(spec)
    request: dict[str, Any] = {
        "Image": image,
        "Entrypoint": list(spec.argv),
        "Cmd": [],
        "Env": [f"{name}={value}" for name, value in _environment(spec).items()],
        "WorkingDir": spec.cwd if spec.cwd.startswith("/") else f"/{spec.cwd}",
        "User": made.user,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "StopTimeout": made.stop_seconds,
        "Labels": {
            **made.labels, LABEL_INSTANCE: instance, LABEL_ID: spec.id, LABEL_LOG: spec.log_path,
            LABEL_IMAGE: made.image, LABEL_POD: made.pod,
        },
        "Healthcheck": {"Test": ["NONE"]},  # the pod's probes say how it is
        "HostConfig": _host(spec, made, pod_holder, target),
    }  # fmt: skip
    if not spec.netns and spec.hostname:
        request["Hostname"] = spec.hostname
    elif podman and spec.hostname:  # Docker itself takes the name from whose network it is
        request["HostConfig"]["UTSMode"] = f"container:{pod_holder}"
    return request


def _environment(spec: ContainerSpec) -> Mapping[str, str]:
    return {"TERM": "xterm", **spec.env} if spec.tty else spec.env


def _host(
    spec: ContainerSpec, made: EngineContainer, pod_holder: str, target: str
) -> dict[str, Any]:
    shared = f"container:{pod_holder}"
    config: dict[str, Any] = {
        "NetworkMode": shared if spec.netns else "host",
        "IpcMode": "host" if made.host_ipc else shared,
        "PidMode": _processes(made, shared, target),
        "Privileged": made.privileged,
        "ReadonlyRootfs": made.read_only_root,
        "GroupAdd": list(made.groups),
        "SecurityOpt": _security(spec, made),
        "Mounts": [_mount(mount) for mount in _mounts(spec, made)],
        "LogConfig": LOG_CONFIG,
        "RestartPolicy": {"Name": "no"},
        **limits_of(spec.limits),
    }
    if not made.privileged:
        config |= {"CapDrop": ["ALL"], "CapAdd": list(made.capabilities)}
        if not made.masked:
            config |= {"MaskedPaths": [], "ReadonlyPaths": []}
    if not spec.netns and not spec.hostname:
        config["UTSMode"] = "host"
    return config


def _processes(made: EngineContainer, shared: str, target: str) -> str:
    if made.host_pid:
        return "host"
    if target:
        return f"container:{target}"
    return shared if made.shared_pid else ""


def _security(spec: ContainerSpec, made: EngineContainer) -> list[str]:
    found = ["no-new-privileges:true"] if spec.no_new_privileges else []
    if not made.seccomp and not made.privileged:
        found.append("seccomp=unconfined")
    return found


def limits_of(limits: Limits) -> dict[str, int]:
    """As engines write them, for a container that is made or changed."""
    found: dict[str, int] = {}
    if limits.cpu_cores is not None:
        quota = max(1000, int(limits.cpu_cores * PERIOD_MICROSECONDS))
        found |= {"CpuPeriod": PERIOD_MICROSECONDS, "CpuQuota": quota}
    if limits.memory_bytes is not None:
        found |= {"Memory": limits.memory_bytes, "MemorySwap": limits.memory_bytes}
    if limits.pids is not None:
        found["PidsLimit"] = limits.pids
    return found


def _mounts(spec: ContainerSpec, made: EngineContainer) -> list[Mount]:
    """Files of /etc and the pod's volumes, outer ones first; a volume wins over an own file."""
    taken = {posixpath.normpath(mount.target) for mount in spec.mounts}
    own = [
        Mount(made.etc[name], f"/etc/{name}", read_only=name in made.nodes_own)
        for name in _ETC
        if name in made.etc and f"/etc/{name}" not in taken
    ]
    return own + sorted(spec.mounts, key=lambda m: m.target.count("/"))


def _mount(mount: Mount) -> dict[str, Any]:
    return {
        "Type": "bind", "Source": mount.source, "Target": posixpath.normpath(mount.target),
        "ReadOnly": mount.read_only, "BindOptions": {"Propagation": "rprivate"},
    }  # fmt: skip


def _made(spec: ContainerSpec) -> EngineContainer:
    assert spec.engine is not None
    return spec.engine
