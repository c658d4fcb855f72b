"""A world with Rollouts for simulations: their controllers, Services, an agent, kubectl's words."""

from typing import Any

from tests.controllers.simulate import World, make, ready, terminate
from weft.api.argo.analysis import AnalysisRun, AnalysisRunStatus
from weft.api.argo.common import POD_HASH
from weft.api.argo.rollout import Rollout
from weft.api.gateway.v1 import HTTPRoute
from weft.api.k8s.apps_v1 import ReplicaSet
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.pod_v1 import Pod
from weft.controllers import endpointslices, experiments, gc, replicasets, rollouts
from weft.controllers.support import podstate

LABELS = {"app": "web"}
CONTROLLERS = (
    rollouts.CONTROLLER, replicasets.CONTROLLER, endpointslices.CONTROLLER, gc.CONTROLLER,
    experiments.CONTROLLER,
)  # fmt: skip


def template(image: str, **more: Any) -> Any:
    port = {"name": "http", "containerPort": 80}
    containers = [{"name": "main", "image": image, "ports": [port]}]
    return {"metadata": {"labels": LABELS}, "spec": {"containers": containers, **more}}


def service(w: World, name: str) -> None:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    w.put(make(Service, {"spec": {"selector": LABELS, "ports": ports}}, name=name))


def world(strategy: Any, replicas: int = 4, seed: int = 0, check: Any = None, **more: Any) -> World:
    """Revision 1 is rolled out."""
    w = World(CONTROLLERS, seed, check)
    for part in strategy.values():
        for key in ("stableService", "canaryService", "activeService", "previewService"):
            if part.get(key):
                service(w, part[key])
        for name in (part.get("pingPong") or {}).values():
            service(w, name)
    annotations = more.pop("annotations", {})
    spec = {
        "replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template("v1"),
        "strategy": strategy, **more,
    }  # fmt: skip
    w.put(make(Rollout, {"spec": spec}, name="web", annotations=annotations))
    w.settle(agent)
    return w


def agent(w: World) -> bool:
    """One thing a node agent would do, picked at random."""
    todo = []
    for pod in w.all(Pod):
        if pod.metadata.deletion_timestamp:
            todo.append((terminate, pod))
        elif pod.status.phase == "Pending" and not image(pod).startswith("bad"):
            todo.append((ready, pod))
    if todo:
        act, pod = w.random.choice(todo)
        act(w, pod)
    return bool(todo) or bool(w.queue)


def image(pod: Pod) -> str:
    return pod.spec.containers[0].image


def roll(w: World, to: str) -> None:
    w.patch(Rollout, "web", {"spec": {"template": template(to)}})
    w.settle(agent)


def wait(w: World, seconds: float) -> None:
    w.pass_time(seconds)
    w.settle(agent)


def rollout(w: World) -> Rollout:
    return w.need(Rollout, "web")


def write_status(w: World, **fields: Any) -> None:
    """As `kubectl argo rollouts` does."""
    from weft.runtime.plan import Patch

    w._patch(Patch(Rollout, "default", "web", {"status": fields}, "status"))
    w.settle(agent)


def promote(w: World) -> None:
    write_status(w, pauseConditions=None)


def images(w: World, *, available: bool = False) -> dict[str, int]:
    """Active pods by image."""
    found: dict[str, int] = {}
    for pod in w.all(Pod):
        if podstate.is_active(pod) and (not available or podstate.is_ready(pod)):
            found[image(pod)] = found.get(image(pod), 0) + 1
    return found


def behind(w: World, name: str) -> set[str]:
    """Images of the pods that a Service selects."""
    wanted = w.need(Service, name).spec.selector.items()
    return {
        image(p)
        for p in w.all(Pod)
        if podstate.is_active(p) and wanted <= p.metadata.labels.items()
    }


def weights(w: World) -> dict[str, int]:
    """Of weft's own route, by Service."""
    route = w.get(HTTPRoute, "web")
    return {b.name: b.weight for b in route.spec.rules[-1].backend_refs} if route else {}


def finish_run(w: World, phase: str, message: str = "") -> AnalysisRun:
    """The one AnalysisRun that goes on ends."""
    (run,) = [r for r in w.all(AnalysisRun) if r.status.phase in ("", "Pending", "Running")]
    w.set_status(run, AnalysisRunStatus(phase=phase, message=message))
    w.settle(agent)
    return run


def sizes(w: World) -> dict[str, int]:
    """Replicas of the sets by image."""
    return {
        r.spec.template.spec.containers[0].image: r.spec.replicas or 0 for r in w.all(ReplicaSet)
    }


def hashes(w: World) -> set[str]:
    return {r.metadata.labels[POD_HASH] for r in w.all(ReplicaSet)}


def told(w: World, reason: str) -> list[str]:
    return [e.message for e in w.events if e.reason == reason]
