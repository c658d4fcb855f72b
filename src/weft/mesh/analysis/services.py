"""Services: what they select, and what their ports say."""

from collections.abc import Iterable, Mapping, Sequence

from weft.api.k8s.container_v1 import ContainerPort
from weft.api.k8s.core_v1 import Service, ServicePort
from weft.api.suggest import nearest
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import Template, World
from weft.mesh.findings import Findings
from weft.mesh.learned_protocols import learned
from weft.mesh.model import AppProtocol
from weft.mesh.protocols import TCP_PORTS, WORDS, declared


def selectors(world: World, report: Findings) -> None:
    """Selectors that choose nothing."""
    for service in world.list(Service):
        spec, meta = service.spec, service.metadata
        if spec.selector and spec.type != "ExternalName" and not world.pods_of(service):
            report.add(
                f.SELECTOR_EMPTY,
                service,
                "spec.selector",
                nearest_labels(world.in_namespace(meta.namespace), spec.selector),
                labels=shown(spec.selector),
                namespace=meta.namespace,
            )


def target_ports(world: World, report: Findings) -> None:
    """Target ports that no chosen container names or declares."""
    for service in world.list(Service):
        chosen = world.pods_of(service)
        if not chosen or not service.spec.ports:
            continue
        ports = [p for each in chosen for c_ in each.spec.containers for p in c_.ports]
        for index, port in enumerate(service.spec.ports):
            _target_port(service, port, f"spec.ports[{index}]", ports, report)


def _target_port(
    service: Service, port: ServicePort, path: str, known: list[ContainerPort], report: Findings
) -> None:
    target = port.target_port
    names = {p.name for p in known if p.name}
    numbers = {p.container_port for p in known if p.container_port}
    if isinstance(target, str) and target and not target.isdigit():
        if target not in names:
            hint = f.suggest(target, names, "containers name")
            report.add(f.TARGET_PORT_UNKNOWN, service, f"{path}.targetPort", hint, port=target)
        return
    number = int(target) if target else port.port
    if port.protocol != "UDP" and numbers and number not in numbers:
        report.add(
            c.TARGET_PORT_UNDECLARED,
            service,
            f"{path}.targetPort" if target else f"{path}.port",
            port=number,
            ports=f.quoted(sorted(numbers)),
        )


def port_protocols(world: World, report: Findings) -> None:
    """Ports whose protocol is not declared, is declared twice, or is not carried."""
    for service in world.list(Service):
        for index, port in enumerate(service.spec.ports):
            path = f"spec.ports[{index}]"
            if port.protocol == "SCTP":
                report.add(f.SCTP_UNSUPPORTED, service, path, port=port.port)
            elif port.protocol not in ("", "TCP"):
                continue
            elif service.spec.type == "ExternalName":
                _external_port(service, port, path, report)
            else:
                _port(service, port, path, report)


def _external_port(service: Service, port: ServicePort, path: str, report: Findings) -> None:
    if not declared(port.name, port.app_protocol):
        report.add(c.EXTERNAL_NAME_PORT, service, f"{path}.name", port=port.port)


def _port(service: Service, port: ServicePort, path: str, report: Findings) -> None:
    by_name, by_field = declared(port.name, ""), declared("", port.app_protocol)
    if port.app_protocol and not by_field:
        report.add(
            c.APP_PROTOCOL_UNKNOWN,
            service,
            f"{path}.appProtocol",
            f.suggest(port.app_protocol.lower(), WORDS, "known are"),
            value=port.app_protocol,
            taken=by_name or "whatever it turns out to be",
        )
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
        near = nearest(port.name.replace("_", "-").partition("-")[0].lower(), WORDS)
        hint = f"did you mean `{near}{_rest(port.name)}`?" if near and port.name else ""
        known = port.port in learned(service)
        finding = f.PROTOCOL_LEARNED if known else f.PROTOCOL_UNDECLARED
        report.add(finding, service, path, "" if known else hint, port=port.port)


def _rest(name: str) -> str:
    _, dash, rest = name.replace("_", "-").partition("-")
    return f"{dash}{rest}".lower()


def shared_ports(world: World, report: Findings) -> None:
    """Ports of pods that several services declare differently."""
    seen: dict[tuple[str, str, str, int], tuple[AppProtocol, Service]] = {}
    for service in world.list(Service):
        told: set[tuple[int, int]] = set()
        for each in world.pods_of(service):
            for index, port in enumerate(service.spec.ports):
                protocol = declared(port.name, port.app_protocol)
                number = _target_number(port, each)
                if protocol is None or number is None or port.protocol == "UDP":
                    continue
                key = (each.namespace, type(each.obj).__name__, each.name, number)
                first, owner = seen.setdefault(key, (protocol, service))
                if first == protocol or (index, number) in told:
                    continue
                told.add((index, number))
                report.add(
                    f.INBOUND_CONFLICT,
                    service,
                    f"spec.ports[{index}]",
                    f"Service {owner.metadata.name} says {first}",
                    port=number,
                    pod=each.name,
                    first=first,
                    second=protocol,
                )


def _target_number(port: ServicePort, pod: Template) -> int | None:
    target = port.target_port
    if target is None or target == "":
        return port.port
    if isinstance(target, int) or target.isdigit():
        return int(target)
    named = (p for c_ in pod.spec.containers for p in c_.ports if p.name == target)
    return next((p.container_port for p in named), None)


# --- words that other checks use too


def nearest_labels(pods: Iterable[Template], labels: Mapping[str, str]) -> str:
    """A hint with the value that pods really have for the first label that none matches."""
    known: Sequence[Template] = tuple(pods)
    for key in sorted(labels):
        values = {v for pod in known if (v := pod.labels.get(key))}
        if labels[key] not in values:
            if not values:
                return f"no pod has a label `{key}`"
            return f.suggest(labels[key], values, f"pods have `{key}`")
    return ""


def shown(labels: Mapping[str, str]) -> str:
    """Labels as people write them on a command line."""
    return f.quoted(f"{k}={labels[k]}" for k in sorted(labels))


CHECKS = (selectors, target_ports, port_protocols, shared_ports)
