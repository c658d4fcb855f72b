"""Containers whose CPU and memory change while they run."""

from decimal import Decimal
from typing import Any

import msgspec

from tests.node.pods import pod
from tests.node.test_pod_machine import Machine
from weft.api.k8s.container_v1 import Container, ContainerResizePolicy, ResourceRequirements
from weft.api.k8s.pod_v1 import Pod
from weft.api.pod_resizes import DEFERRED, INFEASIBLE
from weft.node import pod_state as ps
from weft.node.pod_resize import unfit


def sized(found: Pod, cpu: str, *policies: ContainerResizePolicy) -> Pod:
    wanted = ResourceRequirements(limits={"cpu": cpu}, requests={"cpu": cpu})
    web = msgspec.structs.replace(
        found.spec.containers[0], resources=wanted, resize_policy=policies
    )  # fmt: skip
    return msgspec.structs.replace(
        found, spec=msgspec.structs.replace(found.spec, containers=(web,))
    )


def conditions(machine: Machine) -> dict[str, tuple[str, str]]:
    reported = [a.status for a in machine.did(ps.ReportStatus)]
    found: Any = reported[-1].conditions if reported else ()
    return {c.type: (c.reason, c.message) for c in found if "Resize" in c.type}


def test_limits_follow_the_spec_and_the_status_tells() -> None:
    machine = Machine(sized(pod(), "1")).run()
    machine.send(ps.PodObserved(sized(pod(), "2")))
    (asked,) = machine.did(ps.ResizeContainer)
    assert "PodResizeInProgress" in conditions(machine)
    machine.send(ps.PodObserved(sized(pod(), "2")))
    assert machine.did(ps.ResizeContainer) == []
    has = ResourceRequirements(limits={"cpu": "2"}, requests={"cpu": "2"})
    machine.send(ps.ContainerResized(asked.id, has))
    status = machine.did(ps.ReportStatus)[-1].status
    assert status.container_statuses[0].resources == has
    assert status.container_statuses[0].allocated_resources == {"cpu": "2"}
    assert conditions(machine) == {}


def test_what_could_not_be_done_is_told_and_tried_again() -> None:
    machine = Machine(sized(pod(), "2")).run()
    machine.send(ps.PodObserved(sized(pod(), "1")))
    machine.send(ps.ContainerResized(machine.id(), ResourceRequirements(), "it uses more"))
    assert conditions(machine) == {"PodResizeInProgress": ("Error", "it uses more")}
    assert machine.did(ps.ResizeContainer) == []
    machine.wait(6)
    assert len(machine.did(ps.ResizeContainer)) == 1


def test_a_policy_asks_for_a_restart() -> None:
    policy = ContainerResizePolicy(resource_name="cpu", restart_policy="RestartContainer")
    machine = Machine(sized(pod(), "1", policy)).run()
    machine.send(ps.PodObserved(sized(pod(), "2", policy)))
    assert machine.did(ps.ResizeContainer) == []
    assert machine.state.containers[0].stage == "stopping"
    once = Machine(sized(pod(restartPolicy="Never"), "1", policy)).run()
    once.send(ps.PodObserved(sized(pod(restartPolicy="Never"), "2", policy)))
    assert len(once.did(ps.ResizeContainer)) == 1, "it would not come back"


def test_what_the_node_has_no_room_for_waits() -> None:
    machine = Machine(sized(pod(), "1")).run()
    machine.send(ps.PodObserved(sized(pod(), "9"), (DEFERRED, "no room")))
    assert conditions(machine) == {"PodResizePending": (DEFERRED, "no room")}
    assert machine.did(ps.ResizeContainer) == []
    machine.send(ps.PodObserved(sized(pod(), "9")))
    assert len(machine.did(ps.ResizeContainer)) == 1


def test_room() -> None:
    capacity = {"cpu": Decimal(4)}
    assert unfit(sized(pod(), "2"), [sized(pod(), "2")], capacity) is None
    text = "Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000"
    assert unfit(sized(pod(), "5"), [], capacity) == (INFEASIBLE, text)
    refused = unfit(sized(pod(), "3"), [sized(pod(), "1500m")], capacity)
    assert refused is not None
    assert refused[0] == DEFERRED
    assert unfit(Pod(), [], {"memory": Decimal(1)}) is None
    assert Container().resize_policy == ()
