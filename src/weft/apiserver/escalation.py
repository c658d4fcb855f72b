"""Nobody gives away what they do not have: checks of writes to roles and bindings. Pure.

Source: Kubernetes' privilege escalation prevention (verbs `escalate` and `bind`).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from weft.api.errors import ApiError
from weft.apiserver import failures, rbac
from weft.apiserver.access import MASTERS, Attributes, Review, User, Verdict
from weft.apiserver.rbac import GROUP, Json, Rbac

ATOMS_MAX = 10_000
"""Each is looked for in every rule that the user holds, while everybody else waits."""
_ALLOWED = Verdict()
_ROLES, _BINDINGS = ("roles", "clusterroles"), ("rolebindings", "clusterrolebindings")


class Escalation:
    """access.Admission."""

    def __init__(self, rules: Rbac) -> None:
        self._rbac = rules

    async def review(self, asked: Review) -> Verdict:
        kind, new = asked.kind, asked.new
        if kind.group != GROUP or new is None or MASTERS in asked.user.groups:
            return _ALLOWED
        if kind.plural in _ROLES:
            self._role(asked, new)
        elif kind.plural in _BINDINGS:
            self._binding(asked, new)
        return _ALLOWED

    def _role(self, asked: Review, new: Json) -> None:
        old = asked.old or {}
        wanted, before = new.get("rules") or [], old.get("rules") or []
        aggregates = new.get("aggregationRule")
        if wanted == before and aggregates == old.get("aggregationRule"):
            return
        if self._may(asked, "escalate", asked.kind.plural, asked.name):
            return
        if aggregates and rbac.uncovered(self._held(asked), rbac.EVERYTHING):
            why = "must have cluster-admin privileges to use an aggregationRule"
            raise failures.forbidden(asked.kind, asked.name, why)
        self._refuse(asked, self._uncovered(asked, wanted))

    def _binding(self, asked: Review, new: Json) -> None:
        old = asked.old or {}
        same = all(new.get(f) == old.get(f) for f in ("roleRef", "subjects"))
        if same:
            return
        binding = rbac.binding_of(new)
        plural = "clusterroles" if binding.role_kind == "ClusterRole" else "roles"
        if self._may(asked, "bind", plural, binding.role[1]):
            return
        rules = self._rbac.rules_of_role(binding.role)
        if rules is None:
            raise ApiError(404, "NotFound", f'{plural}.{GROUP} "{binding.role[1]}" not found')
        self._refuse(asked, self._uncovered(asked, rules))

    def _uncovered(self, asked: Review, wanted: Sequence[Json]) -> list[dict[str, Any]]:
        if rbac.atoms_count(wanted) > ATOMS_MAX:
            why = (
                f"its rules have more than {ATOMS_MAX} combinations of verb, group, resource and "
                "name: use fewer, or `*`"
            )
            raise failures.forbidden(asked.kind, asked.name, why)
        return rbac.uncovered(self._held(asked), wanted)

    def _held(self, asked: Review) -> tuple[Json, ...]:
        return self._rbac.rules_for(asked.user, asked.namespace)

    def _may(self, asked: Review, verb: str, plural: str, name: str) -> bool:
        wanted = Attributes(
            verb, group=GROUP, version="v1", resource=plural, namespace=asked.namespace, name=name
        )
        return self._rbac.decide(asked.user, wanted).allowed

    def _refuse(self, asked: Review, lacking: Iterable[dict[str, Any]]) -> None:
        rules = rbac.compact(lacking)
        if rules:
            listed = "\n".join(rbac.shown(rule) for rule in rules)
            why = (
                f'user "{asked.user.name}" (groups={_listed(asked.user)}) is attempting to grant '
                f"RBAC permissions not currently held:\n{listed}"
            )
            raise failures.forbidden(asked.kind, asked.name, why)


def _listed(user: User) -> str:
    return "[" + " ".join(f'"{group}"' for group in user.groups) + "]"
