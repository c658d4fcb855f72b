"""Statuses of Gateway API objects as they are written: times, others, pending ones."""

from typing import Any

from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_conditions import condition
from weft.mesh.gateway_api_facts import (
    GatewayFacts,
    gateway_facts,
    merged,
    with_facts,
    with_nodes,
)
from weft.mesh.gateway_api_objects import ObjectStatus
from weft.mesh.model import GatewayBinding, NodeSettings
from weft.mesh.object_status import Acknowledged, programmed

HERE = GatewayFacts(("10.0.0.1", "10.0.0.2"), bound=True)


def gateway(programmed: bool = True) -> ObjectStatus:
    found = [condition("Accepted", True, "Accepted", 1)]
    found.append(condition("Programmed", programmed, "Programmed" if programmed else "Invalid", 1))
    listener = {"name": "http", "conditions": found}
    asked = [{"type": "Hostname", "value": "10.0.0.2"}]
    status = {"conditions": found, "listeners": [listener], "attachedListenerSets": 0}
    status["addresses"] = asked
    return ObjectStatus(gw.Gateway, "default", "edge", "u", status)


def words(conditions: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(c["status"], c["reason"]) for c in conditions]


def test_nothing_is_programmed_before_it_is_acknowledged() -> None:
    early = with_facts(gateway(), HERE, False)
    assert words(early["conditions"]) == [("True", "Accepted"), ("False", "Pending")]
    assert words(early["listeners"][0]["conditions"])[1] == ("False", "Pending")
    types = ("IPAddress", "10.0.0.1"), ("Hostname", "10.0.0.2")
    assert early["addresses"] == [{"type": t, "value": a} for t, a in types]
    late = with_facts(gateway(), HERE, True)
    assert words(late["conditions"])[1] == ("True", "Programmed")
    never = with_facts(gateway(False), HERE, False)
    assert words(never["conditions"])[1] == ("False", "Invalid")


def test_datagrams_do_not_reach_nodes_without_root() -> None:
    plain = gateway()
    (http,) = plain.status["listeners"]
    kinds = ("HTTPRoute", "UDPRoute")
    both = [{**http, "name": kind, "supportedKinds": [{"kind": kind}]} for kind in kinds]
    mixed = ObjectStatus(
        *(gw.Gateway, "default", "edge", "u", {**plain.status, "listeners": both}),
        gateway="default/edge",
        places=((80, "tcp"), (53, "udp")),
    )
    bound = GatewayBinding("default/edge", ("127.0.0.1",), ((80, 8080),))
    node = NodeSettings("vm", gateway_bindings=(bound,), relayed=True)
    found = gateway_facts(mixed, [node])
    assert (found.bound, found.no_datagrams, found.datagrams_only) == (True, ("vm",), False)
    made = with_facts(mixed, found, True)
    assert words(made["conditions"])[1] == ("True", "Programmed")
    assert [words(each["conditions"])[1] for each in made["listeners"]] == [
        ("True", "Programmed"), ("False", "NoResources"),
    ]  # fmt: skip
    assert "without root: vm" in made["listeners"][1]["conditions"][1]["message"]
    # Where root runs weft, the same Gateway is not bound until its ports for datagrams are.
    assert not gateway_facts(mixed, [replace(node, relayed=False)]).bound
    only = with_facts(mixed, replace(found, datagrams_only=True), True)
    assert words(only["conditions"])[1] == ("False", "NoResources")


def test_a_time_changes_with_its_condition_only() -> None:
    first = merged(with_facts(gateway(), HERE, False), {}, "t1")
    second = merged(with_facts(gateway(), HERE, True), first, "t2")
    assert [c["lastTransitionTime"] for c in second["conditions"]] == ["t1", "t2"]
    times = [c["lastTransitionTime"] for c in second["listeners"][0]["conditions"]]
    assert times == ["t1", "t2"]
    assert merged(with_facts(gateway(), HERE, True), second, "t3") == second


def test_entries_of_other_controllers_stay() -> None:
    theirs = {"parentRef": {"name": "x"}, "controllerName": "example.com/other", "conditions": []}
    old = {"parentRef": {"name": "y"}, "controllerName": gw.CONTROLLER_NAME, "conditions": []}
    mine = {
        "parentRef": {"name": "z"},
        "controllerName": gw.CONTROLLER_NAME,
        "conditions": [condition("Accepted", True, "Accepted", 1)],
    }
    made = merged({"parents": [mine]}, {"parents": [theirs, old]}, "t")
    assert [p["parentRef"]["name"] for p in made["parents"]] == ["x", "z"]


def test_routes_are_programmed_where_they_are_accepted() -> None:
    takes = {"conditions": [condition("Accepted", True, "Accepted", 7)]}
    refuses = {"conditions": [condition("Accepted", False, "NoMatchingParent", 7)]}
    route = ObjectStatus(gw.HTTPRoute, "default", "web", "u", {"parents": [takes, refuses]})
    told = programmed(Acknowledged(("a",), ("b",)), None)
    first, second = with_nodes(route, told)["parents"]
    assert words(first["conditions"]) == [("True", "Accepted"), ("False", "Pending")]
    assert first["conditions"][1]["observedGeneration"] == 7
    assert first["conditions"][1]["message"] == "acknowledged by 1 of 2 nodes; not by b"
    assert second == refuses
