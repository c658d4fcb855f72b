"""Ingresses: what they name that is not there."""

from collections.abc import Iterator

from weft.api.k8s.core_v1 import Secret, Service
from weft.api.k8s.networking_v1 import Ingress, IngressBackend, IngressClass
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import World
from weft.mesh.findings import Findings
from weft.mesh.ingresses import USE_ANNOTATION, class_of, our_classes


def classes(world: World, report: Findings) -> None:
    """Ingresses of a class that nobody has."""
    known = {found.metadata.name for found in world.list(IngressClass)} | {"weft"}
    for ingress in world.list(Ingress):
        name = class_of(ingress, world.list(IngressClass))
        if name and name not in known:
            hint = f.suggest(name, known, "there are")
            report.add(c.INGRESS_CLASS_UNKNOWN, ingress, "spec.ingressClassName", hint, name=name)


def _ours(world: World) -> Iterator[Ingress]:
    """Also those of weft's class in a set of manifests, where classes of weft's own lack."""
    known = world.list(IngressClass)
    names = our_classes(known) | {"weft", ""}
    return (i for i in world.list(Ingress) if class_of(i, known) in names)


LOST = "its requests are answered 500"


def backends(world: World, report: Findings) -> None:
    """Services that are not there or lack the port, and back ends that are none."""
    services = {(s.metadata.namespace, s.metadata.name): s for s in world.list(Service)}
    for ingress in _ours(world):
        for path, backend in _backends(ingress):
            if backend.service is None:
                report.add(c.INGRESS_RESOURCE, ingress, path)
                continue
            name, own = backend.service.name, ingress.metadata.namespace
            service = services.get((own, name))
            at = f"{path}.service"
            if service is None:
                near = [other for space, other in services if space == own]
                hint = f.suggest(name, near, "there are")
                report.add(
                    c.BACKEND_UNKNOWN, ingress, f"{at}.name", hint, name=name, consequence=LOST
                )
                continue
            port = backend.service.port
            wanted = (port.name or port.number) if port else None
            has = {p.name: p.port for p in service.spec.ports}
            if wanted == USE_ANNOTATION:
                continue
            if wanted not in has and wanted not in has.values():
                report.add(
                    c.BACKEND_PORT_UNKNOWN, ingress, f"{at}.port", name=name, transport="TCP",
                    port=wanted or "", ports=f.quoted(list(has.values())) or "none",
                    consequence=LOST,
                )  # fmt: skip


def _backends(ingress: Ingress) -> Iterator[tuple[str, IngressBackend]]:
    if ingress.spec.default_backend is not None:
        yield "spec.defaultBackend", ingress.spec.default_backend
    for index, rule in enumerate(ingress.spec.rules):
        for number, path in enumerate(rule.http.paths if rule.http else ()):
            if path.backend is not None:
                yield f"spec.rules[{index}].http.paths[{number}].backend", path.backend


def certificates(world: World, report: Findings) -> None:
    """Secrets with certificates that are not there."""
    known = {
        (s.metadata.namespace, s.metadata.name)
        for s in world.list(Secret)
        if {"tls.crt", "tls.key"} <= {*s.data, *s.string_data}
    }
    for ingress in _ours(world):
        own = ingress.metadata.namespace
        for index, tls in enumerate(ingress.spec.tls):
            if tls.secret_name and (own, tls.secret_name) not in known:
                path = f"spec.tls[{index}].secretName"
                report.add(
                    c.INGRESS_SECRET, ingress, path, name=tls.secret_name, namespace=own
                )  # fmt: skip


CHECKS = (classes, backends, certificates)
