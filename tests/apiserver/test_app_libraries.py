"""Python libraries for Kubernetes, unmodified: kr8s, lightkube, the official client's apply."""

import asyncio
from collections.abc import Callable
from typing import Any

import kubernetes
import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from tests.apiserver.crds import GROUP, crd, cron_tab
from tests.apiserver.serving import Running
from tests.apiserver.support import deployment

pytest.importorskip("re2")
pytestmark = pytest.mark.slow


async def threaded(work: Callable[[], Any]) -> Any:
    return await asyncio.wait_for(asyncio.to_thread(work), 40)


async def test_official_client_applies_and_uses_custom_kinds(live: Running) -> None:
    def work() -> None:
        with kubernetes.config.new_client_from_config(str(live.kubeconfig)) as api:
            crds = kubernetes.client.ApiextensionsV1Api(api)
            made = crds.create_custom_resource_definition(crd())
            assert made.status.conditions[1].status == "True"
            customs = kubernetes.client.CustomObjectsApi(api)
            where = (GROUP, "v1", "default", "crontabs")
            customs.create_namespaced_custom_object(*where, cron_tab())
            patch = {"spec": {"replicas": 2}}
            found = customs.patch_namespaced_custom_object(*where, "a", patch)
            assert found["spec"]["replicas"] == 2
            bad = {"spec": {"replicas": 99}}
            with pytest.raises(ApiException) as caught:
                customs.patch_namespaced_custom_object(*where, "a", bad)
            assert caught.value.status == 422

            dynamic = DynamicClient(api)
            tabs = dynamic.resources.get(api_version=f"{GROUP}/v1", kind="CronTab")
            applied = tabs.server_side_apply(
                cron_tab("b", replicas=3), namespace="default", field_manager="me"
            )
            assert applied.spec.replicas == 3
            with pytest.raises(ApiException) as caught:
                tabs.server_side_apply(
                    cron_tab("b", replicas=4), namespace="default", field_manager="you"
                )
            assert caught.value.status == 409
            tabs.server_side_apply(
                cron_tab("b", replicas=4), namespace="default", field_manager="you",
                force_conflicts=True,
            )  # fmt: skip
            deployments = dynamic.resources.get(api_version="apps/v1", kind="Deployment")
            deployments.server_side_apply(deployment(), namespace="default", field_manager="me")
            assert {t.metadata.name for t in tabs.get(namespace="default").items} == {"a", "b"}

    await threaded(work)


async def test_kr8s(live: Running) -> None:
    kr8s = pytest.importorskip("kr8s")

    async def work() -> None:
        from kr8s.asyncio.objects import ConfigMap, CustomResourceDefinition, Deployment, new_class

        api = await kr8s.asyncio.api(kubeconfig=str(live.kubeconfig))
        definition = await CustomResourceDefinition(crd(), api=api)
        await definition.create()
        await definition.wait("condition=Established")
        tab_class = new_class(kind="CronTab", version=f"{GROUP}/v1", namespaced=True,
                              plural="crontabs", scalable=True, asyncio=True)  # fmt: skip
        tab = await tab_class(cron_tab(), api=api, namespace="default")
        await tab.create()
        await tab.patch({"spec": {"image": "x"}})
        await tab.scale(3)
        await tab.refresh()
        assert (tab.spec.image, tab.spec.replicas) == ("x", 3)
        await tab.label({"tier": "one"})
        found = [t async for t in tab_class.list(api=api, label_selector={"tier": "one"})]
        assert [t.name for t in found] == ["a"]
        web = await Deployment(deployment(), api=api, namespace="default")
        await web.create()
        await web.scale(5)
        listed = [d.name async for d in api.get("deployments", namespace="default")]
        assert listed == ["web"]
        config = await ConfigMap(
            {"metadata": {"name": "c", "namespace": "default"}, "data": {"a": "1"}}, api=api
        )
        await config.create()
        await config.delete()
        await tab.delete()

    await asyncio.wait_for(work(), 40)


async def test_lightkube(live: Running) -> None:
    pytest.importorskip("lightkube")

    def work() -> None:
        from lightkube import ApiError, Client, KubeConfig
        from lightkube.generic_resource import create_namespaced_resource
        from lightkube.models.meta_v1 import ObjectMeta
        from lightkube.resources.apps_v1 import Deployment
        from lightkube.resources.core_v1 import ConfigMap
        from lightkube.types import PatchType

        client = Client(config=KubeConfig.from_file(str(live.kubeconfig)), field_manager="lk")
        client.apply(Deployment.from_dict(deployment()))
        made = client.apply(ConfigMap(
            apiVersion="v1", kind="ConfigMap",
            metadata=ObjectMeta(name="c", namespace="default"), data={"a": "1"},
        ))  # fmt: skip
        assert made.metadata.managedFields[0].manager == "lk"
        web = client.patch(Deployment, "web", {"spec": {"replicas": 4}}, patch_type=PatchType.MERGE)
        assert web.spec.replicas == 4
        with pytest.raises(ApiError) as caught:
            client.apply(Deployment.from_dict(deployment(replicas=7)), field_manager="other")
        assert caught.value.status.code == 409
        from lightkube.resources.apiextensions_v1 import CustomResourceDefinition

        client.create(CustomResourceDefinition.from_dict(crd()))
        tab = create_namespaced_resource(GROUP, "v1", "CronTab", "crontabs")
        client.create(tab(cron_tab()), namespace="default")
        assert [t.metadata.name for t in client.list(tab, namespace="default")] == ["a"]
        for operation, obj in client.watch(ConfigMap, namespace="default", resource_version="0"):
            assert (operation, obj.metadata.name) == ("ADDED", "c")
            break

    await threaded(work)
