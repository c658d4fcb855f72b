"""Defaults of admissionregistration.k8s.io/v1."""

from typing import Any

Json = dict[str, Any]
WEBHOOK_TIMEOUT_SECONDS = 10
SERVICE_PORT = 443


def policy(obj: Json) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    if isinstance(found := spec.get("matchConstraints"), dict):
        _match(found)


def binding(obj: Json) -> None:
    if isinstance(found := obj.setdefault("spec", {}).get("matchResources"), dict):
        _match(found)


def webhooks(obj: Json) -> None:
    """Of both kinds of webhook configurations."""
    for hook in obj.get("webhooks") or ():
        hook.setdefault("failurePolicy", "Fail")
        hook.setdefault("timeoutSeconds", WEBHOOK_TIMEOUT_SECONDS)
        if obj.get("kind") == "MutatingWebhookConfiguration":
            hook.setdefault("reinvocationPolicy", "Never")
        _selectors(hook)
        for rule in hook.get("rules") or ():
            rule.setdefault("scope", "*")
        if isinstance(service := (hook.get("clientConfig") or {}).get("service"), dict):
            service.setdefault("port", SERVICE_PORT)


def _match(resources: Json) -> None:
    _selectors(resources)
    for key in ("resourceRules", "excludeResourceRules"):
        for rule in resources.get(key) or ():
            rule.setdefault("scope", "*")


def _selectors(holder: Json) -> None:
    holder.setdefault("matchPolicy", "Equivalent")
    holder.setdefault("namespaceSelector", {})
    holder.setdefault("objectSelector", {})
