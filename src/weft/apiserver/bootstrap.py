"""What exists from the first moment on: system namespaces, the `kubernetes` Service, a class of
Gateways."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import orjson

from weft.api import persistent_volumes as pv
from weft.api import registry
from weft.api.errors import ApiError
from weft.api.gateway import v1 as gateway_api
from weft.api.k8s.networking_v1 import IngressClass
from weft.api.k8s.scheduling_v1 import PriorityClass
from weft.api.k8s.storage_v1 import StorageClass
from weft.api.kinds import Kind
from weft.api.wellknown import INGRESS_CONTROLLER, SYSTEM_PRIORITIES
from weft.apiserver import default_roles, keys, part_roles, rbac
from weft.apiserver.local_client import LocalClient
from weft.apiserver.verbs import known_kind
from weft.store.interface import Store

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "istio-system")


async def bootstrap(
    client: LocalClient, service_ip: str, endpoint: tuple[str, int] | None = None
) -> None:
    """Create what is missing; `endpoint` is where this API server listens."""
    for name in NAMESPACES:
        await _create(client, known_kind("namespaces"), {"metadata": {"name": name}})
    await _create(client, known_kind("services"), kubernetes_service(service_ip))
    await _create(client, registry.kind_for(gateway_api.GatewayClass), gateway_class())
    await _create(client, registry.kind_for(IngressClass), ingress_class())
    await _create(client, registry.kind_for(StorageClass), storage_class())
    for name, value in SYSTEM_PRIORITIES.items():
        await _create(client, registry.kind_for(PriorityClass), priority_class(name, value))
    await _default_roles(client)
    if endpoint is not None:
        await _put(client, _slices(), kubernetes_endpoints(*endpoint))


async def keep_service(
    client: LocalClient, store: Store, service_ip: str, endpoint: tuple[str, int]
) -> None:
    """Create the Service `kubernetes` and its endpoint again when somebody deleted them: programs
    in pods find this server by them. Raises ApiError."""
    services, slices = known_kind("services"), _slices()
    if await store.get(keys.key(services, "kubernetes", "default")) is None:
        await _create(client, services, kubernetes_service(service_ip))
    if await store.get(keys.key(slices, "kubernetes", "default")) is None:
        await _create(client, slices, kubernetes_endpoints(*endpoint))


def _slices() -> Kind:
    found = registry.by_resource("discovery.k8s.io", "v1", "endpointslices")
    assert found is not None
    return found


async def _default_roles(client: LocalClient) -> None:
    """Make what is missing, together; give back to kept-up-to-date roles what they have lost."""
    roles, bindings = rbac_kind("clusterroles"), rbac_kind("clusterrolebindings")
    present = {o["metadata"]["name"]: o for o in await _all(client, roles)}
    bound = {o["metadata"]["name"] for o in await _all(client, bindings)}
    work: list[Coroutine[Any, Any, object]] = []
    for role in (*default_roles.cluster_roles(), *part_roles.cluster_roles()):
        name = role["metadata"]["name"]
        found = present.get(name)
        if found is None:
            work.append(_create(client, roles, role))
        elif kept_up_to_date(found) and "aggregationRule" not in role:
            had = found.get("rules") or []
            if lost := default_roles.missing_rules(role["rules"], had):
                work.append(client.patch(roles, name, {"rules": [*had, *lost]}))
    work += [
        _create(client, bindings, binding)
        for binding in (*default_roles.cluster_role_bindings(), *part_roles.bindings())
        if binding["metadata"]["name"] not in bound
    ]
    await asyncio.gather(*work)


def rbac_kind(plural: str) -> Kind:
    kind = registry.by_resource(rbac.GROUP, "v1", plural)
    assert kind is not None
    return kind


def kept_up_to_date(obj: Mapping[str, Any]) -> bool:
    """Unless its annotation says otherwise."""
    annotations = obj["metadata"].get("annotations") or {}
    return bool(annotations.get(default_roles.AUTOUPDATE) == "true")


async def _all(client: LocalClient, kind: Kind) -> list[dict[str, Any]]:
    return [orjson.loads(item) for item in (await client.list(kind)).items]


def kubernetes_service(service_ip: str) -> dict[str, Any]:
    """The Service under which programs in pods find this server."""
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}
    return {
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": _LABELS},
        "spec": {"clusterIP": service_ip, "ports": [port], "type": "ClusterIP"},
    }


def gateway_class() -> dict[str, Any]:
    """The class that Gateways of the Gateway API name to be served by weft."""
    return {
        "metadata": {"name": gateway_api.CLASS_NAME},
        "spec": {
            "controllerName": gateway_api.CONTROLLER_NAME,
            "description": "Gateways on weft's own nodes",
        },
    }


def ingress_class() -> dict[str, Any]:
    """The class of Ingresses that weft serves, also of those that name none."""
    annotations = {"ingressclass.kubernetes.io/is-default-class": "true"}
    return {
        "metadata": {"name": gateway_api.CLASS_NAME, "annotations": annotations},
        "spec": {"controller": INGRESS_CONTROLLER},
    }


def storage_class() -> dict[str, Any]:
    """The default class of claims: a directory on the node of the pod that uses it first."""
    return {
        "metadata": {
            "name": pv.CLASS_NAME,
            "annotations": {pv.ANNOTATION_DEFAULT_CLASS: "true"},
        },
        "provisioner": pv.PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": pv.WAIT_FOR_CONSUMER,
        "allowVolumeExpansion": True,
    }


def priority_class(name: str, value: int) -> dict[str, Any]:
    """A class of the system's own pods."""
    return {"metadata": {"name": name}, "value": value, "description": "Used for system pods."}


def kubernetes_endpoints(address: str, port: int) -> dict[str, Any]:
    """The endpoint of that Service."""
    return {
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


_LABELS = {"component": "apiserver", "provider": "kubernetes"}


async def _create(client: LocalClient, kind: Kind, obj: Mapping[str, Any]) -> bool:
    try:
        await client.create(kind, obj)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        return False
    return True


async def _put(client: LocalClient, kind: Kind, obj: Mapping[str, Any]) -> None:
    if not await _create(client, kind, obj):
        metadata = obj["metadata"]
        names: Sequence[str] = [k for k in obj if k != "metadata"]
        body = {name: obj[name] for name in names}
        await client.patch(kind, metadata["name"], body, metadata["namespace"])
