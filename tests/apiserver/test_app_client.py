"""The official Python client, unmodified, against a real server."""

import asyncio
from collections.abc import Callable
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tests.apiserver.serving import Running
from tests.apiserver.support import deployment, pod

pytestmark = pytest.mark.slow


async def using(live: Running, work: Callable[[Any], Any]) -> Any:
    """Run blocking client code in a thread."""

    def run() -> Any:
        api = kubernetes.config.new_client_from_config(str(live.kubeconfig))
        with api:
            return work(api)

    return await asyncio.wait_for(asyncio.to_thread(run), 30)


async def test_typed_calls(live: Running) -> None:
    def work(api: Any) -> None:
        core, apps = kubernetes.client.CoreV1Api(api), kubernetes.client.AppsV1Api(api)
        apps.create_namespaced_deployment("default", deployment())
        apps.patch_namespaced_deployment("web", "default", {"spec": {"replicas": 3}})
        read = apps.read_namespaced_deployment("web", "default")
        assert read.spec.replicas == 3
        scale = apps.read_namespaced_deployment_scale("web", "default")
        scale.spec.replicas = 4
        apps.replace_namespaced_deployment_scale("web", "default", scale)
        with pytest.raises(ApiException) as caught:
            apps.replace_namespaced_deployment("web", "default", read)
        assert caught.value.status == 409
        core.create_namespaced_pod("default", pod())
        listed = core.list_namespaced_pod("default", label_selector="!app", limit=10)
        assert [p.metadata.name for p in listed.items] == ["p"]
        assert core.list_node().items == []
        core.delete_namespaced_pod("p", "default")
        with pytest.raises(ApiException) as caught:
            core.read_namespaced_pod("p", "default")
        assert caught.value.status == 404

    await using(live, work)


async def test_watch(live: Running) -> None:
    def work(api: Any) -> list[tuple[str, str]]:
        core = kubernetes.client.CoreV1Api(api)
        seen = []
        core.create_namespaced_config_map("default", {"metadata": {"name": "a"}})
        watch = kubernetes.watch.Watch()
        for event in watch.stream(core.list_namespaced_config_map, "default", timeout_seconds=5):
            seen.append((event["type"], event["object"].metadata.name))
            if len(seen) == 1:
                core.delete_namespaced_config_map("a", "default")
            else:
                watch.stop()
        return seen

    assert await using(live, work) == [("ADDED", "a"), ("DELETED", "a")]


async def test_dynamic_client_and_custom_objects(live: Running) -> None:
    def work(api: Any) -> None:
        dynamic = DynamicClient(api)
        services = dynamic.resources.get(
            api_version="networking.istio.io/v1", kind="VirtualService"
        )
        body = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "web"},
            "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]},
        }
        services.create(body=body, namespace="default")
        assert services.get(name="web", namespace="default").spec.hosts == ["web"]
        custom = kubernetes.client.CustomObjectsApi(api)
        place = ("networking.istio.io", "v1beta1", "default", "virtualservices")
        patched = custom.patch_namespaced_custom_object(*place, "web", {"spec": {"hosts": ["x"]}})
        assert patched["apiVersion"] == "networking.istio.io/v1beta1"
        assert patched["spec"]["hosts"] == ["x"]

    await using(live, work)
