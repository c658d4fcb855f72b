"""What would let a pod run."""

from typing import Any

import pytest
from msgspec import convert
from msgspec.structs import replace

from tests.scheduler.objects import node, pod
from tests.scheduler.test_cycle import run
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.pod_v1 import Pod, PodStatus
from weft.runtime.plan import Patch, RecordEvent


def said(*objects: Node | Pod) -> str:
    (event,) = [a for a in run(*objects).actions if isinstance(a, RecordEvent)]
    return event.message


def test_the_smallest_change_is_named() -> None:
    busy = pod("busy", cpu="2", nodeName="n1", phase="Running")
    text = said(node("n1"), node("n2", cpu="1"), busy, pod(cpu="2500m", memory="1Gi"))
    assert text.endswith("2 Insufficient cpu. It would fit node n1 with 500m less cpu.")
    text = said(node(), pod(memory="9Gi"))
    assert text.endswith("It would fit node n1 with 1024Mi less memory.")


def test_taints_everywhere() -> None:
    text = said(node(taints=[{"key": "gpu", "effect": "NoSchedule"}]), pod())
    assert text.endswith("A toleration of the taint gpu would let it run.")


def test_a_new_hint_alone_is_no_news() -> None:
    waiting = pod(cpu="5")
    (patch,) = [a for a in run(node(), waiting).actions if isinstance(a, Patch)]
    text = patch.body["status"]["conditions"][0]["message"]
    assert "1000m less cpu" in text
    told = pod(cpu="5")
    status = convert({"conditions": patch.body["status"]["conditions"]}, PodStatus)
    told = replace(told, status=status)
    busy = pod("busy", cpu="1", nodeName="n1", phase="Running")
    assert run(node(), busy, told).actions == ()


def test_a_node_without_any_room_is_no_hint() -> None:
    full = pod("full", cpu="4", nodeName="n1", phase="Running")
    assert "less" not in said(node(), full, pod(cpu="1"))


NEAR = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "db"}}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
BY_ZONE = [{"key": "zone", "operator": "In", "values": ["a", "b"]}]


@pytest.mark.parametrize(
    ("spec", "helps"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, "A node with the label disk=ssd would let it run"),
        ({"nodeSelector": {"zone": "z", "arch": "x"}}, "A node with the label arch=x would let"),
        ({"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": BY_ZONE}]}}}}, "A node with zone in (a, b) would let it run."),
        ({"affinity": {"podAffinity": {REQUIRED: [NEAR]}}},
         "It runs where a pod with app=db (by zone) is"),
        ({"affinity": {"podAntiAffinity": {REQUIRED: [
            {**NEAR, "labelSelector": {"matchLabels": {"app": "web"}}}]}}},
         "Another node, away from pods with app=web (by zone), would let it run."),
        ({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "rack",
            "whenUnsatisfiable": "DoNotSchedule"}]}, "The label rack on the nodes"),
        ({"ports": (8080,)}, "Another hostPort than 8080, or a node where it is free"),
        ({"requests": {"example.com/gpu": "1"}}, "None of the nodes that would do has example.com"),
        ({"cpu": "4"}, "It would fit node n2 with 1000m less cpu."),
    ],
)  # fmt: skip
def test_what_helps_is_named(spec: dict[str, Any], helps: str) -> None:
    nodes = [
        node("n1", labels={"zone": "z", "arch": "y"}), node("n2", labels={"zone": "z"}),
    ]  # fmt: skip
    others = [
        labelled("web", app="web", nodeName=name, phase="Running", ports=(8080,), cpu="1")
        for name in ("n1", "n2")
    ]
    others[0] = replace(others[0], metadata=replace(others[0].metadata, name="w1", uid="w1"))
    extra = pod("more", cpu="1", nodeName="n1", phase="Running")
    assert helps in said(*nodes, *others, extra, pod(**spec))


def test_a_full_node_is_named_with_what_it_must_get_back() -> None:
    full = pod("full", cpu="4", nodeName="n1", phase="Running")
    text = said(node(), full, pod(cpu="1"))
    assert text.endswith("It would run once pods on node n1 give back 1000m cpu.")


def test_nodes_that_are_out_of_order() -> None:
    assert said(node(unschedulable=True), pod()).endswith(
        "`weft node uncordon n1` would let it run."
    )
    silent = {"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}
    assert "once such a node is in order again" in said(node(taints=[silent]), pod())
    assert said(pod()).endswith("schedule pods. It runs once a node joins.")


def test_gates_say_who_opens_them() -> None:
    def gated(*names: str, **notes: str) -> str:
        made = pod(schedulingGates=[{"name": n} for n in names])
        made = replace(made, metadata=replace(made.metadata, annotations=notes))
        (patch,) = [a for a in run(node(), made).actions if isinstance(a, Patch)]
        return str(patch.body["status"]["conditions"][0]["message"])

    assert gated("example.com/x").endswith(
        "once example.com/x is removed from its schedulingGates."
    )
    notes = {"weft.dev/start-after": "deployment/db"}
    both = gated("weft.dev/queue", "weft.dev/start-after", **notes)
    assert both.endswith("It is placed once its queue admits it and deployment/db is ready.")


def labelled(name: str, app: str, **spec: Any) -> Pod:
    made = pod(name, **spec)
    return replace(made, metadata=replace(made.metadata, labels={"app": app}))
