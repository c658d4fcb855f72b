"""Cells of the kinds that decide about writes: quotas, admission policies, webhooks."""

from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]
Cells = list[Any]


def resource_quota(obj: Json, age: str) -> Cells:
    """What is used of what may be, requests and counts apart from limits."""
    status = obj.get("status") or {}
    hard, used = status.get("hard") or {}, status.get("used") or {}
    texts = {name: f"{name}: {used.get(name, 0)}/{hard[name]}" for name in sorted(hard)}
    requests = ", ".join(text for name, text in texts.items() if not name.startswith("limits."))
    limits = ", ".join(text for name, text in texts.items() if name.startswith("limits."))
    return [obj["metadata"]["name"], requests, limits, age]


def tables(
    columns: Callable[[str], Any], age: Callable[[Json, float], str]
) -> dict[tuple[str, str], tuple[Any, Callable[[Json, float], Cells]]]:
    """Of admissionregistration.k8s.io. `columns` and `age` are those of weft.api.columns."""
    group = "admissionregistration.k8s.io"
    hooks = (
        columns("Name Webhooks# Age"),
        lambda obj, now: [obj["metadata"]["name"], len(obj.get("webhooks") or ()), age(obj, now)],
    )
    return {
        (group, "MutatingWebhookConfiguration"): hooks,
        (group, "ValidatingWebhookConfiguration"): hooks,
        (group, "MutatingAdmissionPolicy"): (
            columns("Name Mutations# ParamKind Age"),
            lambda obj, now: _policy(obj, age(obj, now), "mutations"),
        ),
        (group, "MutatingAdmissionPolicyBinding"): (
            columns("Name PolicyName ParamRef Age"),
            lambda obj, now: _binding(obj, age(obj, now)),
        ),
        (group, "ValidatingAdmissionPolicy"): (
            columns("Name Validations# ParamKind Age"),
            lambda obj, now: _policy(obj, age(obj, now)),
        ),
        (group, "ValidatingAdmissionPolicyBinding"): (
            columns("Name PolicyName ParamRef Age"),
            lambda obj, now: _binding(obj, age(obj, now)),
        ),
    }


def _policy(obj: Json, age: str, counted: str = "validations") -> Cells:
    spec = obj.get("spec") or {}
    kind = spec.get("paramKind")
    shown = f"{kind['apiVersion']}/{kind['kind']}" if kind else "<unset>"
    return [obj["metadata"]["name"], len(spec.get(counted) or ()), shown, age]


def _binding(obj: Json, age: str) -> Cells:
    spec = obj.get("spec") or {}
    reference = spec.get("paramRef")
    shown = "<unset>"
    if reference:
        named = "/".join(reference[k] for k in ("namespace", "name") if reference.get(k))
        shown = named or "*"
    return [obj["metadata"]["name"], spec.get("policyName") or "", shown, age]
