"""The end of a namespace: order, conditions, finalizers."""

from tests.controllers.simulate import START, World, kubelet, make
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.core_v1 import ConfigMap, Namespace, NamespaceCondition, Service
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import namespaces
from weft.runtime.plan import NOTHING, Key


def world() -> World:
    w = World([namespaces.CONTROLLER])
    w.put(make(Namespace, {}, name="shop"))
    w.put(make(Namespace, {}, name="other"))
    w.put(make(ConfigMap, {}, name="kept", namespace="other"))
    return w


def condition(w: World, kind: str) -> NamespaceCondition:
    found = w.need(Namespace, "shop", "")
    return next(c for c in found.status.conditions if c.type == kind)


def test_a_living_namespace_needs_nothing() -> None:
    w = world()
    w.put(make(ConfigMap, {}, name="c", namespace="shop"))
    w.settle()
    assert w.writes == []
    assert namespaces.plan(w.snapshot(), Key("", "gone"), START) == NOTHING


def test_an_empty_namespace_goes_at_once() -> None:
    w = world()
    w.delete(Namespace, "shop", "")
    w.settle()
    assert w.get(Namespace, "shop", "") is None


def test_pods_end_before_their_services_go() -> None:
    w = world()
    w.put(make(Deployment, {}, name="web", namespace="shop"))
    w.put(make(Service, {}, name="web", namespace="shop"))
    w.put(make(Pod, {"spec": {"nodeName": "n"}}, name="p", namespace="shop"))
    w.settle(kubelet)
    w.delete(Namespace, "shop", "")
    w.settle()
    assert w.get(Deployment, "web", "shop") is None
    assert w.need(Pod, "p", "shop").metadata.deletion_timestamp
    assert w.get(Service, "web", "shop") is not None
    found = w.need(Namespace, "shop", "")
    assert found.status.phase == "Terminating"
    remaining = condition(w, "NamespaceContentRemaining")
    assert (remaining.status, remaining.reason) == ("True", "SomeResourcesRemain")
    assert "pods. has 1 resource instances" in remaining.message
    w.settle(kubelet)
    assert w.get(Namespace, "shop", "") is None
    assert not [k for k in w.objects if k[1] == "shop"]
    assert w.get(ConfigMap, "kept", "other") is not None


def test_finalizers_that_hold_content_are_named() -> None:
    w = world()
    w.put(make(ConfigMap, {}, name="held", namespace="shop", finalizers=["example.com/hold"]))
    w.delete(Namespace, "shop", "")
    w.settle()
    held = condition(w, "NamespaceFinalizersRemaining")
    assert held.status == "True"
    assert held.message.endswith("example.com/hold in 1 resource instances")
    w.patch(ConfigMap, "held", {"metadata": {"finalizers": []}}, "shop")
    w.settle()
    assert w.get(Namespace, "shop", "") is None


def test_other_finalizers_of_the_namespace_stay() -> None:
    w = world()
    w.patch(Namespace, "shop", {"spec": {"finalizers": ["kubernetes", "example.com/x"]}}, "")
    w.delete(Namespace, "shop", "")
    w.settle()
    assert w.need(Namespace, "shop", "").spec.finalizers == ("example.com/x",)
