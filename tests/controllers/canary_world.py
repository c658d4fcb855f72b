"""A world with one Canary: Deployments, Services and their endpoints are simulated, who is asked
answers what the test says."""

from collections.abc import Mapping
from typing import Any

from tests.controllers.rollout_world import agent
from tests.controllers.simulate import World, make
from weft.api.flagger.canary import Canary, CanaryStatus
from weft.api.flagger.v1beta1 import GROUP
from weft.api.istio.networking_v1 import VirtualService
from weft.api.k8s.apps_v1 import Deployment
from weft.controllers import deployments, endpointslices, gc, replicasets
from weft.controllers.analysis_runs import Answer
from weft.controllers.canary_steps import advance, answered
from weft.controllers.canary_view import Notice, Question

CONTROLLERS = (
    deployments.CONTROLLER, replicasets.CONTROLLER, endpointslices.CONTROLLER, gc.CONTROLLER,
)  # fmt: skip
INTERVAL = 10.0
GOOD = {"requests": 100.0, "successPercent": 100.0, "p99Ms": 12.0}
METRICS = [
    {"name": "request-success-rate", "interval": "30s", "thresholdRange": {"min": 99}},
    {"name": "request-duration", "interval": "30s", "thresholdRange": {"max": 500}},
]
STEPS = {"interval": "10s", "threshold": 2, "maxWeight": 50, "stepWeight": 25, "metrics": METRICS}
LOOKS_MAX = 100


class CanaryWorld(World):
    """`answers` are those of webhooks (by name: why it refuses, "" when it agrees) and metrics."""

    def __init__(self, analysis: Mapping[str, Any], seed: int = 0, **spec: Any) -> None:
        super().__init__(CONTROLLERS, seed)
        self.answers: dict[str, Any] = {}
        self.asked: list[Question] = []
        self.notices: list[Notice] = []
        self._ticked: float | None = None
        self.acknowledged = True
        """Whether every proxy has the routes."""
        self.put(make(Deployment, {"spec": deployment("v1", **spec.pop("pod", {}))}, name="web"))
        body = {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "service": {"port": 80, "targetPort": "http"}, "analysis": analysis, **spec,
        }  # fmt: skip
        self.put(make(Canary, {"spec": body}, name="web"))

    def look(self) -> None:
        """Look until nothing changes: at the same moment, so no further step is taken."""
        for _ in range(LOOKS_MAX):
            before = self.revision
            self._look()
            self.settle(agent)
            if self.revision == before:
                return
        raise AssertionError(f"not quiet: {self.writes[-5:]}")

    def _look(self) -> None:
        answers: dict[str, Answer] = {}
        canary = self.get(Canary, "web")
        if canary is None:
            return
        while True:
            turn = advance(
                self.snapshot(), canary, answers, self.now,
                ticked_at=self._ticked, in_force=lambda _: self.acknowledged,
            )  # fmt: skip
            if turn.question is None:
                break
            answers[turn.question.key] = self._answer(turn.question)
        if turn.ticked:
            self._ticked = self.now
        self.notices += turn.notices
        self.apply(turn.plan)
        for question in turn.later:
            self.events.append(answered(canary, question, self._answer(question)))

    def _answer(self, question: Question) -> Answer:
        self.asked.append(question)
        if question.webhook is not None:
            return Answer(error=self.answers.get(question.webhook.name, ""))
        assert question.metric is not None
        return Answer(self.answers.get(question.metric.name, GOOD))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.pass_time(INTERVAL)
            self.look()

    def until(self, phase: str, ticks: int = 20) -> None:
        for _ in range(ticks):
            if self.status.phase == phase:
                return
            self.tick()
        raise AssertionError(f"not {phase}: {self.status}, {self.said()[-5:]}")

    def roll(self, image: str) -> None:
        self.patch(Deployment, "web", {"spec": {"template": deployment(image)["template"]}})
        self.look()

    @property
    def status(self) -> CanaryStatus:
        return self.need(Canary, "web").status

    def said(self) -> list[str]:
        return [e.message for e in self.events if isinstance(e.regarding, Canary)]

    def replicas(self, name: str) -> int | None:
        return self.need(Deployment, name).spec.replicas

    def image(self, name: str) -> str:
        return self.need(Deployment, name).spec.template.spec.containers[0].image

    def weights(self) -> list[tuple[str, int]]:
        """Of the first rule of the VirtualService."""
        rule = self.need(VirtualService, "web").spec.http[0]
        return [(r.destination.host, r.weight or 0) for r in rule.route if r.destination]


def deployment(image: str, **pod: Any) -> dict[str, Any]:
    port = {"name": "http", "containerPort": 8080}
    container = {"name": "main", "image": image, "ports": [port]} | pod.pop("container", {})
    return {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container], **pod},
        },
    }  # fmt: skip


def started(analysis: Mapping[str, Any] = STEPS, seed: int = 0, **spec: Any) -> CanaryWorld:
    w = CanaryWorld(analysis, seed, **spec)
    w.look()
    w.until("Initialized", 5)
    w.tick(4)
    return w


def hook(kind: str, name: str = "gate", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "url": "http://gate/", **more}


__all__ = ["GROUP", "STEPS", "CanaryWorld", "hook", "started"]
