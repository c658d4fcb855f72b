"""Kubernetes admissionregistration/v1alpha1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.meta_v1 import LabelSelector, ObjectMeta


class ApplyConfiguration(Struct, frozen=True, omit_defaults=True):
    """ApplyConfiguration defines the desired configuration values of an object."""

    expression: str = field(default="", name="expression")


class JSONPatch(Struct, frozen=True, omit_defaults=True):
    """JSONPatch defines a JSON Patch."""

    expression: str = field(default="", name="expression")


class MatchCondition(Struct, frozen=True, omit_defaults=True):
    """No description."""

    expression: str = field(default="", name="expression")
    name: str = field(default="", name="name")


class NamedRuleWithOperations(Struct, frozen=True, omit_defaults=True):
    """NamedRuleWithOperations is a tuple of Operations and Resources with ResourceNames."""

    api_groups: tuple[str, ...] = field(default=(), name="apiGroups")
    api_versions: tuple[str, ...] = field(default=(), name="apiVersions")
    operations: tuple[str, ...] = field(default=(), name="operations")
    resource_names: tuple[str, ...] = field(default=(), name="resourceNames")
    resources: tuple[str, ...] = field(default=(), name="resources")
    scope: str = field(default="", name="scope")


class MatchResources(Struct, frozen=True, omit_defaults=True):
    """MatchResources decides whether to run the admission control policy on an object ...."""

    exclude_resource_rules: tuple[NamedRuleWithOperations, ...] = field(
        default=(), name="excludeResourceRules"
    )
    match_policy: str = field(default="", name="matchPolicy")
    namespace_selector: LabelSelector | None = field(default=None, name="namespaceSelector")
    object_selector: LabelSelector | None = field(default=None, name="objectSelector")
    resource_rules: tuple[NamedRuleWithOperations, ...] = field(default=(), name="resourceRules")


class Mutation(Struct, frozen=True, omit_defaults=True):
    """Mutation specifies the CEL expression which is used to apply the Mutation."""

    apply_configuration: ApplyConfiguration | None = field(default=None, name="applyConfiguration")
    json_patch: JSONPatch | None = field(default=None, name="jsonPatch")
    patch_type: str = field(default="", name="patchType")


class ParamKind(Struct, frozen=True, omit_defaults=True):
    """ParamKind is a tuple of Group Kind and Version."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")


class Variable(Struct, frozen=True, omit_defaults=True):
    """Variable is the definition of a variable that is used for composition."""

    expression: str = field(default="", name="expression")
    name: str = field(default="", name="name")


class MutatingAdmissionPolicySpec(Struct, frozen=True, omit_defaults=True):
    """MutatingAdmissionPolicySpec is the specification of the desired behavior of the ...."""

    failure_policy: str = field(default="", name="failurePolicy")
    match_conditions: tuple[MatchCondition, ...] = field(default=(), name="matchConditions")
    match_constraints: MatchResources | None = field(default=None, name="matchConstraints")
    mutations: tuple[Mutation, ...] = field(default=(), name="mutations")
    param_kind: ParamKind | None = field(default=None, name="paramKind")
    reinvocation_policy: str = field(default="", name="reinvocationPolicy")
    variables: tuple[Variable, ...] = field(default=(), name="variables")


class MutatingAdmissionPolicy(Struct, frozen=True, omit_defaults=True):
    """MutatingAdmissionPolicy describes the definition of an admission mutation policy ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: MutatingAdmissionPolicySpec = field(default=MutatingAdmissionPolicySpec(), name="spec")


class ParamRef(Struct, frozen=True, omit_defaults=True):
    """ParamRef describes how to locate the params to be used as input to expressions of ...."""

    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")
    parameter_not_found_action: str = field(default="", name="parameterNotFoundAction")
    selector: LabelSelector | None = field(default=None, name="selector")


class MutatingAdmissionPolicyBindingSpec(Struct, frozen=True, omit_defaults=True):
    """MutatingAdmissionPolicyBindingSpec is the specification of the ...."""

    match_resources: MatchResources | None = field(default=None, name="matchResources")
    param_ref: ParamRef | None = field(default=None, name="paramRef")
    policy_name: str = field(default="", name="policyName")


class MutatingAdmissionPolicyBinding(Struct, frozen=True, omit_defaults=True):
    """MutatingAdmissionPolicyBinding binds the MutatingAdmissionPolicy with ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: MutatingAdmissionPolicyBindingSpec = field(
        default=MutatingAdmissionPolicyBindingSpec(), name="spec"
    )
