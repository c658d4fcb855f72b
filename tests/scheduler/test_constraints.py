"""Affinity and anti-affinity between pods, and topology spread."""

from collections import Counter
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.scheduler.objects import node, pod
from tests.scheduler.test_cycle import bound, complaint, run
from weft.api.k8s.core_v1 import Namespace, Node
from weft.api.k8s.pod_v1 import Pod

ZONE, HOST = "topology.kubernetes.io/zone", "kubernetes.io/hostname"


def nodes(*zones: str, per_zone: int = 2, **more: Any) -> list[Node]:
    return [
        node(f"{z}{i}", labels={ZONE: z, HOST: f"{z}{i}"}, **more)
        for z in zones
        for i in range(per_zone)
    ]


def labelled(name: str, app: str, namespace: str = "default", **spec: Any) -> Pod:
    found = pod(name, **spec)
    metadata = replace(found.metadata, labels={"app": app}, namespace=namespace)
    return replace(found, metadata=metadata)


def term(app: str, key: str = ZONE, **more: Any) -> Any:
    return {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **more}


def near(*terms: Any, soft: bool = False) -> Any:
    return {"affinity": {"podAffinity": _terms(terms, soft)}}


def away(*terms: Any, soft: bool = False) -> Any:
    return {"affinity": {"podAntiAffinity": _terms(terms, soft)}}


def _terms(terms: Any, soft: bool) -> Any:
    if soft:
        weighted = [{"weight": 100, "podAffinityTerm": t} for t in terms]
        return {"preferredDuringSchedulingIgnoredDuringExecution": weighted}
    return {"requiredDuringSchedulingIgnoredDuringExecution": list(terms)}


def spread(skew: int = 1, key: str = ZONE, app: str = "web", **more: Any) -> Any:
    constraint = {"maxSkew": skew, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule",
                  "labelSelector": {"matchLabels": {"app": app}}, **more}  # fmt: skip
    return {"topologySpreadConstraints": [constraint]}


def zones(plan: Any) -> Counter[str]:
    return Counter(n[0] for n in bound(plan).values())


def test_pods_go_where_their_friends_are() -> None:
    cache = labelled("cache", "cache", nodeName="b1", phase="Running")
    web = [labelled(f"w{i}", "web", **near(term("cache"))) for i in range(3)]
    assert zones(run(*nodes("a", "b"), cache, *web)) == {"b": 3}
    same_node = labelled("w", "web", **near(term("cache", HOST)))
    assert bound(run(*nodes("a", "b"), cache, same_node)) == {"w": "b1"}


def test_without_friends_they_wait() -> None:
    plan = run(*nodes("a"), labelled("w", "web", **near(term("cache"))))
    assert complaint(plan) == (
        "0/2 nodes are available: 2 node(s) didn't match pod affinity rules."
    )


def test_the_first_of_a_group_may_choose() -> None:
    group = [labelled(f"w{i}", "web", **near(term("web"))) for i in range(4)]
    assert len(zones(run(*nodes("a", "b"), *group))) == 1


def test_pods_keep_away_from_each_other() -> None:
    web = [labelled(f"w{i}", "web", **away(term("web", HOST))) for i in range(5)]
    plan = run(*nodes("a", "b"), *web)
    assert sorted(bound(plan).values()) == ["a0", "a1", "b0", "b1"]
    (said,) = {a.message for a in plan.actions if getattr(a, "reason", "") == "FailedScheduling"}
    assert said.startswith(
        "0/4 nodes are available: 4 node(s) didn't match pod anti-affinity rules."
    )


def test_pods_that_are_there_keep_others_away() -> None:
    loner = labelled("loner", "db", nodeName="a0", phase="Running", **away(term("web")))
    assert bound(run(*nodes("a", "b", per_zone=1), loner, labelled("w", "web"))) == {"w": "b0"}
    plan = run(*nodes("a", per_zone=1), loner, labelled("w", "web"))
    assert "didn't satisfy existing pods anti-affinity rules" in complaint(plan)


def test_pods_of_the_same_cycle_count() -> None:
    loner = labelled("a-loner", "db", **away(term("web")))
    web = [labelled(f"w{i}", "web", created="2026-01-02T00:00:00Z") for i in range(2)]
    found = bound(run(*nodes("a", "b"), loner, *web))
    assert found["a-loner"][0] not in {found["w0"][0], found["w1"][0]}


def test_namespaces() -> None:
    other = labelled("cache", "cache", "prod", nodeName="b0", phase="Running")
    web = labelled("w", "web", **near(term("cache")))
    assert bound(run(*nodes("a", "b"), other, web)) == {}
    named = labelled("w", "web", **near(term("cache", namespaces=["prod"])))
    assert bound(run(*nodes("a", "b"), other, named))["w"][0] == "b"
    prod = msgspec.convert({"metadata": {"name": "prod", "labels": {"env": "p"}}}, Namespace)
    selector = {"matchLabels": {"env": "p"}}
    chosen = labelled("w", "web", **near(term("cache", namespaceSelector=selector)))
    assert bound(run(*nodes("a", "b"), other, chosen, prod))["w"][0] == "b"  # type: ignore[arg-type]


def test_preferences_decide_where_there_is_a_choice() -> None:
    cache = labelled("cache", "cache", nodeName="b0", phase="Running")
    liked = labelled("w", "web", **near(term("cache"), soft=True))
    assert bound(run(*nodes("a", "b"), cache, liked))["w"][0] == "b"
    shy = [labelled(f"w{i}", "web", **away(term("web"), soft=True)) for i in range(4)]
    assert zones(run(*nodes("a", "b"), *shy)) == {"a": 2, "b": 2}
    full = nodes("b", per_zone=1, cpu="1")
    busy = labelled("cache", "cache", cpu="1", nodeName="b0", phase="Running")
    plan = run(
        *nodes("a"), *full, busy, labelled("w", "web", cpu="1", **near(term("cache"), soft=True))
    )
    assert bound(plan)["w"][0] == "a"


@pytest.mark.parametrize("count", [3, 7, 12])
def test_pods_are_spread_over_zones(count: int) -> None:
    web = [labelled(f"w{i:02}", "web", **spread()) for i in range(count)]
    found = zones(run(*nodes("a", "b"), *nodes("c", per_zone=5), *web))
    assert sum(found.values()) == count
    assert max(found.values()) - min(found.values()) <= 1


def test_a_full_zone_holds_the_others_back() -> None:
    web = [labelled(f"w{i}", "web", cpu="1", **spread()) for i in range(6)]
    plan = run(*nodes("a"), node("b0", labels={ZONE: "b", HOST: "b0"}, cpu="1"), *web)
    assert zones(plan) == {"a": 2, "b": 1}
    said = next(a.message for a in plan.actions if getattr(a, "reason", "") == "FailedScheduling")
    assert "1 Insufficient cpu" in said
    assert "2 node(s) didn't match pod topology spread constraints" in said
    soft = [
        labelled(f"w{i}", "web", cpu="1", **spread(whenUnsatisfiable="ScheduleAnyway"))
        for i in range(6)
    ]
    assert (
        len(bound(run(*nodes("a"), node("b0", labels={ZONE: "b", HOST: "b0"}, cpu="1"), *soft)))
        == 6
    )


def test_nodes_that_the_pod_cannot_use_do_not_count() -> None:
    chosen = {"nodeSelector": {ZONE: "a"}} | spread()
    web = [labelled(f"w{i}", "web", **chosen) for i in range(4)]
    assert zones(run(*nodes("a", "b"), *web)) == {"a": 4}


def test_nodes_without_the_label_are_out() -> None:
    plan = run(node("x"), labelled("w", "web", **spread()))
    assert "missing required label" in complaint(plan)


def test_spread_over_hosts_and_zones_together() -> None:
    both = [*spread()["topologySpreadConstraints"], *spread(key=HOST)["topologySpreadConstraints"]]
    web = [labelled(f"w{i}", "web", topologySpreadConstraints=both) for i in range(8)]
    found = bound(run(*nodes("a", "b"), *web))
    assert Counter(found.values()) == {"a0": 2, "a1": 2, "b0": 2, "b1": 2}


def test_domains_that_are_missing_count_as_empty() -> None:
    web = [labelled(f"w{i}", "web", **spread(minDomains=3)) for i in range(4)]
    assert len(bound(run(*nodes("a", "b"), *web))) == 2


def test_versions_are_spread_apart() -> None:
    old = [labelled(f"o{i}", "web", nodeName="a0", phase="Running") for i in range(3)]
    fresh = []
    for i in range(2):
        made = labelled(f"n{i}", "web", **spread(matchLabelKeys=["rev"]))
        fresh.append(
            replace(made, metadata=replace(made.metadata, labels={"app": "web", "rev": "2"}))
        )
    assert zones(run(*nodes("a", "b"), *old, *fresh)) == {"a": 1, "b": 1}
