"""What the messages of several Istio kinds share."""

from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

Duration = Annotated[str, Meta(extra_json_schema={"format": "duration"})]
"""A Go duration such as `5s`, `1m30s`, `250ms`; read it with weft.lib.durations."""
Port = Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": 65535})]
Percent = Annotated[float, Meta(extra_json_schema={"minimum": 0, "maximum": 100})]
PercentInt = Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": 100})]
Count = Annotated[int, Meta(extra_json_schema={"minimum": 0})]
HttpStatus = Annotated[int, Meta(extra_json_schema={"minimum": 100, "maximum": 599})]
Regex = Annotated[str, Meta(extra_json_schema={"format": "regex"})]


class Message(Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Base of all Istio messages: frozen, snake_case here, camelCase on the wire."""


class PortSelector(Message, frozen=True):
    """One port of a host."""

    number: Port | None = None
    """The port's number."""


class IstioCondition(Message, frozen=True):
    """One aspect of an object's state."""

    type: str = ""
    """What the condition is about."""
    status: str = ""
    """True, False or Unknown."""
    reason: str = ""
    """The cause of the last change, as one word."""
    message: str = ""
    """The cause of the last change, for people."""
    last_probe_time: str = ""
    """When the condition was last checked."""
    last_transition_time: str = ""
    """When the condition last changed."""
    observed_generation: int | None = None
    """The generation of the object that the condition speaks about."""


class AcknowledgedNodes(Message, frozen=True):
    """On which nodes an object is in force as it is."""

    total: int | None = None
    """Nodes whose proxies shall have it."""
    acknowledged: int | None = None
    """Nodes whose proxies have it."""
    names: tuple[str, ...] = ()
    """Their names, when there are few."""
    missing: tuple[str, ...] = ()
    """The first of those that do not have it yet."""


class IstioStatus(Message, frozen=True):
    """What the mesh says about an object."""

    conditions: tuple[IstioCondition, ...] = ()
    """The object's conditions."""
    observed_generation: int | None = None
    """The generation that the mesh has read."""
    validation_messages: tuple[Any, ...] = ()
    """Findings of the analysis."""
    nodes: AcknowledgedNodes | None = None
    """Where it is in force."""
    in_force: Mapping[str, Any] | None = None
    """The spec that stays in force while a proxy refuses the present one."""


class WorkloadSelector(Message, frozen=True):
    """Workloads, chosen by their pods' labels."""

    match_labels: Mapping[str, str] = {}
    """Labels that a pod must all have."""


class ServicePort(Message, frozen=True):
    """A port of a server or of a service entry."""

    number: Port | None = None
    """The port's number."""
    protocol: str = ""
    """HTTP, HTTPS, GRPC, GRPC-WEB, HTTP2, MONGO, TCP or TLS."""
    name: str = ""
    """A name, unique within the object."""
    target_port: Port | None = None
    """The endpoint's port, when it is another one."""
