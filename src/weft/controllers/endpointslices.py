"""EndpointSlices: which pods a Service reaches, at which address and port, and how fit they are.

Source of the rules: Kubernetes' endpointslice controller. Slices are rewritten as little as
possible: an endpoint stays in its slice, and a slice without changes is not written.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.core_v1 import Node, ObjectReference, Service, ServicePort
from weft.api.k8s.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.selectors import matches_labels
from weft.api.snapshot import Snapshot, meta
from weft.api.wellknown import (
    ANNOTATION_POD_HOST_PORTS,
    LABEL_MANAGED_BY,
    LABEL_SERVICE_NAME,
)
from weft.controllers.support import ownership, podstate
from weft.controllers.support.patches import object_patch
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Create, Delete, Key, Plan

ENDPOINTS_PER_SLICE_MAX = 100
MANAGED_BY = "endpointslice-controller.k8s.io"
LABEL_HEADLESS = "service.kubernetes.io/headless"
LABEL_ZONE = "topology.kubernetes.io/zone"

Ports = tuple[EndpointPort, ...]
Group = tuple[str, Ports]
"""Address family and ports: what all endpoints of one slice share."""


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Bring the slices of one Service up to date. Without a selector they are the user's own."""
    service = snapshot.get(Service, key.name, key.namespace)
    if service is None or service.metadata.deletion_timestamp:
        return NOTHING
    if not service.spec.selector or service.spec.type == "ExternalName":
        return NOTHING
    slices = [s for s in snapshot.list(EndpointSlice, key.namespace) if _belongs(s, service)]
    return Plan(tuple(_reconcile(service, slices, _wanted(snapshot, service))))


def _belongs(found: EndpointSlice, service: Service) -> bool:
    labels = found.metadata.labels
    return (
        labels.get(LABEL_SERVICE_NAME) == service.metadata.name
        and labels.get(LABEL_MANAGED_BY) == MANAGED_BY
        and not found.metadata.deletion_timestamp
    )


# --- what should be there


def _wanted(snapshot: Snapshot, service: Service) -> dict[Group, dict[str, Endpoint]]:
    """Endpoints by group and pod uid, in order of pod names."""
    groups: dict[Group, dict[str, Endpoint]] = {}
    selector = service.spec.selector.items()
    for pod in snapshot.list(Pod, service.metadata.namespace):
        if not selector <= pod.metadata.labels.items() or podstate.is_finished(pod):
            continue
        for family in service.spec.ip_families or ("IPv4",):
            if address := _address(pod, family):
                group = family, _ports(service, pod)
                endpoint = _endpoint(snapshot, service, pod, address)
                groups.setdefault(group, {})[pod.metadata.uid] = endpoint
    return groups


def _address(pod: Pod, family: str) -> str:
    addresses = [pod.status.pod_ip, *(ip.ip for ip in pod.status.pod_ips)]
    return next((a for a in addresses if a and (":" in a) == (family == "IPv6")), "")


def _endpoint(snapshot: Snapshot, service: Service, pod: Pod, address: str) -> Endpoint:
    serving = podstate.is_ready(pod)
    terminating = podstate.is_terminating(pod)
    node = snapshot.get(Node, pod.spec.node_name) if pod.spec.node_name else None
    named = pod.spec.hostname and pod.spec.subdomain == service.metadata.name
    return Endpoint(
        addresses=(address,),
        conditions=EndpointConditions(
            ready=bool(service.spec.publish_not_ready_addresses) or (serving and not terminating),
            serving=serving,
            terminating=terminating,
        ),
        hostname=pod.spec.hostname if named else "",
        node_name=pod.spec.node_name,
        target_ref=ObjectReference(
            kind="Pod",
            namespace=pod.metadata.namespace,
            name=pod.metadata.name,
            uid=pod.metadata.uid,
        ),
        zone=node.metadata.labels.get(LABEL_ZONE, "") if node else "",
    )


def _ports(service: Service, pod: Pod) -> Ports:
    """The Service's ports as numbers of this pod; a name the pod does not know gives none."""
    moved = _host_ports(pod)
    ports = []
    for port in service.spec.ports:
        number = _target(port, pod)
        if number is None:
            continue
        ports.append(
            EndpointPort(
                name=port.name,
                port=moved.get(str(number), number),
                protocol=port.protocol or "TCP",
                app_protocol=port.app_protocol,
            )
        )
    return tuple(ports)


def _target(port: ServicePort, pod: Pod) -> int | None:
    target = port.target_port or port.port
    if isinstance(target, int) or target is None:
        return target
    if target.isdecimal():
        return int(target)
    sidecars = (c for c in pod.spec.init_containers if c.restart_policy == "Always")
    for container in (*pod.spec.containers, *sidecars):
        for declared in container.ports:
            protocol = declared.protocol or "TCP"
            if declared.name == target and protocol == (port.protocol or "TCP"):
                return declared.container_port
    return None


def _host_ports(pod: Pod) -> Mapping[str, int]:
    """Container port -> port it really has at the pod's address (host isolation)."""
    text = pod.metadata.annotations.get(ANNOTATION_POD_HOST_PORTS)
    if not text:
        return {}
    try:
        found: dict[str, int] = msgspec.json.decode(text, type=dict[str, int])
    except msgspec.DecodeError:
        return {}
    return found


# --- from what is there to what should be


class _Draft:
    """A slice on its way: the stored one (or None for a new one) and its next endpoints."""

    def __init__(self, stored: EndpointSlice | None, group: Group) -> None:
        self.stored = stored
        self.group = group
        self.endpoints: list[Endpoint] = []

    @property
    def room(self) -> int:
        return ENDPOINTS_PER_SLICE_MAX - len(self.endpoints)

    @property
    def changed(self) -> bool:
        stored = self.stored
        return stored is None or tuple(self.endpoints) != stored.endpoints


def _reconcile(
    service: Service,
    slices: Sequence[EndpointSlice],
    wanted: Mapping[Group, Mapping[str, Endpoint]],
) -> list[Action]:
    drafts: list[_Draft] = []
    spare = list(slices)
    for group, endpoints in wanted.items():
        mine = [s for s in spare if _group(s) == group]
        kept = _place(group, mine, endpoints)
        used = {d.stored.metadata.name for d in kept if d.stored}
        spare = [s for s in spare if s.metadata.name not in used]
        drafts += kept
    for draft in drafts:
        if draft.stored is None:
            draft.stored = _reuse(spare, draft.group[0])
    if not drafts:
        family = (service.spec.ip_families or ("IPv4",))[0]
        drafts.append(_Draft(_reuse(spare, family), (family, ())))
    actions: list[Action] = [a for d in drafts for a in _write(service, d)]
    return actions + [
        Delete(EndpointSlice, s.metadata.namespace, s.metadata.name, s.metadata.uid) for s in spare
    ]


def _group(stored: EndpointSlice) -> Group:
    return stored.address_type, stored.ports


def _place(
    group: Group, slices: Sequence[EndpointSlice], endpoints: Mapping[str, Endpoint]
) -> list[_Draft]:
    """Keep endpoints where they are; put new ones where a write is due anyway, else where they
    all fit, else into new slices. Slices left empty are not returned."""
    left = dict(endpoints)
    drafts = [_Draft(s, group) for s in slices]
    for draft in drafts:
        uids = (e.target_ref.uid for e in draft.stored.endpoints if e.target_ref)  # type: ignore[union-attr]
        draft.endpoints = [left.pop(uid) for uid in uids if uid in left]
    waiting = list(left.values())
    for draft in sorted(drafts, key=lambda d: d.room):
        if waiting and draft.changed and draft.endpoints:
            waiting = _fill(draft, waiting)
    fitting = [d for d in drafts if d.room >= len(waiting) > 0]
    if fitting:
        waiting = _fill(min(fitting, key=lambda d: d.room), waiting)
    while waiting:
        drafts.append(_Draft(None, group))
        waiting = _fill(drafts[-1], waiting)
    return [d for d in drafts if d.endpoints]


def _fill(draft: _Draft, waiting: list[Endpoint]) -> list[Endpoint]:
    room = draft.room
    draft.endpoints += waiting[:room]
    return waiting[room:]


def _reuse(spare: list[EndpointSlice], family: str) -> EndpointSlice | None:
    """Take a slice that would be deleted; its address type cannot change, all else can."""
    found = next((s for s in spare if s.address_type == family), None)
    if found is not None:
        spare.remove(found)
    return found


def _write(service: Service, draft: _Draft) -> Iterable[Action]:
    family, ports = draft.group
    labels = _labels(service)
    if draft.stored is not None:
        metadata = replace(draft.stored.metadata, labels=labels)
        after = replace(
            draft.stored, metadata=metadata, ports=ports, endpoints=tuple(draft.endpoints)
        )
        return object_patch(draft.stored, after) if after != draft.stored else ()
    made = EndpointSlice(
        api_version="discovery.k8s.io/v1",
        kind="EndpointSlice",
        metadata=ObjectMeta(
            namespace=service.metadata.namespace,
            generate_name=f"{service.metadata.name}-",
            labels=labels,
            owner_references=(ownership.owner_reference(service),),
        ),
        address_type=family,
        ports=ports,
        endpoints=tuple(draft.endpoints),
    )
    return (Create(made),)


def _labels(service: Service) -> dict[str, str]:
    labels = dict(service.metadata.labels)
    labels.pop(LABEL_HEADLESS, None)
    if service.spec.cluster_ip == "None":
        labels[LABEL_HEADLESS] = ""
    return labels | {
        LABEL_SERVICE_NAME: service.metadata.name,
        LABEL_MANAGED_BY: MANAGED_BY,
    }


# --- what wakes it


def _services_of(pod: Struct, snapshot: Snapshot) -> Iterable[Key]:
    labels = meta(pod).labels
    return [
        Key(service.metadata.namespace, service.metadata.name)
        for service in snapshot.list(Service, meta(pod).namespace)
        if matches_labels(service.spec.selector, labels)
    ]


def _service_of(found: Struct, snapshot: Snapshot) -> Iterable[Key]:
    name = meta(found).labels.get(LABEL_SERVICE_NAME)
    return (Key(meta(found).namespace, name),) if name else ()


def _only_read(obj: Any, snapshot: Snapshot) -> Iterable[Key]:
    return ()


CONTROLLER = Controller(
    name="endpointslice",
    primary=Service,
    plan=plan,
    watches=(
        Watch(Pod, _services_of),
        Watch(EndpointSlice, _service_of),
        Watch(Node, _only_read),
    ),
)
