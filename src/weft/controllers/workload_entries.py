"""WorkloadEntries of machines that registered themselves: they live by heartbeats.

A machine renews a Lease of its entry's name. When it is silent for the Lease's duration, the entry
says since when; when it is still silent for as long again, the entry is deleted. The second look
keeps all machines alive when it was the control plane that was away.
"""

from collections.abc import Iterable

from msgspec import Struct

from weft.api.istio.networking_v1 import WorkloadEntry
from weft.api.k8s.coordination_v1 import Lease
from weft.api.snapshot import Snapshot, meta
from weft.controllers.support.podstate import seconds
from weft.lib.timefmt import rfc3339
from weft.mesh.workload_groups import ANNOTATION_GROUP, ANNOTATION_SILENT_SINCE
from weft.runtime.controller import Controller, Watch
from weft.runtime.plan import NOTHING, Delete, Key, Patch, Plan

LEASE_SECONDS_DEFAULT = 10


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Judge one entry by its Lease. Entries that people wrote have none and stay."""
    entry = snapshot.get(WorkloadEntry, key.name, key.namespace)
    if entry is None or entry.metadata.deletion_timestamp:
        return NOTHING
    about = entry.metadata
    if not about.annotations.get(ANNOTATION_GROUP):
        return NOTHING
    lease = snapshot.get(Lease, key.name, key.namespace)
    duration = float((lease.spec.lease_duration_seconds if lease else 0) or LEASE_SECONDS_DEFAULT)
    heard = max(
        seconds(t) for t in (about.creation_timestamp, lease.spec.renew_time if lease else "")
    )
    since = seconds(about.annotations.get(ANNOTATION_SILENT_SINCE, ""))
    left = heard + duration - now
    if left > 0:
        return Plan(_silent_since(key, None) if since else (), requeue_after=left)
    if not since or since < heard:
        return Plan(_silent_since(key, rfc3339(now)), requeue_after=duration)
    if since + duration - now > 0:
        return Plan((), requeue_after=since + duration - now)
    return Plan((Delete(WorkloadEntry, key.namespace, key.name, about.uid),))


def _silent_since(key: Key, value: str | None) -> tuple[Patch, ...]:
    body = {"metadata": {"annotations": {ANNOTATION_SILENT_SINCE: value}}}
    return (Patch(WorkloadEntry, key.namespace, key.name, body),)


def _entry_of(lease: Struct, snapshot: Snapshot) -> Iterable[Key]:
    found = meta(lease)
    known = snapshot.get(WorkloadEntry, found.name, found.namespace)
    return (Key(found.namespace, found.name),) if known is not None else ()


CONTROLLER = Controller(
    name="workloadentry",
    primary=WorkloadEntry,
    plan=plan,
    watches=(Watch(Lease, _entry_of),),
)
