"""Asks the Pod Security Standards about pods, as the labels of their namespace say. Pure but for
reading the store.

Source: the PodSecurity admission of kube-apiserver (1.33).
"""

from collections.abc import Mapping
from typing import Any

from weft.apiserver import audit, codec, failures, keys, verbs
from weft.apiserver.access import Review, Verdict
from weft.apiserver.pod_security import (
    LEVELS,
    PREFIX,
    PRIVILEGED,
    Policy,
    Standard,
    Violation,
    matters,
    policy_of,
    violations,
)
from weft.apiserver.policy_admission import Surroundings
from weft.store.interface import Store

PODS_CHECKED_MAX = 3000
"""Of a namespace whose level becomes stricter, as in Kubernetes."""
_NOTHING = Verdict()
_TEMPLATES = frozenset((
    ("", "replicationcontrollers"), ("apps", "daemonsets"), ("apps", "deployments"),
    ("apps", "replicasets"), ("apps", "statefulsets"), ("argoproj.io", "rollouts"),
    ("batch", "jobs"),
))  # fmt: skip
Json = Mapping[str, Any]


class PodSecurityAdmission:
    """access.Admission, to be asked after validation."""

    def __init__(self, store: Store, around: Surroundings) -> None:
        self._store = store
        self._around = around

    async def review(self, asked: Review) -> Verdict:
        """As Admission.review. Raises ApiError 403, 422 for labels that cannot be read."""
        new, kind = asked.new, asked.kind
        if new is None or asked.operation not in ("CREATE", "UPDATE"):
            return _NOTHING
        which = (kind.group, kind.plural)
        if which == ("", "pods"):
            if asked.subresource not in ("", "ephemeralcontainers"):
                return _NOTHING
            if asked.old is not None and not matters(new, asked.old):
                return _NOTHING
            return await self._pod(asked, new, enforce=True)
        if asked.subresource:
            return _NOTHING
        if which == ("", "namespaces"):
            return await self._namespace(asked, new)
        template = _template(which, new)
        return await self._pod(asked, template, enforce=False) if template else _NOTHING

    async def _pod(self, asked: Review, pod: Json, *, enforce: bool) -> Verdict:
        namespace = await self._around.namespace(asked) or {}
        policy = policy_of((namespace.get("metadata") or {}).get("labels"))
        metadata, spec = pod.get("metadata") or {}, pod.get("spec") or {}
        if enforce and policy.enforce.level != PRIVILEGED:
            audit.note(f"{PREFIX}enforce-policy", str(policy.enforce))
        if found := violations(policy.audit.level, metadata, spec):
            audit.note(f"{PREFIX}audit-violations", f"would {_text(policy.audit, found)}")
        if enforce and (found := violations(policy.enforce.level, metadata, spec)):
            why = _text(policy.enforce, found).replace("violate", "violates", 1)
            raise failures.forbidden(asked.kind, asked.name, why)
        found = violations(policy.warn.level, metadata, spec)
        return Verdict(warnings=(f"would {_text(policy.warn, found)}",)) if found else _NOTHING

    async def _namespace(self, asked: Review, new: Json) -> Verdict:
        labels = (new.get("metadata") or {}).get("labels")
        policy, before = policy_of(labels), Policy()
        if asked.old is not None:
            before = policy_of((asked.old.get("metadata") or {}).get("labels"))
        if policy.errors and (asked.old is None or policy.errors != before.errors):
            raise failures.invalid(asked.kind, asked.name, [_cause(*e) for e in policy.errors])
        if asked.old is None or not _stricter(policy.enforce, before.enforce):
            return _NOTHING
        return Verdict(warnings=await self._existing(asked.name, policy.enforce))

    async def _existing(self, namespace: str, standard: Standard) -> tuple[str, ...]:
        """What the pods that are there would be refused for."""
        found = await self._store.range(keys.prefix(verbs.known_kind("pods"), namespace))
        by_reason: dict[str, list[str]] = {}
        for entry in found.entries[:PODS_CHECKED_MAX]:
            pod = codec.to_object(entry.value)
            bad = violations(standard.level, pod.get("metadata") or {}, pod.get("spec") or {})
            if bad:
                reasons = ", ".join(v.reason for v in bad)
                by_reason.setdefault(reasons, []).append(pod["metadata"]["name"])
        said: list[str] = []
        if len(found.entries) > PODS_CHECKED_MAX:
            said.append(
                "new PodSecurity enforce level only checked against the first"
                f" {PODS_CHECKED_MAX} of {len(found.entries)} existing pods"
            )
        if by_reason:
            said.append(
                f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce'
                f' level "{standard}"'
            )
        return (*said, *sorted(_of_pods(names, why) for why, names in by_reason.items()))


def _template(which: tuple[str, str], new: Json) -> Json | None:
    """The pods that a controller, or a template by itself, would make."""
    spec = new.get("spec") or {}
    if which == ("", "podtemplates"):
        return new.get("template")
    if which == ("batch", "cronjobs"):
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    elif which not in _TEMPLATES:
        return None
    return spec.get("template")


def _stricter(now: Standard, before: Standard) -> bool:
    if now.level == PRIVILEGED or now == before:
        return False
    more = LEVELS.index(now.level) > LEVELS.index(before.level)
    return more or now.version != before.version


def _text(standard: Standard, found: list[Violation]) -> str:
    return f'violate PodSecurity "{standard}": {", ".join(str(v) for v in found)}'


def _of_pods(names: list[str], why: str) -> str:
    others = len(names) - 1
    more = f" (and {others} other pod{'s' if others > 1 else ''})" if others else ""
    return f"{min(names)}{more}: {why}"


def _cause(label: str, value: str, why: str) -> dict[str, str]:
    return {
        "reason": "FieldValueInvalid",
        "message": f'Invalid value: "{value}": {why}',
        "field": f"metadata.labels[{label}]",
    }
