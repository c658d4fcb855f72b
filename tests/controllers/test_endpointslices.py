"""EndpointSlices: who is in them, with which ports and conditions, and how little is rewritten."""

from collections.abc import Mapping
from typing import Any

import pytest
from msgspec.structs import replace

from tests.controllers.simulate import START, World, finish, make, ready
from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.discovery_v1 import Endpoint, EndpointPort, EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import controller_of
from weft.controllers import endpointslices
from weft.runtime.plan import Create, Delete, Key, Patch

WEB = {"app": "web"}
PORT = {"name": "http", "port": 80, "targetPort": 8080}


def service(**spec: Any) -> Service:
    body = {"selector": WEB, "ports": [PORT], "clusterIP": "10.96.0.1", **spec}
    return make(Service, {"spec": body}, name="web", labels={"team": "a"})


def pod(
    w: World, name: str, *, up: bool = True, ports: Mapping[str, int] | None = None, **meta: Any
) -> Pod:
    declared = [{"name": n, "containerPort": p} for n, p in (ports or {"http": 8080}).items()]
    body = {"spec": {"nodeName": "n1", "containers": [{"name": "main", "ports": declared}]}}
    made = w.put(make(Pod, body, name=name, **({"labels": WEB} | meta)))
    ready(w, made, value=up)
    return w.need(Pod, name)


def world(*services: Service) -> World:
    w = World([endpointslices.CONTROLLER])
    for found in services:
        w.put(found)
    return w


def endpoints(w: World) -> dict[str, Endpoint]:
    return {e.target_ref.name: e for s in w.all(EndpointSlice) for e in s.endpoints if e.target_ref}


def writes(w: World) -> list[Create | Patch | Delete]:
    """What the controller has written since the last look."""
    done: list[Any] = list(w.writes)
    w.writes.clear()
    return done


def test_a_ready_pod_becomes_an_endpoint() -> None:
    w = world(service())
    w.put(make(Node, {}, name="n1", labels={"topology.kubernetes.io/zone": "z1"}))
    made = pod(w, "a")
    w.settle()
    (found,) = w.all(EndpointSlice)
    assert found.address_type == "IPv4"
    assert found.ports == (EndpointPort(name="http", port=8080, protocol="TCP"),)
    assert found.metadata.name.startswith("web-")
    assert found.metadata.labels == {
        "team": "a",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    owner = controller_of(found)
    assert owner is not None
    assert (owner.kind, owner.name) == ("Service", "web")
    (endpoint,) = found.endpoints
    assert endpoint.addresses == (made.status.pod_ip,)
    assert endpoint.node_name == "n1"
    assert endpoint.zone == "z1"
    assert endpoint.target_ref is not None
    assert (endpoint.target_ref.kind, endpoint.target_ref.uid) == ("Pod", made.metadata.uid)


@pytest.mark.parametrize(
    ("up", "dying", "publish", "expected"),
    [
        (True, False, False, (True, True, False)),
        (False, False, False, (False, False, False)),
        (True, True, False, (False, True, True)),
        (False, True, False, (False, False, True)),
        (False, False, True, (True, False, False)),
        (True, True, True, (True, True, True)),
    ],
)
def test_conditions(
    up: bool, dying: bool, publish: bool, expected: tuple[bool, bool, bool]
) -> None:
    w = world(service(publishNotReadyAddresses=publish))
    pod(w, "a", up=up)
    if dying:
        w.delete(Pod, "a")
    w.settle()
    found = endpoints(w)["a"].conditions
    assert found is not None
    assert (found.ready, found.serving, found.terminating) == expected


def test_pods_without_address_or_finished_are_left_out() -> None:
    w = world(service())
    w.put(make(Pod, {}, name="waiting", labels=WEB))
    finish(w, pod(w, "done"))
    pod(w, "other", labels={"app": "db"})
    w.settle()
    assert endpoints(w) == {}


def test_a_service_without_pods_has_one_empty_slice() -> None:
    w = world(service())
    w.settle()
    (found,) = w.all(EndpointSlice)
    assert (found.endpoints, found.ports) == ((), ())
    writes(w)
    pod(w, "a")
    w.settle()
    (patched,) = writes(w)  # the slice is taken over, not replaced
    assert isinstance(patched, Patch)


@pytest.mark.parametrize("spec", [{"selector": {}}, {"type": "ExternalName"}])
def test_services_that_manage_themselves_are_left_alone(spec: dict[str, Any]) -> None:
    w = world(service(**spec))
    pod(w, "a")
    w.settle()
    assert w.all(EndpointSlice) == []


def test_headless_services_have_slices_with_a_label() -> None:
    w = world(service(clusterIP="None", ports=[]))
    pod(w, "a", ports={})
    w.settle()
    (found,) = w.all(EndpointSlice)
    assert found.metadata.labels["service.kubernetes.io/headless"] == ""
    assert found.ports == ()
    assert len(found.endpoints) == 1


def test_hostname_of_a_pod_in_its_subdomain() -> None:
    w = world(service())
    pod(w, "a")
    w.patch(Pod, "a", {"spec": {"hostname": "zero", "subdomain": "web"}})
    pod(w, "b")
    w.patch(Pod, "b", {"spec": {"hostname": "one", "subdomain": "other"}})
    w.settle()
    assert {n: e.hostname for n, e in endpoints(w).items()} == {"a": "zero", "b": ""}


def test_named_ports_are_resolved_per_pod_into_slices_of_their_own() -> None:
    w = world(service(ports=[{"name": "http", "port": 80, "targetPort": "web"}]))
    pod(w, "a", ports={"web": 8080})
    pod(w, "b", ports={"web": 9090})
    pod(w, "c", ports={"web": 8080})
    w.settle()
    by_port = {
        s.ports[0].port: {e.target_ref.name for e in s.endpoints if e.target_ref}
        for s in w.all(EndpointSlice)
    }
    assert by_port == {8080: {"a", "c"}, 9090: {"b"}}


def test_a_port_name_the_pod_does_not_know_gives_no_port() -> None:
    ports = [PORT, {"name": "admin", "port": 81, "targetPort": "admin"}]
    w = world(service(ports=ports))
    pod(w, "a")
    w.settle()
    assert [p.name for p in w.all(EndpointSlice)[0].ports] == ["http"]


def test_without_target_port_the_port_itself_and_protocols_are_kept() -> None:
    w = world(service(ports=[{"name": "dns", "port": 53, "protocol": "UDP", "appProtocol": "x"}]))
    pod(w, "a")
    w.settle()
    (port,) = w.all(EndpointSlice)[0].ports
    assert port == EndpointPort(name="dns", port=53, protocol="UDP", app_protocol="x")


def test_host_isolation_moves_ports() -> None:
    w = world(service())
    pod(w, "a", annotations={"weft.dev/host-ports": '{"8080": 20001}'})
    pod(w, "b", annotations={"weft.dev/host-ports": '{"8080": 20002}'})
    pod(w, "c", annotations={"weft.dev/host-ports": "broken"})
    w.settle()
    assert {s.ports[0].port for s in w.all(EndpointSlice)} == {20001, 20002, 8080}


def test_ipv6_and_dual_stack() -> None:
    w = world(service(ipFamilies=["IPv4", "IPv6"]))
    found = pod(w, "a")
    status = {"podIPs": [{"ip": found.status.pod_ip}, {"ip": "fd00::1"}]}
    w._patch(Patch(Pod, "default", "a", {"status": status}, "status"))
    w.settle()
    kinds = {s.address_type: s.endpoints[0].addresses for s in w.all(EndpointSlice)}
    assert kinds == {"IPv4": (found.status.pod_ip,), "IPv6": ("fd00::1",)}


# --- few writes


def many(count: int) -> World:
    w = world(service())
    for i in range(count):
        pod(w, f"p{i:03}")
    w.settle()
    writes(w)
    return w


def test_slices_hold_a_hundred_at_most() -> None:
    w = many(250)
    assert sorted(len(s.endpoints) for s in w.all(EndpointSlice)) == [50, 100, 100]


def test_nothing_is_written_when_nothing_changed() -> None:
    w = many(3)
    plan = endpointslices.plan(w.snapshot(), Key("default", "web"), START)
    assert plan.actions == ()
    w.patch(Pod, "p000", {"metadata": {"annotations": {"note": "x"}}})
    w.settle()
    assert writes(w) == []


def test_one_change_rewrites_one_slice() -> None:
    w = many(250)
    ready(w, w.need(Pod, "p120"), value=False)
    w.settle()
    assert len(writes(w)) == 1
    assert endpoints(w)["p120"].conditions.ready is False  # type: ignore[union-attr]


def test_a_new_pod_goes_where_there_is_room() -> None:
    w = many(150)
    pod(w, "new")
    w.settle()
    (write,) = writes(w)
    assert isinstance(write, Patch)
    assert sorted(len(s.endpoints) for s in w.all(EndpointSlice)) == [51, 100]


def test_a_replaced_pod_takes_the_place_of_the_old_one() -> None:
    w = many(250)
    w.delete(Pod, "p005", grace=0)
    w._remove(w.need(Pod, "p005")) if w.get(Pod, "p005") else None
    pod(w, "new")
    w.settle()
    assert len(writes(w)) == 1
    assert "new" in endpoints(w)
    assert "p005" not in endpoints(w)


def test_a_slice_that_is_left_empty_goes() -> None:
    w = many(101)
    small = min(w.all(EndpointSlice), key=lambda s: len(s.endpoints))
    assert small.endpoints[0].target_ref is not None
    w._remove(w.need(Pod, small.endpoints[0].target_ref.name))
    w.settle()
    (write,) = writes(w)
    assert isinstance(write, Delete)


def test_a_slice_someone_changed_or_deleted_is_put_right() -> None:
    w = many(2)
    (found,) = w.all(EndpointSlice)
    w.patch(EndpointSlice, found.metadata.name, {"endpoints": []})
    w.settle()
    assert len(endpoints(w)) == 2
    w.delete(EndpointSlice, found.metadata.name)
    w.settle()
    assert len(endpoints(w)) == 2


def test_slices_of_others_are_not_touched() -> None:
    w = world(service())
    foreign = make(EndpointSlice, {"addressType": "IPv4"}, name="mine")
    labels = {"kubernetes.io/service-name": "web"}
    w.put(replace(foreign, metadata=replace(foreign.metadata, labels=labels)))
    w.settle()
    assert w.need(EndpointSlice, "mine").endpoints == ()
    assert len(w.all(EndpointSlice)) == 2


def test_a_pod_that_leaves_the_selector_leaves_the_slice() -> None:
    w = many(2)
    w.patch(Pod, "p000", {"metadata": {"labels": {"app": "debug"}}})
    w.settle()
    assert set(endpoints(w)) == {"p001"}


def test_a_service_that_is_gone_needs_nothing() -> None:
    w = world()
    assert endpointslices.plan(w.snapshot(), Key("default", "web"), START).actions == ()


@pytest.mark.parametrize("seed", range(10))
def test_random_changes_never_lose_or_double_an_endpoint(seed: int) -> None:
    w = many(0)
    pick = w.random
    pick.seed(seed)
    for step in range(120):
        pods = w.all(Pod)
        action = pick.random()
        if action < 0.6 or not pods:
            pod(w, f"s{seed}-{step}", ports={"http": pick.choice([8080, 8081])})
        elif action < 0.85:
            w._remove(pick.choice(pods))
        else:
            ready(w, pick.choice(pods), value=pick.random() < 0.5)
        if pick.random() < 0.4:
            w.settle()
    w.settle()
    named = [e.target_ref.name for s in w.all(EndpointSlice) for e in s.endpoints if e.target_ref]
    assert sorted(named) == sorted(p.metadata.name for p in w.all(Pod))
