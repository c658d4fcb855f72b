"""The status of Services of type LoadBalancer."""

from typing import Any

import msgspec

from weft.api import objects
from weft.api.gateway_bindings import Binding, encode
from weft.api.k8s.core_v1 import Node, Service
from weft.api.snapshot import ObjectSnapshot
from weft.api.wellknown import ANNOTATION_NODE_GATEWAY_BINDINGS
from weft.controllers.load_balancers import plan
from weft.runtime.plan import NOTHING, Key, Patch

KEY = Key("default", "web")
GIVEN = {"loadBalancer": {"ingress": [{"ip": "127.128.0.1", "ipMode": "VIP"}]}}


def planned(binding: Binding | None, kind: str = "LoadBalancer", **status: Any) -> Any:
    body = {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": kind, "ports": [{"port": 80}]},
        "status": status,
    }
    text = encode({"Service default/web": binding} if binding else {})
    node = {"metadata": {"name": "n", "annotations": {ANNOTATION_NODE_GATEWAY_BINDINGS: text}}}
    objs = [objects.decode(Service, body), objects.decode(Node, node)]
    found = plan(ObjectSnapshot(objs), KEY, 0.0)
    if found is NOTHING:
        return None
    (patch,) = found.actions
    assert isinstance(patch, Patch)
    assert patch.subresource == "status"
    return msgspec.json.decode(msgspec.json.encode(patch.body))["status"]


def test_the_address_that_a_node_bound() -> None:
    assert planned(Binding(("127.128.0.1",), {80: 80})) == GIVEN
    assert planned(Binding(("127.128.0.1",), {80: 80}), **GIVEN) is None


def test_none_while_a_port_is_missing() -> None:
    assert planned(None) is None
    assert planned(Binding(("127.128.0.1",))) is None


def test_ports_that_moved_are_told() -> None:
    found = planned(Binding(("127.128.0.1",), {80: 8080}))
    ports = found["loadBalancer"]["ingress"][0]["ports"]
    assert ports == [{"port": 8080, "protocol": "TCP"}]


def test_other_types_lose_it() -> None:
    assert planned(None, "ClusterIP", **GIVEN) == {"loadBalancer": {"ingress": None}}
