"""ServiceEntry: services that are no Kubernetes Service. Fields: the public Istio reference."""

from collections.abc import Mapping
from typing import Any, Literal

from weft.api.istio.common import (
    AcknowledgedNodes,
    Count,
    IstioCondition,
    IstioStatus,
    Message,
    Port,
    ServicePort,
)
from weft.api.k8s.meta_v1 import ObjectMeta


class WorkloadEntrySpec(Message, frozen=True):
    """An endpoint."""

    address: str = ""
    """IP address, host name (resolution DNS), or `unix:///path`."""
    ports: Mapping[str, Port] = {}
    """Port name to port, where it differs from the service's."""
    labels: Mapping[str, str] = {}
    """Labels of the endpoint, for subsets."""
    network: str = ""
    """Network that the endpoint is in."""
    locality: str = ""
    """Locality: region/zone/sub-zone."""
    weight: Count | None = None
    """Share of the load."""
    service_account: str = ""
    """Identity of the workload, in the object's namespace."""


class PodLabels(Message, frozen=True):
    """Workloads, chosen by their pods' labels."""

    labels: Mapping[str, str] = {}
    """Labels that a pod must all have."""


class ServiceEntrySpec(Message, frozen=True):
    """A service known by hosts, ports and endpoints."""

    hosts: tuple[str, ...] = ()
    """Host names of the service."""
    addresses: tuple[str, ...] = ()
    """Virtual addresses, or CIDR blocks, of the service."""
    ports: tuple[ServicePort, ...] = ()
    """Ports of the service."""
    location: Literal["", "MESH_EXTERNAL", "MESH_INTERNAL"] = ""
    """Whether the service is outside or a part of the mesh; outside when absent."""
    resolution: Literal["", "NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = ""
    """How the addresses of endpoints are found; NONE when absent."""
    endpoints: tuple[WorkloadEntrySpec, ...] = ()
    """Endpoints; excludes `workloadSelector`."""
    workload_selector: PodLabels | None = None
    """Pods of the namespace that are the endpoints; excludes `endpoints`."""
    export_to: tuple[str, ...] = ()
    """Namespaces that see this object; `.` is its own, `*` all."""
    subject_alt_names: tuple[str, ...] = ()
    """Names of which an endpoint's certificate must have one."""


class ServiceEntryAddress(Message, frozen=True):
    """An address given to a host."""

    value: str = ""
    """The address."""
    host: str = ""
    """The host."""


class ServiceEntryStatus(Message, frozen=True):
    """What the mesh says about a service entry."""

    conditions: tuple[IstioCondition, ...] = ()
    """The object's conditions."""
    observed_generation: int | None = None
    """The generation that the mesh has read."""
    validation_messages: tuple[Any, ...] = ()
    """Findings of the analysis."""
    addresses: tuple[ServiceEntryAddress, ...] = ()
    """Addresses given to the hosts."""
    nodes: AcknowledgedNodes | None = None
    """Where it is in force."""
    in_force: Mapping[str, Any] | None = None
    """The spec that stays in force while a proxy refuses the present one."""


class WorkloadEntry(Message, frozen=True):
    """An endpoint that is no pod: a machine, or a program on one."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """WorkloadEntry."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: WorkloadEntrySpec = WorkloadEntrySpec()
    """What is wanted."""
    status: IstioStatus = IstioStatus()
    """What the mesh says about it."""


class ServiceEntry(Message, frozen=True):
    """A service in the registry that is no Kubernetes Service."""

    api_version: str = ""
    """The version of the API."""
    kind: str = ""
    """ServiceEntry."""
    metadata: ObjectMeta = ObjectMeta()
    """Name, namespace, labels."""
    spec: ServiceEntrySpec = ServiceEntrySpec()
    """What is wanted."""
    status: ServiceEntryStatus = ServiceEntryStatus()
    """What the mesh says about it."""
