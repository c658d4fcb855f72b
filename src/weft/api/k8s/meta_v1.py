"""Kubernetes meta/v1 values, generated."""

# Made from the OpenAPI definitions of Kubernetes 1.33.0 (Apache-2.0); do not edit.
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field


class Condition(Struct, frozen=True, omit_defaults=True):
    """Condition contains details for one aspect of the current state of this API Resource."""

    last_transition_time: str = field(default="", name="lastTransitionTime")
    message: str = field(default="", name="message")
    observed_generation: int | None = field(default=None, name="observedGeneration")
    reason: str = field(default="", name="reason")
    status: str = field(default="", name="status")
    type: str = field(default="", name="type")


class LabelSelectorRequirement(Struct, frozen=True, omit_defaults=True):
    """A label selector requirement is a selector that contains values, a key, and an ...."""

    key: str = field(default="", name="key")
    operator: str = field(default="", name="operator")
    values: tuple[str, ...] = field(default=(), name="values")


class LabelSelector(Struct, frozen=True, omit_defaults=True):
    """A label selector is a label query over a set of resources."""

    match_expressions: tuple[LabelSelectorRequirement, ...] = field(
        default=(), name="matchExpressions"
    )
    match_labels: Mapping[str, str] = field(default_factory=dict, name="matchLabels")


class ManagedFieldsEntry(Struct, frozen=True, omit_defaults=True):
    """ManagedFieldsEntry is a workflow-id, a FieldSet and the group version of the ...."""

    api_version: str = field(default="", name="apiVersion")
    fields_type: str = field(default="", name="fieldsType")
    fields_v1: Any = field(default=None, name="fieldsV1")
    manager: str = field(default="", name="manager")
    operation: str = field(default="", name="operation")
    subresource: str = field(default="", name="subresource")
    time: str = field(default="", name="time")


class OwnerReference(Struct, frozen=True, omit_defaults=True):
    """OwnerReference contains enough information to let you identify an owning object."""

    api_version: str = field(default="", name="apiVersion")
    block_owner_deletion: bool | None = field(default=None, name="blockOwnerDeletion")
    controller: bool | None = field(default=None, name="controller")
    kind: str = field(default="", name="kind")
    name: str = field(default="", name="name")
    uid: str = field(default="", name="uid")


class ObjectMeta(Struct, frozen=True, omit_defaults=True):
    """ObjectMeta is metadata that all persisted resources must have, which includes all ...."""

    annotations: Mapping[str, str] = field(default_factory=dict, name="annotations")
    creation_timestamp: str = field(default="", name="creationTimestamp")
    deletion_grace_period_seconds: int | None = field(
        default=None, name="deletionGracePeriodSeconds"
    )
    deletion_timestamp: str = field(default="", name="deletionTimestamp")
    finalizers: tuple[str, ...] = field(default=(), name="finalizers")
    generate_name: str = field(default="", name="generateName")
    generation: int | None = field(default=None, name="generation")
    labels: Mapping[str, str] = field(default_factory=dict, name="labels")
    managed_fields: tuple[ManagedFieldsEntry, ...] = field(default=(), name="managedFields")
    name: str = field(default="", name="name")
    namespace: str = field(default="", name="namespace")
    owner_references: tuple[OwnerReference, ...] = field(default=(), name="ownerReferences")
    resource_version: str = field(default="", name="resourceVersion")
    self_link: str = field(default="", name="selfLink")
    uid: str = field(default="", name="uid")
