"""A snapshot with the indexes that checks share: hosts, pods and templates by label, gateways.

Everything is computed when first asked for, so that a check of few objects stays cheap.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from msgspec import Struct

from weft.api.argo.rollout import Rollout
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Namespace, PodTemplateSpec, Service
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod, PodSpec
from weft.api.snapshot import Snapshot, controller_of, meta
from weft.mesh.build import Built
from weft.mesh.model import AppProtocol
from weft.mesh.names import covers, full_host, service_host
from weft.mesh.protocols import of_istio, of_port

T = TypeVar("T", bound=Struct)
Templated = Deployment | Rollout | ReplicaSet | Job
TEMPLATED: tuple[type[Templated], ...] = (Deployment, Rollout, ReplicaSet, Job)
"""Kinds with a pod template."""
_NO_TEMPLATE = PodTemplateSpec()


class Template(Struct, frozen=True):
    """A pod, or what pods are made from: manifests are analysed before any pod exists."""

    obj: Struct
    namespace: str
    name: str
    path: str
    """Where the pod stands in the object: "" or `spec.template`."""
    metadata: ObjectMeta
    spec: PodSpec
    owned: bool
    """Made by another object, which is where a user would change it."""

    @property
    def labels(self) -> Mapping[str, str]:
        return self.metadata.labels

    def at(self, path: str) -> str:
        """The path of a field of the pod in the object."""
        return f"{self.path}.{path}" if self.path else path


class Known(Struct, frozen=True):
    """A host of the mesh, and what its ports carry."""

    host: str
    namespace: str
    source: Struct
    """The Service or ServiceEntry."""
    ports: tuple[tuple[int, AppProtocol], ...]

    def protocol(self, number: int) -> AppProtocol | None:
        return next((p for n, p in self.ports if n == number), None)


class World:
    """What is analysed."""

    def __init__(self, snapshot: Snapshot, built: Built) -> None:
        self.snapshot = snapshot
        self.built = built
        self._lists: dict[type[Struct], Sequence[Any]] = {}

    def list(self, cls: type[T]) -> Sequence[T]:
        """All objects of a kind, by namespace and name."""
        found = self._lists.get(cls)
        if found is None:
            found = self._lists[cls] = self.snapshot.list(cls)
        return found

    # --- hosts

    @cached_property
    def services(self) -> Mapping[str, Service]:
        """Services by full host."""
        found = self.list(Service)
        return {service_host(s.metadata.name, s.metadata.namespace): s for s in found}

    @cached_property
    def hosts(self) -> Mapping[str, Known]:
        """Services, and hosts of ServiceEntries that no Service has."""
        found = {host: _service(host, service) for host, service in self.services.items()}
        for entry in self.list(istio.ServiceEntry):
            for written in entry.spec.hosts:
                host = written.lower()
                found.setdefault(host, _entry(host, entry))
        return found

    @cached_property
    def _wild(self) -> tuple[Known, ...]:
        return tuple(known for known in self.hosts.values() if known.host.startswith("*"))

    def full(self, host: str, namespace: str) -> str:
        """A host as an object of the namespace writes it, in full."""
        return full_host(host, namespace, self.hosts)

    def find(self, host: str, namespace: str) -> Known | None:
        """The host that an object of the namespace means."""
        name = self.full(host, namespace)
        found = self.hosts.get(name)
        return found or next((k for k in self._wild if covers(k.host, name)), None)

    @cached_property
    def subsets(self) -> Mapping[str, frozenset[str]]:
        """Names of subsets by full host, whoever defines them."""
        found: dict[str, frozenset[str]] = {}
        for rule in self.list(istio.DestinationRule):
            host = self.full(rule.spec.host, rule.metadata.namespace)
            found[host] = found.get(host, frozenset()) | {s.name for s in rule.spec.subsets}
        return found

    # --- workloads

    @cached_property
    def templates(self) -> tuple[Template, ...]:
        """Pods, and templates of pods."""
        owners: list[Templated] = [obj for cls in TEMPLATED for obj in self.list(cls)]
        return (*map(_template, owners), *map(_pod, self.list(Pod)))

    @cached_property
    def _by_label(self) -> Mapping[tuple[str, str, str], Sequence[Template]]:
        found: dict[tuple[str, str, str], list[Template]] = {}
        for each in self.templates:
            for key, value in each.labels.items():
                found.setdefault((each.namespace, key, value), []).append(each)
        return found

    def in_namespace(self, namespace: str) -> Sequence[Template]:
        """Pods and templates of a namespace."""
        return self._by_namespace.get(namespace, ())

    @cached_property
    def _by_namespace(self) -> Mapping[str, Sequence[Template]]:
        found: dict[str, list[Template]] = {}
        for each in self.templates:
            found.setdefault(each.namespace, []).append(each)
        return found

    def select(self, namespace: str, labels: Mapping[str, str]) -> Sequence[Template]:
        """Those that have all the labels; all of the namespace when there are none."""
        if not labels:
            return self.in_namespace(namespace)
        lists: list[Sequence[Template]] = [
            self._by_label.get((namespace, k, v), ()) for k, v in labels.items()
        ]
        rarest = min(lists, key=len)
        return selected(rarest, labels)

    def pods_of(self, service: Service) -> Sequence[Template]:
        """What a Service's selector chooses; nothing without one."""
        spec = service.spec
        if not spec.selector or spec.type == "ExternalName":
            return ()
        return self.select(service.metadata.namespace, spec.selector)

    # --- others

    @cached_property
    def gateways(self) -> Mapping[str, istio.Gateway]:
        """Istio Gateways by `namespace/name`."""
        return {f"{g.metadata.namespace}/{g.metadata.name}": g for g in self.list(istio.Gateway)}

    @cached_property
    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """Namespaces with their labels."""
        return {n.metadata.name: n.metadata.labels for n in self.list(Namespace)}


def selected(templates: Iterable[Template], labels: Mapping[str, str]) -> list[Template]:
    """Those that have all the labels."""
    wanted = labels.items()
    return [each for each in templates if wanted <= each.labels.items()]


def oldest_first(objects: Iterable[T]) -> list[T]:
    """In order of creation; equal times by namespace and name."""
    return sorted(objects, key=lambda o: ((m := meta(o)).creation_timestamp, m.namespace, m.name))


def _service(host: str, service: Service) -> Known:
    ports = tuple(
        (p.port or 0, protocol)
        for p in service.spec.ports
        if (protocol := of_port(p.name, p.app_protocol, p.protocol, p.port or 0))
    )
    return Known(host, service.metadata.namespace, service, ports)


def _entry(host: str, entry: istio.ServiceEntry) -> Known:
    ports = tuple((p.number or 0, of_istio(p.protocol, p.number or 0)) for p in entry.spec.ports)
    return Known(host, entry.metadata.namespace, entry, ports)


def _pod(pod: Pod) -> Template:
    own = pod.metadata
    return Template(pod, own.namespace, own.name, "", own, pod.spec, controller_of(pod) is not None)


def pod_template(obj: Templated) -> PodTemplateSpec:
    """An empty one when it is another object's (a Rollout's workloadRef)."""
    return obj.spec.template or _NO_TEMPLATE


def _template(obj: Templated) -> Template:
    own, template = obj.metadata, pod_template(obj)
    owned = controller_of(obj) is not None
    return Template(
        obj, own.namespace, own.name, "spec.template", template.metadata, template.spec, owned
    )
