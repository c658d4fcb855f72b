"""Pods and their templates: what they name, and when they get requests."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.core_v1 import ConfigMap, Secret, ServiceAccount
from weft.api.k8s.pod_v1 import PodSpec
from weft.api.wellknown import ANNOTATION_POD_WEIGHT
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.world import Template, World
from weft.mesh.findings import Findings

IMAGE_OF_INJECTION = "auto"
DEFAULT_ACCOUNT = "default"
KEPT_FOR_PODS = frozenset({"kube-root-ca.crt"})
"""ConfigMaps that every namespace has without anybody writing them."""


class _Named(Struct, frozen=True):
    """An object that a pod cannot start without."""

    cls: type[Struct]
    name: str
    path: str


def references(world: World, report: Findings) -> None:
    """Secrets, ConfigMaps and service accounts that are not there."""
    for each in _written(world):
        for named in _references(each.spec):
            own = each.namespace
            if not named.name or world.snapshot.get(named.cls, named.name, own) is not None:
                continue
            known = [o.metadata.name for o in world.snapshot.list(named.cls, own)]  # type: ignore[attr-defined]
            report.add(
                c.POD_REFERENCE_UNKNOWN,
                each.obj,
                each.at(f"spec.{named.path}"),
                f.suggest(named.name, known, "there are"),
                kind=named.cls.__name__,
                name=named.name,
                namespace=own,
            )


def _references(spec: PodSpec) -> Iterator[_Named]:
    account = spec.service_account_name
    if account and account != DEFAULT_ACCOUNT:
        yield _Named(ServiceAccount, account, "serviceAccountName")
    for index, volume in enumerate(spec.volumes):
        path = f"volumes[{index}]"
        if volume.secret is not None and not volume.secret.optional:
            yield _Named(Secret, volume.secret.secret_name, f"{path}.secret.secretName")
        found = volume.config_map
        if found is not None and not found.optional and found.name not in KEPT_FOR_PODS:
            yield _Named(ConfigMap, found.name, f"{path}.configMap.name")
    for field, containers in (
        ("initContainers", spec.init_containers),
        ("containers", spec.containers),
    ):
        for index, container in enumerate(containers):
            yield from _of_environment(container, f"{field}[{index}]")


def _of_environment(container: Container, path: str) -> Iterator[_Named]:
    for index, source in enumerate(container.env_from):
        at = f"{path}.envFrom[{index}]"
        if (secret := source.secret_ref) is not None and not secret.optional:
            yield _Named(Secret, secret.name, f"{at}.secretRef.name")
        if (values := source.config_map_ref) is not None and not values.optional:
            yield _Named(ConfigMap, values.name, f"{at}.configMapRef.name")
    for index, variable in enumerate(container.env):
        at = f"{path}.env[{index}].valueFrom"
        given = variable.value_from
        if given is None:
            continue
        if (key := given.secret_key_ref) is not None and not key.optional:
            yield _Named(Secret, key.name, f"{at}.secretKeyRef.name")
        if (value := given.config_map_key_ref) is not None and not value.optional:
            yield _Named(ConfigMap, value.name, f"{at}.configMapKeyRef.name")


def injected_images(world: World, report: Findings) -> None:
    """Images that only Istio's injection fills in."""
    for each in _written(world):
        for index, container in enumerate(each.spec.containers):
            if container.image == IMAGE_OF_INJECTION:
                report.add(c.IMAGE_AUTO, each.obj, each.at(f"spec.containers[{index}].image"))


def readiness(world: World, report: Findings) -> None:
    """Containers behind a Service of which nobody can tell when they are ready."""
    behind = {id(each) for service in world.services.values() for each in world.pods_of(service)}
    for each in _written(world):
        containers = each.spec.containers
        if id(each) not in behind or any(_tells(container) for container in containers):
            continue
        for index, container in enumerate(containers[:1]):
            report.add(
                c.READINESS_MISSING,
                each.obj,
                each.at(f"spec.containers[{index}]"),
                container=container.name,
            )


def _tells(container: Container) -> bool:
    return container.readiness_probe is not None or bool(container.ports)


def host_network(world: World, report: Findings) -> None:
    """Pods that the mesh does not see."""
    for each in _written(world):
        if each.spec.host_network:
            report.add(c.HOST_NETWORK, each.obj, each.at("spec.hostNetwork"))


def weights(world: World, report: Findings) -> None:
    """Weights of pods that are no numbers."""
    for each in _written(world):
        value = each.metadata.annotations.get(ANNOTATION_POD_WEIGHT, "1")
        if not (value.isascii() and value.isdigit() and int(value)):
            path = each.at(f"metadata.annotations[{ANNOTATION_POD_WEIGHT}]")
            report.add(f.WEIGHT_INVALID, each.obj, path, value=value)


def _written(world: World) -> Iterable[Template]:
    """What users wrote: pods that a controller made repeat its template."""
    return (each for each in world.templates if not each.owned)


CHECKS = (references, injected_images, readiness, host_network, weights)
