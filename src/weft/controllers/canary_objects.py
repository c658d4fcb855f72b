"""What a Canary makes besides routes: the primary with its configuration, autoscaler, Services."""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from weft.api.flagger.canary import DEADLINE_SECONDS_DEFAULT, CustomMetadata
from weft.api.k8s.apps_v1 import Deployment, DeploymentSpec
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.core_v1 import ConfigMap, PodTemplateSpec, Secret, Service, ServicePort
from weft.api.k8s.core_v1 import ServiceSpec as Spec
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.pod_references import CONFIG_MAPS, SECRETS, references
from weft.api.snapshot import meta
from weft.controllers.canary_view import (
    FULL,
    Draft,
    Halt,
    View,
    canary_name,
    copied,
    owned,
    primary_name,
)
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import object_patch
from weft.controllers.support.podstate import seconds
from weft.runtime.plan import Action, Create

ANNOTATION_ID = "flagger-id"
"""Of the primary's pods: what they were made from, configuration included."""
ANNOTATION_TRACKING = "flagger.app/config-tracking"
"""Of a ConfigMap or Secret: `disabled` means that it is shared and not watched."""
_SECRET_TYPES = (
    "", "Opaque", "kubernetes.io/basic-auth", "kubernetes.io/ssh-auth", "kubernetes.io/tls",
)  # fmt: skip
_NAMES: Mapping[str, tuple[str, ...]] = {
    "configMap": (CONFIG_MAPS, "name"), "configMapRef": (CONFIG_MAPS, "name"),
    "configMapKeyRef": (CONFIG_MAPS, "name"), "secret": (SECRETS, "secretName", "name"),
    "secretRef": (SECRETS, "name"), "secretKeyRef": (SECRETS, "name"),
}  # fmt: skip
"""Fields of a pod that name such an object -> its kind, and where the name stands."""


def configs(view: View) -> dict[str, str]:
    """What the pods read and that is watched: `configmap/NAME` -> its version."""
    return dict(sorted(_tracked(view)))


def _tracked(view: View) -> Iterator[tuple[str, str]]:
    for plural, name in references(Pod(spec=view.target.spec.template.spec)):
        cls = {CONFIG_MAPS: ConfigMap, SECRETS: Secret}.get(plural)
        obj: Any = view.snapshot.get(cls, name, view.space) if cls is not None else None
        if obj is None or meta(obj).annotations.get(ANNOTATION_TRACKING, "").startswith("disable"):
            continue
        if isinstance(obj, Secret):
            # Nothing of its content shows, not even as a hash.
            if obj.type in _SECRET_TYPES:
                yield f"secret/{name}", obj.metadata.resource_version
        else:
            yield f"configmap/{name}", _digest((obj.data, obj.binary_data))


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()[:16]


def copies(view: View) -> list[Action]:
    """ConfigMaps and Secrets of the primary, as those of the target are now."""
    actions: list[Action] = []
    for name in configs(view):
        kind, _, plain = name.partition("/")
        cls: type[ConfigMap] | type[Secret] = ConfigMap if kind == "configmap" else Secret
        source = view.snapshot.get(cls, plain, view.space)
        if source is None:
            continue
        metadata = _metadata(view, primary_name(plain), source.metadata.labels, {})
        made = replace(source, metadata=metadata)
        actions += _written(view, view.snapshot.get(cls, metadata.name, view.space), made)
    return actions


def _metadata(
    view: View, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> ObjectMeta:
    return ObjectMeta(
        name=name, namespace=view.space, labels=dict(labels), annotations=copied(annotations),
        owner_references=(owner_reference(view.canary),),
    )  # fmt: skip


def _written(view: View, found: Any, made: Any) -> list[Action]:
    if found is None:
        return [Create(made)]
    if not owned(view.canary, found):
        kind = type(made).__name__
        raise Halt(f"{kind} {meta(made).name}.{view.space} is not of this Canary: rename it")
    kept = replace(
        found.metadata, labels=made.metadata.labels, annotations=made.metadata.annotations
    )
    return [*object_patch(found, replace(made, metadata=kept))]


def _renamed(value: Any, tracked: frozenset[tuple[str, str]]) -> Any:
    """A pod's fields with the names of the primary's copies."""
    if isinstance(value, list | tuple):
        return [_renamed(each, tracked) for each in value]
    if not isinstance(value, dict):
        return value
    made = {key: _renamed(each, tracked) for key, each in value.items()}
    for key, (plural, *fields) in _NAMES.items():
        inner: Any = made.get(key)
        for field in fields if isinstance(inner, dict) else ():
            if (plural, inner.get(field)) in tracked:
                inner[field] = primary_name(inner[field])
    return made


# ------------------------------------------------------------------ the primary


def primary(view: View) -> Deployment:
    """The primary as it is made at first."""
    target = view.target
    value = primary_name(view.value)
    labels = copied(target.metadata.labels) | {view.label: value}
    spec = replace(
        promoted_spec(view, DeploymentSpec()),
        replicas=target.spec.replicas or 1,
        selector=LabelSelector(match_labels={view.label: value}),
    )
    name = primary_name(target.metadata.name)
    notes = {
        k: v for k, v in target.metadata.annotations.items()
        if not k.startswith("deployment.kubernetes.io/")
    }  # fmt: skip
    return Deployment(
        api_version="apps/v1", kind="Deployment", spec=spec,
        metadata=_metadata(view, name, labels, notes),
    )  # fmt: skip


def promoted_spec(view: View, before: DeploymentSpec) -> DeploymentSpec:
    """The primary's spec with the template of the target."""
    spec = view.target.spec
    tracked = configs(view)
    names = frozenset(
        (CONFIG_MAPS if kind == "configmap" else SECRETS, name)
        for kind, _, name in (each.partition("/") for each in tracked)
    )
    body = _renamed(msgspec.to_builtins(spec.template), names)
    template = msgspec.convert(body, PodTemplateSpec)
    metadata = template.metadata
    labels = dict(metadata.labels) | {view.label: primary_name(view.value)}
    notes = dict(metadata.annotations) | {ANNOTATION_ID: _digest((view.hash, tracked))}
    scaled = view.canary.spec.autoscaler_ref is not None or not spec.replicas
    return replace(
        before,
        progress_deadline_seconds=spec.progress_deadline_seconds,
        min_ready_seconds=spec.min_ready_seconds,
        revision_history_limit=spec.revision_history_limit,
        strategy=spec.strategy,
        replicas=before.replicas if scaled else spec.replicas,
        template=replace(template, metadata=replace(metadata, labels=labels, annotations=notes)),
    )


def promote(draft: Draft) -> None:
    """The primary gets what the target has."""
    view = draft.view
    found = view.primary
    if found is None:
        raise Halt(f"deployment {primary_name(view.target.metadata.name)}.{view.space} not found")
    name = found.metadata.name
    draft.event(f"Copying {view.of} template spec to {name}.{view.space}")
    draft.actions += copies(view)
    new = replace(found, spec=promoted_spec(view, found.spec))
    draft.actions += object_patch(found, new)
    draft.actions += autoscaler(view, update=True)


def autoscaler(view: View, *, update: bool) -> list[Action]:
    """The copy of the target's HorizontalPodAutoscaler; changes reach it with a promotion."""
    reference = view.canary.spec.autoscaler_ref
    if reference is None:
        return []
    source = view.snapshot.get(HorizontalPodAutoscaler, reference.name, view.space)
    if source is None or source.spec.scale_target_ref is None:
        raise Halt(f"HorizontalPodAutoscaler {reference.name}.{view.space} not found")
    name = primary_name(reference.name)
    found = view.snapshot.get(HorizontalPodAutoscaler, name, view.space)
    if found is not None and not update:
        return []
    limits = reference.primary_scaler_replicas
    aim = replace(source.spec.scale_target_ref, name=primary_name(view.target.metadata.name))
    spec = replace(source.spec, scale_target_ref=aim)
    if limits is not None:
        spec = replace(
            spec,
            min_replicas=limits.min_replicas or spec.min_replicas,
            max_replicas=limits.max_replicas or spec.max_replicas,
        )
    made = HorizontalPodAutoscaler(
        api_version="autoscaling/v2", kind="HorizontalPodAutoscaler", spec=spec,
        metadata=_metadata(view, name, source.metadata.labels, {}),
    )  # fmt: skip
    return _written(view, found, made)


def scaled(view: View, replicas: int) -> tuple[Action, ...]:
    """The target with so many pods."""
    target = view.target
    return object_patch(target, replace(target, spec=replace(target.spec, replicas=replicas)))


def scaled_up(view: View) -> tuple[Action, ...]:
    """The target with as many pods as it says, or else as the primary has."""
    if view.target.spec.replicas:
        return ()
    return scaled(view, (view.primary.spec.replicas if view.primary else 0) or 1)


def ready(view: View, found: Deployment | None, percent: int | None) -> tuple[str, bool]:
    """(why it is not ready, whether it may still become so)."""
    if found is None:
        return "it does not exist", True
    status, spec = found.status, found.spec
    if (status.observed_generation or 0) < (found.metadata.generation or 0):
        text = "observed deployment generation less than desired generation"
        return f"waiting for rollout to finish: {text}", True
    limit = view.canary.spec.progress_deadline_seconds
    limit = DEADLINE_SECONDS_DEFAULT if limit is None else limit
    states = {c.type: c for c in status.conditions}
    progress, available = states.get("Progressing"), states.get("Available")
    if progress is not None and progress.reason == "ProgressDeadlineExceeded":
        return f'deployment "{found.metadata.name}" exceeded its progress deadline', False
    hopeful = True
    if available is not None and available.status == "False":
        hopeful = seconds(available.last_update_time) + limit >= view.now
    wanted = 1 if spec.replicas is None else spec.replicas
    updated, there = status.updated_replicas or 0, status.available_replicas or 0
    needed = updated * (FULL if percent is None else percent) // FULL
    text = ""
    if updated < wanted:
        text = f"{updated} out of {wanted} new replicas have been updated"
    elif (status.replicas or 0) > updated:
        text = f"{(status.replicas or 0) - updated} old replicas are pending termination"
    elif there < needed:
        text = f"{there} of {needed} updated replicas are available"
    return (f"waiting for rollout to finish: {text}", hopeful) if text else ("", True)


# ------------------------------------------------------------------ Services


def service(view: View, name: str, value: str, extra: CustomMetadata | None) -> list[Action]:
    """A Service of the pods with that label; one that is there already is taken over."""
    extra = extra or CustomMetadata()
    metadata = _metadata(view, name, dict(extra.labels) | {view.label: name}, extra.annotations)
    ports = _ports(view)
    found = view.snapshot.get(Service, name, view.space)
    if found is None:
        spec = Spec(
            type="ClusterIP", selector={view.label: value}, ports=ports,
            traffic_distribution=view.canary.spec.service.traffic_distribution,
        )  # fmt: skip
        return [Create(Service(api_version="v1", kind="Service", metadata=metadata, spec=spec))]
    spec = found.spec
    if [_bare(p) for p in spec.ports] != [_bare(p) for p in ports]:
        numbers = {p.name: p.node_port for p in spec.ports}
        ports = tuple(replace(p, node_port=numbers.get(p.name)) for p in ports)
        spec = replace(spec, ports=ports)
    spec = replace(spec, selector={view.label: value})
    kept = found.metadata
    if owned(view.canary, found):
        spec = replace(spec, traffic_distribution=view.canary.spec.service.traffic_distribution)
        kept = replace(kept, labels=metadata.labels, annotations=metadata.annotations)
    return [*object_patch(found, replace(found, metadata=kept, spec=spec))]


def _bare(port: ServicePort) -> tuple[Any, ...]:
    return port.name, port.port, port.target_port, port.app_protocol


def _ports(view: View) -> tuple[ServicePort, ...]:
    wanted = view.canary.spec.service
    first = ServicePort(
        name=wanted.port_name or "http", port=wanted.port, protocol="TCP",
        target_port=wanted.target_port or wanted.port, app_protocol=wanted.app_protocol,
    )  # fmt: skip
    if not wanted.port_discovery:
        return (first,)
    seen = {wanted.port, wanted.target_port}
    names = {first.name}
    ports = [first]
    for container in view.target.spec.template.spec.containers:
        for each in container.ports:
            number = each.container_port or 0
            if number in seen or each.name == wanted.target_port or each.protocol == "UDP":
                continue
            name = each.name if each.name and each.name not in names else f"tcp-{number}"
            names.add(name)
            ports.append(ServicePort(name=name, port=number, protocol="TCP", target_port=number))
    return tuple(ports)


def services(view: View) -> list[Action]:
    """Those of primary and canary."""
    wanted = view.canary.spec.service
    apex = view.canary.apex
    return [
        *service(view, canary_name(apex), view.value, wanted.canary),
        *service(view, primary_name(apex), primary_name(view.value), wanted.primary),
    ]


def serves(view: View, name: str) -> bool:
    """Whether a Service has a ready endpoint."""
    found = view.snapshot.get(Service, name, view.space)
    if found is None:
        return False
    return any(
        e.conditions is None or e.conditions.ready is not False
        for s in view.snapshot.owned(EndpointSlice, found.metadata.uid)
        for e in s.endpoints
    )
