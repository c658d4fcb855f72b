"""Endpoints: written from slices, and mirrored into slices."""

from typing import Any

from tests.controllers.simulate import World, make, ready
from weft.api.k8s.core_v1 import Endpoints, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import endpoints, endpointslices

PORT = {"name": "http", "port": 80, "targetPort": 8080}


def world(**spec: Any) -> World:
    w = World([endpointslices.CONTROLLER, endpoints.CONTROLLER])
    body = {"ports": [PORT], "clusterIP": "10.96.0.1", **spec}
    w.put(make(Service, {"spec": body}, name="web", labels={"team": "a"}))
    return w


def pod(w: World, name: str, *, up: bool = True) -> None:
    body = {"spec": {"nodeName": "n1", "containers": [{"name": "main"}]}}
    made = w.put(make(Pod, body, name=name, labels={"app": "web"}))
    ready(w, made, value=up)


def test_a_service_with_a_selector_gets_endpoints() -> None:
    w = world(selector={"app": "web"})
    pod(w, "a")
    pod(w, "b", up=False)
    w.settle()
    found = w.need(Endpoints, "web")
    (subset,) = found.subsets
    assert len(subset.addresses) == len(subset.not_ready_addresses) == 1
    assert subset.addresses[0].target_ref is not None
    assert subset.addresses[0].target_ref.name == "a"
    assert [(p.name, p.port, p.protocol) for p in subset.ports] == [("http", 8080, "TCP")]
    assert found.metadata.labels["team"] == "a"
    w.writes.clear()
    w.settle()
    assert not w.writes
    w.delete(Pod, "a")
    w.settle()
    assert not w.need(Endpoints, "web").subsets[0].addresses


def test_endpoints_go_with_their_service() -> None:
    w = world(selector={"app": "web"})
    w.settle()
    assert w.need(Endpoints, "web").subsets == ()
    w.delete(Service, "web")
    w.settle()
    assert w.all(Endpoints) == []


def test_endpoints_that_a_user_writes_are_mirrored() -> None:
    w = world()
    subset = {
        "addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}],
        "notReadyAddresses": [{"ip": "192.0.2.2"}],
        "ports": [{"name": "http", "port": 8080}],
    }
    w.put(make(Endpoints, {"subsets": [subset]}, name="web"))
    w.settle()
    found = {s.address_type: s for s in w.all(EndpointSlice)}
    shown = {e.addresses[0]: e.conditions and e.conditions.ready for e in found["IPv4"].endpoints}
    assert shown == {"192.0.2.1": True, "192.0.2.2": False}
    assert found["IPv6"].endpoints[0].addresses == ("2001:db8::1",)
    assert found["IPv4"].metadata.labels["kubernetes.io/service-name"] == "web"
    w.patch(Endpoints, "web", {"subsets": [{**subset, "addresses": []}]})
    w.settle()
    (left,) = w.all(EndpointSlice)
    assert [e.addresses for e in left.endpoints] == [("192.0.2.2",)]
    w.patch(Endpoints, "web", {"subsets": []})
    w.settle()
    assert w.all(EndpointSlice) == []


def test_endpoints_that_ask_not_to_be_mirrored() -> None:
    w = world()
    subset = {"addresses": [{"ip": "192.0.2.1"}], "ports": [{"port": 80}]}
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    w.put(make(Endpoints, {"subsets": [subset]}, name="web", labels=labels))
    w.settle()
    assert w.all(EndpointSlice) == []
