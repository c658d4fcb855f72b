"""What `weft status` says of pods' callers."""

from tests.mesh.cluster import snapshot
from weft.daemon.status import address_rows, mtls_mode
from weft.mesh.build import build

OBJECTS = [
    {"apiVersion": "v1", "kind": "Node",
     "metadata": {"name": "a", "annotations": {
         "weft.dev/gateway-ports": '{"80": 8080}', "weft.dev/gateway-address": "127.0.0.1"}}},
    {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
     "spec": {"clusterIP": "10.96.0.1", "selector": {"app": "web"}, "ports": [{"port": 80}]}},
    {"kind": "Backends", "metadata": {"name": "b"}, "service": "web", "pods": {
        "open-1": {"ip": "10.244.0.1", "labels": {"tier": "open"}},
        "shut-1": {"ip": "10.244.0.2", "labels": {"tier": "shut"}},
        "part-1": {"ip": "10.244.0.3", "labels": {"tier": "part"}}}},
    *(
        {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
         "metadata": {"name": tier},
         "spec": {"selector": {"matchLabels": {"tier": tier}}, "mtls": {"mode": mode}, **more}}
        for tier, mode, more in (
            ("shut", "STRICT", {}),
            ("part", "PERMISSIVE", {"portLevelMtls": {"8080": {"mode": "STRICT"}}}),
        )
    ),
    *(
        {"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": name},
         "spec": {"selector": {"istio": "ingressgateway"}, "servers": [
             {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [host]}]}}
        for name, host in (("one", "one.test"), ("two", "two.test"))
    ),
]  # fmt: skip


def test_what_callers_must_show() -> None:
    model = build(snapshot(OBJECTS)).model
    assert {w.name: mtls_mode(w) for w in model.workloads} == {
        "open-1": "PERMISSIVE",
        "shut-1": "STRICT",
        "part-1": "PERMISSIVE, STRICT on 8080",
    }


def test_gateways_that_share_a_port_each_have_a_row() -> None:
    objects = snapshot(OBJECTS)
    rows = address_rows(objects, build(objects).model)
    port = {"port": 8080, "protocol": "TCP", "of": 80}
    assert [(r["owner"], r["address"], r["ports"]) for r in rows] == [
        ("Gateway default/one", "127.0.0.1", [port]),
        ("Gateway default/two", "127.0.0.1", [port]),
    ]
