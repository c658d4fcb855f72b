"""The Node object and its Lease, as kubelet writes them. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft import __version__
from weft.api.wellknown import (
    ANNOTATION_NODE_ADDRESS,
    ANNOTATION_NODE_FIRST_PORT,
    ANNOTATION_NODE_GATEWAY_ADDRESS,
    ANNOTATION_NODE_ISOLATION,
    ANNOTATION_NODE_PASSTHROUGH_ADDRESS,
    ANNOTATION_NODE_RELAYED,
    ANNOTATION_NODE_VOLUMES,
    LABEL_HOSTNAME,
)
from weft.lib.timefmt import rfc3339, rfc3339_micro
from weft.node import pressure
from weft.node.agent_settings import AgentSettings, MachineFacts
from weft.node.pressure import condition
from weft.node.reserved import allocatable

KUBERNETES_VERSION = "v1.33.0"
"""Of the API and the node rules that weft follows; version checks of tools read it."""
LEASE_NAMESPACE = "kube-node-lease"
LEASE_SECONDS = 40
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory",
     "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "the node agent is ready"),
)  # fmt: skip


def node_metadata(settings: AgentSettings, machine: MachineFacts) -> dict[str, Any]:
    """Labels and annotations that the agent owns."""
    labels = {
        LABEL_HOSTNAME: settings.node_name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": machine.architecture,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/arch": machine.architecture,
    }
    annotations = {
        ANNOTATION_NODE_ISOLATION: settings.isolation,
        ANNOTATION_NODE_ADDRESS: settings.node_address,
        ANNOTATION_NODE_PASSTHROUGH_ADDRESS: settings.passthrough_address,
        ANNOTATION_NODE_GATEWAY_ADDRESS: settings.gateway_address,
        ANNOTATION_NODE_FIRST_PORT: str(settings.first_port),
        ANNOTATION_NODE_RELAYED: "true" if settings.home else "",
        ANNOTATION_NODE_VOLUMES: f"{settings.data_dir}/volumes",
    }
    return {
        "labels": labels | dict(settings.labels),
        "annotations": {k: v for k, v in annotations.items() if v},
    }


def node_object(settings: AgentSettings, machine: MachineFacts) -> dict[str, Any]:
    """The Node to create."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": settings.node_name} | node_metadata(settings, machine),
        "spec": node_spec(settings),
    }


def kept(new: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """A Node that takes the place of an old one, with what others said of that."""
    metadata, spec = old.get("metadata") or {}, old.get("spec") or {}
    own = new["metadata"]
    maps = {k: (metadata.get(k) or {}) | (own.get(k) or {}) for k in ("labels", "annotations")}
    said = {k: spec[k] for k in ("taints", "unschedulable") if k in spec}
    return {**new, "metadata": own | maps, "spec": said | new["spec"]}


def node_spec(settings: AgentSettings) -> dict[str, Any]:
    """What the agent says of the spec: the network that its pods are in."""
    cidr = settings.pod_cidr
    return {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}


def node_status(
    settings: AgentSettings,
    machine: MachineFacts,
    before: Mapping[str, Any],
    at: float,
    pressures: Sequence[str] = (),
) -> dict[str, Any]:
    """The Node's status; `before` is the status so far, whose transition times are kept."""
    old = {c.get("type"): c for c in before.get("conditions") or []}
    resources = {
        "cpu": str(machine.cpu_count),
        "memory": f"{machine.memory_bytes // 1024}Ki",
        "ephemeral-storage": f"{machine.disk_bytes // 1024}Ki",
        "pods": str(machine.pods_max),
    }
    return {
        "capacity": resources,
        "allocatable": resources | _allocatable(settings, machine),
        "addresses": [
            {"type": "InternalIP", "address": settings.host_ip},
            {"type": "Hostname", "address": settings.node_name},
        ],
        "conditions": [
            _condition(_under(c, pressures), old.get(c[0], {}), at) for c in _CONDITIONS
        ],
        "nodeInfo": _node_info(machine, settings.runtime_version),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
    }


def _allocatable(settings: AgentSettings, machine: MachineFacts) -> dict[str, str]:
    """What pods may request: less what is reserved and what must be left."""
    hard = dict(pressure.parse(settings.eviction.hard))
    reserved = settings.reserved

    def bytes_of(name: str, capacity: int, signal: pressure.Signal) -> str:
        left = hard[signal].of(capacity) if signal in hard else 0.0
        return f"{int(allocatable(capacity, reserved.get(name, 0.0), left)) // 1024}Ki"

    found = {
        "memory": bytes_of("memory", machine.memory_bytes, pressure.MEMORY),
        "ephemeral-storage": bytes_of("ephemeral-storage", machine.disk_bytes, pressure.NODEFS),
    }
    if cores := reserved.get("cpu"):
        found["cpu"] = f"{int(allocatable(machine.cpu_count, cores, 0.0) * 1000)}m"
    return found


def _under(
    wanted: tuple[str, str, str, str], pressures: Sequence[str]
) -> tuple[str, str, str, str]:
    found = condition(wanted[0], pressures)
    return wanted if found is None else (wanted[0], "True", *found)


def _condition(
    wanted: tuple[str, str, str, str], before: Mapping[str, Any], at: float
) -> dict[str, Any]:
    kind, status, reason, message = wanted
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": rfc3339(at),
        "lastTransitionTime": since or rfc3339(at),
    }


def _node_info(machine: MachineFacts, runtime: str = "") -> dict[str, str]:
    return {
        "architecture": machine.architecture,
        "bootID": machine.boot_id,
        "containerRuntimeVersion": runtime or f"weft://{__version__}",
        "kernelVersion": machine.kernel_version,
        "kubeProxyVersion": "",
        "kubeletVersion": f"{KUBERNETES_VERSION}+weft-{__version__}",
        "machineID": machine.machine_id,
        "operatingSystem": "linux",
        "osImage": machine.os_image,
        "systemUUID": machine.machine_id,
    }


def lease_object(node_name: str, node_uid: str, at: float) -> dict[str, Any]:
    """The Lease to create; its renewal is the node's heartbeat."""
    owner = {"apiVersion": "v1", "kind": "Node", "name": node_name, "uid": node_uid}
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": node_name,
            "namespace": LEASE_NAMESPACE,
            "ownerReferences": [owner],
        },
        "spec": lease_spec(node_name, at),
    }


def lease_spec(node_name: str, at: float) -> dict[str, Any]:
    """What a heartbeat writes."""
    return {
        "holderIdentity": node_name,
        "leaseDurationSeconds": LEASE_SECONDS,
        "renewTime": rfc3339_micro(at),
    }
