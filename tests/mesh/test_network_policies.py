"""NetworkPolicies as Kubernetes means them: what is selected, who is let in, at which ports."""

from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from weft.api.k8s.core_v1 import Namespace
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.networking_v1 import NetworkPolicy
from weft.mesh.model import Destination, Door, Endpoint, Gap, PortDoor, Walls, Workload
from weft.mesh.network_policies import (
    NetworkRules,
    PolicyPod,
    network_access,
    network_rules,
    with_walls,
)
from weft.node.linux.walls import RULES_MAX, walls_table

GATEWAY = "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account"
API, DB, GUEST = "10.244.0.2", "10.244.0.3", "10.244.1.4"
PODS = (
    PolicyPod("api", "shop", API, (("app", "api"),), (("http", "TCP", 8080),)),
    PolicyPod("db", "shop", DB, (("app", "db"),), (("sql", "TCP", 5432), ("sql", "UDP", 5433))),
    PolicyPod("guest", "guests", GUEST, (("app", "guest"),), (("http", "TCP", 9090),)),
)
NAMESPACES = tuple(
    Namespace(metadata=ObjectMeta(name=name, labels={"kubernetes.io/metadata.name": name}))
    for name in ("shop", "guests", "istio-system")
)
ANYBODY = ("0.0.0.0/0",)


def rules(*specs: dict[str, Any], namespace: str = "shop") -> NetworkRules:
    found = tuple(
        convert({"metadata": {"name": f"p{n}", "namespace": namespace}, "spec": s}, NetworkPolicy)
        for n, s in enumerate(specs)
    )
    return network_rules(found, PODS, NAMESPACES, GATEWAY)


def ingress(*sources: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{"from": sources, **more}]}


def gaps(spec: dict[str, Any]) -> tuple[Gap, ...]:
    (group,) = rules(spec).ingress
    assert group.addresses == (DB,)
    return group.gaps


EDGE = {"istio": "ingressgateway"}
ALL_PODS: dict[str, Any] = {"podSelector": {}}
GUESTS = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "guests"}}}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"podSelector": {"matchLabels": {"app": "db"}}}, ()),
        ({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": [{}]},
         (Gap(ANYBODY, edge=True),)),
        # 10.244.0.2 and .3 are one block.
        (ingress(ALL_PODS), (Gap(("10.244.0.2/31",)),)),
        (ingress(GUESTS), (Gap((f"{GUEST}/32",)),)),
        (ingress({**GUESTS, **ALL_PODS}, {"podSelector": {"matchLabels": {"app": "api"}}}),
         (Gap((f"{API}/32", f"{GUEST}/32")),)),
        (ingress({**GUESTS, "podSelector": {"matchLabels": {"app": "nobody"}}}), ()),
        (ingress({"ipBlock": {"cidr": "10.0.0.0/30", "except": ["10.0.0.1/32"]}}),
         (Gap(("10.0.0.0/32", "10.0.0.2/31")),)),
        (ingress({"ipBlock": {"cidr": "fd00::/8"}}), ()),
        (ingress(GUESTS, ports=[{"port": 5432}, {"protocol": "UDP", "port": 1, "endPort": 9}]),
         (Gap((f"{GUEST}/32",), "TCP", 5432, 5432), Gap((f"{GUEST}/32",), "UDP", 1, 9))),
        (ingress(GUESTS, ports=[{"port": "sql"}, {"port": "unknown"}]),
         (Gap((f"{GUEST}/32",), "TCP", 5432, 5432),)),
        (ingress({"namespaceSelector": {}, "podSelector": {"matchLabels": EDGE}}),
         (Gap((), edge=True),)),
    ],
)  # fmt: skip
def test_who_is_let_in(spec: dict[str, Any], wanted: tuple[Gap, ...]) -> None:
    assert gaps(spec) == wanted


def test_policies_add_up_and_name_each_other() -> None:
    (group,) = rules(ingress(GUESTS), ingress(ports=[{"port": 5432}])).ingress
    assert group.name == "NetworkPolicy shop/p0, shop/p1"
    assert group.gaps == (Gap((f"{GUEST}/32",)), Gap(ANYBODY, "TCP", 5432, 5432, edge=True))


def test_egress_is_closed_only_when_a_policy_says_so() -> None:
    out: dict[str, Any] = {
        "podSelector": {},
        "egress": [{"to": [GUESTS], "ports": [{"port": "http"}]}],
    }
    found = rules(out)
    assert [group.gaps for group in found.ingress] == [()], "Ingress holds unless types are given"
    (group,) = found.egress
    assert group.addresses == (API, DB)
    assert group.gaps == (Gap((f"{GUEST}/32",), "TCP", 9090, 9090),)
    assert not rules({"podSelector": {}, "ingress": [{}]}).egress
    (only,) = rules({"podSelector": {}, "policyTypes": ["Egress"]}).egress
    assert only.gaps == ()


def destination(*places: tuple[str, int], protocol: Any = "http") -> Destination:
    endpoints = tuple(Endpoint(a, p, pod_uid=a) for a, p in places)
    return Destination("d", "d.shop", 80, protocol, endpoints=endpoints)


def test_the_proxy_refuses_by_the_callers_address() -> None:
    found = rules(ingress(GUESTS, ports=[{"port": 5432}]))
    two = destination((DB, 5432), (DB, 5433), (API, 5432))
    open_, shut = network_access(two, two.endpoints, found)
    assert (open_.endpoints, shut.endpoints) == (((DB, 5432),), ((DB, 5433),))
    condition = open_.policies[0].rules[0].groups[0][0][0]
    assert condition.negated
    assert condition.networks == (f"{DB}/32", f"{GUEST}/32"), "nobody is kept from itself"
    # Ports of TCP are none of UDP.
    datagrams = destination((DB, 5432), protocol="udp")
    (refused,) = network_access(datagrams, datagrams.endpoints, found)
    assert refused.policies[0].rules[0].groups[0][0][0].networks == (f"{DB}/32",)


def test_names_that_nobody_has_resolved_yet_are_judged_by_their_address() -> None:
    spec = {"podSelector": {}, "policyTypes": ["Egress"],
            "egress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}  # fmt: skip
    named = destination(("shop.example", 443))
    (access,) = network_access(named, (), rules(spec))
    kinds = [group[0][0].kind for group in access.policies[0].rules[0].groups]
    assert kinds == ["source_ip", "destination_ip"]


def workload(pod: PolicyPod) -> Workload:
    return Workload(pod.uid, pod.uid, pod.namespace, "n", pod.address, pod.uid, "p", netns="/n")


def test_walls_of_pods() -> None:
    found = rules(ingress(GUESTS, ports=[{"port": 5432}]))
    api, db, guest = (w.walls for w in with_walls(tuple(map(workload, PODS)), found))
    proxies = ("10.244.0.1", "10.244.0.254", "10.244.1.1", "10.244.1.254")
    assert db == Walls(ingress=(Gap((f"{GUEST}/32",), "TCP", 5432, 5432),), proxies=proxies)
    # What the mesh does not know comes from the proxy: its caller is held back instead.
    assert api == Walls(closed=(Gap((f"{DB}/32",), "TCP"),), proxies=proxies)
    assert guest is not None
    assert guest.closed == (
        Gap((f"{DB}/32",), "TCP", 1, 5431), Gap((f"{DB}/32",), "TCP", 5433, 65535),
    )  # fmt: skip
    assert with_walls((workload(PODS[0]),), NetworkRules())[0].walls is None


@pytest.mark.parametrize(
    ("door", "judged"),
    [
        (Door(bytes_closed=True), ((1, 65535),)),
        (Door(bytes_closed=True, ports=(PortDoor(53, False, False),)), ((1, 52), (54, 65535))),
        (Door(ports=(PortDoor(53, False, True), PortDoor(80, True, False))), ((53, 53),)),
    ],
)
def test_datagrams_of_nobody_are_held_back(door: Door, judged: tuple[tuple[int, int], ...]) -> None:
    guarded = replace(workload(PODS[0]), door=door)
    one, other = with_walls((guarded, workload(PODS[1])), NetworkRules())
    assert one.walls is not None
    assert (one.walls.judged_udp, one.walls.ingress) == (judged, None)
    assert all(address.endswith(".1") for address in one.walls.judges), "names come from .254"
    assert other.walls is None


def test_too_many_rules_shut_the_pod() -> None:
    many = tuple(f"10.{n >> 8}.{n & 255}.0/32" for n in range(RULES_MAX))
    table = walls_table(Walls(ingress=(Gap(many),), proxies=("10.244.0.1",)), "10.96.0.0/16")
    assert len(table.rules) < 40
