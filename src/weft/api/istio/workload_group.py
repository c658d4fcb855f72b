"""WorkloadGroup: what machines of one service have in common. Fields after the public Istio
reference."""

from collections.abc import Mapping
from typing import Literal

from weft.api.istio.common import Count, IstioStatus, Message, Port
from weft.api.istio.service_entry import WorkloadEntrySpec
from weft.api.k8s.meta_v1 import ObjectMeta


class WorkloadGroupMeta(Message, frozen=True):
    """Metadata of the WorkloadEntries that are made."""

    labels: Mapping[str, str] = {}
    """Their labels."""
    annotations: Mapping[str, str] = {}
    """Their annotations."""


class ProbeHeader(Message, frozen=True):
    """A header of a probe's request."""

    name: str = ""
    """Its name."""
    value: str = ""
    """Its value."""


class HTTPHealthCheckConfig(Message, frozen=True):
    """Health by an HTTP request; any status of 200 to 399 is healthy."""

    path: str = ""
    """The path; `/` when absent."""
    port: Port | None = None
    """The port that is asked."""
    host: str = ""
    """Host of the request; the entry's address when absent."""
    scheme: Literal["", "HTTP", "HTTPS"] = ""
    """HTTP when absent."""
    http_headers: tuple[ProbeHeader, ...] = ()
    """Further headers."""


class TCPHealthCheckConfig(Message, frozen=True):
    """Health by a connection."""

    host: str = ""
    """The host; the entry's address when absent."""
    port: Port | None = None
    """The port."""


class GrpcHealthCheckConfig(Message, frozen=True):
    """Health by gRPC's health service."""

    port: Port | None = None
    """The port."""
    service: str = ""
    """The service that is asked about."""


class ExecHealthCheckConfig(Message, frozen=True):
    """Health by a command on the machine."""

    command: tuple[str, ...] = ()
    """The command; exit code 0 is healthy."""


class ReadinessProbe(Message, frozen=True):
    """How the health of the machines is found out."""

    initial_delay_seconds: Count | None = None
    """Seconds from the start until the first probe."""
    timeout_seconds: Count | None = None
    """Seconds until a probe fails; 1 when absent."""
    period_seconds: Count | None = None
    """Seconds between probes; 10 when absent."""
    success_threshold: Count | None = None
    """Good probes in a row until healthy; 1 when absent."""
    failure_threshold: Count | None = None
    """Bad probes in a row until unhealthy; 3 when absent."""
    http_get: HTTPHealthCheckConfig | None = None
    """By an HTTP request."""
    tcp_socket: TCPHealthCheckConfig | None = None
    """By a connection."""
    exec: ExecHealthCheckConfig | None = None
    """By a command on the machine."""
    grpc: GrpcHealthCheckConfig | None = None
    """By gRPC's health service."""


class WorkloadGroupSpec(Message, frozen=True):
    """What the entries have in common."""

    metadata: WorkloadGroupMeta | None = None
    """Labels and annotations of entries that are made from the group."""
    template: WorkloadEntrySpec = WorkloadEntrySpec()
    """What entries made from the group have besides their address."""
    probe: ReadinessProbe | None = None
    """How their health is found out; they count as healthy when absent."""


class WorkloadGroup(Message, frozen=True):
    """Machines that serve the same."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """WorkloadGroup."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: WorkloadGroupSpec = WorkloadGroupSpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""
