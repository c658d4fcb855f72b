"""Ports on the node's own addresses."""

from typing import Any

from weft.api import objects
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.pod_v1 import Pod
from weft.api.service_places import Held, Place
from weft.node.node_ports import asked_places, bind_places, load_balancers, may_listen

HERE = ("10.244.0.1", "127.0.0.1")


def service(name: str = "web", **spec: Any) -> Service:
    ports = [{"port": 80, "nodePort": 30080}, {"port": 53, "nodePort": 30053, "protocol": "UDP"}]
    body = {"type": "NodePort", "clusterIP": "10.96.0.1", "ports": ports, **spec}
    return objects.decode(
        Service, {"metadata": {"name": name, "namespace": "default"}, "spec": body}
    )


def pod(name: str = "p", node: str = "n", **port: Any) -> Pod:
    container = {"name": "a", "ports": [{"containerPort": 8080, "hostPort": 80, **port}]}
    spec = {"nodeName": node, "containers": [container]}
    return objects.decode(Pod, {"metadata": {"name": name, "namespace": "default"}, "spec": spec})


def always(address: str, port: int, transport: str) -> bool:
    return True


def test_node_ports_listen_on_all_addresses_of_the_node() -> None:
    (asked,) = asked_places([service()], [], "n", HERE)
    assert asked.owner == "Service default/web"
    assert set(asked.places) == {
        *(Place(a, 30080, 80) for a in HERE),
        *(Place(a, 30053, 53, "udp") for a in HERE),
    }


def test_external_addresses_have_the_ports_of_the_service() -> None:
    (asked,) = asked_places([service(type="ClusterIP", externalIPs=["192.0.2.1"])], [], "n", HERE)
    assert asked.places == (Place("192.0.2.1", 80, 80), Place("192.0.2.1", 53, 53, "udp"))


def test_health_checks() -> None:
    (asked,) = asked_places([service(healthCheckNodePort=30999)], [], "n", HERE)
    assert Place("127.0.0.1", 30999, 30999, "health") in asked.places


def test_host_ports_of_pods_of_this_node_only() -> None:
    pods = [pod(), pod("elsewhere", "m"), pod("one", hostIP="127.0.0.1", hostPort=81)]
    found = {a.owner: a.places for a in asked_places([], pods, "n", HERE)}
    assert found == {
        "Pod default/p": (Place("10.244.0.1", 80, 8080), Place("127.0.0.1", 80, 8080)),
        "Pod default/one": (Place("127.0.0.1", 81, 8080),),
    }


def test_nothing_is_asked_for_others() -> None:
    assert not asked_places(
        [service(type="ClusterIP"), service(type="ExternalName")], [], "n", HERE
    )
    assert not may_listen(service(type="ClusterIP"))
    assert not may_listen(pod(hostPort=0))
    assert may_listen(service(type="ClusterIP", externalIPs=["192.0.2.1"]))
    assert may_listen(pod())


def test_what_somebody_else_has_is_lacking_and_tried_again() -> None:
    asked = asked_places([service()], [], "n", ("127.0.0.1",))
    held = bind_places(asked, {}, lambda address, port, transport: transport == "udp")
    udp, tcp = Place("127.0.0.1", 30053, 53, "udp"), Place("127.0.0.1", 30080, 80)
    assert held == {"Service default/web": Held((udp,), (tcp,))}
    again = bind_places(asked, held, lambda address, port, transport: transport == "tcp")
    assert again == {"Service default/web": Held((udp, tcp))}, "what it has is not asked for again"


def test_two_owners_never_share_a_place() -> None:
    pods = [pod("a"), pod("b")]
    asked = asked_places([], pods, "n", ("127.0.0.1",))
    held = bind_places(asked, {"Pod default/b": Held((Place("127.0.0.1", 80, 8080),))}, always)
    assert held["Pod default/b"].places and held["Pod default/a"].lacking  # noqa: PT018
    assert bind_places([], held, always) == {}


def test_load_balancers_of_other_classes_are_left_to_others() -> None:
    ours = service("ours", type="LoadBalancer", loadBalancerIP="192.0.2.9")
    other = service("other", type="LoadBalancer", loadBalancerClass="example.com/lb")
    (wanted,) = load_balancers([other, ours, service("port")])
    assert (wanted.gateway, wanted.ports, wanted.udp_ports) == (
        "Service default/ours",
        (80,),
        (53,),
    )
    assert (wanted.addresses, wanted.own) == (("192.0.2.9",), True)
