"""Ports on the node."""

from typing import Any

from tests.node.pods import pod
from weft.api.istio.networking_v1 import Gateway
from weft.api.k8s.core_v1 import Service
from weft.api.objects import decode
from weft.node.ports import (
    HOST_PORT_FIRST,
    HOST_PORT_LAST,
    allocate_gateway_ports,
    allocate_host_ports,
    gateway_ports,
    wanted_ports,
)


def service(**port: Any) -> Service:
    meta = {"name": "s", "namespace": "default"}
    return decode(
        Service, {"metadata": meta, "spec": {"selector": {"app": "web"}, "ports": [port]}}
    )


def test_declared_ports_and_target_ports_of_services_that_select_the_pod() -> None:
    found = pod(containers=[{"name": "web", "ports": [{"containerPort": 8080}]}],
                meta={"labels": {"app": "web"}})  # fmt: skip
    services = [service(port=80, targetPort=5000), service(port=81, targetPort="http")]
    assert wanted_ports(found, services) == (8080, 5000)
    assert wanted_ports(pod(), services) == ()


def test_host_ports_go_round_the_range_and_skip_what_is_taken() -> None:
    busy = HOST_PORT_FIRST
    found = allocate_host_ports(
        (80, 443), frozenset({HOST_PORT_FIRST + 1}), HOST_PORT_LAST - HOST_PORT_FIRST,
        lambda port: port != busy,
    )  # fmt: skip
    assert found == {80: HOST_PORT_LAST, 443: HOST_PORT_FIRST + 2}
    assert allocate_host_ports((80,), frozenset(), 0, lambda port: False) == {}


def test_gateways_take_the_port_itself_or_8000_more_and_keep_it() -> None:
    servers = [{"port": {"number": n, "name": f"p{n}", "protocol": "HTTP"}} for n in (443, 80)]
    servers.append(servers[0] | {"bind": "192.0.2.1", "port": {"number": 8080}})
    meta = {"name": "g", "namespace": "default"}
    gateway = decode(Gateway, {"metadata": meta, "spec": {"servers": servers}})
    assert gateway_ports([gateway, gateway]) == (80, 443)
    free = {80: False, 8080: False, 8081: True, 443: True}
    first = allocate_gateway_ports((80, 443), {}, lambda port: free.get(port, True))
    assert first == {80: 8081, 443: 443}
    assert allocate_gateway_ports((80, 443), first, lambda port: False) == first
    assert allocate_gateway_ports((443,), first, lambda port: False) == {443: 443}
    shared = allocate_gateway_ports((80, 8080), {}, lambda port: port != 80)
    assert len(set(shared.values())) == 2
