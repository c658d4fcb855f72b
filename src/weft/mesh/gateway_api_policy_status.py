"""Statuses of BackendTLSPolicies: how they fare with each Gateway that leads to their Services."""

from collections.abc import Sequence

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_backend_tls import JudgedPolicy
from weft.mesh.gateway_api_conditions import judged
from weft.mesh.gateway_api_objects import Json, ObjectStatus

ANCESTORS_MAX = 16
"""Of the API."""


def policy_status(found: JudgedPolicy, gateways: Sequence[str]) -> ObjectStatus:
    """`gateways`: those with routes to the policy's Services (`<namespace>/<name>`)."""
    meta = found.policy.metadata
    ancestors = [_ancestor(found, name) for name in gateways[:ANCESTORS_MAX]]
    return ObjectStatus(
        gw.BackendTLSPolicy, meta.namespace, meta.name, meta.uid, {"ancestors": ancestors}
    )


def _ancestor(found: JudgedPolicy, gateway: str) -> Json:
    number = found.policy.metadata.generation or 0
    namespace, _, name = gateway.partition("/")
    resolved = judged("ResolvedRefs", found.unresolved, number, found.unresolved_message)
    return {
        "ancestorRef": {
            "group": gw.GROUP, "kind": "Gateway", "namespace": namespace, "name": name,
        },
        "controllerName": gw.CONTROLLER_NAME,
        "conditions": [judged("Accepted", found.refused, number, found.refused_message), resolved],
    }  # fmt: skip
