"""The `default` ServiceAccount of each namespace: the identity of pods that name none."""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.k8s.core_v1 import Namespace, ServiceAccount
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import Snapshot, meta
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Create, Key, Plan

DEFAULT = "default"


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Create the account wherever it is missing, unless the namespace is going away."""
    namespace = snapshot.get(Namespace, key.name)
    if namespace is None or namespace.metadata.deletion_timestamp:
        return NOTHING
    if snapshot.get(ServiceAccount, DEFAULT, key.name) is not None:
        return NOTHING
    account = ServiceAccount(
        api_version="v1",
        kind="ServiceAccount",
        metadata=ObjectMeta(name=DEFAULT, namespace=key.name),
    )
    return Plan((Create(account),))


def _namespace_of(account: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return (Key("", meta(account).namespace),) if meta(account).name == DEFAULT else ()


CONTROLLER = Controller(
    name="serviceaccount",
    primary=Namespace,
    plan=plan,
    watches=(Watch(ServiceAccount, _namespace_of),),
)
