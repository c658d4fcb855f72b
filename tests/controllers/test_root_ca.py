"""Every namespace has the authorities of the API server, for as long as it lives."""

from tests.controllers.simulate import World, make
from weft.api.k8s.core_v1 import ConfigMap, Namespace
from weft.controllers import root_ca

NAME = "kube-root-ca.crt"


def data(w: World, namespace: str = "shop") -> object:
    found = w.get(ConfigMap, NAME, namespace)
    return found and dict(found.data)


def world() -> World:
    w = World([root_ca.controller(lambda: "one")])
    w.put(make(Namespace, {}, name="shop"))
    w.settle()
    return w


def test_it_is_made_and_comes_back() -> None:
    w = world()
    assert data(w) == {"ca.crt": "one"}
    w.delete(ConfigMap, NAME, "shop")
    w.settle()
    assert data(w) == {"ca.crt": "one"}


def test_what_others_write_is_put_right_and_other_maps_are_left_alone() -> None:
    w = world()
    forged = {"data": {"ca.crt": "forged", "more": "x"}}
    w.put(make(ConfigMap, {"data": {"a": "b"}}, name="other", namespace="shop"))
    for name in (NAME, "other"):
        w.patch(ConfigMap, name, forged, "shop")
    assert data(w) == forged["data"]
    w.settle()
    assert data(w) == {"ca.crt": "one"}
    assert w.need(ConfigMap, "other", "shop").data == {"a": "b", **forged["data"]}


def test_a_namespace_that_ends_gets_none() -> None:
    w = World([root_ca.controller(lambda: "one")])
    w.put(make(Namespace, {}, name="shop"))
    w.delete(Namespace, "shop", "")
    w.settle()
    assert w.all(ConfigMap) == []
