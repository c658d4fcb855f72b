"""ResourceQuotas: what an object counts, which quotas it concerns, what they allow. Pure.

Source: the evaluators and the ResourceQuota admission of kube-apiserver (1.33), also for its words.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from weft.api.kinds import Kind
from weft.api.qos import qos_class
from weft.api.selectors import matches_selector
from weft.lib.quantity import format_quantity, parse_quantity

Json = Mapping[str, Any]
Amounts = dict[str, Decimal]
CLASS_INFIX = ".storageclass.storage.k8s.io/"
_NAMED_COUNTS = frozenset({
    "configmaps", "secrets", "services", "persistentvolumeclaims", "replicationcontrollers",
    "resourcequotas",
})  # fmt: skip
"""Core kinds that are also counted under their plain name; pods are while they run."""
_PLAIN = ("cpu", "memory", "ephemeral-storage")
_EXPLICIT = frozenset({
    "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory",
})  # fmt: skip
"""Who counts one of these wants every container to say what it takes of it."""
_BYTES = ("memory", "storage", "hugepages-")
_CHANGING = frozenset({"pods", "services", "persistentvolumeclaims"})
"""Core kinds of which an update can take more than the object had."""


class Exceeded(Exception):
    """A quota does not allow the write; the text is Kubernetes'."""


def count_name(kind: Kind) -> str:
    """The name under which objects of any kind are counted: `count/deployments.apps`."""
    return f"count/{kind.plural}.{kind.group}" if kind.group else f"count/{kind.plural}"


def can_change(kind: Kind) -> bool:
    """Whether an update of an object may change what it counts."""
    return not kind.group and kind.plural in _CHANGING


def usage(kind: Kind, obj: Json) -> Amounts:
    """What one object counts. Raises ValueError for quantities that are none."""
    found: Amounts = {count_name(kind): Decimal(1)}
    if kind.group:
        return found
    if kind.plural in _NAMED_COUNTS:
        found[kind.plural] = Decimal(1)
    spec = obj.get("spec") or {}
    if kind.plural == "pods" and _runs(obj):
        found |= {"pods": Decimal(1)} | pod_amounts(spec)
    elif kind.plural == "services":
        found |= _service(spec)
    elif kind.plural == "persistentvolumeclaims":
        found |= _claim(spec)
    return found


def _runs(pod: Json) -> bool:
    """A pod that ended takes nothing any more."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def pod_amounts(spec: Json) -> Amounts:
    """What a pod asks for, under every name that a quota may have for it."""
    total: Amounts = {}
    for side in ("requests", "limits"):
        for name, amount in _pod_side(spec, side).items():
            total |= dict.fromkeys(_names(side, name), amount)
    return total


def _names(side: str, resource: str) -> tuple[str, ...]:
    if side == "limits":
        return (f"limits.{resource}",) if resource in _PLAIN else ()
    if resource in _PLAIN or resource.startswith("hugepages-"):
        return (resource, f"requests.{resource}")
    return (f"requests.{resource}",)


def _pod_side(spec: Json, side: str) -> Amounts:
    """Containers and sidecars together, or an init container beside the sidecars before it."""
    total: Amounts = {}
    for container in spec.get("containers") or ():
        _add(total, _side(container, side))
    before: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _side(container, side)
        if container.get("restartPolicy") == "Always":
            _add(total, own)
            _add(before, own)
            own = {}
        for name in {*own, *before}:
            alone = own.get(name, Decimal(0)) + before.get(name, Decimal(0))
            peak[name] = max(peak.get(name, Decimal(0)), alone)
    for name, amount in peak.items():
        total[name] = max(total.get(name, Decimal(0)), amount)
    total |= _side(spec, side)  # what is said of the pod as a whole wins
    for name, value in (spec.get("overhead") or {}).items():
        if side == "requests" or name in total:
            _add(total, {name: parse_quantity(value)})
    return total


def _side(holder: Json, side: str) -> Amounts:
    resources = holder.get("resources") or {}
    found = {name: parse_quantity(value) for name, value in (resources.get(side) or {}).items()}
    if side == "requests":  # Kubernetes fills in requests from limits
        for name, value in (resources.get("limits") or {}).items():
            found.setdefault(name, parse_quantity(value))
    return found


def _add(total: Amounts, more: Mapping[str, Decimal]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


def _service(spec: Json) -> Amounts:
    ports = spec.get("ports") or ()
    kind = spec.get("type") or "ClusterIP"
    found: Amounts = {"services.nodeports": Decimal(0), "services.loadbalancers": Decimal(0)}
    if kind == "NodePort":
        found["services.nodeports"] = Decimal(len(ports))
    elif kind == "LoadBalancer":
        found["services.loadbalancers"] = Decimal(1)
        allocated = spec.get("allocateLoadBalancerNodePorts") is not False
        counted = [port for port in ports if allocated or port.get("nodePort")]
        found["services.nodeports"] = Decimal(len(counted))
    return found


def _claim(spec: Json) -> Amounts:
    found: Amounts = {}
    name = spec.get("storageClassName") or ""
    if name:
        found[f"{name}{CLASS_INFIX}persistentvolumeclaims"] = Decimal(1)
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if asked is not None:
        found["requests.storage"] = parse_quantity(asked)
        if name:
            found[f"{name}{CLASS_INFIX}requests.storage"] = parse_quantity(asked)
    return found


# ------------------------------------------------------------------ which quotas


def concerns(quota: Json, kind: Kind, obj: Json) -> bool:
    """Whether an object is within a quota's scopes. Scopes speak of pods only."""
    wanted = _scopes(quota.get("spec") or {})
    if not wanted:
        return True
    if kind.group or kind.plural != "pods":
        return False
    return all(_in_scope(obj.get("spec") or {}, scope) for scope in wanted)


def _scopes(spec: Json) -> list[Json]:
    listed: list[Json] = [
        {"scopeName": name, "operator": "Exists"} for name in spec.get("scopes") or ()
    ]
    return [*listed, *((spec.get("scopeSelector") or {}).get("matchExpressions") or ())]


def _in_scope(spec: Json, scope: Json) -> bool:
    match scope.get("scopeName"):
        case "Terminating":
            return spec.get("activeDeadlineSeconds") is not None
        case "NotTerminating":
            return spec.get("activeDeadlineSeconds") is None
        case "BestEffort":
            return qos_class(spec) == "BestEffort"
        case "NotBestEffort":
            return qos_class(spec) != "BestEffort"
        case "PriorityClass":
            name = spec.get("priorityClassName") or ""
            labels = {"class": name} if name else {}
            return matches_selector({"matchExpressions": [{**scope, "key": "class"}]}, labels)
        case "CrossNamespacePodAffinity":
            return _crosses_namespaces(spec.get("affinity") or {})
    return False


def _crosses_namespaces(affinity: Json) -> bool:
    for side in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(side) or {}
        terms = list(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        for weighted in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ():
            terms.append(weighted.get("podAffinityTerm") or {})
        if any(t.get("namespaces") or t.get("namespaceSelector") is not None for t in terms):
            return True
    return False


def names_wanted(quota: Json) -> frozenset[str]:
    """The names that a quota bounds."""
    return frozenset((quota.get("spec") or {}).get("hard") or ())


def counted_by(names: Iterable[str], kind: Kind) -> bool:
    """Whether objects of a kind can count under any of the names."""
    for name in names:
        if name == count_name(kind):
            return True
        if kind.group:
            continue
        if name == kind.plural and (name in _NAMED_COUNTS or name == "pods"):
            return True
        if kind.plural == "pods" and _is_compute(name):
            return True
        if kind.plural == "services" and name.startswith("services."):
            return True
        if kind.plural == "persistentvolumeclaims" and (
            name == "requests.storage" or CLASS_INFIX in name
        ):
            return True
    return False


def _is_compute(name: str) -> bool:
    if name in _PLAIN or name.startswith("hugepages-"):
        return True
    return name.startswith(("requests.", "limits.")) and name != "requests.storage"


# ------------------------------------------------------------------ deciding


def is_current(quota: Json) -> bool:
    """Whether the status was counted for the present spec."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    status = quota.get("status") or {}
    return (status.get("hard") or {}) == hard and set(status.get("used") or ()) == set(hard)


def counted(quota: Json, total: Mapping[str, Decimal]) -> dict[str, Any]:
    """The quota with a status that says what is used."""
    hard = dict((quota.get("spec") or {}).get("hard") or {})
    used = {name: shown(name, total.get(name, Decimal(0))) for name in hard}
    return {**quota, "status": {"hard": hard, "used": used}}


def charged(quota: Json, kind: Kind, new: Json, old: Json | None) -> dict[str, Any] | None:
    """The quota after the write, None when it is not concerned. The quota must be current.

    Raises Exceeded; ValueError for quantities that are none.
    """
    hard = (quota.get("spec") or {}).get("hard") or {}
    bounded = frozenset(hard)
    if not counted_by(bounded, kind) or not concerns(quota, kind, new):
        return None
    name = quota["metadata"]["name"]
    if old is None and not kind.group and kind.plural == "pods":
        _check_explicit(name, bounded & _EXPLICIT, new.get("spec") or {})
    delta = usage(kind, new)
    if old is not None:
        for key, amount in usage(kind, old).items():
            delta[key] = delta.get(key, Decimal(0)) - amount
    delta = {key: amount for key, amount in delta.items() if amount and key in bounded}
    if not delta:
        return None
    used = {key: parse_quantity(value) for key, value in quota["status"]["used"].items()}
    after = {key: used[key] + delta.get(key, Decimal(0)) for key in used}
    over = [k for k in sorted(delta) if delta[k] > 0 and after[k] > parse_quantity(hard[k])]
    if over:
        requested = _listed(over, delta)
        limited = ",".join(f"{key}={hard[key]}" for key in over)
        raise Exceeded(
            f"exceeded quota: {name}, requested: {requested}, used: {_listed(over, used)}, "
            f"limited: {limited}"
        )
    return counted(quota, after)


def _listed(names: Iterable[str], amounts: Mapping[str, Decimal]) -> str:
    return ",".join(f"{name}={shown(name, amounts[name])}" for name in names)


def _check_explicit(quota: str, wanted: frozenset[str], spec: Json) -> None:
    """Raises Exceeded when a container leaves open what the quota counts."""
    said = spec.get("resources") or {}
    whole = {n for side in ("requests", "limits") if said.get(side)
             for key in said[side] for n in _names(side, key)}  # fmt: skip
    missing: dict[str, set[str]] = {}
    for key in ("containers", "initContainers"):
        for container in spec.get(key) or ():
            present = {n for side in ("requests", "limits") for resource in _side(container, side)
                       for n in _names(side, resource)}  # fmt: skip
            for name in wanted - present - whole:
                missing.setdefault(name, set()).add(container.get("name") or "")
    if missing:
        told = "; ".join(
            f"{name} for: {','.join(sorted(missing[name]))}" for name in sorted(missing)
        )
        raise Exceeded(f"failed quota: {quota}: must specify {told}")


def shown(name: str, amount: Decimal) -> str:
    """An amount as Kubernetes writes it: bytes with binary suffixes."""
    return format_quantity(amount, binary=any(part in name for part in _BYTES))
