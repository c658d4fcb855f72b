"""The status of ValidatingAdmissionPolicies: which of their expressions cannot hold of what they
match, as Kubernetes' type checking tells it. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from weft.api.kinds import QUESTION, Kind
from weft.api.schema import schema_for
from weft.apiserver.admission_matching import GROUP
from weft.apiserver.catalog import Catalog

Json = Mapping[str, Any]
KINDS_CHECKED_MAX = 10
"""Of one policy, as in Kubernetes."""


def settled(kind: Kind, obj: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """A valid policy with its status; anything else as it is."""
    if kind.group != GROUP or kind.kind != "ValidatingAdmissionPolicy":
        return obj
    warnings = [
        {"fieldRef": place, "warning": text} for place, text in expression_warnings(obj, catalog)
    ]
    status: dict[str, Any] = dict(obj.get("status") or {})
    status["observedGeneration"] = obj["metadata"].get("generation") or 1
    status["typeChecking"] = {"expressionWarnings": warnings} if warnings else {}
    return obj | {"status": status}


def expression_warnings(policy: Json, catalog: Catalog) -> Iterator[tuple[str, str]]:
    """The place of an expression, and what it says that no matched kind knows."""
    from weft.api.cel.checking import undefined_fields  # noqa: PLC0415 - only where policies are

    spec = policy.get("spec") or {}
    kinds = list(_matched_kinds(spec.get("matchConstraints") or {}, catalog))
    for index, item in enumerate(spec.get("validations") or ()):
        for key in ("expression", "messageExpression"):
            lines = []
            for kind, version in kinds if item.get(key) else ():
                schema = schema_for(kind, version)
                scope = {"object": schema, "oldObject": schema}
                missing = undefined_fields(item[key], scope)
                if missing:
                    told = "\n".join(f"ERROR: undefined field '{name}'" for name in missing)
                    api_version = f"{kind.group}/{version}" if kind.group else version
                    lines.append(f"{api_version}, Kind={kind.kind}: {told}")
            if lines:
                yield f"spec.validations[{index}].{key}", "\n".join(lines)


def _matched_kinds(constraints: Json, catalog: Catalog) -> Iterator[tuple[Kind, str]]:
    """Kinds that the rules name exactly; wildcards are not checked."""
    seen: set[tuple[str, str, str]] = set()
    for rule in constraints.get("resourceRules") or ():
        for group in rule.get("apiGroups") or ():
            for version in rule.get("apiVersions") or ():
                for plural in rule.get("resources") or ():
                    kind = catalog.by_resource(group, version, plural)
                    key = (group, version, plural)
                    if kind is None or kind.verbs == QUESTION or key in seen:
                        continue
                    if len(seen) >= KINDS_CHECKED_MAX:
                        return
                    seen.add(key)
                    yield kind, version
