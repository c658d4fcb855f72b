"""Hosts: the services of the mesh, whatever object declares them, in one form."""

from typing import Literal

from msgspec import Struct

from weft.mesh.model import AppProtocol, ComingPod, Endpoint, LoadBalancer

Discovery = Literal["endpoints", "dns", "logical_dns", "original_dst", "dynamic", "gateway"]


class HostPort(Struct, frozen=True, gc=False):
    """A port of a host and who serves it."""

    number: int
    name: str
    protocol: AppProtocol
    endpoints: tuple[Endpoint, ...] = ()
    coming: tuple[ComingPod, ...] = ()
    """Pods that do not serve yet."""


class HostPod(Struct, frozen=True, gc=False):
    """An endpoint of a headless service, which callers address by itself."""

    host: str
    """Its DNS name below the service's."""
    address: str
    names: tuple[str, ...]
    """All forms of the name; empty when callers cannot know it."""


class Outside(Struct, frozen=True, gc=False):
    """How callers from outside the mesh reach a service on nodes' own addresses."""

    source_ranges: tuple[str, ...] = ()
    """CIDRs of those who may; all when empty."""
    node_local: bool = False
    """Only endpoints of the node that was called serve (externalTrafficPolicy: Local)."""
    health_port: int = 0


class Host(Struct, frozen=True, gc=False):
    """A named target of calls."""

    host: str
    """Full DNS name; may be `*.suffix` for a ServiceEntry."""
    namespace: str
    name: str
    """Name of the Kubernetes service; the host for a ServiceEntry."""
    source: str
    """`Service default/web`."""
    ports: tuple[HostPort, ...] = ()
    """Ports of TCP."""
    udp_ports: tuple[HostPort, ...] = ()
    """Their numbers may be those of `ports` as well."""
    cluster_ips: tuple[str, ...] = ()
    """Those of `addresses` that the mesh itself gave it."""
    domains: tuple[str, ...] = ()
    """Every way to write the host in Host, without a port, apart from the short name."""
    short_name: str = ""
    """What callers of the same namespace may write."""
    addresses: tuple[str, ...] = ()
    """Virtual addresses; empty for headless services."""
    discovery: Discovery = "endpoints"
    load_balancer: LoadBalancer = LoadBalancer()
    headless: bool = False
    pods: tuple[HostPod, ...] = ()
    external: bool = False
    """Outside of the mesh: its endpoints have no identity."""
    alias_of: str = ""
    """ExternalName: the host it stands for."""
    created: str = ""
    subject_alt_names: tuple[str, ...] = ()
    """Names of which a certificate of its endpoints must have one, where TLS is originated."""
    visible_in: tuple[str, ...] = ()
    """Namespaces whose callers see it; all when empty."""
    outside: Outside | None = None
    node_local: bool = False
    """Callers reach endpoints of their own node only (internalTrafficPolicy: Local)."""
    nearness: tuple[str, ...] = ()
    """Labels of places, the widest first, in which endpoints should agree with the caller's node
    (trafficDistribution)."""
    wakes: str = ""
    """The workload that calls wake when it was scaled to zero: `deployment/web`."""
    sleep: Literal["", "falling", "asleep"] = ""
    """It is about to be scaled to zero; it was."""

    def port(self, number: int) -> HostPort | None:
        """The TCP port with this number."""
        return next((p for p in self.ports if p.number == number), None)

    def udp_port(self, number: int) -> HostPort | None:
        """The UDP port with this number."""
        return next((p for p in self.udp_ports if p.number == number), None)
