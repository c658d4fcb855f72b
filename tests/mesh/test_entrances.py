"""Calls between nodes: what is reached through whose proxy, and what is judged there."""

from typing import Any

from msgspec.structs import replace

from weft.mesh.entrances import judged_here
from weft.mesh.model import (
    AccessCondition,
    AccessPolicy,
    AccessRule,
    ComingPod,
    Destination,
    Endpoint,
    HttpRoute,
    MeshModel,
    NodeModel,
    NodeSettings,
    OutboundPort,
    RouteTable,
    StringMatch,
    VirtualHost,
    WeightedDestination,
    Workload,
)
from weft.mesh.scope import scope

NODES = (("a", "10.0.0.1"), ("b", "10.0.0.2"))


def workload(uid: str, node: str, account: str, **fields: Any) -> Workload:
    return Workload(
        uid=uid, name=uid, namespace="default", node=node, address=f"10.244.0.{len(uid)}",
        workload=account, principal=f"spiffe://td/ns/default/sa/{account}", **fields,
    )  # fmt: skip


def endpoint(uid: str, node: str, address: str = "10.244.1.9", port: int = 8080) -> Endpoint:
    return Endpoint(address=address, port=port, node=node, pod_uid=uid)


def model(*endpoints: Endpoint, nodes: Any = NODES, **fields: Any) -> MeshModel:
    web = Destination(
        name="web", host="web", port=80, protocol=fields.pop("protocol", "http"),
        endpoints=endpoints,
    )  # fmt: skip
    route = HttpRoute(name="", destinations=(WeightedDestination("web"),))
    host = VirtualHost(name="web", domains=("web",), routes=(route,))
    caller = workload("caller", "a", "app", outbound=fields.pop("outbound", ()))
    workloads = (caller, *fields.pop("workloads", (workload("u", "b", "web"),)))
    return MeshModel(
        trust_domain="td", nodes=nodes, workloads=workloads, destinations=(web,),
        route_tables=(RouteTable(name="80", virtual_hosts=(host,)),),
        **fields,
    )  # fmt: skip


def scoped(mesh: MeshModel, node: str) -> NodeModel:
    used = tuple(replace(w, outbound=(OutboundPort(80, "80"),)) for w in mesh.workloads)
    return scope(replace(mesh, workloads=used), NodeSettings(name=node))


def endpoints_at(mesh: MeshModel, node: str) -> tuple[Endpoint, ...]:
    (found,) = scoped(mesh, node).destinations
    return found.endpoints


def test_pods_of_other_nodes_are_reached_through_their_proxies() -> None:
    mesh = model(endpoint("u", "b"), endpoint("caller", "a", "10.244.0.9"))
    assert [e.gate for e in endpoints_at(mesh, "a")] == ["p8080.u", ""]
    assert [e.gate for e in endpoints_at(mesh, "b")] == ["", "p8080.caller"]
    assert [e.name for e in scoped(mesh, "b").entrances] == ["p8080.u"]
    assert scoped(mesh, "b").node.peers.nodes == (("a", "10.0.0.1"),)


def test_a_node_takes_calls_for_a_pod_before_anybody_sends_one() -> None:
    """Other nodes learn of an endpoint when it is ready, and may connect at once."""
    mesh = model()
    (web,) = mesh.destinations
    coming = replace(web, coming=(ComingPod("b", "u", 8080),))
    before = scoped(replace(mesh, destinations=(coming,)), "b")
    after = scoped(model(endpoint("u", "b")), "b")
    assert [e.name for e in before.entrances] == ["p8080.u"]
    assert before.entrances == after.entrances
    assert scoped(replace(mesh, destinations=(coming,)), "a").entrances == ()


def test_nothing_goes_over_a_network_in_the_clear() -> None:
    unknown = model(endpoint("u", "c"))
    assert endpoints_at(unknown, "a") == ()


def test_what_is_no_pod_of_the_mesh_is_reached_as_ever() -> None:
    outside, host_network = Endpoint("192.0.2.1", 80), endpoint("h", "b", "10.0.0.2")
    assert endpoints_at(model(outside, host_network), "a") == (outside, host_network)
    datagrams = model(endpoint("u", "b"), protocol="udp")
    assert scoped(datagrams, "b").entrances == ()


def test_a_node_alone_takes_no_calls() -> None:
    alone = model(endpoint("u", "b"), nodes=(("b", "10.0.0.2"),))
    found = scoped(alone, "b")
    assert (found.entrances, found.node.peers.nodes) == ((), ())


def condition(kind: Any, *values: str, negated: bool = False) -> AccessCondition:
    texts = tuple(StringMatch("exact", v) for v in values)
    return AccessCondition(kind, texts=texts, negated=negated)


def policy(action: Any, *groups: Any, **fields: Any) -> AccessPolicy:
    return AccessPolicy("default/p", action, (AccessRule(tuple(groups)),), **fields)


WHO = condition("principal", "td/ns/default/sa/app")
FROM = AccessCondition("source_ip", networks=("10.0.0.0/8",))
TOKEN = condition("token_principal", "issuer/subject")
GET = condition("method", "GET")


def test_permissions_take_for_granted_what_the_caller_s_proxy_decided() -> None:
    (found,) = judged_here((policy("allow", ((WHO, FROM), (TOKEN,)), ((GET,),)),))
    # The second alternative may hold, so that whole group is decided there.
    assert found.rules == (AccessRule((((GET,),),)),)
    (found,) = judged_here((policy("allow", ((WHO, FROM),)),))
    assert found.rules == (AccessRule((((WHO,),),)),)


def test_denials_refuse_nothing_on_a_guess() -> None:
    (found,) = judged_here((policy("deny", ((WHO, FROM), (WHO,))),))
    assert found.rules == (AccessRule((((WHO,),),)),)
    (found,) = judged_here((policy("deny", ((TOKEN,),)),))
    assert found.rules == ()
    everything = policy("deny")
    assert judged_here((everything,)) == (everything,)


def test_what_only_tries_is_counted_once() -> None:
    tried = policy("deny", ((WHO,),), dry_run=True)
    assert judged_here((tried, policy("audit", ((WHO,),)))) == ()


def test_bytes_are_for_identities_that_may_call() -> None:
    server = workload("u", "b", "web", access=(policy("allow", ((WHO,),)),))
    mesh = model(endpoint("u", "b"), workloads=(server, workload("x", "a", "other")))
    (entrance,) = scoped(mesh, "b").entrances
    assert entrance.callers == ("spiffe://td/ns/default/sa/app",)
    only_get = replace(server, access=(policy("allow", ((WHO,),), ((GET,),)),))
    (entrance,) = scoped(model(endpoint("u", "b"), workloads=(only_get,)), "b").entrances
    assert entrance.callers == ()
    (entrance,) = scoped(model(endpoint("u", "b")), "b").entrances
    assert entrance.callers is None
