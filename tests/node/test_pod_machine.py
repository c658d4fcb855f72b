"""The pod machine: what it asks for, in which order, and what it never does."""

from typing import Any

import msgspec

from tests.node.pods import UID, deleted, pod
from weft.api.k8s.pod_v1 import Pod
from weft.node import pod_machine
from weft.node import pod_state as ps

NETWORK = ps.SandboxCreated("10.244.0.5", "/run/netns/x", {"weft.dev/netns": "/run/netns/x"})


class Machine:
    """Drives one pod by hand with its own clock."""

    def __init__(self, found: Pod, isolation: Any = "netns", adopted: Any = None) -> None:
        self.now = 1000.0
        settings = ps.MachineSettings(isolation=isolation, host_ip="10.0.0.1")
        self.state = pod_machine.new(found, settings, self.now)
        self.actions: tuple[ps.Action, ...] = ()
        self.send(adopted or ps.Adopted())

    def send(self, *events: ps.Event) -> tuple[ps.Action, ...]:
        self.actions = ()
        for event in events:
            self.state, actions = pod_machine.step(self.state, event, self.now)
            self.actions += actions
        return self.actions

    def wait(self, seconds: float) -> tuple[ps.Action, ...]:
        """Let time pass; fire the timer whenever it is due."""
        end, seen = self.now + seconds, ()
        while self.state.timer_at is not None and self.state.timer_at <= end:
            self.now = max(self.now, self.state.timer_at)
            seen += self.send(ps.TimerFired())
        self.now = end
        self.actions = seen
        return seen

    def did(self, *kinds: type) -> list[Any]:
        return [a for a in self.actions if isinstance(a, kinds)]

    def id(self, name: str = "web") -> str:
        record = next(c for c in self.state.containers if c.name == name)
        return ps.instance_id(UID, name, record.restarts)

    def run(self) -> "Machine":
        """To the point where all containers run that may."""
        self.send(NETWORK)
        self.send(ps.ListenersAcknowledged())
        self.started()
        return self

    def started(self, name: str = "web") -> None:
        self.send(ps.ContainerStarted(self.id(name), self.now, f"{name}@image"))

    def exited(self, code: int, name: str = "web", reason: str = "") -> None:
        reason = reason or ("Completed" if code == 0 else "Error")
        at = next(c for c in self.state.containers if c.name == name).started_at
        self.send(
            ps.ContainerExited(
                ps.Exit(self.id(name), code, reason, started_at=at, finished_at=self.now)
            )
        )

    @property
    def status(self) -> Any:
        assert self.state.status is not None
        return self.state.status

    def condition(self, kind: str) -> str:
        return next(c.status for c in self.status.conditions if c.type == kind)

    def container(self, index: int = 0) -> Any:
        return self.status.container_statuses[index]


def test_pod_starts_only_after_its_listeners_are_acknowledged() -> None:
    m = Machine(pod())
    assert m.did(ps.CreateSandbox)
    m.send(NETWORK)
    assert [type(a) for a in m.actions[:3]] == [ps.AnnotatePod, ps.ReportStatus, ps.AwaitListeners]
    assert m.condition("PodReadyToStartContainers") == "True"
    assert m.status.pod_ip == "10.244.0.5"
    assert not m.did(ps.StartContainer)
    m.send(ps.ListenersAcknowledged())
    assert m.did(ps.StartContainer) == [ps.StartContainer("web", f"{UID}_web_0", 0)]
    assert m.status.phase == "Pending"
    m.started()
    assert m.status.phase == "Running"
    assert m.condition("Ready") == "True"
    assert m.container().container_id == f"weft://{UID}_web_0"


def test_netns_pod_keeps_waiting_for_listeners_and_says_so() -> None:
    m = Machine(pod())
    m.send(NETWORK)
    m.wait(11)
    assert [e.reason for e in m.did(ps.RecordEvent)] == ["ListenersNotReady"]
    assert not m.did(ps.StartContainer)


def test_host_pod_goes_on_without_listeners() -> None:
    m = Machine(pod(), isolation="host")
    m.send(NETWORK)
    m.wait(11)
    assert m.did(ps.StartContainer)


def test_init_containers_run_in_order_before_the_others() -> None:
    m = Machine(pod(initContainers=[{"name": "one"}, {"name": "two"}]))
    m.send(NETWORK)
    m.send(ps.ListenersAcknowledged())
    assert [a.container for a in m.did(ps.StartContainer)] == ["one"]
    m.started("one")
    m.exited(0, "one")
    assert [a.container for a in m.did(ps.StartContainer)] == ["two"]
    assert m.condition("Initialized") == "False"
    m.started("two")
    m.exited(0, "two")
    assert [a.container for a in m.did(ps.StartContainer)] == ["web"]
    assert m.condition("Initialized") == "True"


def test_failed_init_container_restarts_or_fails_the_pod_as_its_policy_says() -> None:
    m = Machine(pod(initContainers=[{"name": "one"}]))
    m.send(NETWORK, ps.ListenersAcknowledged())
    m.started("one")
    m.exited(1, "one")
    assert [a.id for a in m.did(ps.StartContainer)] == [f"{UID}_one_1"]
    never = Machine(pod(initContainers=[{"name": "one"}], restartPolicy="Never"))
    never.send(NETWORK, ps.ListenersAcknowledged())
    never.started("one")
    never.exited(1, "one")
    assert never.status.phase == "Failed"
    assert never.did(ps.AwaitListenersRemoved)


def test_sidecar_starts_first_and_ends_last() -> None:
    m = Machine(pod(initContainers=[{"name": "side", "restartPolicy": "Always"}]))
    m.send(NETWORK, ps.ListenersAcknowledged())
    m.started("side")
    assert [a.container for a in m.did(ps.StartContainer)] == ["web"]
    m.started("web")
    m.send(ps.PodObserved(deleted(m.state.pod)), ps.DrainFinished())
    assert [a.id for a in m.did(ps.SignalContainer)] == [m.id("web")]
    m.exited(0, "web")
    assert [a.id for a in m.did(ps.SignalContainer)] == [m.id("side")]


def test_crash_loop_backs_off_as_kubelet_does() -> None:
    m = Machine(pod()).run()
    delays = []
    for _ in range(8):
        m.now += 1
        m.exited(1)
        if m.did(ps.StartContainer):
            delays.append(0.0)
        else:
            assert m.container().state.waiting.reason == "CrashLoopBackOff"
            assert m.container().last_state.terminated.exit_code == 1
            due = m.state.containers[0].retry_at
            assert due is not None
            delays.append(due - m.now)
            m.wait(due - m.now)
            assert m.did(ps.StartContainer)
        m.started()
    assert delays == [0, 10, 20, 40, 80, 160, 300, 300]
    assert m.container().restart_count == 8
    m.wait(601)
    m.exited(1)
    assert m.did(ps.StartContainer), "ten minutes of running forgive the past"


def test_oom_kill_is_reported() -> None:
    m = Machine(pod(restartPolicy="Never")).run()
    m.exited(137, reason="OOMKilled")
    assert m.container().state.terminated.reason == "OOMKilled"
    assert m.status.phase == "Failed"


def test_completed_pod_frees_its_network_and_stays() -> None:
    m = Machine(pod(restartPolicy="OnFailure")).run()
    m.exited(0)
    assert m.status.phase == "Succeeded"
    assert m.did(ps.AwaitListenersRemoved)
    m.send(ps.ListenersRemoved())
    assert m.did(ps.RemoveContainer)
    assert m.did(ps.DeleteSandbox)
    m.send(ps.SandboxDeleted())
    assert not m.did(ps.FinishDeletion)
    m.send(ps.PodObserved(deleted(m.state.pod)))
    assert m.did(ps.FinishDeletion)
    m.send(ps.PodRemoved())
    assert m.did(ps.Forget)


def test_unknown_image_waits_and_starts_when_it_appears() -> None:
    m = Machine(pod())
    m.send(NETWORK, ps.ListenersAcknowledged())
    m.send(ps.ContainerRefused(m.id(), "ErrImagePull", 'no image "web:1.0" on this node'))
    assert m.container().state.waiting.reason == "ErrImagePull"
    assert 'no image "web:1.0"' in m.container().state.waiting.message
    m.wait(2)
    m.send(ps.ContainerRefused(m.id(), "ErrImagePull", 'no image "web:1.0" on this node'))
    assert m.container().state.waiting.reason == "ImagePullBackOff"
    m.send(ps.DependenciesChanged())
    assert m.did(ps.StartContainer) == [ps.StartContainer("web", f"{UID}_web_0", 0)]


def test_deletion_drains_before_sigterm_and_removes_listeners_before_the_network() -> None:
    m = Machine(pod()).run()
    m.send(ps.PodObserved(deleted(m.state.pod)))
    assert m.did(ps.AwaitDrain) == [ps.AwaitDrain("10.244.0.5")]
    assert m.condition("Ready") == "True", "it still serves what it got"
    m.wait(3)
    assert not m.did(ps.SignalContainer)
    m.send(ps.DrainFinished())
    assert m.did(ps.SignalContainer) == [ps.SignalContainer(m.id(), "SIGTERM")]
    m.exited(143)
    assert [type(a) for a in m.actions[-3:-1]] == [ps.ReportStatus, ps.AwaitListenersRemoved]
    assert m.condition("PodReadyToStartContainers") == "False"
    assert not m.did(ps.DeleteSandbox)
    m.send(ps.ListenersRemoved())
    assert m.did(ps.DeleteSandbox)
    m.send(ps.SandboxDeleted())
    assert m.did(ps.FinishDeletion)


def test_grace_period_bounds_drain_and_program() -> None:
    m = Machine(pod()).run()
    m.send(ps.PodObserved(deleted(m.state.pod, grace=5)))
    m.wait(4.9)
    assert not m.did(ps.SignalContainer)
    m.wait(0.2)
    assert m.did(ps.SignalContainer)
    m.wait(2)
    assert m.did(ps.KillContainer) == [ps.KillContainer(m.id())]


def test_second_deletion_shortens_the_grace_period() -> None:
    m = Machine(pod()).run()
    m.send(ps.PodObserved(deleted(m.state.pod, grace=300)))
    m.send(ps.PodObserved(deleted(m.state.pod, grace=1)))
    m.wait(1.1)
    assert m.did(ps.SignalContainer)


def test_forced_deletion_stops_at_once_and_forgets() -> None:
    m = Machine(pod()).run()
    m.send(ps.PodRemoved())
    assert m.did(ps.SignalContainer)
    m.wait(2.1)
    assert m.did(ps.KillContainer)
    m.exited(137)
    m.send(ps.ListenersRemoved())
    m.send(ps.SandboxDeleted())
    assert m.did(ps.Forget)
    assert not m.did(ps.FinishDeletion, ps.ReportStatus)


def test_pre_stop_hook_runs_while_draining_and_holds_sigterm_back() -> None:
    hook = {"preStop": {"exec": {"command": ["sleep", "3"]}}}
    m = Machine(pod(containers=[{"name": "web", "lifecycle": hook}])).run()
    m.send(ps.PodObserved(deleted(m.state.pod)))
    assert [h.hook for h in m.did(ps.RunHook)] == ["preStop"]
    m.send(ps.DrainFinished())
    assert not m.did(ps.SignalContainer)
    m.send(ps.HookFinished(m.id(), "preStop", "exit code 1"))
    assert m.did(ps.SignalContainer)
    assert [e.reason for e in m.did(ps.RecordEvent)] == ["FailedPreStopHook"]


def test_post_start_hook_failure_restarts_the_container() -> None:
    hook = {"postStart": {"exec": {"command": ["false"]}}}
    m = Machine(pod(containers=[{"name": "web", "lifecycle": hook}])).run()
    assert m.condition("Ready") == "False"
    m.send(ps.HookFinished(m.id(), "postStart", "exit code 1"))
    assert m.did(ps.SignalContainer)
    m.exited(143)
    assert [a.id for a in m.did(ps.StartContainer)] == [f"{UID}_web_1"]


def test_active_deadline_fails_the_pod() -> None:
    m = Machine(pod(activeDeadlineSeconds=60)).run()
    m.wait(61)
    m.send(ps.DrainFinished())
    m.exited(143)
    assert (m.status.phase, m.status.reason) == ("Failed", "DeadlineExceeded")


def test_adoption_of_a_running_pod_changes_nothing_for_its_callers() -> None:
    first = Machine(pod(containers=[{"name": "web", "readinessProbe": {"tcpSocket": {"port": 1}}}]))
    first.run()
    first.send(ps.ProbeSucceeded(first.id(), "readiness"))
    assert first.condition("Ready") == "True"
    from msgspec.structs import replace

    seen = replace(first.state.pod, status=first.status)
    found = ps.FoundContainer(first.id(), 1000.0)
    again = Machine(seen, adopted=ps.Adopted("10.244.0.5", "/run/netns/x", {}, (found,)))
    assert not again.did(ps.StartContainer, ps.CreateSandbox, ps.AwaitListeners)
    assert again.condition("Ready") == "True"
    assert again.condition("Initialized") == "True"


def test_adoption_learns_exits_that_nobody_saw() -> None:
    first = Machine(pod(restartPolicy="Never")).run()
    from msgspec.structs import replace

    seen = replace(first.state.pod, status=first.status)
    ended = ps.Exit(first.id(), 3, "Error", started_at=1000, finished_at=1005)
    again = Machine(
        seen, adopted=ps.Adopted("10.244.0.5", "", {}, (ps.FoundContainer(ended.id, 1000, ended),))
    )
    assert again.status.phase == "Failed"
    assert again.container().state.terminated.exit_code == 3


def test_container_lost_with_the_machine_is_unknown_and_restarts() -> None:
    first = Machine(pod()).run()
    from msgspec.structs import replace

    again = Machine(replace(first.state.pod, status=first.status))
    assert again.did(ps.CreateSandbox)
    last = again.container().last_state.terminated
    assert (last.exit_code, last.reason) == (137, "ContainerStatusUnknown")
    again.send(NETWORK, ps.ListenersAcknowledged())
    assert [a.id for a in again.did(ps.StartContainer)] == [f"{UID}_web_1"]


def test_a_timer_that_fires_early_is_set_again() -> None:
    """Event loops round; what was due a millisecond later must not be forgotten."""
    machine = Machine(pod()).run()
    machine.exited(1)
    machine.started()
    machine.exited(1)
    due = machine.state.timer_at
    assert due is not None
    machine.now = due - 0.001
    machine.send(ps.TimerFired())
    assert machine.did(ps.SetTimer) == [ps.SetTimer(due)]


def test_a_pod_in_the_nodes_network_waits_for_no_listeners() -> None:
    ports = [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}]
    container = {"name": "web", "image": "web:1.0", "ports": ports}
    found = pod(hostNetwork=True, containers=[container])
    m = Machine(found)
    assert m.did(ps.CreateSandbox)
    m.send(ps.SandboxCreated("10.0.0.1"))
    assert m.did(ps.StartContainer)
    assert not m.did(ps.AwaitListeners)
    m.started()
    assert m.status.pod_ip == "10.0.0.1"
    m.wait(10)
    m.send(ps.PodObserved(deleted(found)))
    assert m.did(ps.AwaitDrain) == [ps.AwaitDrain("10.0.0.1", (8080,))]
    m.send(ps.DrainFinished())
    m.exited(0)
    assert m.did(ps.DeleteSandbox)
    assert not m.did(ps.AwaitListenersRemoved)
    m.send(ps.SandboxDeleted())
    assert m.did(ps.FinishDeletion)


def test_an_adopted_pod_in_the_nodes_network_waits_for_no_listeners() -> None:
    found = pod(hostNetwork=True)
    gone = ps.FoundContainer(ps.instance_id(UID, "other", 0), 900.0)
    m = Machine(found, adopted=ps.Adopted("10.0.0.1", containers=(gone,)))
    assert m.did(ps.StartContainer)
    assert not m.did(ps.AwaitListeners)


def test_an_evicted_pod_ends_at_once_and_for_good() -> None:
    """Without a drain; its containers get the shortest time to end that there is."""
    m = Machine(pod()).run()
    m.send(ps.Evicted("the node was low on memory"))
    assert m.did(ps.AwaitDrain) == []
    assert "Evicted" in {a.reason for a in m.did(ps.RecordEvent)}
    assert m.did(ps.SignalContainer)
    status = m.did(ps.ReportStatus)[-1].status
    assert (status.phase, status.reason, status.message) == (
        "Failed", "Evicted", "the node was low on memory",
    )  # fmt: skip
    target = next(c for c in status.conditions if c.type == "DisruptionTarget")
    assert (target.status, target.reason) == ("True", "TerminationByKubelet")
    assert [a.id for a in m.wait(ps.KILL_WINDOW_SECONDS) if isinstance(a, ps.KillContainer)]
    m.send(ps.Evicted("again"))
    assert m.did(ps.RecordEvent) == []
    m.exited(137)
    m.send(ps.ListenersRemoved())
    m.send(ps.SandboxDeleted())
    m.wait(600)
    assert m.did(ps.CreateSandbox, ps.StartContainer, ps.FinishDeletion) == []


def test_an_eviction_goes_on_after_the_agent_was_away() -> None:
    m = Machine(pod()).run()
    m.send(ps.Evicted("low"))
    status = m.did(ps.ReportStatus)[-1].status
    known = msgspec.structs.replace(m.state.pod, status=status)
    found = ps.Adopted("10.244.0.5", "/run/netns/x", {}, (ps.FoundContainer(m.id(), m.now),))
    later = Machine(known, adopted=found)
    assert later.did(ps.SignalContainer)
    assert later.state.end is not None
    assert later.state.end.cause == "evicted"
    gone = Machine(known)
    assert gone.did(ps.CreateSandbox, ps.StartContainer) == []


def with_image(found: Pod, image: str) -> Pod:
    body = msgspec.to_builtins(found)
    body["spec"]["containers"][0]["image"] = image
    return msgspec.convert(body, Pod)


def test_a_changed_image_replaces_the_container_at_once() -> None:
    m = Machine(pod()).run()
    m.exited(1)
    m.started()
    m.send(ps.PodObserved(with_image(m.state.pod, "web:2")))
    assert [a.signal for a in m.did(ps.SignalContainer)], "the old one is stopped"
    m.exited(0)
    assert m.did(ps.StartContainer), "without back-off"
    m.started()
    m.exited(1)
    m.started()
    m.exited(1)
    assert m.state.containers[0].stage == "waiting"
    m.send(ps.PodObserved(with_image(m.state.pod, "web:3")))
    assert m.did(ps.StartContainer), "a change ends a back-off"


def test_a_changed_configuration_ends_the_back_off() -> None:
    m = Machine(pod()).run()
    m.exited(1)
    m.started()
    m.exited(1)
    waiting = m.state.containers[0]
    assert waiting.retry_at is not None
    assert waiting.retry_at >= m.now + ps.BACKOFF_FIRST_SECONDS
    m.send(ps.DependenciesChanged())
    assert m.did(ps.StartContainer) == [], "something else in the namespace changed"
    m.send(ps.DependenciesChanged(named=True))
    assert m.did(ps.StartContainer)
    assert "BackOffReset" in {e.reason for e in m.did(ps.RecordEvent)}
    m.started()
    m.exited(1)
    assert m.did(ps.StartContainer), "and the back-off starts over"
