"""Endpoints, the older form of EndpointSlices: written from the slices of Services with a selector,
and read for those without one, whose Endpoints a user (or an operator) writes.

Source of the rules: Kubernetes' endpoints and endpointslicemirroring controllers.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.core_v1 import (
    EndpointAddress,
    EndpointPort,
    Endpoints,
    EndpointSubset,
    Service,
)
from weft.api.k8s.discovery_v1 import Endpoint, EndpointConditions, EndpointSlice
from weft.api.k8s.discovery_v1 import EndpointPort as SlicePort
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import Snapshot, meta
from weft.api.wellknown import LABEL_MANAGED_BY, LABEL_SERVICE_NAME
from weft.controllers.support import ownership
from weft.controllers.support.patches import object_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Plan

LABEL_OWN = "endpoints.kubernetes.io/managed-by"
OWN = "endpoint-controller"
MIRRORED_BY = "endpointslicemirroring-controller.k8s.io"
LABEL_SKIP = "endpointslice.kubernetes.io/skip-mirror"
LABEL_HEADLESS = "service.kubernetes.io/headless"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
ADDRESSES_MAX = 1000
"""Of one Endpoints object; more are left out, and an annotation says so."""


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Bring the Endpoints of one Service, or the slices that mirror them, up to date."""
    service = snapshot.get(Service, key.name, key.namespace)
    found = snapshot.get(Endpoints, key.name, key.namespace)
    if found is not None and found.metadata.deletion_timestamp:
        return NOTHING
    if service is None:
        return Plan((_delete(found),)) if found is not None and _is_own(found) else NOTHING
    if service.metadata.deletion_timestamp or service.spec.type == "ExternalName":
        return NOTHING
    if service.spec.selector:
        return Plan(tuple(_written(snapshot, service, found)))
    return Plan(tuple(_mirrored(snapshot, key, found)))


def _is_own(found: Endpoints) -> bool:
    return found.metadata.labels.get(LABEL_OWN) == OWN


def _delete(found: Endpoints | EndpointSlice) -> Delete:
    own = found.metadata
    return Delete(type(found), own.namespace, own.name, own.uid)


def _slices(snapshot: Snapshot, key: Key) -> Iterator[EndpointSlice]:
    for each in snapshot.list(EndpointSlice, key.namespace):
        if each.metadata.labels.get(LABEL_SERVICE_NAME) == key.name:
            yield each


# ------------------------------------------------------------------ from slices


def _written(snapshot: Snapshot, service: Service, found: Endpoints | None) -> Iterable[Action]:
    subsets, cut = _subsets(_slices(snapshot, Key(meta(service).namespace, meta(service).name)))
    labels = {**service.metadata.labels, LABEL_OWN: OWN}
    if service.spec.cluster_ip == "None":
        labels[LABEL_HEADLESS] = ""
    annotations = {OVER_CAPACITY: "truncated"} if cut else {}
    if found is None:
        metadata = ObjectMeta(
            namespace=service.metadata.namespace,
            name=service.metadata.name,
            labels=labels,
            annotations=annotations,
        )
        return (
            Create(
                Endpoints(api_version="v1", kind="Endpoints", metadata=metadata, subsets=subsets)
            ),
        )
    kept = {k: v for k, v in found.metadata.annotations.items() if k != OVER_CAPACITY}
    about = replace(found.metadata, labels=labels, annotations=kept | annotations)
    return object_patch(found, replace(found, metadata=about, subsets=subsets))


def _subsets(slices: Iterable[EndpointSlice]) -> tuple[tuple[EndpointSubset, ...], bool]:
    """One subset for all endpoints with the same ports; whether some were left out."""
    groups: dict[tuple[EndpointPort, ...], tuple[list[EndpointAddress], list[EndpointAddress]]] = {}
    count = 0
    for each in slices:
        if each.address_type != "IPv4":
            continue
        ports = tuple(
            EndpointPort(
                name=p.name, port=p.port, protocol=p.protocol or "TCP", app_protocol=p.app_protocol
            )
            for p in each.ports
        )
        ready, others = groups.setdefault(ports, ([], []))
        for endpoint in each.endpoints:
            conditions = endpoint.conditions or EndpointConditions()
            if conditions.terminating and not conditions.ready:
                continue
            chosen = others if conditions.ready is False else ready
            for ip in endpoint.addresses:
                count += 1
                if count <= ADDRESSES_MAX:
                    chosen.append(_address(endpoint, ip))
    made = [
        EndpointSubset(
            addresses=tuple(sorted(ready, key=_ip)),
            not_ready_addresses=tuple(sorted(others, key=_ip)),
            ports=ports,
        )
        for ports, (ready, others) in groups.items()
        if ready or others
    ]
    made.sort(key=lambda s: [(p.name, p.port or 0) for p in s.ports])
    return tuple(made), count > ADDRESSES_MAX


def _ip(address: EndpointAddress) -> str:
    return address.ip


def _address(endpoint: Endpoint, ip: str) -> EndpointAddress:
    return EndpointAddress(
        ip=ip,
        hostname=endpoint.hostname,
        node_name=endpoint.node_name,
        target_ref=endpoint.target_ref,
    )


# ------------------------------------------------------------------ to slices


def _mirrored(snapshot: Snapshot, key: Key, found: Endpoints | None) -> Iterator[Action]:
    """One slice for each subset and address family that a user's Endpoints have."""
    have = [s for s in _slices(snapshot, key) if _is_mirror(s)]
    wanted = [] if found is None or _skipped(found) else list(_wanted(found))
    if found is not None and _is_own(found):
        yield _delete(found)  # the Service had a selector before
        wanted = []
    for made in wanted:
        same = next((s for s in have if (s.address_type, s.ports) == _place(made)), None)
        if same is None:
            yield Create(made)
            continue
        have.remove(same)
        yield from object_patch(same, replace(same, endpoints=made.endpoints))
    for each in have:
        yield _delete(each)


def _is_mirror(found: EndpointSlice) -> bool:
    labels = found.metadata.labels
    return labels.get(LABEL_MANAGED_BY) == MIRRORED_BY and not found.metadata.deletion_timestamp


def _skipped(found: Endpoints) -> bool:
    return found.metadata.labels.get(LABEL_SKIP) == "true"


def _place(found: EndpointSlice) -> tuple[str, tuple[SlicePort, ...]]:
    return found.address_type, found.ports


def _wanted(found: Endpoints) -> Iterator[EndpointSlice]:
    for subset in found.subsets:
        ports = tuple(
            SlicePort(
                name=p.name, port=p.port, protocol=p.protocol or "TCP", app_protocol=p.app_protocol
            )
            for p in subset.ports
        )
        for family in ("IPv4", "IPv6"):
            endpoints = (
                *(_endpoint(a, True) for a in subset.addresses if _family(a) == family),
                *(_endpoint(a, False) for a in subset.not_ready_addresses if _family(a) == family),
            )
            if endpoints:
                yield _slice(found, family, ports, endpoints)


def _family(address: EndpointAddress) -> str:
    return "IPv6" if ":" in address.ip else "IPv4"


def _endpoint(address: EndpointAddress, ready: bool) -> Endpoint:
    return Endpoint(
        addresses=(address.ip,),
        conditions=EndpointConditions(ready=ready),
        hostname=address.hostname,
        node_name=address.node_name,
        target_ref=address.target_ref,
    )


def _slice(
    found: Endpoints, family: str, ports: tuple[SlicePort, ...], endpoints: tuple[Endpoint, ...]
) -> EndpointSlice:
    return EndpointSlice(
        api_version="discovery.k8s.io/v1",
        kind="EndpointSlice",
        metadata=ObjectMeta(
            namespace=found.metadata.namespace,
            generate_name=f"{found.metadata.name}-",
            labels={
                **found.metadata.labels,
                LABEL_SERVICE_NAME: found.metadata.name,
                LABEL_MANAGED_BY: MIRRORED_BY,
            },
            owner_references=(ownership.owner_reference(found),),
        ),
        address_type=family,
        ports=ports,
        endpoints=endpoints,
    )


# --- what wakes it


def _same_name(found: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return (Key(meta(found).namespace, meta(found).name),)


def _service_of(found: Struct, snapshot: Snapshot) -> Iterable[Key]:
    name = meta(found).labels.get(LABEL_SERVICE_NAME)
    return (Key(meta(found).namespace, name),) if name else ()


CONTROLLER = Controller(
    name="endpoints",
    primary=Service,
    plan=plan,
    watches=(Watch(EndpointSlice, _service_of), Watch(Endpoints, _same_name)),
)
