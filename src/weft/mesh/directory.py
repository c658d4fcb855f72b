"""Finding what a route names: hosts, their ports and subsets."""

import copy
import functools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.delegates import Delegates, delegates
from weft.mesh.destinations import missing_destination, named, named_udp
from weft.mesh.findings import Findings
from weft.mesh.hosts import Host, HostPort
from weft.mesh.istio_policies import Rules
from weft.mesh.model import Destination
from weft.mesh.names import covers, full_host, specificity
from weft.mesh.route_memo import Remembered, RouteMemo

T = TypeVar("T")


class Target(Struct, frozen=True):
    """A destination by name; `problem` says why it is missing, if it is."""

    name: str
    problem: str = ""


class Reference(Struct, frozen=True):
    """Where a destination is named: for findings, and for names without a namespace or port."""

    obj: Struct
    path: str
    namespace: str
    listener_port: int
    client: str = ""
    """Callers' namespace when it has rules of its own; "" is everyone."""


class Directory:
    """All hosts and rules. Remembers which missing destinations were named."""

    def __init__(
        self,
        hosts: Mapping[str, Host],
        rules: Rules,
        report: Findings,
        virtual_services: Iterable[istio.VirtualService] = (),
        memo: RouteMemo | None = None,
    ) -> None:
        """`memo` must have been told all of these but `virtual_services`."""
        self.memo = memo or RouteMemo()
        self.virtual_services = oldest_first(virtual_services, self.memo)
        self.delegates = Delegates(self.virtual_services, report)
        self.hosts = hosts
        self.rules = rules
        self.report = report
        self.missing: dict[str, Destination] = {}
        self._wild = sorted(
            (h for h in hosts.values() if h.host.startswith("*")),
            key=lambda h: specificity(h.host),
            reverse=True,
        )
        self._clients = _clients(hosts, rules)

    def remembered(
        self,
        obj: istio.VirtualService,
        place: Hashable,
        make: "Callable[[Directory], T]",
    ) -> T:
        """`make` of this directory, or what it came to in the last build for the same object and
        place; in both cases with its findings. For what depends on nothing but these two and the
        hosts and rules."""
        known = self.memo.find(obj, place)
        if known is None:
            known = self._made(obj, make)
            if not delegates(obj):
                self.memo.keep(place, known)
        result: T = self._told(known)
        return result

    def each_remembered(
        self,
        objects: Sequence[istio.VirtualService],
        place: Hashable,
        make: "Callable[[istio.VirtualService, Directory], T]",
    ) -> list[T]:
        """`remembered` for each of many objects, in order."""

        def once(obj: istio.VirtualService) -> Remembered | None:
            return None if delegates(obj) else self._made(obj, functools.partial(make, obj))

        found = self.memo.each(place, once, objects)
        return [
            self._told(self._made(obj, functools.partial(make, obj)) if known is None else known)
            for obj, known in zip(objects, found, strict=True)
        ]

    def _made(self, obj: istio.VirtualService, make: "Callable[[Directory], object]") -> Remembered:
        own = copy.copy(self)
        own.report, own.missing = Findings(), {}
        own.delegates = self.delegates.reporting_to(own.report)
        return Remembered(obj, make(own), own.report.all(), own.missing)

    def _told(self, known: Remembered) -> Any:
        """The result, its findings reported."""
        if known.findings or known.missing:
            self.report.extend(known.findings)
            for name, destination in known.missing.items():
                self.missing.setdefault(name, destination)
        return known.result

    def reporting_to(self, report: Findings) -> "Directory":
        """The same, with findings told to another. Missing destinations are remembered by both."""
        other = copy.copy(self)
        other.report, other.delegates = report, self.delegates.reporting_to(report)
        return other

    def of_workloads(self, namespace: str, rules: Iterable[str]) -> "Directory":
        """The same for workloads that DestinationRules of these names select."""
        other = copy.copy(self)
        other.rules, other.memo = self.rules.of_workloads(namespace, rules), RouteMemo()
        other._clients = _clients(self.hosts, other.rules)
        return other

    def find(self, host: str) -> Host | None:
        """The host with this full name, or the narrowest wildcard that covers it."""
        found = self.hosts.get(host)
        return found or next((h for h in self._wild if covers(h.host, host)), None)

    def clients(self, host: Host) -> tuple[str, ...]:
        """Namespaces whose callers get destinations of their own for the host."""
        return self._clients.get(host.host, ())

    def all_clients(self) -> tuple[str, ...]:
        """Namespaces with rules of their own for any host."""
        return tuple(sorted({ns for found in self._clients.values() for ns in found}))

    def own_target(self, host: Host, port: HostPort, client: str) -> str:
        """The destination of a host's own port, without any route."""
        return named(host.host, port.number, "", self.rules.mark(host, client))

    def udp_target(self, host: Host, port: HostPort, client: str) -> str:
        """The destination of a host's UDP port."""
        return named_udp(host.host, port.number, self.rules.mark(host, client))

    def target(self, wanted: istio.Destination, ref: Reference) -> Target:
        """The destination that a route names, or what stands in for a missing one."""
        name = full_host(wanted.host, ref.namespace, self.hosts)
        host = self.find(name)
        wanted_port = wanted.port.number if wanted.port else None
        if host is None:
            hint = f.suggest_host(wanted.host, ref.namespace, self.hosts)
            self.report.add(f.HOST_UNKNOWN, ref.obj, f"{ref.path}.host", hint, host=wanted.host)
            port = wanted_port or ref.listener_port
            return self._missing(name, port, wanted.subset, f"host `{name}` is unknown")
        port_found = self._port(host, wanted_port, ref)
        if port_found is None:
            port = wanted_port or ref.listener_port
            return self._missing(host.host, port, wanted.subset, f"`{name}` has no port {port}")
        client = ref.client if ref.client in self.clients(host) else ""
        if wanted.subset and not self._has_subset(host, wanted.subset, client):
            return self._unknown_subset(host, port_found, wanted.subset, client, ref)
        mark = self.rules.mark(host, client)
        return Target(named(host.host, port_found.number, wanted.subset, mark))

    def _port(self, host: Host, wanted: int | None, ref: Reference) -> HostPort | None:
        if wanted is not None:
            if found := host.port(wanted):
                return found
            self._no_port(host, wanted, ref, "port.number")
            return None
        if len(host.ports) == 1:
            return host.ports[0]
        if found := host.port(ref.listener_port):
            return found
        first = next(iter(host.ports), None)
        if first is None:
            self._no_port(host, ref.listener_port, ref, "host")
            return None
        numbers = f.quoted(p.number for p in host.ports)
        self.report.add(
            f.PORT_NEEDED, ref.obj, ref.path, host=host.host, port=first.number, ports=numbers
        )
        return first

    def _no_port(self, host: Host, wanted: int, ref: Reference, field: str) -> None:
        self.report.add(
            f.PORT_UNKNOWN,
            ref.obj,
            f"{ref.path}.{field}",
            host=host.host,
            port=wanted,
            ports=f.quoted(p.number for p in host.ports) or "none",
        )

    def _has_subset(self, host: Host, subset: str, client: str) -> bool:
        rule = self.rules.find(host, client)
        return rule is not None and any(s.name == subset for s in rule.subsets)

    def _unknown_subset(
        self, host: Host, port: HostPort, subset: str, client: str, ref: Reference
    ) -> Target:
        if ref.client and self._has_subset(host, subset, ""):
            return Target(named(host.host, port.number, subset, ""))
        elsewhere = self.rules.selected_subset(host, subset) or any(
            self._has_subset(host, subset, c) for c in self.clients(host)
        )
        if client or not elsewhere:
            rule = self.rules.find(host, client)
            known = [s.name for s in rule.subsets] if rule else []
            hint = (
                f.suggest(subset, known, f"{rule.source} defines")
                if rule and known
                else f"add a DestinationRule for `{host.host}` with this subset"
            )
            self.report.add(
                f.SUBSET_UNKNOWN,
                ref.obj,
                f"{ref.path}.subset",
                hint,
                subset=subset,
                host=host.host,
            )
        return self._missing(
            host.host, port.number, subset, f"`{host.host}` has no subset `{subset}`"
        )

    def _missing(self, host: str, port: int, subset: str, why: str) -> Target:
        made = missing_destination(host, port, subset, why)
        self.missing.setdefault(made.name, made)
        return Target(made.name, why)


def _clients(hosts: Mapping[str, Host], rules: Rules) -> dict[str, tuple[str, ...]]:
    return {name: found for name, host in hosts.items() if (found := rules.clients(host))}


def oldest_first(
    objects: Iterable[istio.VirtualService], memo: RouteMemo
) -> tuple[istio.VirtualService, ...]:
    """In order of creation; equal times by namespace and name."""
    listed = tuple(objects)
    ages = memo.each("ages", _age, listed)
    return tuple(listed[place] for place in sorted(range(len(listed)), key=ages.__getitem__))


def _age(obj: istio.VirtualService) -> tuple[str, str, str]:
    own = obj.metadata
    return own.creation_timestamp, own.namespace, own.name
