"""Kubernetes admissionregistration/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from msgspec import Struct, field

from weft.api.k8s.meta_v1 import Condition, LabelSelector, ObjectMeta


class AuditAnnotation(Struct, frozen=True, omit_defaults=True):
    """AuditAnnotation describes how to produce an audit annotation for an API request."""

    key: str = field(default="", name="key")
    value_expression: str = field(default="", name="valueExpression")


class ExpressionWarning(Struct, frozen=True, omit_defaults=True):
    """ExpressionWarning is a warning information that targets a specific expression."""

    field_ref: str = field(default="", name="fieldRef")
    warning: str = field(default="", name="warning")


class MatchCondition(Struct, frozen=True, omit_defaults=True):
    """MatchCondition represents a condition which must by fulfilled for a request to be ...."""

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


class RuleWithOperations(Struct, frozen=True, omit_defaults=True):
    """RuleWithOperations is a tuple of Operations and Resources."""

    api_groups: tuple[str, ...] = field(default=(), name="apiGroups")
    api_versions: tuple[str, ...] = field(default=(), name="apiVersions")
    operations: tuple[str, ...] = field(default=(), name="operations")
    resources: tuple[str, ...] = field(default=(), name="resources")
    scope: str = field(default="", name="scope")


class ServiceReference(Struct, frozen=True, omit_defaults=True):
    """ServiceReference holds a reference to Service.legacy.k8s.io."""

    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")
    path: str = field(default="", name="path")
    port: int | None = field(default=None, name="port")


class WebhookClientConfig(Struct, frozen=True, omit_defaults=True):
    """WebhookClientConfig contains the information to make a TLS connection with the ...."""

    ca_bundle: str = field(default="", name="caBundle")
    service: ServiceReference | None = field(default=None, name="service")
    url: str = field(default="", name="url")


class MutatingWebhook(Struct, frozen=True, omit_defaults=True):
    """MutatingWebhook describes an admission webhook and the resources and operations ...."""

    admission_review_versions: tuple[str, ...] = field(default=(), name="admissionReviewVersions")
    client_config: WebhookClientConfig | None = field(default=None, name="clientConfig")
    failure_policy: str = field(default="", name="failurePolicy")
    match_conditions: tuple[MatchCondition, ...] = field(default=(), name="matchConditions")
    match_policy: str = field(default="", name="matchPolicy")
    name: str = field(default="", name="name")
    namespace_selector: LabelSelector | None = field(default=None, name="namespaceSelector")
    object_selector: LabelSelector | None = field(default=None, name="objectSelector")
    reinvocation_policy: str = field(default="", name="reinvocationPolicy")
    rules: tuple[RuleWithOperations, ...] = field(default=(), name="rules")
    side_effects: str = field(default="", name="sideEffects")
    timeout_seconds: int | None = field(default=None, name="timeoutSeconds")


class MutatingWebhookConfiguration(Struct, frozen=True, omit_defaults=True):
    """MutatingWebhookConfiguration describes the configuration of and admission webhook ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    webhooks: tuple[MutatingWebhook, ...] = field(default=(), name="webhooks")


class ParamKind(Struct, frozen=True, omit_defaults=True):
    """ParamKind is a tuple of Group Kind and Version."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")


class ParamRef(Struct, frozen=True, omit_defaults=True):
    """ParamRef describes how to locate the params to be used as input to expressions of ...."""

    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")
    parameter_not_found_action: str = field(default="", name="parameterNotFoundAction")
    selector: LabelSelector | None = field(default=None, name="selector")


class TypeChecking(Struct, frozen=True, omit_defaults=True):
    """TypeChecking contains results of type checking the expressions in the ...."""

    expression_warnings: tuple[ExpressionWarning, ...] = field(
        default=(), name="expressionWarnings"
    )


class Validation(Struct, frozen=True, omit_defaults=True):
    """Validation specifies the CEL expression which is used to apply the validation."""

    expression: str = field(default="", name="expression")
    message: str = field(default="", name="message")
    message_expression: str = field(default="", name="messageExpression")
    reason: str = field(default="", name="reason")


class Variable(Struct, frozen=True, omit_defaults=True):
    """Variable is the definition of a variable that is used for composition."""

    expression: str = field(default="", name="expression")
    name: str = field(default="", name="name")


class ValidatingAdmissionPolicySpec(Struct, frozen=True, omit_defaults=True):
    """ValidatingAdmissionPolicySpec is the specification of the desired behavior of the ...."""

    audit_annotations: tuple[AuditAnnotation, ...] = field(default=(), name="auditAnnotations")
    failure_policy: str = field(default="", name="failurePolicy")
    match_conditions: tuple[MatchCondition, ...] = field(default=(), name="matchConditions")
    match_constraints: MatchResources | None = field(default=None, name="matchConstraints")
    param_kind: ParamKind | None = field(default=None, name="paramKind")
    validations: tuple[Validation, ...] = field(default=(), name="validations")
    variables: tuple[Variable, ...] = field(default=(), name="variables")


class ValidatingAdmissionPolicyStatus(Struct, frozen=True, omit_defaults=True):
    """ValidatingAdmissionPolicyStatus represents the status of an admission validation ...."""

    conditions: tuple[Condition, ...] = field(default=(), name="conditions")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    type_checking: TypeChecking | None = field(default=None, name="typeChecking")


class ValidatingAdmissionPolicy(Struct, frozen=True, omit_defaults=True):
    """ValidatingAdmissionPolicy describes the definition of an admission validation ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: ValidatingAdmissionPolicySpec = field(
        default=ValidatingAdmissionPolicySpec(), name="spec"
    )
    status: ValidatingAdmissionPolicyStatus = field(
        default=ValidatingAdmissionPolicyStatus(), name="status"
    )


class ValidatingAdmissionPolicyBindingSpec(Struct, frozen=True, omit_defaults=True):
    """ValidatingAdmissionPolicyBindingSpec is the specification of the ...."""

    match_resources: MatchResources | None = field(default=None, name="matchResources")
    param_ref: ParamRef | None = field(default=None, name="paramRef")
    policy_name: str = field(default="", name="policyName")
    validation_actions: tuple[str, ...] = field(default=(), name="validationActions")


class ValidatingAdmissionPolicyBinding(Struct, frozen=True, omit_defaults=True):
    """ValidatingAdmissionPolicyBinding binds the ValidatingAdmissionPolicy with ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    spec: ValidatingAdmissionPolicyBindingSpec = field(
        default=ValidatingAdmissionPolicyBindingSpec(), name="spec"
    )


class ValidatingWebhook(Struct, frozen=True, omit_defaults=True):
    """ValidatingWebhook describes an admission webhook and the resources and operations ...."""

    admission_review_versions: tuple[str, ...] = field(default=(), name="admissionReviewVersions")
    client_config: WebhookClientConfig | None = field(default=None, name="clientConfig")
    failure_policy: str = field(default="", name="failurePolicy")
    match_conditions: tuple[MatchCondition, ...] = field(default=(), name="matchConditions")
    match_policy: str = field(default="", name="matchPolicy")
    name: str = field(default="", name="name")
    namespace_selector: LabelSelector | None = field(default=None, name="namespaceSelector")
    object_selector: LabelSelector | None = field(default=None, name="objectSelector")
    rules: tuple[RuleWithOperations, ...] = field(default=(), name="rules")
    side_effects: str = field(default="", name="sideEffects")
    timeout_seconds: int | None = field(default=None, name="timeoutSeconds")


class ValidatingWebhookConfiguration(Struct, frozen=True, omit_defaults=True):
    """ValidatingWebhookConfiguration describes the configuration of and admission ...."""

    api_version: str = field(default="", name="apiVersion")
    kind: str = field(default="", name="kind")
    metadata: ObjectMeta = field(default=ObjectMeta(), name="metadata")
    webhooks: tuple[ValidatingWebhook, ...] = field(default=(), name="webhooks")
