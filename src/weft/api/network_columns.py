"""Table columns of Ingresses, their classes, NetworkPolicies, Endpoints and RuntimeClasses.

Source: pkg/printers/internalversion/printers.go of Kubernetes 1.33.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from weft.api.column_parts import NONE, age_of, name_of, spec_of, status_of
from weft.api.selectors import format_selector

Json = Mapping[str, Any]
Cells = list[Any]

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
LISTED_MAX = 3


def _ingress(obj: Json, now: float) -> Cells:
    spec = spec_of(obj)
    annotations = (obj.get("metadata") or {}).get("annotations") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    given = (status_of(obj).get("loadBalancer") or {}).get("ingress") or ()
    return [
        name_of(obj),
        spec.get("ingressClassName") or annotations.get(CLASS_ANNOTATION) or NONE,
        _some(hosts) or "*",
        ",".join(entry.get("ip") or entry.get("hostname") or "" for entry in given),
        "80, 443" if spec.get("tls") else "80",
        age_of(obj, now),
    ]


def _some(values: Sequence[str]) -> str:
    more = len(values) - LISTED_MAX
    shown = ",".join(values[:LISTED_MAX])
    return f"{shown} + {more} more..." if more > 0 else shown


def _ingress_class(obj: Json, now: float) -> Cells:
    spec = spec_of(obj)
    parameters = spec.get("parameters") or {}
    text = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        text = f"{parameters.get('kind')}{group}/{parameters.get('name')}"
    return [name_of(obj), spec.get("controller") or "", text, age_of(obj, now)]


def _network_policy(obj: Json, now: float) -> Cells:
    return [name_of(obj), format_selector(spec_of(obj).get("podSelector")), age_of(obj, now)]


def _endpoints(obj: Json, now: float) -> Cells:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [address.get("ip") or "" for address in subset.get("addresses") or ()]
        ports = [port.get("port") for port in subset.get("ports") or ()]
        found += [_joined(ip, port) for port in ports or (None,) for ip in addresses]
    return [name_of(obj), _some(found) or NONE, age_of(obj, now)]


def _joined(ip: str, port: Any) -> str:
    if port is None:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _runtime_class(obj: Json, now: float) -> Cells:
    return [name_of(obj), obj.get("handler") or "", age_of(obj, now)]


TABLES: dict[tuple[str, str], tuple[str, Callable[[Json, float], Cells]]] = {
    ("networking.k8s.io", "Ingress"): ("Name Class Hosts Address Ports Age", _ingress),
    ("networking.k8s.io", "IngressClass"): ("Name Controller Parameters Age", _ingress_class),
    ("networking.k8s.io", "NetworkPolicy"): ("Name Pod-Selector Age", _network_policy),
    ("", "Endpoints"): ("Name Endpoints Age", _endpoints),
    ("node.k8s.io", "RuntimeClass"): ("Name Handler Age", _runtime_class),
}
"""By group and kind: the columns, as weft.api.columns reads them, and the cells."""
