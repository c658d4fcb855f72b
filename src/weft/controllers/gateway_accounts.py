"""The ServiceAccount of each Gateway, which carries the labels and annotations that are meant for
what a Gateway is made of (`spec.infrastructure`). It goes with its Gateway."""

from collections.abc import Iterable
from hashlib import sha256

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import ServiceAccount
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.snapshot import Snapshot, meta
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Create, Key, Patch, Plan

LABEL_GATEWAY = "gateway.networking.k8s.io/gateway-name"
LABEL_CLASS = "gateway.networking.k8s.io/gateway-class-name"
NAME_LENGTH_MAX = 253
LABEL_LENGTH_MAX = 63
DIGEST_LENGTH = 8


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Create the account, or bring its labels and annotations up to date."""
    gateway = snapshot.get(gw.Gateway, key.name, key.namespace)
    if gateway is None or gateway.metadata.deletion_timestamp:
        return NOTHING
    of_class = snapshot.get(gw.GatewayClass, gateway.spec.gateway_class_name)
    if of_class is None or of_class.spec.controller_name != gw.CONTROLLER_NAME:
        return NOTHING
    wanted = _account(gateway)
    own = wanted.metadata
    found = snapshot.get(ServiceAccount, own.name, own.namespace)
    if found is None:
        return Plan((Create(wanted),))
    has = found.metadata
    if not any((r.kind, r.name) == ("Gateway", key.name) for r in has.owner_references):
        return NOTHING  # somebody else's
    if own.labels.items() <= has.labels.items() and own.annotations.items() <= (
        has.annotations.items()
    ):
        return NOTHING
    changes = {"labels": dict(own.labels), "annotations": dict(own.annotations)}
    return Plan((Patch(ServiceAccount, own.namespace, own.name, {"metadata": changes}),))


def account_name(gateway: gw.Gateway) -> str:
    """`<gateway>-<class>`, as the Gateway API suggests for what is made for a Gateway."""
    return f"{gateway.metadata.name}-{gateway.spec.gateway_class_name}"[:NAME_LENGTH_MAX]


def label_value(name: str) -> str:
    """The name, as far as a label can have it: names of objects may be longer."""
    if len(name) <= LABEL_LENGTH_MAX:
        return name
    digest = sha256(name.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{name[: LABEL_LENGTH_MAX - DIGEST_LENGTH - 1]}-{digest}"


def _account(gateway: gw.Gateway) -> ServiceAccount:
    about, extra = gateway.metadata, gateway.spec.infrastructure or gw.GatewayInfrastructure()
    labels = {
        LABEL_GATEWAY: label_value(about.name),
        LABEL_CLASS: label_value(gateway.spec.gateway_class_name),
    }
    owner = OwnerReference(
        api_version=f"{gw.GROUP}/v1",
        kind="Gateway",
        name=about.name,
        uid=about.uid,
        controller=True,
    )
    return ServiceAccount(
        api_version="v1",
        kind="ServiceAccount",
        metadata=ObjectMeta(
            name=account_name(gateway),
            namespace=about.namespace,
            labels={**extra.labels, **labels},
            annotations=dict(extra.annotations),
            owner_references=(owner,),
        ),
    )


def _gateway_of(account: Struct, snapshot: Snapshot) -> Iterable[Key]:
    found = meta(account)
    names = (r.name for r in found.owner_references if r.kind == "Gateway")
    return [Key(found.namespace, name) for name in names]


def _gateways_of(each: Struct, snapshot: Snapshot) -> Iterable[Key]:
    name = meta(each).name
    return [
        Key(g.metadata.namespace, g.metadata.name)
        for g in snapshot.list(gw.Gateway)
        if g.spec.gateway_class_name == name
    ]


CONTROLLER = Controller(
    name="gatewayaccount",
    primary=gw.Gateway,
    plan=plan,
    watches=(Watch(ServiceAccount, _gateway_of), Watch(gw.GatewayClass, _gateways_of)),
)
