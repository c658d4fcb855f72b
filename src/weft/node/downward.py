"""The downward API: what a container may learn of its pod. Pure.

Rules: Kubernetes' fieldpath and resource packages (1.33).
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.api.k8s.volume_v1 import ResourceFieldSelector
from weft.lib.quantity import parse_quantity

TOKEN_SECONDS_DEFAULT = 3600
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")


class TokenKey(Struct, frozen=True):
    """A service account token as a pod asks for it. `audience` "" is the API server's."""

    audience: str = ""
    seconds: int = TOKEN_SECONDS_DEFAULT


class PodFacts(Struct, frozen=True):
    """What the node knows of a pod beyond its object."""

    address: str
    host_ip: str = ""
    isolation: str = "netns"
    host_ports: Mapping[int, int] = {}
    """Host isolation: container port -> port to listen on."""
    proxy: str = ""
    """Host isolation: address:port of the pod's HTTP proxy."""
    no_proxy: str = "localhost,127.0.0.1,::1"
    first_port: int = 0
    """Host isolation: services' ports below it move (weft.lib.ports)."""
    cpu_cores: float = 1.0
    """The node's allocatable CPU, what `limits.cpu` is without a limit."""
    memory_bytes: int = 0
    """The node's allocatable memory."""
    tokens: Mapping[TokenKey, str] = {}
    """What the pod has of those that it asks for."""
    base_env: Mapping[str, str] = {}
    """The lowest layer of every environment, e.g. PATH."""


def field_value(pod: Pod, path: str, facts: PodFacts) -> str | None:
    """The value of a fieldRef; None when the path is not supported."""
    if found := _SUBSCRIPT.match(path):
        values = pod.metadata.labels if found[1] == "labels" else pod.metadata.annotations
        return values.get(found[2], "")
    meta, spec = pod.metadata, pod.spec
    known = {
        "metadata.name": meta.name,
        "metadata.namespace": meta.namespace,
        "metadata.uid": meta.uid,
        "metadata.labels": _lines(meta.labels),
        "metadata.annotations": _lines(meta.annotations),
        "spec.nodeName": spec.node_name,
        "spec.serviceAccountName": spec.service_account_name or "default",
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.address,
        "status.podIPs": facts.address,
    }
    return known.get(path)


def resource_value(pod: Pod, own: Container, ref: ResourceFieldSelector, facts: PodFacts) -> str:
    """The value of a resourceFieldRef, in units of its divisor, rounded up. Raises ValueError,
    with a text for the user, when it names nothing."""
    name = ref.container_name or own.name
    every = (*pod.spec.init_containers, *pod.spec.containers)
    container = next((c for c in every if c.name == name), None)
    if container is None:
        raise ValueError(f"no container `{name}` in pod `{pod.metadata.name}`")
    kind, _, resource = ref.resource.partition(".")
    if kind not in ("limits", "requests") or not resource:
        raise ValueError(f"unsupported container resource: {ref.resource}")
    resources = container.resources
    values = getattr(resources, kind) if resources is not None else {}
    amount = _amount(values.get(resource), kind, resource, facts)
    divisor = parse_quantity(ref.divisor) if ref.divisor else Decimal(0)
    return str(math.ceil(amount / (divisor or Decimal(1))))


def _amount(value: str | int | float | None, kind: str, resource: str, facts: PodFacts) -> Decimal:
    if value is not None:
        return parse_quantity(value)
    if kind == "limits" and resource == "cpu":
        return Decimal(str(facts.cpu_cores))
    if kind == "limits" and resource == "memory":
        return Decimal(facts.memory_bytes)
    return Decimal(0)


def _lines(values: Mapping[str, str]) -> str:
    """As files of the downward API show labels: key="escaped value", sorted."""
    return "\n".join(f"{k}={_quoted(v)}" for k, v in sorted(values.items()))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
