"""ConfigMap `kube-root-ca.crt` in each namespace: the authorities of the API server, for pods that
mount it beside a token. Unlike other controllers' plans, its plan depends on more than objects:
whoever changes the authorities wakes the keys of all namespaces."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct

from weft.api.k8s.core_v1 import ConfigMap, Namespace
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import Snapshot, meta
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Create, Key, Patch, Plan

NAME = "root-ca-cert-publisher"
CONFIG_MAP = "kube-root-ca.crt"
FILE = "ca.crt"
DESCRIPTION = {
    "kubernetes.io/description": "The authorities of the API server, for pods that call it."
}


def controller(roots: Callable[[], str]) -> Controller:
    """`roots` gives the certificates (PEM) that clients are to trust now."""

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        return _plan(snapshot, key.name, {FILE: roots()})

    return Controller(
        name=NAME, primary=Namespace, plan=plan, watches=(Watch(ConfigMap, _namespace_of),)
    )


def _plan(snapshot: Snapshot, name: str, wanted: Mapping[str, str]) -> Plan:
    """Make it, or put right what it says, unless the namespace is going away."""
    namespace = snapshot.get(Namespace, name)
    if namespace is None or namespace.metadata.deletion_timestamp:
        return NOTHING
    found = snapshot.get(ConfigMap, CONFIG_MAP, name)
    if found is None:
        return Plan((Create(_made(name, wanted)),))
    if found.data == wanted or found.metadata.deletion_timestamp:
        return NOTHING
    data: dict[str, Any] = {**dict.fromkeys(found.data), **wanted}
    return Plan((Patch(ConfigMap, name, CONFIG_MAP, {"data": data}),))


def _made(namespace: str, data: Mapping[str, str]) -> ConfigMap:
    about = ObjectMeta(name=CONFIG_MAP, namespace=namespace, annotations=DESCRIPTION)
    return ConfigMap(api_version="v1", kind="ConfigMap", metadata=about, data=data)


def _namespace_of(config: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return (Key("", meta(config).namespace),) if meta(config).name == CONFIG_MAP else ()
