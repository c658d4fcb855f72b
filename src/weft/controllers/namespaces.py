"""The end of a namespace: delete what is in it, say what remains, then let it go.

Workloads and their pods go first, gracefully; Services and the rest follow when the pods are
gone, so that requests in flight still find their way. Source of conditions and messages:
Kubernetes' namespace controller.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api import registry
from weft.api.argo.rollout import Rollout
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.core_v1 import Namespace, NamespaceCondition, NamespaceStatus
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot, meta
from weft.controllers.support.patches import status_patch
from weft.lib.timefmt import rfc3339
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Action, Delete, Key, Patch, Plan

FINALIZER = "kubernetes"
_FIRST: tuple[type[Struct], ...] = (Rollout, Deployment, ReplicaSet, Job, Pod)
CONTENT = tuple(k.struct for k in registry.KINDS if k.namespaced and k.struct is not None)
"""The classes whose objects live in namespaces."""


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """One step of the termination; each deletion of content wakes the next."""
    namespace = snapshot.get(Namespace, key.name)
    if namespace is None or not namespace.metadata.deletion_timestamp:
        return NOTHING
    content = [o for cls in CONTENT for o in snapshot.list(cls, key.name)]
    first = [o for o in content if isinstance(o, _FIRST)]
    status = replace(
        namespace.status, phase="Terminating", conditions=_conditions(namespace, content, now)
    )
    actions: list[Action] = list(status_patch(namespace, status))
    actions += [_delete(o) for o in first or content if not meta(o).deletion_timestamp]
    if not content and FINALIZER in namespace.spec.finalizers:
        rest = [f for f in namespace.spec.finalizers if f != FINALIZER]
        body = {"spec": {"finalizers": rest}}
        actions.append(Patch(Namespace, "", key.name, body, "finalize"))
    return Plan(tuple(actions))


def _delete(obj: Struct) -> Delete:
    found = meta(obj)
    return Delete(type(obj), found.namespace, found.name, found.uid, propagation="Background")


def _conditions(
    namespace: Namespace, content: Sequence[Struct], now: float
) -> tuple[NamespaceCondition, ...]:
    kinds = Counter(_resource(o) for o in content)
    finalizers = Counter(f for o in content for f in meta(o).finalizers)
    remaining = ", ".join(f"{k} has {n} resource instances" for k, n in sorted(kinds.items()))
    holding = ", ".join(f"{f} in {n} resource instances" for f, n in sorted(finalizers.items()))
    wanted = (
        _condition(
            "NamespaceContentRemaining",
            ("SomeResourcesRemain", f"Some resources are remaining: {remaining}"),
            ("ContentRemoved", "All content successfully removed"),
            bool(kinds),
        ),
        _condition(
            "NamespaceFinalizersRemaining",
            (
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {holding}",
            ),
            ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            bool(finalizers),
        ),
    )
    return tuple(_dated(namespace.status, c, now) for c in wanted)


def _condition(
    kind: str, yes: tuple[str, str], no: tuple[str, str], holds: bool
) -> NamespaceCondition:
    reason, message = yes if holds else no
    return NamespaceCondition(
        type=kind, status="True" if holds else "False", reason=reason, message=message
    )


def _dated(status: NamespaceStatus, new: NamespaceCondition, now: float) -> NamespaceCondition:
    current = next((c for c in status.conditions if c.type == new.type), None)
    same = current is not None and current.status == new.status
    since = current.last_transition_time if current and same else rfc3339(now)
    return replace(new, last_transition_time=since)


def _resource(obj: Struct) -> str:
    kind = registry.kind_for(type(obj))
    return f"{kind.plural}.{kind.group}"


def _terminating(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    """Content matters only while its namespace is going away."""
    name = meta(obj).namespace
    namespace = snapshot.get(Namespace, name)
    if namespace is None or not namespace.metadata.deletion_timestamp:
        return ()
    return (Key("", name),)


CONTROLLER = Controller(
    name="namespace",
    primary=Namespace,
    plan=plan,
    watches=tuple(Watch(cls, _terminating) for cls in CONTENT),
)
