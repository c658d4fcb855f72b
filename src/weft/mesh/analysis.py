"""What is wrong or doubtful in a set of objects, beyond what building the model reports.

The checks read objects only; nothing here changes what is in force.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from weft.api.diagnostics import Diagnostic
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Service, ServicePort
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.api.vip import vip_for
from weft.api.wellknown import ANNOTATION_POD_WEIGHT
from weft.mesh import findings as f
from weft.mesh.build import BuildSettings, Built, build
from weft.mesh.findings import Findings
from weft.mesh.istio_matches import MESH
from weft.mesh.learned_protocols import learned
from weft.mesh.model import AppProtocol
from weft.mesh.names import full_host, service_host
from weft.mesh.protocols import TCP_PORTS, declared, of_istio


def analyze(
    snapshot: Snapshot, settings: BuildSettings, built: Built | None = None
) -> tuple[Diagnostic, ...]:
    """All findings, those of the build included. `built` saves building again."""
    report = Findings()
    report.extend((built or build(snapshot, settings)).diagnostics)
    for check in CHECKS:
        check(snapshot, report)
    return report.all()


def service_selectors(snapshot: Snapshot, report: Findings) -> None:
    """Selectors that choose nothing, and target ports that no chosen container names."""
    pods = _pods_by_namespace(snapshot)
    for service in snapshot.list(Service):
        spec, meta = service.spec, service.metadata
        if not spec.selector or spec.type == "ExternalName":
            continue
        chosen = _selected(pods.get(meta.namespace, ()), spec.selector)
        if not chosen:
            report.add(
                f.SELECTOR_EMPTY,
                service,
                "spec.selector",
                _nearest_labels(pods.get(meta.namespace, ()), spec.selector),
                labels=_labels(spec.selector),
                namespace=meta.namespace,
            )
            continue
        names = {p.name for pod in chosen for c in pod.spec.containers for p in c.ports if p.name}
        for index, port in enumerate(spec.ports):
            target = port.target_port
            if isinstance(target, str) and not target.isdigit() and target not in names:
                report.add(
                    f.TARGET_PORT_UNKNOWN,
                    service,
                    f"spec.ports[{index}].targetPort",
                    f.suggest(target, names, "containers name"),
                    port=target,
                )


def service_ports(snapshot: Snapshot, report: Findings) -> None:
    """Ports whose protocol is not declared, is declared twice, or is not carried."""
    for service in snapshot.list(Service):
        for index, port in enumerate(service.spec.ports):
            _service_port(service, port, f"spec.ports[{index}]", report)


def _service_port(service: Service, port: ServicePort, path: str, report: Findings) -> None:
    if port.protocol == "SCTP":
        report.add(f.SCTP_UNSUPPORTED, service, path, port=port.port)
    if port.protocol not in ("", "TCP"):
        return
    by_name, by_field = declared(port.name, ""), declared("", port.app_protocol)
    if by_name and by_field and by_name != by_field:
        report.add(
            f.PORT_NAMED_OTHERWISE,
            service,
            f"{path}.name",
            name=port.name,
            by_name=by_name,
            by_field=by_field,
        )
    if not (by_name or by_field) and port.port not in TCP_PORTS:
        known = port.port in learned(service)
        finding = f.PROTOCOL_LEARNED if known else f.PROTOCOL_UNDECLARED
        report.add(finding, service, path, port=port.port)


def pod_ports(snapshot: Snapshot, report: Findings) -> None:
    """Ports of pods that several services declare differently."""
    pods = _pods_by_namespace(snapshot)
    seen: dict[tuple[str, str, int], tuple[AppProtocol, Service]] = {}
    for service in snapshot.list(Service):
        meta, spec = service.metadata, service.spec
        for pod in _selected(pods.get(meta.namespace, ()), spec.selector) if spec.selector else ():
            for index, port in enumerate(spec.ports):
                protocol = declared(port.name, port.app_protocol)
                number = _target_number(port, pod)
                if protocol is None or number is None or port.protocol == "UDP":
                    continue
                key = (meta.namespace, pod.metadata.name, number)
                first, owner = seen.setdefault(key, (protocol, service))
                if first != protocol:
                    report.add(
                        f.INBOUND_CONFLICT,
                        service,
                        f"spec.ports[{index}]",
                        f"Service {owner.metadata.name} says {first}",
                        port=number,
                        pod=pod.metadata.name,
                        first=first,
                        second=protocol,
                    )


def pod_weights(snapshot: Snapshot, report: Findings) -> None:
    """Weights of pods that are no numbers."""
    for pod in snapshot.list(Pod):
        value = pod.metadata.annotations.get(ANNOTATION_POD_WEIGHT, "1")
        if not (value.isascii() and value.isdigit() and int(value)):
            path = f"metadata.annotations[{ANNOTATION_POD_WEIGHT}]"
            report.add(f.WEIGHT_INVALID, pod, path, value=value)


def subsets(snapshot: Snapshot, report: Findings) -> None:
    """Subsets of DestinationRules whose labels no pod of the service has."""
    pods = _pods_by_namespace(snapshot)
    services = {
        service_host(s.metadata.name, s.metadata.namespace): s for s in snapshot.list(Service)
    }
    for rule in snapshot.list(istio.DestinationRule):
        host = full_host(rule.spec.host, rule.metadata.namespace, services)
        service = services.get(host)
        if service is None or not service.spec.selector:
            continue
        chosen = _selected(pods.get(service.metadata.namespace, ()), service.spec.selector)
        if not chosen:
            continue
        for index, subset in enumerate(rule.spec.subsets):
            if not _selected(chosen, subset.labels):
                report.add(
                    f.SUBSET_EMPTY,
                    rule,
                    f"spec.subsets[{index}].labels",
                    _nearest_labels(chosen, subset.labels),
                    subset=subset.name,
                    host=host,
                    labels=_labels(subset.labels),
                )


def unreachable_rules(snapshot: Snapshot, report: Findings) -> None:
    """HTTP rules behind one that matches everything, and matches that stand twice."""
    for obj in snapshot.list(istio.VirtualService):
        everything = ""
        seen: list[tuple[istio.HTTPMatchRequest, str]] = []
        for index, route in enumerate(obj.spec.http):
            path = f"spec.http[{index}]"
            if everything:
                report.add(f.SHADOWED, obj, path, earlier=f"`{everything}`")
                continue
            for number, match in enumerate(route.match):
                where = f"{path}.match[{number}]"
                plain = _without_names(match)
                earlier = next((at for known, at in seen if known == plain), "")
                if earlier:
                    report.add(f.ROUTE_DUPLICATE, obj, where, earlier=f"`{earlier}`")
                    continue
                seen.append((plain, where))
            if not route.match or any(_matches_everything(m) for m in route.match):
                everything = path


def gateway_duplicates(snapshot: Snapshot, report: Findings) -> None:
    """Hosts that several plain HTTP servers claim on one port."""
    claimed: dict[tuple[int, str, str], istio.Gateway] = {}
    gateways = sorted(
        snapshot.list(istio.Gateway),
        key=lambda g: (g.metadata.creation_timestamp, g.metadata.namespace, g.metadata.name),
    )
    for gateway in gateways:
        for index, server in enumerate(gateway.spec.servers):
            if server.port is None or server.port.protocol.upper() != "HTTP":
                continue
            for host in server.hosts:
                scope, _, name = host.rpartition("/")
                key = (server.port.number or 0, scope, name)
                owner = claimed.setdefault(key, gateway)
                if owner is not gateway:
                    report.add(
                        f.GATEWAY_HOST_SHARED,
                        gateway,
                        f"spec.servers[{index}].hosts",
                        host=host,
                        port=server.port.number,
                        other=f"Gateway {owner.metadata.namespace}/{owner.metadata.name}",
                    )


def gateway_references(snapshot: Snapshot, report: Findings) -> None:
    """Matches that name a gateway which the object itself is not bound to."""
    for obj in snapshot.list(istio.VirtualService):
        if not obj.spec.hosts:
            continue  # a delegate: its gateways are those of who delegates
        own = set(obj.spec.gateways) or {MESH}
        for index, route in enumerate(obj.spec.http):
            for number, match in enumerate(route.match):
                for name in match.gateways:
                    if name not in own:
                        report.add(
                            f.GATEWAY_UNKNOWN,
                            obj,
                            f"spec.http[{index}].match[{number}].gateways",
                            f.suggest(name, own, "the object is bound to"),
                            gateway=name,
                        )


def entry_addresses(snapshot: Snapshot, report: Findings) -> None:
    """Addresses of ServiceEntries on which two hosts cannot be told apart."""
    owners: dict[tuple[str, int], str] = {}
    for entry in snapshot.list(istio.ServiceEntry):
        resolution = entry.spec.resolution or "NONE"
        for host in entry.spec.hosts:
            given = entry.spec.addresses
            own = given or (() if resolution == "NONE" or "*" in host else (vip_for(host),))
            for port in entry.spec.ports:
                number = port.number or 0
                if of_istio(port.protocol, number) not in ("tcp", "tls"):
                    continue
                for address in own:
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


def deprecated_fields(snapshot: Snapshot, report: Findings) -> None:
    """Fields with a newer name."""
    for obj in snapshot.list(istio.VirtualService):
        for index, route in enumerate(obj.spec.http):
            fault = route.fault
            for present, field, instead in (
                (
                    route.mirror_percent is not None or route.mirror_percent_old is not None,
                    "mirrorPercent",
                    "mirrorPercentage",
                ),
                (
                    fault and fault.delay and fault.delay.percent is not None,
                    "fault.delay.percent",
                    "fault.delay.percentage",
                ),
                (
                    fault and fault.abort and fault.abort.percent is not None,
                    "fault.abort.percent",
                    "fault.abort.percentage",
                ),
                (
                    route.cors_policy and route.cors_policy.allow_origin,
                    "corsPolicy.allowOrigin",
                    "corsPolicy.allowOrigins",
                ),
            ):
                if present:
                    path = f"spec.http[{index}].{field}"
                    report.add(f.DEPRECATED, obj, path, field=field, instead=instead)


CHECKS: tuple[Callable[[Snapshot, Findings], None], ...] = (
    service_selectors,
    service_ports,
    pod_ports,
    pod_weights,
    subsets,
    unreachable_rules,
    gateway_duplicates,
    gateway_references,
    entry_addresses,
    deprecated_fields,
)


def _pods_by_namespace(snapshot: Snapshot) -> Mapping[str, Sequence[Pod]]:
    found: dict[str, list[Pod]] = {}
    for pod in snapshot.list(Pod):
        found.setdefault(pod.metadata.namespace, []).append(pod)
    return found


def _selected(pods: Iterable[Pod], labels: Mapping[str, str]) -> list[Pod]:
    wanted = labels.items()
    return [pod for pod in pods if wanted <= pod.metadata.labels.items()]


def _nearest_labels(pods: Iterable[Pod], labels: Mapping[str, str]) -> str:
    """A hint with the value that pods really have for the first label that none matches."""
    for key in sorted(labels):
        values = {v for pod in pods if (v := pod.metadata.labels.get(key))}
        if labels[key] not in values:
            if not values:
                return f"no pod has a label `{key}`"
            return f.suggest(labels[key], values, f"pods have `{key}`")
    return ""


def _labels(labels: Mapping[str, str]) -> str:
    return f.quoted(f"{k}={labels[k]}" for k in sorted(labels))


def _target_number(port: ServicePort, pod: Pod) -> int | None:
    target = port.target_port
    if target is None or target == "":
        return port.port
    if isinstance(target, int) or target.isdigit():
        return int(target)
    named = (p for c in pod.spec.containers for p in c.ports if p.name == target)
    return next((p.container_port for p in named), None)


def _without_names(match: istio.HTTPMatchRequest) -> istio.HTTPMatchRequest:
    """The condition alone: names are for logs."""
    if not match.name and not match.stat_prefix:
        return match
    fields = {n: getattr(match, n) for n in match.__struct_fields__}
    return istio.HTTPMatchRequest(**(fields | {"name": "", "stat_prefix": ""}))


def _matches_everything(match: istio.HTTPMatchRequest) -> bool:
    uri = match.uri
    any_path = uri is None or uri.prefix in ("", "/") or uri.regex == ".*"
    rest = _without_names(match)
    fields = {n: getattr(rest, n) for n in rest.__struct_fields__}
    ignored = {"uri": None, "ignore_uri_case": None}
    return any_path and istio.HTTPMatchRequest(**(fields | ignored)) == istio.HTTPMatchRequest()
