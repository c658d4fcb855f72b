"""The pod machine under random orders of events: what must hold after every step."""

import random
from typing import Any

import pytest

from tests.node.pods import UID, deleted, pod
from weft.api.k8s.pod_v1 import Pod
from weft.node import pod_machine
from weft.node import pod_state as ps

STEPS = 250
END_SECONDS_MAX = 900.0
"""Longest grace period here (60 s), waits for the mesh, and then some."""


def random_pod(rng: random.Random) -> Pod:
    def maybe(value: Any) -> Any:
        return value if rng.random() < 0.4 else None

    def container(name: str) -> dict[str, Any]:
        probe = {"tcpSocket": {"port": 80}, "periodSeconds": rng.randint(1, 5)}
        hook = {"exec": {"command": ["true"]}}
        body = {
            "name": name,
            "ports": maybe([{"containerPort": 80}]),
            "readinessProbe": maybe(probe),
            "livenessProbe": maybe(probe | {"failureThreshold": rng.randint(1, 3)}),
            "startupProbe": maybe(probe),
            "lifecycle": maybe({"preStop": maybe(hook), "postStart": maybe(hook)}),
        }
        return {k: v for k, v in body.items() if v is not None}

    init = [container(f"i{n}") for n in range(rng.randint(0, 2))]
    for one in init:
        if rng.random() < 0.3:
            one["restartPolicy"] = "Always"
        else:
            one = {k: v for k, v in one.items() if k == "name"}
    return pod(
        containers=[container(f"c{n}") for n in range(rng.randint(1, 2))],
        initContainers=init,
        restartPolicy=rng.choice(["Always", "OnFailure", "Never"]),
        terminationGracePeriodSeconds=rng.choice([0, 1, 5, 60]),
        **({"activeDeadlineSeconds": 120} if rng.random() < 0.2 else {}),
    )


class Simulation:
    """A node that does what the machine asks, later, in any order, and not always well."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1_000_000.0
        self.pending: list[ps.Event] = []
        """What will happen, in any order."""
        self.running: dict[str, float] = {}
        self.sandbox = False
        self.served = False
        self.drained = False
        self.deadline: float | None = None
        self.gone = self.finished = self.stubborn = False
        self.started: dict[str, int] = {}
        self.restarts: dict[str, int] = {}
        settings = ps.MachineSettings(isolation="netns", host_ip="192.0.2.1")
        self.state = pod_machine.new(random_pod(self.rng), settings, self.now)
        self.send(ps.Adopted())

    # --- the world

    def send(self, event: ps.Event) -> None:
        self.state, actions = pod_machine.step(self.state, event, self.now)
        for action in actions:
            self.carry_out(action)
        self.check()

    def carry_out(self, action: ps.Action) -> None:
        rng, later = self.rng, self.pending.append
        match action:
            case ps.CreateSandbox():
                assert not self.sandbox
                if rng.random() < 0.2:
                    later(ps.SandboxFailed("no address"))
                else:
                    self.sandbox = True
                    later(ps.SandboxCreated("10.244.0.9", "/run/netns/a"))
            case ps.AwaitListeners():
                if rng.random() < 0.9:
                    later(ps.ListenersAcknowledged())
            case ps.StartContainer():
                self.start(action)
            case ps.RunHook():
                later(ps.HookFinished(action.id, action.hook, rng.choice(["", "failed"])))
            case ps.RunProbe():
                kinds = (ps.ProbeSucceeded(action.id, action.kind),
                         ps.ProbeFailed(action.id, action.kind, "no"))  # fmt: skip
                later(rng.choice((kinds[0], kinds[0], kinds[1])))
            case ps.SignalContainer():
                self.check_signal(action)
                if action.id in self.running and not self.stubborn:
                    self.end(action.id, 143)
            case ps.KillContainer():
                if action.id in self.running:
                    self.end(action.id, 137)
            case ps.AwaitDrain():
                if rng.random() < 0.7:
                    later(ps.DrainFinished())
            case ps.AwaitListenersRemoved():
                assert not self.running, "the proxy lets go only of what ended"
                if rng.random() < 0.8:
                    later(ps.ListenersRemoved())
            case ps.DeleteSandbox():
                assert not self.running
                assert self.sandbox
                self.sandbox = False
                later(ps.SandboxDeleted())
            case ps.FinishDeletion():
                assert not self.running
                assert not self.sandbox
                later(ps.PodRemoved())
            case ps.Forget():
                assert not self.running
                assert not self.sandbox
                self.finished = True

    def start(self, action: ps.StartContainer) -> None:
        assert self.sandbox
        assert self.served, "no process before its listeners are acknowledged"
        assert action.id not in self.started, "an instance runs once"
        record = next(c for c in self.state.containers if c.name == action.container)
        if record.role != "init":
            init = [c for c in self.state.containers if c.role == "init"]
            ran = any(c.started_at for c in self.state.containers if c.role == "app")
            if record.role == "app" and not ran:
                assert all(c.exit is not None and c.exit.exit_code == 0 for c in init)
        lot = self.rng.random()
        if lot < 0.15:
            self.pending.append(ps.ContainerRefused(action.id, "ErrImagePull", "none"))
            return
        self.started[action.id] = 1
        if lot < 0.25:
            ended = ps.Exit(action.id, 128, "StartError", finished_at=self.now)
            self.pending.append(ps.ContainerExited(ended))
            return
        self.running[action.id] = self.now
        self.pending.append(ps.ContainerStarted(action.id, self.now))

    def end(self, container_id: str, code: int) -> None:
        at = self.running.pop(container_id)
        reason = "Completed" if code == 0 else "Error"
        ended = ps.Exit(container_id, code, reason, started_at=at, finished_at=self.now)
        self.pending.append(ps.ContainerExited(ended))

    # --- what must hold

    def check_signal(self, action: ps.SignalContainer) -> None:
        if self.deadline is None or self.gone:
            return
        record = next(c for c in self.state.containers if ps.instance_id(
            UID, c.name, c.restarts) == action.id)  # fmt: skip
        serves = record.role == "app" and self.state.end is not None
        if serves and self.state.end is not None and self.state.end.cause == "deleted":
            assert self.state.end.drained or self.now >= self.state.end.deadline

    def check(self) -> None:
        status = self.state.status
        if status is None or self.state.removed:
            return
        for shown in (*status.init_container_statuses, *status.container_statuses):
            before = self.restarts.get(shown.name, 0)
            count = shown.restart_count or 0
            assert before <= count <= before + 1, "restart counts are monotone"
            self.restarts[shown.name] = count
            if shown.ready and shown.state is not None and shown.state.terminated is None:
                container_id = shown.container_id.removeprefix("weft://")
                known = container_id in self.running or any(
                    isinstance(e, ps.ContainerExited) and e.exit.id == container_id
                    for e in self.pending
                )
                assert known, "ready means running"
        conditions = {c.type: c.status for c in status.conditions}
        if conditions["Ready"] == "True":
            assert conditions["ContainersReady"] == "True"
            assert conditions["PodReadyToStartContainers"] == "True"
        if self.state.timer_at is not None:
            assert self.state.timer_at > self.now - 3600

    # --- the course of events

    def happen(self) -> None:
        """One thing: an answer, a program that ends, time that passes."""
        lot = self.rng.random()
        if self.pending and lot < 0.6:
            event = self.pending.pop(self.rng.randrange(len(self.pending)))
            if isinstance(event, ps.ListenersAcknowledged):
                self.served = True
            self.send(event)
        elif self.running and lot < 0.65:
            self.end(self.rng.choice(list(self.running)), self.rng.choice([0, 1, 137]))
        elif lot < 0.68:
            self.send(ps.DependenciesChanged())
        elif lot < 0.70:
            self.send(ps.PodObserved(self.state.pod))
        else:
            self.pass_time(self.rng.choice([0.01, 0.5, 3.0, 30.0]))

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        for _ in range(200):
            at = self.state.timer_at
            if at is None or at > end:
                break
            self.now = max(self.now, at)
            self.send(ps.TimerFired())
            if self.state.timer_at is not None and self.state.timer_at <= self.now:
                assert self.state.timer_at != at, "a timer that fired is not set again"
        self.now = end

    def delete(self) -> None:
        self.deadline = self.now + 60
        self.send(ps.PodObserved(deleted(self.state.pod, grace=self.rng.choice([0, 2, 60]))))

    def finish(self) -> None:
        """Everything answers from now on, except a mesh that never does."""
        end = self.now + END_SECONDS_MAX
        while not self.finished and self.now < end:
            while self.pending and not self.finished:
                event = self.pending.pop(self.rng.randrange(len(self.pending)))
                self.served = self.served or isinstance(event, ps.ListenersAcknowledged)
                self.send(event)
            self.pass_time(1.0)


@pytest.mark.parametrize(
    "seeds", [range(100), pytest.param(range(100, 2000), marks=pytest.mark.slow)], ids=str
)
def test_every_order_of_events_keeps_the_contract(seeds: range) -> None:
    for seed in seeds:
        simulation = Simulation(seed)
        rng = simulation.rng
        simulation.stubborn = rng.random() < 0.3
        for _ in range(rng.randrange(STEPS)):
            simulation.happen()
        if rng.random() < 0.2:
            simulation.gone = True
            simulation.send(ps.PodRemoved())
        else:
            simulation.delete()
            for _ in range(rng.randrange(20)):
                simulation.happen()
        simulation.finish()
        assert simulation.finished, f"seed {seed}: the pod never ended"
        assert not simulation.sandbox, f"seed {seed}: its network was left"
