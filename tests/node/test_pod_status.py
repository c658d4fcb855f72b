"""PodStatus as Kubernetes clients read it."""

from typing import Any

import msgspec

from tests.node.pods import UID, pod
from tests.node.test_pod_machine import NETWORK, Machine
from weft.node import pod_state as ps


def shown(machine: Machine) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(machine.status))
    return found


def test_status_of_a_running_pod_word_for_word() -> None:
    m = Machine(pod()).run()
    at = "1970-01-01T00:16:40Z"
    true = {"status": "True", "lastTransitionTime": at}
    assert shown(m) == {
        "phase": "Running",
        "hostIP": "10.0.0.1",
        "hostIPs": [{"ip": "10.0.0.1"}],
        "podIP": "10.244.0.5",
        "podIPs": [{"ip": "10.244.0.5"}],
        "startTime": at,
        "conditions": [
            true | {"type": kind}
            for kind in (
                "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady",
                "PodScheduled",
            )
        ],
        "containerStatuses": [
            {
                "name": "web",
                "image": "web:1.0",
                "imageID": "web@image",
                "containerID": f"weft://{UID}_web_0",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": at}},
                "lastState": {},
            }
        ],
    }  # fmt: skip


def test_waiting_containers_say_why_and_what_is_not_ready_is_named() -> None:
    m = Machine(pod(initContainers=[{"name": "init"}]))
    m.send(NETWORK, ps.ListenersAcknowledged())
    status = shown(m)
    assert status["phase"] == "Pending"
    web = status["containerStatuses"][0]
    assert web["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert (web["ready"], web["started"], web["restartCount"]) == (False, False, 0)
    conditions = {c["type"]: c for c in status["conditions"]}
    assert conditions["Initialized"]["message"] == "containers with incomplete status: [init]"
    assert conditions["Ready"]["reason"] == "ContainersNotReady"
    assert conditions["Ready"]["message"] == "containers with unready status: [web]"


def test_transition_times_move_only_with_the_condition() -> None:
    m = Machine(pod(containers=[{"name": "web", "readinessProbe": {"tcpSocket": {"port": 1}}}]))
    m.run()
    m.now += 60
    m.send(ps.ProbeSucceeded(m.id(), "readiness"))
    times = {c.type: c.last_transition_time for c in m.status.conditions}
    assert times["Ready"] == "1970-01-01T00:17:40Z"
    assert times["Initialized"] == "1970-01-01T00:16:40Z"


def test_readiness_gates_hold_back_ready_but_not_containers_ready() -> None:
    gates = [{"conditionType": "example.com/lb"}]
    m = Machine(pod(readinessGates=gates)).run()
    assert (m.condition("Ready"), m.condition("ContainersReady")) == ("False", "True")
    status = {"conditions": [{"type": "example.com/lb", "status": "True"}]}
    m.send(ps.PodObserved(pod(readinessGates=gates, status=status)))
    assert m.condition("Ready") == "True"


def test_phases_of_ended_pods_follow_exit_codes_and_policy() -> None:
    for policy, code, phase in (
        ("Never", 0, "Succeeded"), ("Never", 1, "Failed"), ("OnFailure", 0, "Succeeded"),
        ("OnFailure", 1, "Running"), ("Always", 0, "Running"),
    ):  # fmt: skip
        m = Machine(pod(restartPolicy=policy)).run()
        m.exited(code)
        if m.did(ps.StartContainer):
            m.started()
        assert m.status.phase == phase, (policy, code)


def test_terminated_state_carries_code_reason_and_times() -> None:
    m = Machine(pod(restartPolicy="Never")).run()
    m.now += 5
    m.exited(3)
    (web,) = shown(m)["containerStatuses"]
    assert web["state"]["terminated"] == {
        "containerID": f"weft://{UID}_web_0", "exitCode": 3, "reason": "Error",
        "startedAt": "1970-01-01T00:16:40Z", "finishedAt": "1970-01-01T00:16:45Z",
    }  # fmt: skip
