"""Table columns and cells of every kind, as kubectl shows them.

Source: the columns of Kubernetes' own printers and of Istio's CRDs. `cells` takes an object's
JSON and gives one value per column of `columns`; priority 1 is for `-o wide` only.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from weft.api import (
    admission_columns,
    argo_columns,
    flagger_columns,
    gateway_columns,
    kueue_columns,
    monitoring_columns,
    network_columns,
    queue_columns,
    storage_columns,
    workload_columns,
)
from weft.api.column_parts import NONE, UNKNOWN, UNSET, since
from weft.api.column_parts import age_of as _age
from weft.api.column_parts import containers_of as _containers
from weft.api.column_parts import joined as _joined
from weft.api.column_parts import name_of as _name
from weft.api.column_parts import spec_of as _spec
from weft.api.column_parts import status_of as _status
from weft.api.kinds import Kind
from weft.api.pod_columns import pod_cells
from weft.api.selectors import format_selector
from weft.lib.timefmt import age, parse_rfc3339

Json = Mapping[str, Any]
Cells = list[Any]

LISTED_MAX = 3
"""Addresses and ports of a slice that a cell shows."""


class Column(Struct, frozen=True):
    """One column, as metav1.TableColumnDefinition."""

    name: str
    type: str = "string"
    priority: int = 0
    """1: only with `-o wide`."""
    format: str = ""
    description: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        }


def _columns(text: str) -> tuple[Column, ...]:
    """`Name Ready +IP Count#`: `+` is wide only, `#` a number, `_` a blank."""
    found: list[Column] = []
    for word in text.split():
        name = word.strip("+#").replace("_", " ")
        found.append(
            Column(
                name,
                "integer" if word.endswith("#") else "string",
                1 if word.startswith("+") else 0,
                "name" if name == "Name" and not word.startswith("+") else "",
                _DESCRIPTIONS.get(name, ""),
            )
        )
    return tuple(found)


_DESCRIPTIONS = {
    "Name": "Name is unique within a namespace and cannot be changed.",
    "Age": "Time since the object was created.",
    "Ready": "How many are ready, of how many.",
    "Status": "The state in one word.",
    "Restarts": "How often containers were restarted, and when last.",
}


def columns(kind: Kind) -> tuple[Column, ...]:
    """The columns of a kind's table."""
    found = _TABLES.get((kind.group, kind.kind), _PLAIN)[0]
    if kind.group not in _MESH_GROUPS:
        return found
    at = next(n for n, column in enumerate(found) if column.name == "Age")
    return (*found[:at], *_MESH_STATE, *found[at:])


def cells(kind: Kind, obj: Json, now: float) -> Cells:
    """One value per column. `now` is in seconds since the epoch. Never raises: an object that
    cannot be shown gives its name and blanks."""
    head, function = _TABLES.get((kind.group, kind.kind), _PLAIN)
    try:
        found = function(obj, now)
        if kind.group in _MESH_GROUPS:
            at = next(n for n, column in enumerate(head) if column.name == "Age")
            found[at:at] = _mesh_state(obj)
        return found
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return [_name(obj), *("" for _ in columns(kind)[1:])]


# ------------------------------------------------------------------ parts


def _list_text(values: Sequence[Any]) -> str:
    """A list as CRD columns show it: `["a","b"]`; empty when absent."""
    return "[" + ",".join(f'"{value}"' for value in values) + "]" if values else ""


def _first(values: Sequence[str]) -> str:
    if not values:
        return UNSET
    shown = ",".join(values[:LISTED_MAX])
    more = len(values) - LISTED_MAX
    return f"{shown} + {more} more..." if more > 0 else shown


# ------------------------------------------------------------------ workloads


def _pod(obj: Json, now: float) -> Cells:
    return pod_cells(obj, now)


def _deployment(obj: Json, now: float) -> Cells:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(obj)
    return [
        _name(obj),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        _age(obj, now),
        names,
        images,
        format_selector(spec.get("selector")),
    ]


def _replica_set(obj: Json, now: float) -> Cells:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(obj)
    return [
        _name(obj),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        _age(obj, now),
        names,
        images,
        format_selector(spec.get("selector")),
    ]


_JOB_STATES = ("Complete", "Failed")
_JOB_LATER_STATES = ("Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job(obj: Json, now: float) -> Cells:
    spec, status = _spec(obj), _status(obj)
    names, images = _containers(obj)
    done = status.get("succeeded") or 0
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    if completions is not None:
        progress = f"{done}/{completions}"
    else:
        progress = f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"
    selector = format_selector(spec.get("selector"))
    return [
        _name(obj), _job_state(obj), progress, _job_duration(status, now), _age(obj, now), names,
        images, selector,
    ]  # fmt: skip


def _job_state(obj: Json) -> str:
    held = {
        condition.get("type")
        for condition in _status(obj).get("conditions") or ()
        if condition.get("status") == "True"
    }
    for state in _JOB_STATES:
        if state in held:
            return state
    if (obj.get("metadata") or {}).get("deletionTimestamp"):
        return "Terminating"
    return next((state for state in _JOB_LATER_STATES if state in held), "Running")


def _job_duration(status: Json, now: float) -> str:
    if not status.get("startTime"):
        return ""
    start = parse_rfc3339(status["startTime"])
    ended = [
        condition.get("lastTransitionTime")
        for condition in status.get("conditions") or ()
        if condition.get("type") == "Failed" and condition.get("status") == "True"
    ]
    end = status.get("completionTime") or (ended[0] if ended else "")
    return age((parse_rfc3339(end) if end else now) - start)


# ------------------------------------------------------------------ network


def _service(obj: Json, now: float) -> Cells:
    spec = _spec(obj)
    kind = spec.get("type") or "ClusterIP"
    address = spec.get("clusterIP") or NONE
    selector = spec.get("selector") or {}
    return [
        _name(obj),
        kind,
        NONE if kind == "ExternalName" else address,
        _external(obj, kind),
        _joined([_service_port(port) for port in spec.get("ports") or ()]),
        _age(obj, now),
        _joined([f"{key}={value}" for key, value in sorted(selector.items())]),
    ]


def _external(obj: Json, kind: str) -> str:
    spec = _spec(obj)
    own = list(spec.get("externalIPs") or ())
    if kind == "ExternalName":
        return str(spec.get("externalName") or NONE)
    if kind == "LoadBalancer":
        ingress = (_status(obj).get("loadBalancer") or {}).get("ingress") or ()
        given = [entry.get("ip") or entry.get("hostname") for entry in ingress]
        return ",".join([*given, *own]) or "<pending>"
    return _joined(own)


def _service_port(port: Json) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol') or 'TCP'}"


def _endpoint_slice(obj: Json, now: float) -> Cells:
    ports = [str(port.get("port") or "*") for port in obj.get("ports") or ()]
    addresses = [a for e in obj.get("endpoints") or () for a in e.get("addresses") or ()]
    kind = obj.get("addressType") or ""
    return [_name(obj), kind, _first(ports), _first(addresses), _age(obj, now)]


def _mesh_state(obj: Json) -> Cells:
    """What is wrong with it, whether it is in force, and on how many nodes."""
    conditions = {c.get("type"): c for c in _status(obj).get("conditions") or ()}
    accepted = conditions.get("Accepted") or {}
    programmed = conditions.get("Programmed") or {}
    nodes = _status(obj).get("nodes") or {}
    count = f"{nodes.get('acknowledged') or 0}/{nodes['total']}" if nodes.get("total") else ""
    wrong = accepted.get("reason") if accepted.get("status") == "False" else ""
    return [
        wrong or accepted.get("status") or UNKNOWN,
        programmed.get("status") or UNKNOWN,
        count,
    ]


def _virtual_service(obj: Json, now: float) -> Cells:
    spec = _spec(obj)
    gateways, hosts = spec.get("gateways") or (), spec.get("hosts") or ()
    return [_name(obj), _list_text(gateways), _list_text(hosts), _age(obj, now)]


def _destination_rule(obj: Json, now: float) -> Cells:
    return [_name(obj), _spec(obj).get("host") or "", _age(obj, now)]


def _service_entry(obj: Json, now: float) -> Cells:
    spec = _spec(obj)
    return [
        _name(obj),
        _list_text(spec.get("hosts") or ()),
        spec.get("location") or "",
        spec.get("resolution") or "",
        _age(obj, now),
    ]


def _workload_entry(obj: Json, now: float) -> Cells:
    return [_name(obj), _spec(obj).get("address") or "", _age(obj, now)]


def _authorization_policy(obj: Json, now: float) -> Cells:
    return [_name(obj), _spec(obj).get("action") or "ALLOW", _age(obj, now)]


def _peer_authentication(obj: Json, now: float) -> Cells:
    mode = (_spec(obj).get("mtls") or {}).get("mode") or "UNSET"
    return [_name(obj), mode, _age(obj, now)]


def _rate_limit_policy(obj: Json, now: float) -> Cells:
    spec = _spec(obj)
    rules = spec.get("rules") or ()
    return [_name(obj), _target(spec), spec.get("scope") or "local", len(rules), _age(obj, now)]


def _backend_policy(obj: Json, now: float) -> Cells:
    return [_name(obj), _target(_spec(obj)), _age(obj, now)]


def _target(spec: Json) -> str:
    target = spec.get("targetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


# ------------------------------------------------------------------ the rest

_ROLE = "node-role.kubernetes.io/"


def _node(obj: Json, now: float) -> Cells:
    status = _status(obj)
    info = status.get("nodeInfo") or {}
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    ready = {"True": "Ready", None: "Unknown"}.get(conditions.get("Ready"), "NotReady")
    if _spec(obj).get("unschedulable"):
        ready += ",SchedulingDisabled"
    addresses = {a.get("type"): a.get("address") for a in status.get("addresses") or ()}
    return [
        _name(obj),
        ready,
        _roles((obj.get("metadata") or {}).get("labels") or {}),
        _age(obj, now),
        info.get("kubeletVersion") or "",
        addresses.get("InternalIP") or NONE,
        addresses.get("ExternalIP") or NONE,
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _roles(labels: Json) -> str:
    found = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)}
    found |= {value for key, value in labels.items() if key == "kubernetes.io/role"}
    return ",".join(sorted(role for role in found if role)) or NONE


def _namespace(obj: Json, now: float) -> Cells:
    return [_name(obj), _status(obj).get("phase") or "", _age(obj, now)]


def _config_map(obj: Json, now: float) -> Cells:
    count = len(obj.get("data") or {}) + len(obj.get("binaryData") or {})
    return [_name(obj), count, _age(obj, now)]


def _secret(obj: Json, now: float) -> Cells:
    return [_name(obj), obj.get("type") or "", len(obj.get("data") or {}), _age(obj, now)]


def _service_account(obj: Json, now: float) -> Cells:
    return [_name(obj), len(obj.get("secrets") or ()), _age(obj, now)]


def _event(obj: Json, now: float) -> Cells:
    about = obj.get("involvedObject") or {}
    source = obj.get("source") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("eventTime")
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or first
    component = source.get("component") or obj.get("reportingComponent") or ""
    place = source.get("host") or obj.get("reportingInstance") or ""
    return [
        since(last, now),
        obj.get("type") or "",
        obj.get("reason") or "",
        f"{(about.get('kind') or '').lower()}/{about.get('name') or ''}",
        about.get("fieldPath") or "",
        ", ".join(part for part in (component, place) if part),
        (obj.get("message") or "").strip(),
        since(first, now),
        series.get("count") or obj.get("count") or 1,
        _name(obj),
    ]


def _lease(obj: Json, now: float) -> Cells:
    return [_name(obj), _spec(obj).get("holderIdentity") or "", _age(obj, now)]


def _priority_class(obj: Json, now: float) -> Cells:
    default = str(bool(obj.get("globalDefault"))).lower()
    policy = obj.get("preemptionPolicy") or ""
    return [_name(obj), obj.get("value") or 0, default, _age(obj, now), policy]


def _signing_request(obj: Json, now: float) -> Cells:
    spec, status = _spec(obj), _status(obj)
    seconds = spec.get("expirationSeconds")
    held = {c.get("type") for c in status.get("conditions") or ()}
    words = [word for word in ("Denied", "Approved") if word in held][:1] or ["Pending"]
    words += ["Failed"] if "Failed" in held else []
    words += ["Issued"] if status.get("certificate") else []
    return [
        _name(obj), _age(obj, now), spec.get("signerName") or NONE, spec.get("username") or NONE,
        NONE if seconds is None else age(seconds), ",".join(words),
    ]  # fmt: skip


def _plain(obj: Json, now: float) -> Cells:
    return [_name(obj), _age(obj, now)]


_Table = tuple[tuple[Column, ...], Callable[[Json, float], Cells]]
_MESH_GROUPS = (
    *("networking.istio.io", "security.istio.io", "telemetry.istio.io"),
    "policy.weft.dev",
)
_MESH_STATE = _columns("Accepted Programmed +Nodes")
_PLAIN: _Table = (_columns("Name Age"), _plain)
_GATEWAY_API = "gateway.networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"


def _created(obj: Json) -> str:
    return str(obj["metadata"].get("creationTimestamp") or UNKNOWN)


def _role_binding(obj: Json, now: float) -> Cells:
    reference = obj.get("roleRef") or {}
    subjects = obj.get("subjects") or ()

    def listed(kind: str) -> str:
        chosen = [s for s in subjects if s.get("kind") == kind]
        spaced = kind == "ServiceAccount"
        return ", ".join(
            f"{s.get('namespace') or ''}/{s['name']}" if spaced else s["name"] for s in chosen
        )

    role = f"{reference.get('kind')}/{reference.get('name')}"
    return [
        _name(obj), role, _age(obj, now), listed("User"), listed("Group"), listed("ServiceAccount")
    ]  # fmt: skip


_TABLES: dict[tuple[str, str], _Table] = {
    **{
        kind: (_columns(heads), function)
        for tables in (
            *(workload_columns.TABLES, storage_columns.TABLES, network_columns.TABLES),
            monitoring_columns.TABLES,
            argo_columns.TABLES,
            flagger_columns.TABLES,
            queue_columns.TABLES,
            kueue_columns.TABLES,
        )
        for kind, (heads, function) in tables.items()
    },
    ("", "Pod"): (
        _columns("Name Ready Status Restarts Age +IP +Node +Nominated_Node +Readiness_Gates"),
        _pod,
    ),
    ("apps", "Deployment"): (
        _columns("Name Ready Up-to-date# Available# Age +Containers +Images +Selector"),
        _deployment,
    ),
    ("apps", "ReplicaSet"): (
        _columns("Name Desired# Current# Ready# Age +Containers +Images +Selector"),
        _replica_set,
    ),
    ("batch", "Job"): (
        _columns("Name Status Completions Duration Age +Containers +Images +Selector"),
        _job,
    ),
    ("", "Service"): (
        _columns("Name Type Cluster-IP External-IP Port(s) Age +Selector"),
        _service,
    ),
    ("discovery.k8s.io", "EndpointSlice"): (
        _columns("Name AddressType Ports Endpoints Age"),
        _endpoint_slice,
    ),
    ("", "Node"): (
        _columns(
            "Name Status Roles Age Version +Internal-IP +External-IP +OS-Image +Kernel-Version "
            "+Container-Runtime"
        ),
        _node,
    ),
    ("", "Namespace"): (_columns("Name Status Age"), _namespace),
    ("", "ConfigMap"): (_columns("Name Data# Age"), _config_map),
    ("", "Secret"): (_columns("Name Type Data# Age"), _secret),
    ("", "ServiceAccount"): (_columns("Name Secrets# Age"), _service_account),
    ("", "Event"): (
        _columns(
            "Last_Seen Type Reason Object +Subobject +Source Message +First_Seen +Count# +Name"
        ),
        _event,
    ),
    **dict.fromkeys(
        (("", "LimitRange"), (_RBAC, "Role"), (_RBAC, "ClusterRole")),
        (_columns("Name Created_At"), lambda obj, now: [_name(obj), _created(obj)]),
    ),
    **dict.fromkeys(
        ((_RBAC, "RoleBinding"), (_RBAC, "ClusterRoleBinding")),
        (_columns("Name Role Age +Users +Groups +ServiceAccounts"), _role_binding),
    ),
    ("", "ResourceQuota"): (
        _columns("Name Request Limit Age"),
        lambda obj, now: admission_columns.resource_quota(obj, _age(obj, now)),
    ),
    **admission_columns.tables(_columns, _age),
    ("coordination.k8s.io", "Lease"): (_columns("Name Holder Age"), _lease),
    ("certificates.k8s.io", "CertificateSigningRequest"): (
        _columns("Name Age SignerName Requestor RequestedDuration Condition"),
        _signing_request,
    ),
    ("scheduling.k8s.io", "PriorityClass"): (
        _columns("Name Value# Global-Default Age PreemptionPolicy"),
        _priority_class,
    ),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): (
        _columns("Name Created_At"),
        lambda obj, now: [_name(obj), (obj.get("metadata") or {}).get("creationTimestamp") or ""],
    ),
    (_GATEWAY_API, "GatewayClass"): (
        _columns("Name Controller Accepted Age +Description"),
        lambda obj, now: gateway_columns.gateway_class(obj, _age(obj, now)),
    ),
    (_GATEWAY_API, "Gateway"): (
        _columns("Name Class Address Programmed Age"),
        lambda obj, now: gateway_columns.gateway(obj, _age(obj, now)),
    ),
    (_GATEWAY_API, "ListenerSet"): (
        _columns("Name Accepted Programmed Age"),
        lambda obj, now: gateway_columns.listener_set(obj, _age(obj, now)),
    ),
    **dict.fromkeys(
        ((_GATEWAY_API, "HTTPRoute"), (_GATEWAY_API, "GRPCRoute"), (_GATEWAY_API, "TLSRoute")),
        (
            _columns("Name Hostnames Age"),
            lambda obj, now: gateway_columns.route(obj, _age(obj, now)),
        ),
    ),
    ("networking.istio.io", "VirtualService"): (
        _columns("Name Gateways Hosts Age"),
        _virtual_service,
    ),
    ("networking.istio.io", "DestinationRule"): (_columns("Name Host Age"), _destination_rule),
    ("networking.istio.io", "ServiceEntry"): (
        _columns("Name Hosts Location Resolution Age"),
        _service_entry,
    ),
    ("networking.istio.io", "WorkloadEntry"): (_columns("Name Address Age"), _workload_entry),
    ("security.istio.io", "AuthorizationPolicy"): (
        _columns("Name Action Age"),
        _authorization_policy,
    ),
    ("security.istio.io", "PeerAuthentication"): (
        _columns("Name Mode Age"),
        _peer_authentication,
    ),
    ("policy.weft.dev", "RateLimitPolicy"): (
        _columns("Name Target Scope Rules# Age"),
        _rate_limit_policy,
    ),
    ("policy.weft.dev", "BackendPolicy"): (_columns("Name Target Age"), _backend_policy),
    ("policy.weft.dev", "AuthenticationPolicy"): (_columns("Name Target Age"), _backend_policy),
}
