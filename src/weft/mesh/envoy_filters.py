"""EnvoyFilters as patches: for whom they are, and what they are about.

A patch of what all workloads share (routes, clusters) that is for some of them only makes a scope
of these workloads, which then have tables and destinations of their own.
"""

import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.model import (
    ClusterPatchMatch,
    Destination,
    EnvoyPatch,
    ListenerPatchMatch,
    RoutePatchMatch,
)
from weft.mesh.values import regex_problem
from weft.mesh.workloads import PodFacts

ISTIO_VERSION = "1.28.0"
"""What `proxyVersion` is compared with: the release whose API weft follows."""
SHARED_THINGS = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE", "CLUSTER")
"""What belongs to no workload."""
INBOUND_THINGS = ("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER",
                  "VIRTUAL_HOST", "HTTP_ROUTE", "ROUTE_CONFIGURATION")  # fmt: skip


MERGE_LISTS = "MERGE_AND_REPLACE_LIST"


class _Target(Struct, frozen=True):
    """For whom an EnvoyFilter is."""

    namespace: str
    labels: tuple[tuple[str, str], ...]
    gateways: tuple[str, ...]
    gateways_only: bool = False

    @property
    def everybody(self) -> bool:
        return not (self.namespace or self.labels or self.gateways_only)


def read_envoy_filters(
    filters: Iterable[istio.EnvoyFilter], gateways: Iterable[istio.Gateway], report: Findings
) -> tuple[EnvoyPatch, ...]:
    """All patches that can be in force, in the order in which they are applied."""
    known = tuple(gateways)
    ordered = sorted(
        filters,
        key=lambda o: (
            o.metadata.namespace != ROOT_NAMESPACE,
            o.spec.priority or 0,
            o.metadata.creation_timestamp,
            o.metadata.namespace,
            o.metadata.name,
        ),
    )
    return tuple(patch for each in ordered for patch in _patches(each, known, report))


def shaping(patches: Iterable[EnvoyPatch]) -> tuple[EnvoyPatch, ...]:
    """The patches whose workloads need tables and destinations of their own."""
    return tuple(
        p
        for p in patches
        if not p.everywhere
        and p.apply_to in SHARED_THINGS
        and p.context in ("ANY", "SIDECAR_OUTBOUND")
    )


def reached_through_listeners(
    destinations: tuple[Destination, ...],
    pods: Iterable[PodFacts],
    patches: tuple[EnvoyPatch, ...],
) -> tuple[Destination, ...]:
    """The destinations, of which those of workloads with changed inbound listeners are reached
    through these listeners."""
    inbound = [
        p
        for p in patches
        if p.context in ("ANY", "SIDECAR_INBOUND") and p.apply_to in INBOUND_THINGS and _inward(p)
    ]
    if not inbound:
        return destinations
    uids = {pod.uid for pod in pods if any(p.selects(pod.namespace, pod.labels) for p in inbound)}
    return tuple(
        replace(d, through_inbound=True) if any(e.pod_uid in uids for e in d.endpoints) else d
        for d in destinations
    )


def _inward(patch: EnvoyPatch) -> bool:
    """Whether a patch can be about inbound listeners."""
    if patch.context == "SIDECAR_INBOUND":
        return True
    if patch.apply_to in SHARED_THINGS:
        return patch.route is not None and patch.route.name.startswith("inbound")
    return patch.listener is None or patch.listener.name in ("", "virtualInbound")


def _patches(
    obj: istio.EnvoyFilter, gateways: tuple[istio.Gateway, ...], report: Findings
) -> Iterator[EnvoyPatch]:
    target = _target(obj, gateways)
    for index, change in enumerate(obj.spec.config_patches):
        path = f"spec.configPatches[{index}]"
        match = change.match or istio.EnvoyConfigObjectMatch()
        if reason := _impossible(change, match, target):
            report.add(f.PATCH_IMPOSSIBLE, obj, path, reason=reason)
            continue
        if match.proxy is not None and not _version_matches(match.proxy.proxy_version):
            continue
        patch = change.patch or istio.Patch()
        if not patch.operation or not change.apply_to:
            continue
        context = "GATEWAY" if target.gateways_only else match.context or "ANY"
        yield EnvoyPatch(
            source=f"EnvoyFilter {obj.metadata.namespace}/{obj.metadata.name}",
            path=path,
            apply_to=change.apply_to,  # type: ignore[arg-type]
            operation="MERGE" if patch.operation == MERGE_LISTS else patch.operation,  # type: ignore[arg-type]
            replaces_lists=patch.operation == MERGE_LISTS,
            value=msgspec.json.encode(patch.value, order="deterministic").decode(),
            context=context,  # type: ignore[arg-type]
            namespace=target.namespace,
            labels=target.labels,
            everywhere=target.everybody or context == "GATEWAY",
            gateways=target.gateways,
            listener=_listener(match.listener),
            route=_route(match.route_configuration),
            cluster=_cluster(match.cluster),
        )


def _target(obj: istio.EnvoyFilter, gateways: tuple[istio.Gateway, ...]) -> _Target:
    namespace = obj.metadata.namespace
    selector = obj.spec.workload_selector
    wanted = selector.labels if selector else {}
    own = "" if namespace == ROOT_NAMESPACE else namespace
    refs = [r for r in obj.spec.target_refs if r.kind == "Gateway"]
    if refs:
        names = tuple(
            f"{r.namespace or namespace}/{r.name}"
            for r in refs
            if not own or r.namespace in ("", own)
        )
        return _Target(own, (), names or ("",), gateways_only=True)
    if wanted:
        here = (g for g in gateways if not own or g.metadata.namespace == own)
        named = (g for g in here if wanted.items() <= g.spec.selector.items())
        found = tuple(f"{g.metadata.namespace}/{g.metadata.name}" for g in named)
        return _Target(own, tuple(sorted(wanted.items())), found or ("",))
    here = (g for g in gateways if own and g.metadata.namespace == own)
    found = tuple(f"{own}/{g.metadata.name}" for g in here)
    return _Target(own, (), found if found or not own else ("",))


def _impossible(
    change: istio.EnvoyConfigObjectPatch, match: istio.EnvoyConfigObjectMatch, target: _Target
) -> str:
    if change.apply_to == "BOOTSTRAP":
        return "the bootstrap is that of the node's proxy, which all workloads share"
    at_gateways = target.gateways_only or match.context == "GATEWAY"
    if change.apply_to == "CLUSTER" and at_gateways and not target.everybody:
        return (
            "clusters of gateways are those of all callers, so they are changed for all only: "
            f"from namespace {ROOT_NAMESPACE}, without a selector"
        )
    if match.context == "WAYPOINT":
        return "there are no waypoints: the node's proxy does their work"
    if match.proxy is not None and match.proxy.metadata:
        return "the node's proxy has no metadata to match"
    if (match.listener is not None and match.listener.port_name) or (
        match.route_configuration is not None and match.route_configuration.port_name
    ):
        return "ports are matched by number: write `portNumber` instead of `portName`"
    if change.apply_to == "EXTENSION_CONFIG" and change.patch and change.patch.operation != "ADD":
        return "configurations can only be added"
    return ""


def _version_matches(expression: str) -> bool:
    if not expression or regex_problem(expression):
        return not expression
    return re.search(expression, ISTIO_VERSION) is not None


def _listener(match: istio.ListenerMatch | None) -> ListenerPatchMatch | None:
    if match is None:
        return None
    chain = match.filter_chain or istio.FilterChainMatch()
    network = chain.filter or istio.FilterMatch()
    protocols = (p.strip() for p in chain.application_protocols.split(","))
    return ListenerPatchMatch(
        name=match.name,
        port=match.port_number or 0,
        chain=chain.name,
        sni=chain.sni,
        transport_protocol=chain.transport_protocol,
        application_protocols=tuple(p for p in protocols if p),
        destination_port=chain.destination_port or 0,
        network_filter=network.name,
        http_filter=network.sub_filter.name if network.sub_filter else "",
        listener_filter=match.listener_filter,
    )


def _route(match: istio.RouteConfigurationMatch | None) -> RoutePatchMatch | None:
    if match is None:
        return None
    host = match.vhost or istio.VirtualHostMatch()
    route = host.route or istio.RouteMatch()
    return RoutePatchMatch(
        name=match.name,
        port=match.port_number or 0,
        gateway=match.gateway,
        virtual_host=host.name,
        domain=host.domain_name,
        route=route.name,
        action="" if route.action == "ANY" else route.action,
    )


def _cluster(match: istio.ClusterMatch | None) -> ClusterPatchMatch | None:
    if match is None:
        return None
    return ClusterPatchMatch(match.name, match.service, match.subset, match.port_number or 0)
