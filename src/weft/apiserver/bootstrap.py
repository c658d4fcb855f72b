"""What exists from the first moment on: system namespaces, the `kubernetes` Service, a class of
Gateways."""

from collections.abc import Mapping, Sequence
from typing import Any

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.gateway import v1 as gateway_api
from weft.api.k8s.scheduling_v1 import PriorityClass
from weft.api.kinds import Kind
from weft.api.wellknown import SYSTEM_PRIORITIES
from weft.apiserver.local_client import LocalClient
from weft.apiserver.verbs import known_kind

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "istio-system")


async def bootstrap(
    client: LocalClient, service_ip: str, endpoint: tuple[str, int] | None = None
) -> None:
    """Create what is missing; `endpoint` is where this API server listens."""
    for name in NAMESPACES:
        await _create(client, known_kind("namespaces"), {"metadata": {"name": name}})
    await _create(client, known_kind("services"), kubernetes_service(service_ip))
    await _create(client, registry.kind_for(gateway_api.GatewayClass), gateway_class())
    for name, value in SYSTEM_PRIORITIES.items():
        await _create(client, registry.kind_for(PriorityClass), priority_class(name, value))
    if endpoint is not None:
        slices = registry.by_resource("discovery.k8s.io", "v1", "endpointslices")
        assert slices is not None
        await _put(client, slices, kubernetes_endpoints(*endpoint))


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
