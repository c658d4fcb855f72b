"""Values that Kubernetes fills in for NetworkPolicies, IngressClasses and Endpoints.

Source: pkg/apis/networking/v1 and pkg/apis/core/v1, defaults.go, of Kubernetes 1.33. Every
function changes the JSON it is given.
"""

from typing import Any

Json = dict[str, Any]


def network_policy(obj: Json) -> None:
    """Without policy types it is about ingress, and about egress when it has such rules."""
    spec = obj.setdefault("spec", {})
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        _ports(rule)
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def ingress_class(obj: Json) -> None:
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters and not parameters.get("scope"):
        parameters["scope"] = "Cluster"


def endpoints(obj: Json) -> None:
    for subset in obj.get("subsets") or ():
        _ports(subset)


def _ports(holder: Json) -> None:
    for port in holder.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
