"""Kubernetes rbac/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


class AggregationRule(Struct, frozen=True, omit_defaults=True):
    """AggregationRule describes how to locate ClusterRoles to aggregate into the ...."""

    cluster_role_selectors: tuple[LabelSelector, ...] = field(
        default=(), name="clusterRoleSelectors"
    )


class PolicyRule(Struct, frozen=True, omit_defaults=True):
    """PolicyRule holds information that describes a policy rule, but does not contain ...."""

    api_groups: tuple[str, ...] = field(default=(), name="apiGroups")
    non_resource_urls: tuple[str, ...] = field(default=(), name="nonResourceURLs")
    resource_names: tuple[str, ...] = field(default=(), name="resourceNames")
    resources: tuple[str, ...] = field(default=(), name="resources")
    verbs: tuple[str, ...] = field(default=(), name="verbs")


class ClusterRole(Struct, frozen=True, omit_defaults=True):
    """ClusterRole is a cluster level, logical grouping of PolicyRules that can be ...."""

    aggregation_rule: AggregationRule | None = field(default=None, name="aggregationRule")
    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    rules: tuple[PolicyRule, ...] = field(default=(), name="rules")


class RoleRef(Struct, frozen=True, omit_defaults=True):
    """RoleRef contains information that points to the role being used."""

    api_group: str = field(default="", name="apiGroup")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")


class Subject(Struct, frozen=True, omit_defaults=True):
    """Subject contains a reference to the object or user identities a role binding ...."""

    api_group: str = field(default="", name="apiGroup")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")


class ClusterRoleBinding(Struct, frozen=True, omit_defaults=True):
    """ClusterRoleBinding references a ClusterRole, but not contain it."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    role_ref: RoleRef | None = field(default=None, name="roleRef")
    subjects: tuple[Subject, ...] = field(default=(), name="subjects")


class Role(Struct, frozen=True, omit_defaults=True):
    """Role is a namespaced, logical grouping of PolicyRules that can be referenced as a ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    rules: tuple[PolicyRule, ...] = field(default=(), name="rules")


class RoleBinding(Struct, frozen=True, omit_defaults=True):
    """RoleBinding references a role, but does not contain it."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    role_ref: RoleRef | None = field(default=None, name="roleRef")
    subjects: tuple[Subject, ...] = field(default=(), name="subjects")
