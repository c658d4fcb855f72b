"""What would let a pod run."""

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
    assert text.endswith("A toleration of the taint would let it run.")


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
