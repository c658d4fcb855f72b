"""References of Gateway API objects: back ends, and what may be referred to across namespaces."""

from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.mesh.destinations import named, named_udp
from weft.mesh.gateway_api_objects import Derived
from weft.mesh.hosts import Host
from weft.mesh.names import service_host


class BackendReference(Protocol):
    """What all kinds of references to back ends have."""

    @property
    def group(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def namespace(self) -> str: ...
    @property
    def port(self) -> int | None: ...


class Backend(Struct, frozen=True):
    """A resolved back end, or why there is none. `reason` is a word of the specification; empty
    when the reference is good and something else is wrong."""

    destination: str = ""
    reason: str = ""
    message: str = ""
    service: str = ""
    """Host of the Service, when it was found."""
    port_name: str = ""
    protocol: str = ""
    """Of the Service's port."""
    derived: Derived | None = None
    """The destination, when it is one of its own."""


class References:
    """Looks references up."""

    def __init__(self, hosts: Iterable[Host], grants: Iterable[gw.ReferenceGrant]) -> None:
        self.hosts = {host.host: host for host in hosts}
        self._grants: dict[str, list[gw.ReferenceGrant]] = {}
        for grant in grants:
            self._grants.setdefault(grant.metadata.namespace, []).append(grant)

    def permitted(self, source: tuple[str, str, str], target: tuple[str, str, str, str]) -> bool:
        """Whether (group, kind, namespace) may refer to (group, kind, namespace, name)."""
        own = self._grants.get(target[2], ())
        return target[2] == source[2] or permitted(own, source, target)

    def backend(self, ref: BackendReference, kind: str, namespace: str) -> Backend:
        """The back end that a route of `kind` in `namespace` names."""
        if ref.group or ref.kind != "Service":
            text = f"back ends are Services, not {ref.kind} of `{ref.group}`"
            return Backend(reason="InvalidKind", message=text)
        where = ref.namespace or namespace
        if not self.permitted((gw.GROUP, kind, namespace), ("", "Service", where, ref.name)):
            text = f"no ReferenceGrant in namespace `{where}` permits Service `{ref.name}`"
            return Backend(reason="RefNotPermitted", message=text)
        host = self.hosts.get(service_host(ref.name, where))
        if host is None:
            text = f"Service `{where}/{ref.name}` does not exist"
            return Backend(reason="BackendNotFound", message=text)
        name = f"{where}/{ref.name}"
        return _port(host, name, ref.port or 0, "UDP" if kind == "UDPRoute" else "TCP")


def _port(host: Host, name: str, number: int, transport: str) -> Backend:
    udp = transport == "UDP"
    port = host.udp_port(number) if udp else host.port(number)
    if port is None:
        text = f"Service `{name}` has no {transport} port {number or ''}".rstrip()
        return Backend(reason="BackendNotFound", message=text)
    target = named_udp(host.host, number, "") if udp else named(host.host, number, "", "")
    return Backend(target, service=host.host, port_name=port.name, protocol=port.protocol)


def permitted(
    grants: Iterable[gw.ReferenceGrant],
    source: tuple[str, str, str],
    target: tuple[str, str, str, str],
) -> bool:
    """Whether grants of the target's namespace permit it."""
    group, kind, namespace, name = target
    return any(
        grant.metadata.namespace == namespace
        and any((f.group, f.kind, f.namespace) == source for f in grant.spec.from_)
        and any((t.group, t.kind) == (group, kind) and t.name in ("", name) for t in grant.spec.to)
        for grant in grants
    )
