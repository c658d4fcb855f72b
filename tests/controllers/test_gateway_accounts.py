"""Each Gateway of weft's has a ServiceAccount that carries its infrastructure labels."""

from typing import Any

from tests.controllers.simulate import World, make
from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import ServiceAccount
from weft.controllers import gateway_accounts

CLASS = make(gw.GatewayClass, {"spec": {"controllerName": gw.CONTROLLER_NAME}}, name="weft")


def gateway(name: str, of: str = "weft", **infrastructure: Any) -> gw.Gateway:
    spec = {"gatewayClassName": of, "infrastructure": infrastructure}
    return make(gw.Gateway, {"spec": spec}, name=name, namespace="shop")


def test_it_carries_labels_and_annotations_and_follows_them() -> None:
    w = World([gateway_accounts.CONTROLLER])
    w.put(CLASS)
    w.put(gateway("edge", labels={"team": "a"}, annotations={"note": "b"}))
    w.settle()
    found = w.get(ServiceAccount, "edge-weft", "shop")
    assert found is not None
    assert found.metadata.labels["gateway.networking.k8s.io/gateway-name"] == "edge"
    assert found.metadata.labels["team"] == "a"
    assert found.metadata.annotations == {"note": "b"}
    assert found.metadata.owner_references[0].kind == "Gateway"
    w.patch(gw.Gateway, "edge", {"spec": {"infrastructure": {"labels": {"team": "z"}}}}, "shop")
    w.settle()
    changed = w.get(ServiceAccount, "edge-weft", "shop")
    assert changed is not None
    assert changed.metadata.labels["team"] == "z"


def test_gateways_of_other_classes_get_none() -> None:
    w = World([gateway_accounts.CONTROLLER])
    w.put(gateway("theirs", of="nginx"))
    w.settle()
    assert w.all(ServiceAccount) == []


def test_names_that_no_label_can_have() -> None:
    w = World([gateway_accounts.CONTROLLER])
    w.put(CLASS)
    for last in "ab":
        w.put(gateway("g" * 99 + last))
    w.settle()
    labels = [a.metadata.labels[gateway_accounts.LABEL_GATEWAY] for a in w.all(ServiceAccount)]
    assert len(set(labels)) == 2
    assert {len(each) for each in labels} == {63}
