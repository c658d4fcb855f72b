"""What pods and nodes use, as objects of metrics.k8s.io. Pure, but for who measures."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from weft.api.kinds import Kind
from weft.lib.timefmt import rfc3339

GROUP_VERSION = "metrics.k8s.io/v1beta1"
Json = Mapping[str, Any]


class Amount(Struct, frozen=True):
    """What something uses."""

    cpu_cores: float
    memory_bytes: int

    def usage(self) -> dict[str, str]:
        """As quantities: nanocores and kibibytes, like the kubelet."""
        return {
            "cpu": f"{round(self.cpu_cores * 1e9)}n",
            "memory": f"{self.memory_bytes // 1024}Ki",
        }


class Usage(Struct, frozen=True):
    """What was measured on the nodes."""

    at: float = 0.0
    """End of the window, seconds since the epoch."""
    seconds: float = 0.0
    """Its length."""
    containers: Mapping[str, Mapping[str, Amount]] = {}
    """By the pod's uid and the container's name."""
    nodes: Mapping[str, Amount] = {}


class UsageSource(Protocol):
    """Who measures."""

    async def read(self) -> Usage:
        """What is used now."""


def metrics_of(kind: Kind, objects: Iterable[Json], usage: Usage) -> list[dict[str, Any]]:
    """The metrics of pods (or nodes); those that nobody measured, or that do not run, are left
    out, as by the metrics server."""
    made = []
    for obj in objects:
        metadata = obj["metadata"]
        found: dict[str, Any] = {}
        if kind.plural == "nodes" and metadata["name"] in usage.nodes:
            found = {"usage": usage.nodes[metadata["name"]].usage()}
        elif kind.plural == "pods":
            containers = usage.containers.get(metadata["uid"]) or {}
            rows = [{"name": n, "usage": a.usage()} for n, a in sorted(containers.items())]
            found = {"containers": rows} if rows else {}
        if found:
            made.append(_object(kind, metadata, usage) | found)
    return made


def _object(kind: Kind, about: Json, usage: Usage) -> dict[str, Any]:
    metadata = {k: about[k] for k in ("name", "namespace", "labels") if k in about}
    return {
        "kind": kind.kind,
        "apiVersion": GROUP_VERSION,
        "metadata": metadata | {"creationTimestamp": rfc3339(usage.at)},
        "timestamp": rfc3339(usage.at),
        "window": f"{usage.seconds:.3f}s",
    }
