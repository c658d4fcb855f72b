"""CustomResourceDefinitions that tests define."""

from typing import Any

GROUP = "stable.example.com"

CRON_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cronSpec"],
            "properties": {
                "cronSpec": {
                    "type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$",
                },
                "image": {"type": "string", "default": "busybox", "maxLength": 20},
                "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
                "minReplicas": {"type": "integer", "default": 0},
                "mode": {"type": "string", "enum": ["Fast", "Slow"], "nullable": True},
                "port": {"x-kubernetes-int-or-string": True},
                "since": {"type": "string", "format": "date-time"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "owner": {"type": "string",
                    "x-kubernetes-validations": [
                        {"rule": "self == oldSelf", "message": "owner is immutable"}]},
                "steps": {
                    "type": "array", "maxItems": 3,
                    "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object", "required": ["name"],
                        "properties": {
                            "name": {"type": "string"},
                            "seconds": {"type": "integer", "default": 5},
                        },
                    },
                },
                "tags": {"type": "array", "x-kubernetes-list-type": "set",
                         "items": {"type": "string"}},
            },
            "x-kubernetes-validations": [
                {"rule": "self.minReplicas <= self.replicas",
                 "messageExpression": "'replicas should be at least %d'.format([self.minReplicas])",
                 "fieldPath": ".replicas", "reason": "FieldValueForbidden"},
                {"rule": "!has(self.steps) || self.steps.all(s, s.seconds > 0)"},
            ],
        },
        "status": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer"},
                "selector": {"type": "string"},
                "conditions": {"type": "array", "items": {
                    "type": "object",
                    "properties": {"type": {"type": "string"}, "status": {"type": "string"}}}},
            },
        },
    },
}  # fmt: skip


def version(name: str = "v1", **more: Any) -> dict[str, Any]:
    return {"name": name, "served": True, "storage": True,
            "schema": {"openAPIV3Schema": CRON_SCHEMA}} | more  # fmt: skip


COLUMNS = [
    {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Ready", "type": "string",
     "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
    {"name": "Wide", "type": "string", "jsonPath": ".spec.image", "priority": 1},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]  # fmt: skip


def crd(*versions: dict[str, Any], scope: str = "Namespaced", **names: Any) -> dict[str, Any]:
    """CronTabs, with everything unless versions are given."""
    named = {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"], "categories": ["all"]}
    named |= names
    full = version(
        additionalPrinterColumns=COLUMNS,
        subresources={
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas",
                      "statusReplicasPath": ".status.replicas",
                      "labelSelectorPath": ".status.selector"},
        },
        selectableFields=[{"jsonPath": ".spec.image"}],
    )  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{named['plural']}.{GROUP}"},
        "spec": {"group": GROUP, "scope": scope, "names": named,
                 "versions": list(versions or (full,))},
    }  # fmt: skip


def cron_tab(name: str = "a", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cronSpec": "* * * * */5"} | spec,
    }
