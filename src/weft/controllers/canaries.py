"""Canaries: what wakes them. What they do is decided in `canary_steps`."""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.flagger.canary import Canary
from weft.api.flagger.templates import AlertProvider, MetricTemplate
from weft.api.gateway.v1 import HTTPRoute
from weft.api.istio.networking_v1 import DestinationRule, VirtualService
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.k8s.core_v1 import ConfigMap, Secret, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.pod_references import references
from weft.api.snapshot import Snapshot, controller_of, meta
from weft.controllers.support.ownership import owner_keys
from weft.runtime.controller import Controller, PlanFunction, Watch
from weft.runtime.plan import Key

MADE: tuple[type[Struct], ...] = (
    Deployment, Service, ConfigMap, Secret, HorizontalPodAutoscaler, VirtualService,
    DestinationRule, HTTPRoute,
)  # fmt: skip
"""What a Canary makes."""


def controller(plan: PlanFunction) -> Controller:
    """`plan` is that of weft.daemon.canaries, which knows the answers of the network."""
    return Controller(
        name="canary",
        primary=Canary,
        plan=plan,
        watches=(
            *(Watch(cls, _of_owned) for cls in MADE),
            Watch(Deployment, _of_target),
            Watch(ConfigMap, _of_config),
            Watch(Secret, _of_config),
            Watch(EndpointSlice, _of_slice),
            Watch(MetricTemplate, _nobody),
            Watch(AlertProvider, _nobody),
        ),
    )


def _of_owned(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    owner = controller_of(obj)
    if owner is None or owner.kind != "Canary":
        return ()
    return owner_keys(Canary)(obj, snapshot)


def _of_target(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return [
        Key(c.metadata.namespace, c.metadata.name)
        for c in snapshot.list(Canary, meta(obj).namespace)
        if c.spec.target_ref.name == meta(obj).name
    ]


def _of_config(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Canaries whose pods read it."""
    plural = "configmaps" if isinstance(obj, ConfigMap) else "secrets"
    found = []
    for canary in snapshot.list(Canary, meta(obj).namespace):
        space = canary.metadata.namespace
        target = snapshot.get(Deployment, canary.spec.target_ref.name, space)
        if target is None:
            continue
        if (plural, meta(obj).name) in references(Pod(spec=target.spec.template.spec)):
            found.append(Key(space, canary.metadata.name))
    return found


def _of_slice(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    owner = controller_of(obj)
    if owner is None or owner.kind != "Service":
        return ()
    found = snapshot.get(Service, owner.name, meta(obj).namespace)
    return _of_owned(found, snapshot) if found is not None else ()


def _nobody(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """It is read when it is time."""
    return ()
