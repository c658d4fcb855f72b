"""Sidecar: which hosts callers know, and what becomes of calls to others. Fields after the public
Istio reference."""

from typing import Literal

from weft.api.istio.common import IstioStatus, Message, ServicePort
from weft.api.istio.destination_rule import ConnectionPoolSettings
from weft.api.istio.gateway import ServerTLSSettings
from weft.api.istio.service_entry import PodLabels
from weft.api.istio.virtual_service import Destination
from weft.api.k8s.meta_v1 import ObjectMeta

CaptureMode = Literal["", "DEFAULT", "IPTABLES", "NONE"]


class IstioEgressListener(Message, frozen=True):
    """Hosts that the workloads know, on one port or on all others."""

    port: ServicePort | None = None
    """The port that the hosts are known on; all ports that no other entry names when absent."""
    bind: str = ""
    """Address or Unix socket to listen on."""
    capture_mode: CaptureMode = ""
    """How connections get to the listener."""
    hosts: tuple[str, ...] = ()
    """`namespace/host`: the namespace may be `.`, `*` or `~`, the host may have a wildcard."""


class IstioIngressListener(Message, frozen=True):
    """A port that the workloads serve."""

    port: ServicePort | None = None
    """The port that callers know."""
    bind: str = ""
    """Address to listen on."""
    capture_mode: CaptureMode = ""
    """How connections get to the listener."""
    default_endpoint: str = ""
    """`127.0.0.1:port`, `0.0.0.0:port` or `unix:///path`: where the program listens."""
    tls: ServerTLSSettings | None = None
    """TLS that ends at the workload's proxy."""
    connection_pool: ConnectionPoolSettings | None = None
    """Limits of connections to the program."""


class OutboundTrafficPolicy(Message, frozen=True):
    """What becomes of calls to hosts that the workloads do not know."""

    mode: Literal["", "REGISTRY_ONLY", "ALLOW_ANY"] = ""
    """REGISTRY_ONLY refuses them, ALLOW_ANY lets them pass."""
    egress_proxy: Destination | None = None
    """A service that gets them all."""


class SidecarSpec(Message, frozen=True):
    """What the selected workloads can reach."""

    workload_selector: PodLabels | None = None
    """Workloads of the namespace; all when absent."""
    ingress: tuple[IstioIngressListener, ...] = ()
    """Ports that the workloads serve; found from their services when absent."""
    egress: tuple[IstioEgressListener, ...] = ()
    """Hosts that the workloads know; all when absent."""
    inbound_connection_pool: ConnectionPoolSettings | None = None
    """Limits of connections to the program."""
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
    """What becomes of calls to other hosts; the mesh's policy when absent."""


class Sidecar(Message, frozen=True):
    """The scope of a namespace's workloads, or of some of them."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """Sidecar."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: SidecarSpec = SidecarSpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""
