"""WorkloadGroups: the WorkloadEntry of a machine that registers itself, and its health. Pure.

Annotations and the condition are Istio's, so that entries which Istio's tools made mean the same.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from weft.api.conditions import condition
from weft.api.istio import networking_v1 as istio

ANNOTATION_GROUP = "istio.io/autoRegistrationGroup"
"""Of an entry: the group that it was made from. Such entries live by heartbeats."""
ANNOTATION_HEALTH_CHECKS = "proxy.istio.io/health-checks-enabled"
"""`true`: the entry is not healthy before its Healthy condition says so."""
ANNOTATION_SILENT_SINCE = "weft.dev/silent-since"
"""RFC 3339: since when a registered entry has missed its heartbeats."""
HEALTHY = "Healthy"
PERIOD_SECONDS_DEFAULT = 10
TIMEOUT_SECONDS_DEFAULT = 1
SUCCESSES_DEFAULT = 1
FAILURES_DEFAULT = 3
Json = dict[str, Any]


def is_healthy(entry: istio.WorkloadEntry) -> bool:
    """Whether a machine may get calls."""
    said = condition(entry.status.conditions, HEALTHY)
    if said is not None:
        return said.status == "True"
    return entry.metadata.annotations.get(ANNOTATION_HEALTH_CHECKS) != "true"


def entry_name(group: str, address: str) -> str:
    """As Istio names them: `<group>-<address>`."""
    return f"{group}-{address.replace(':', '-').replace('.', '-')}"


def registered_entry(
    group: istio.WorkloadGroup,
    name: str,
    address: str,
    labels: Mapping[str, str] | None = None,
    ports: Mapping[str, int] | None = None,
) -> Json:
    """The entry of a machine of the group. It goes with the group."""
    meta, template = group.metadata, group.spec.template
    extra = group.spec.metadata or istio.WorkloadGroupMeta()
    annotations = {**extra.annotations, ANNOTATION_GROUP: meta.name}
    if group.spec.probe is not None:
        annotations[ANNOTATION_HEALTH_CHECKS] = "true"
    every = {**extra.labels, **template.labels, **(labels or {})}
    spec: Json = {
        "address": address,
        "labels": every,
        "ports": {**template.ports, **(ports or {})},
        "network": template.network,
        "locality": template.locality,
        "weight": template.weight,
        "serviceAccount": template.service_account,
    }
    owner = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "name": meta.name,
        "uid": meta.uid,
    }
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": name,
            "namespace": meta.namespace,
            "labels": every,
            "annotations": annotations,
            "ownerReferences": [owner],
        },
        "spec": {key: value for key, value in spec.items() if value},
    }


class Health(Struct, frozen=True):
    """What probes have found out."""

    healthy: bool | None = None
    """None: not known yet."""
    successes: int = 0
    failures: int = 0
    """In a row."""
    message: str = ""


def probed(before: Health, failure: str, probe: istio.ReadinessProbe) -> Health:
    """After one more probe; `failure` is empty when it succeeded."""
    if failure:
        failures = before.failures + 1
        down = failures >= (probe.failure_threshold or FAILURES_DEFAULT)
        return Health(False if down else before.healthy, 0, failures, failure)
    successes = before.successes + 1
    up = successes >= (probe.success_threshold or SUCCESSES_DEFAULT)
    return Health(True if up else before.healthy, successes, 0)


def with_health(status: Mapping[str, Any], health: Health, time: str) -> list[Json] | None:
    """The conditions of an entry that say so, `time` in RFC 3339; None when they do already."""
    known = list(status.get("conditions") or ())
    others = [c for c in known if c.get("type") != HEALTHY]
    before: Json = next((c for c in known if c.get("type") == HEALTHY), {})
    value = "True" if health.healthy else "False"
    if health.healthy is None or before.get("status") == value:
        return None
    made = {
        "type": HEALTHY,
        "status": value,
        "reason": "Probed" if health.healthy else "ProbeFailed",
        "message": health.message or "its probe succeeds",
        "lastTransitionTime": time,
    }
    return [*others, made]
