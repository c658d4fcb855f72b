"""ServiceEntries and WorkloadEntries: addresses, ports, and whom they select."""

from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Service
from weft.api.vip import vip_for
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.services import nearest_labels, shown
from weft.mesh.analysis.world import World, oldest_first
from weft.mesh.findings import Findings
from weft.mesh.model import AppProtocol
from weft.mesh.protocols import of_istio


def addresses(world: World, report: Findings) -> None:
    """Addresses on which two hosts cannot be told apart, and entries that need some."""
    owners: dict[tuple[str, int], str] = {}
    for entry in world.list(istio.ServiceEntry):
        for index, port in enumerate(entry.spec.ports):
            number = port.number or 0
            protocol = of_istio(port.protocol, number)
            if protocol == "tcp" and not entry.spec.addresses and _no_names(entry):
                path = f"spec.ports[{index}]"
                report.add(c.ADDRESSES_NEEDED, entry, path, port=number, protocol=protocol)
            if protocol in ("tcp", "tls"):
                _claim(entry, number, owners, report)


def _no_names(entry: istio.ServiceEntry) -> bool:
    return (entry.spec.resolution or "NONE") == "NONE"


def _claim(
    entry: istio.ServiceEntry,
    number: int,
    owners: dict[tuple[str, int], str],
    report: Findings,
) -> None:
    for host in entry.spec.hosts:
        given = () if _no_names(entry) or "*" in host else (vip_for(host),)
        for address in entry.spec.addresses or given:
            owner = owners.setdefault((address, number), host)
            if owner != host:
                report.add(
                    f.ADDRESS_TAKEN,
                    entry,
                    "spec.addresses",
                    address=address,
                    port=number,
                    other=owner,
                )


def protocols(world: World, report: Findings) -> None:
    """Ports of one host that two entries declare differently."""
    first: dict[tuple[str, int], tuple[AppProtocol, istio.ServiceEntry]] = {}
    for entry in oldest_first(world.list(istio.ServiceEntry)):
        for host in entry.spec.hosts:
            for index, port in enumerate(entry.spec.ports):
                number = port.number or 0
                protocol = of_istio(port.protocol, number)
                known, owner = first.setdefault((host.lower(), number), (protocol, entry))
                if known != protocol and owner is not entry:
                    report.add(
                        c.ENTRY_PROTOCOL_CONFLICT,
                        entry,
                        f"spec.ports[{index}].protocol",
                        host=host,
                        port=number,
                        first=known,
                        second=protocol,
                        other=f"ServiceEntry {owner.metadata.namespace}/{owner.metadata.name}",
                    )


def selectors(world: World, report: Findings) -> None:
    """Workload selectors that choose nothing."""
    machines = world.list(istio.WorkloadEntry)
    for entry in world.list(istio.ServiceEntry):
        selector = entry.spec.workload_selector
        if selector is None or not selector.labels:
            continue
        own, wanted = entry.metadata.namespace, selector.labels.items()
        if world.select(own, selector.labels) or any(
            m.metadata.namespace == own and wanted <= m.spec.labels.items() for m in machines
        ):
            continue
        report.add(
            c.WORKLOADS_UNMATCHED,
            entry,
            "spec.workloadSelector.labels",
            nearest_labels(world.in_namespace(own), selector.labels),
            labels=shown(selector.labels),
            namespace=own,
        )


def unused_entries(world: World, report: Findings) -> None:
    """WorkloadEntries that nobody selects."""
    machines = world.list(istio.WorkloadEntry)
    if not machines:
        return
    selectors = [
        (e.metadata.namespace, s.labels)
        for e in world.list(istio.ServiceEntry)
        if (s := e.spec.workload_selector) is not None
    ]
    selectors += [
        (s.metadata.namespace, s.spec.selector) for s in world.list(Service) if s.spec.selector
    ]
    for machine in machines:
        own, labels = machine.metadata.namespace, machine.spec.labels
        if any(ns == own and want.items() <= labels.items() for ns, want in selectors):
            continue
        report.add(
            c.ENTRY_UNUSED,
            machine,
            "spec.labels" if labels else "spec",
            labels=shown(labels) or "none",
            namespace=own,
        )


CHECKS = (addresses, protocols, selectors, unused_entries)
