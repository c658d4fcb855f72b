"""Role-based access control: who may do what, from roles and bindings, indexed by subject.

Source: rbac.authorization.k8s.io/v1 as Kubernetes documents it. Pure: objects in, decisions out.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from weft.apiserver.access import (
    MASTERS,
    Attributes,
    Decision,
    User,
    service_account_name,
    service_account_of,
)

GROUP = "rbac.authorization.k8s.io"
DECISIONS_KEPT_MAX = 20_000
"""Answers remembered until a role or binding changes."""
ANY = "*"

Json = Mapping[str, Any]
RoleKey = tuple[str, str]
"""Namespace ("" for ClusterRoles) and name."""


class Rule(Struct, frozen=True):
    """A PolicyRule, ready to be asked."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    urls: tuple[str, ...] = ()

    def permits(self, wanted: Attributes, *, every_name: bool = False) -> bool:
        """`every_name`: not just the object that is named."""
        if ANY not in self.verbs and wanted.verb not in self.verbs:
            return False
        if wanted.path:
            return any(_covers_url(url, wanted.path) for url in self.urls)
        if ANY not in self.groups and wanted.group not in self.groups:
            return False
        if self.names and (every_name or wanted.name not in self.names):
            return False
        return covers_resource(self.resources, wanted.resource, wanted.subresource)


def covers_resource(resources: frozenset[str], resource: str, subresource: str) -> bool:
    """`pods`, `pods/log`, `*/scale` or `*`."""
    if ANY in resources:
        return True
    if not subresource:
        return resource in resources
    return f"{resource}/{subresource}" in resources or f"*/{subresource}" in resources


def _covers_url(url: str, path: str) -> bool:
    return url in (ANY, path) or (url.endswith(ANY) and path.startswith(url[:-1]))


def rule_of(obj: Json) -> Rule:
    """A rule as it stands in a role."""
    found = {k: frozenset(obj.get(k) or ()) for k in ("verbs", "apiGroups", "resources")}
    return Rule(
        found["verbs"],
        found["apiGroups"],
        found["resources"],
        frozenset(obj.get("resourceNames") or ()),
        tuple(obj.get("nonResourceURLs") or ()),
    )


class Binding(Struct, frozen=True):
    """What a binding grants to its subjects. `namespace` "" is everywhere."""

    name: str
    namespace: str
    role_kind: str
    role: RoleKey
    subjects: tuple[str, ...]

    def words(self, subject: str) -> str:
        """Why something is allowed, in Kubernetes' words."""
        kind = "RoleBinding" if self.namespace else "ClusterRoleBinding"
        own = f"{self.name}/{self.namespace}" if self.namespace else self.name
        return (
            f'RBAC: allowed by {kind} "{own}" of {self.role_kind} "{self.role[1]}" '
            f"to {_subject_words(subject)}"
        )


def user_key(name: str) -> str:
    return f"u:{name}"


def group_key(name: str) -> str:
    return f"g:{name}"


def _subject_words(key: str) -> str:
    kind, name = key[:1], key[2:]
    if kind == "g":
        return f'Group "{name}"'
    if (account := service_account_of(name)) is not None:
        return f'ServiceAccount "{account[1]}/{account[0]}"'
    return f'User "{name}"'


def binding_of(obj: Json) -> Binding:
    """A RoleBinding or ClusterRoleBinding."""
    metadata, reference = obj["metadata"], obj.get("roleRef") or {}
    namespace = metadata.get("namespace") or ""
    role_kind = reference.get("kind") or ""
    role = (namespace if role_kind == "Role" else "", reference.get("name") or "")
    subjects = tuple(_keys_of_subjects(obj.get("subjects") or (), namespace))
    return Binding(metadata["name"], namespace, role_kind, role, subjects)


def _keys_of_subjects(subjects: Iterable[Json], namespace: str) -> Iterator[str]:
    for subject in subjects:
        name = subject.get("name") or ""
        if subject.get("kind") == "User":
            yield user_key(name)
        elif subject.get("kind") == "Group":
            yield group_key(name)
        elif subject.get("kind") == "ServiceAccount":
            where = subject.get("namespace") or namespace
            yield user_key(service_account_name(where, name))


class Rbac:
    """access.Authorizer. Fed with objects as they change; asked in microseconds."""

    def __init__(self) -> None:
        self._roles: dict[RoleKey, tuple[Rule, ...]] = {}
        self._raw: dict[RoleKey, tuple[Json, ...]] = {}
        """The rules as the objects have them."""
        self._bindings: dict[RoleKey, Binding] = {}
        self._by_subject: dict[str, dict[RoleKey, Binding]] = {}
        self._decisions: dict[tuple[str, tuple[str, ...], Attributes], Decision] = {}
        self._everywhere: dict[tuple[str, ...], Decision] = {}
        """What is allowed in every namespace, whatever its name: few questions, asked often."""

    # ------------------------------------------------------------ feeding

    def clear(self) -> None:
        """Forget everything: all is put anew."""
        for known in (self._roles, self._raw, self._bindings, self._by_subject):
            known.clear()
        self._forget()

    def put(self, plural: str, obj: Json) -> None:
        """A role or binding is there, or has changed."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace") or "", metadata["name"])
        self.remove(plural, key)
        if plural in ("roles", "clusterroles"):
            rules = tuple(obj.get("rules") or ())
            self._raw[key] = rules
            self._roles[key] = tuple(map(rule_of, rules))
            return
        binding = binding_of(obj)
        self._bindings[key] = binding
        for subject in binding.subjects:
            self._by_subject.setdefault(subject, {})[key] = binding

    def remove(self, plural: str, key: RoleKey) -> None:
        """It is gone."""
        self._forget()
        if plural in ("roles", "clusterroles"):
            self._roles.pop(key, None)
            self._raw.pop(key, None)
            return
        if (old := self._bindings.pop(key, None)) is not None:
            for subject in old.subjects:
                held = self._by_subject.get(subject, {})
                held.pop(key, None)
                if not held:
                    self._by_subject.pop(subject, None)

    def _forget(self) -> None:
        self._decisions.clear()
        self._everywhere.clear()

    # ------------------------------------------------------------ asking

    def decide(self, user: User, wanted: Attributes) -> Decision:
        """Members of system:masters may do everything."""
        if MASTERS in user.groups:
            return Decision(True)
        if not wanted.path and (broad := self._decide_everywhere(user, wanted)).allowed:
            return broad
        asked = (user.name, user.groups, wanted)
        known = self._decisions.get(asked)
        if known is None:
            known = self._decide(user, wanted)
            if len(self._decisions) >= DECISIONS_KEPT_MAX:
                self._decisions.clear()
            self._decisions[asked] = known
        return known

    def _decide_everywhere(self, user: User, wanted: Attributes) -> Decision:
        what = (wanted.verb, wanted.group, wanted.resource, wanted.subresource)
        asked = (user.name, *what, *user.groups)
        known = self._everywhere.get(asked)
        if known is None:
            known = Decision(False)
            for subject, binding in self._grants(user, ""):
                rules = self._roles.get(binding.role, ())
                if any(rule.permits(wanted, every_name=True) for rule in rules):
                    known = Decision(True, binding.words(subject))
                    break
            if len(self._everywhere) >= DECISIONS_KEPT_MAX:
                self._everywhere.clear()
            self._everywhere[asked] = known
        return known

    def _decide(self, user: User, wanted: Attributes) -> Decision:
        missing: list[str] = []
        for subject, binding in self._grants(user, wanted.namespace):
            rules = self._roles.get(binding.role)
            if rules is None:
                missing.append(_missing(binding))
            elif any(rule.permits(wanted) for rule in rules):
                return Decision(True, binding.words(subject))
        return Decision(False, _trouble(missing))

    def _grants(self, user: User, namespace: str) -> Iterator[tuple[str, Binding]]:
        """The bindings of a user that count in a namespace; those for everywhere first."""
        subjects = (user_key(user.name), *map(group_key, user.groups))
        places = ("", namespace) if namespace else ("",)
        for place in places:
            for subject in subjects:
                for binding in self._by_subject.get(subject, {}).values():
                    if binding.namespace == place:
                        yield subject, binding

    def rules_for(self, user: User, namespace: str) -> tuple[Json, ...]:
        """Every rule in force for a user in a namespace, as roles have them."""
        if MASTERS in user.groups:
            return EVERYTHING
        found = (self._raw.get(b.role, ()) for _, b in self._grants(user, namespace))
        return tuple(rule for rules in found for rule in rules)

    def rules_of_role(self, key: RoleKey) -> tuple[Json, ...] | None:
        """None when there is no such role."""
        return self._raw.get(key)


EVERYTHING: tuple[Json, ...] = (
    {"verbs": [ANY], "apiGroups": [ANY], "resources": [ANY]},
    {"verbs": [ANY], "nonResourceURLs": [ANY]},
)


def _missing(binding: Binding) -> str:
    kind = "clusterrole" if binding.role_kind == "ClusterRole" else "role"
    return f'{kind}.{GROUP} "{binding.role[1]}" not found'


def _trouble(missing: list[str]) -> str:
    if not missing:
        return ""
    unique = list(dict.fromkeys(missing))
    return f"RBAC: {unique[0]}" if len(unique) == 1 else f"RBAC: [{', '.join(unique)}]"


# ---------------------------------------------------------------- what rules cover


def uncovered(held: Iterable[Json], wanted: Iterable[Json]) -> list[dict[str, Any]]:
    """The parts of `wanted` that no rule of `held` grants, each with one verb, group, resource
    and name: nobody may give away what they do not have."""
    rules = [rule_of(rule) for rule in held]
    return [atom for rule in wanted for atom in atoms(rule) if not _granted(rules, atom)]


def atoms(rule: Json) -> Iterator[dict[str, Any]]:
    """A rule taken apart into the smallest rules."""
    for verb in rule.get("verbs") or ():
        for url in rule.get("nonResourceURLs") or ():
            yield {"nonResourceURLs": [url], "verbs": [verb]}
        for group in rule.get("apiGroups") or ():
            for resource in rule.get("resources") or ():
                atom = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
                names = rule.get("resourceNames") or ()
                yield from ({**atom, "resourceNames": [n]} for n in names)
                if not names:
                    yield atom


def atoms_count(rules: Iterable[Json]) -> int:
    """How many `atoms` they have, without making them."""
    count = 0
    for rule in rules:
        sizes = {key: len(rule.get(key) or ()) for key in _ATOM_FIELDS}
        resources = sizes["apiGroups"] * sizes["resources"] * max(1, sizes["resourceNames"])
        count += sizes["verbs"] * (sizes["nonResourceURLs"] + resources)
    return count


_ATOM_FIELDS = ("verbs", "nonResourceURLs", "apiGroups", "resources", "resourceNames")


def _granted(rules: Iterable[Rule], atom: Json) -> bool:
    return any(_grants_atom(rule, atom) for rule in rules)


def _grants_atom(rule: Rule, atom: Json) -> bool:
    (verb,) = atom["verbs"]
    if ANY not in rule.verbs and verb not in rule.verbs:
        return False
    if urls := atom.get("nonResourceURLs"):
        return any(_covers_url(url, urls[0]) for url in rule.urls)
    (group,), (resource,) = atom["apiGroups"], atom["resources"]
    if ANY not in rule.groups and group not in rule.groups:
        return False
    if rule.names and not set(atom.get("resourceNames") or ()) & rule.names:
        return False
    main, _, sub = resource.partition("/")
    return covers_resource(rule.resources, main, sub)


def compact(rules: Iterable[Json]) -> list[dict[str, Any]]:
    """Rules without duplicates, those that differ in their verbs alone in one: for lists that
    people read."""
    found: dict[str, dict[str, Any]] = {}
    for rule in rules:
        rest = {k: sorted(v) for k, v in sorted(rule.items()) if k != "verbs" and v}
        known = found.setdefault(repr(rest), {"verbs": [], **rest})
        known["verbs"] += [v for v in rule.get("verbs") or () if v not in known["verbs"]]
    return list(found.values())


def shown(rule: Json) -> str:
    """As Kubernetes' messages show a rule."""
    titles = {
        "apiGroups": "APIGroups",
        "resources": "Resources",
        "resourceNames": "ResourceNames",
        "nonResourceURLs": "NonResourceURLs",
        "verbs": "Verbs",
    }
    parts = [
        f"{title}:[{', '.join(_quoted(v) for v in rule[key])}]"
        for key, title in titles.items()
        if rule.get(key)
    ]
    return "{" + ", ".join(parts) + "}"


def _quoted(text: str) -> str:
    return f'"{text}"'
