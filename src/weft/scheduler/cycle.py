"""One scheduling cycle: a node for every waiting pod, or the reason why there is none.

All waiting pods are placed in one pass. Pods that declare the same share a ranking of nodes, so a
pod costs a heap operation instead of a look at every node.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from weft.api import persistent_volumes as pv
from weft.api.k8s.persistent_volume_v1 import PersistentVolumeClaim
from weft.api.k8s.pod_v1 import Pod, PodCondition
from weft.api.k8s.policy_v1 import PodDisruptionBudget
from weft.api.snapshot import Snapshot
from weft.lib.timefmt import rfc3339
from weft.runtime.plan import NOTHING, Action, Bind, Delete, Patch, Plan, RecordEvent
from weft.scheduler import hints, preemption, queue, volume_needs
from weft.scheduler.cluster import Cluster
from weft.scheduler.preemption import Eviction
from weft.scheduler.profiles import DEFAULT, Profiles
from weft.scheduler.ranking import Ranking
from weft.scheduler.volume_needs import Needs

REASON_UNSCHEDULABLE = "Unschedulable"
REASON_GATED = "SchedulingGated"
REASON_STRANGE = "SchedulerUnknown"
MESSAGE_GATED = "Scheduling is blocked due to non-empty scheduling gates"
MESSAGE_PREEMPTED = "default-scheduler: preempting to accommodate a higher priority pod"


def _stranger(pod: Pod, profiles: Profiles) -> str:
    known = ", ".join(sorted(profiles))
    return (
        f"no scheduler of weft is named {pod.spec.scheduler_name} (there are: {known};"
        " `weft up --scheduler-config` names others): it waits for somebody who binds it."
    )


class _Outcome(Struct):
    """What the cycle decided so far."""

    bound: list[Action]
    refused: list[Action]


def schedule(snapshot: Snapshot, now: float, profiles: Profiles = DEFAULT) -> Plan:
    """Bind what can be bound; say of the rest why it waits. Idempotent: a pod that waits for the
    same reason as before gets no write."""
    pods = snapshot.list(Pod)
    waiting = queue.in_order(p for p in pods if queue.is_waiting(p, profiles))
    done = _Outcome([], [])
    for pod in pods:
        if queue.is_strange(pod, profiles):
            done.refused += _waits(pod, REASON_STRANGE, _stranger(pod, profiles), now)
    if not waiting:
        return Plan(tuple(done.refused), independent=True) if done.refused else NOTHING
    cluster = Cluster(snapshot, pods, waiting, profiles)
    for pod in waiting:
        if pod.spec.scheduling_gates:
            hint = hints.of_gates(pod)
            done.refused += _waits(pod, REASON_GATED, MESSAGE_GATED, now, hint=hint)
        else:
            _place(snapshot, cluster, pod, done, now)
    return Plan((*done.bound, *done.refused), independent=True)


def _place(snapshot: Snapshot, cluster: Cluster, pod: Pod, done: _Outcome, now: float) -> None:
    claims = volume_needs.needs(snapshot, pod, cluster.nodes)
    if claims.problem:
        text = f"0/{len(cluster.nodes)} nodes are available: {claims.problem}."
        hint = hints.of_claims(claims.problem)
        done.refused += _waits(pod, REASON_UNSCHEDULABLE, text, now, hint=hint)
        return
    ranking = cluster.ranking(pod, claims.refused)
    node = ranking.take()
    if node:
        cluster.placed(pod, node)
        done.bound += _chosen(claims, node) if claims.choose else _bound(pod, node)
        return
    text = ranking.complaint()
    made = _make_room(snapshot, cluster, pod, ranking)
    if made is not None:
        done.bound += _evict(pod, made, now)
        cluster.evicted(made)
        cluster.reserve(pod, made.node, ranking.wanted)
        text += f" preemption: {len(made.victims)} pods on node {made.node} make room."
        done.refused += _waits(pod, REASON_UNSCHEDULABLE, text, now, nominated=made.node)
        return
    cluster.reserve(pod, pod.status.nominated_node_name, ranking.wanted)
    hint = hints.hint(pod, ranking, cluster)
    done.refused += _waits(pod, REASON_UNSCHEDULABLE, text, now, hint=hint)


def _chosen(claims: Needs, node: str) -> list[Action]:
    """Claims that wait for a node are told it; the pod follows when they are bound."""
    return [
        Patch(
            PersistentVolumeClaim,
            claim.metadata.namespace,
            claim.metadata.name,
            {"metadata": {"annotations": {pv.ANNOTATION_SELECTED_NODE: node}}},
        )
        for claim in claims.choose
        if claim.metadata.annotations.get(pv.ANNOTATION_SELECTED_NODE) != node
    ]


def _bound(pod: Pod, node: str) -> list[Action]:
    namespace, name = pod.metadata.namespace, pod.metadata.name
    text = f"Successfully assigned {namespace}/{name} to {node}"
    return [Bind(namespace, name, node), RecordEvent(pod, "Normal", "Scheduled", text)]


def _waits(
    pod: Pod, reason: str, message: str, now: float, *, nominated: str = "", hint: str = ""
) -> tuple[Action, ...]:
    """Say it, unless it was said. A hint alone, whose numbers change all the time, is no news."""
    conditions = pod.status.conditions
    current = next((c for c in conditions if c.type == "PodScheduled"), None)
    said = (current.status, current.reason) if current else None
    same_node = not nominated or nominated == pod.status.nominated_node_name
    told = current.message if current is not None else ""
    if said == ("False", reason) and same_node and told.startswith(message):
        return ()
    if hint:
        message = f"{message}{'' if message.endswith('.') else '.'} {hint}"
    unchanged = current is not None and current.status == "False"
    since = current.last_transition_time if current and unchanged else rfc3339(now)
    new = PodCondition(
        type="PodScheduled",
        status="False",
        reason=reason,
        message=message,
        last_transition_time=since,
    )
    others = [c for c in conditions if c.type != "PodScheduled"]
    status: dict[str, object] = {"conditions": msgspec.to_builtins([*others, new])}
    if nominated:
        status["nominatedNodeName"] = nominated
    body = {
        # The list is replaced as a whole, so only if nobody else has written it meanwhile.
        "metadata": {"resourceVersion": pod.metadata.resource_version},
        "status": status,
    }
    patch = Patch(Pod, pod.metadata.namespace, pod.metadata.name, body, "status")
    if reason == REASON_GATED:
        return (patch,)
    return patch, RecordEvent(pod, "Warning", "FailedScheduling", message)


# --- preemption


def _make_room(snapshot: Snapshot, cluster: Cluster, pod: Pod, ranking: Ranking) -> Eviction | None:
    if not cluster.has_lower(pod) or not preemption.may_preempt(pod, cluster.pods):
        return None
    suiting = cluster.suiting(pod, ranking)
    budgets = snapshot.list(PodDisruptionBudget)
    return preemption.find(pod, ranking.wanted, suiting, cluster.free, cluster.by_node(), budgets)


def _evict(pod: Pod, made: Eviction, now: float) -> list[Action]:
    actions: list[Action] = []
    for victim in made.victims:
        found = victim.metadata
        condition = PodCondition(
            type="DisruptionTarget",
            status="True",
            reason="PreemptionByScheduler",
            message=MESSAGE_PREEMPTED,
            last_transition_time=rfc3339(now),
        )
        others = [c for c in victim.status.conditions if c.type != "DisruptionTarget"]
        body: Mapping[str, object] = {
            "metadata": {"resourceVersion": found.resource_version},
            "status": {"conditions": msgspec.to_builtins([*others, condition])},
        }
        text = f"Preempted by pod {pod.metadata.uid} on node {made.node}"
        actions += [
            Patch(Pod, found.namespace, found.name, body, "status"),
            RecordEvent(victim, "Normal", "Preempted", text),
            Delete(Pod, found.namespace, found.name, found.uid),
        ]
    return actions
