"""What the messages of several kinds of Kueue share. Fields after its public types, v1beta2."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from weft.api.istio.common import Message

GROUP = "kueue.x-k8s.io"
API_VERSION = f"{GROUP}/v1beta2"
Quantity = str | int | float
StopPolicy = Literal["", "None", "Hold", "HoldAndDrain"]


def by(key: str) -> Meta:
    """Items of the list are told apart by this field."""
    return Meta(
        extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    )


class ResourceQuota(Message, frozen=True):
    """How much of one resource of a flavor."""

    name: str = ""
    """The resource: cpu, memory, pods, an extended resource."""
    nominal_quota: Quantity = 0
    """Its own."""
    borrowing_limit: Quantity | None = None
    """The most that is borrowed of the cohort; no limit when absent."""
    lending_limit: Quantity | None = None
    """The most that is lent to the cohort; all of it when absent."""


class FlavorQuotas(Message, frozen=True):
    """How much of one flavor."""

    name: str = ""
    """The ResourceFlavor."""
    resources: Annotated[tuple[ResourceQuota, ...], by("name")] = ()
    """One for each of the covered resources, in their order."""


class ResourceGroup(Message, frozen=True):
    """Resources that are taken of one flavor together, and the flavors to choose among."""

    covered_resources: tuple[str, ...] = ()
    """The resources."""
    flavors: Annotated[tuple[FlavorQuotas, ...], by("name")] = ()
    """In order of preference."""


class FairSharing(Message, frozen=True):
    """Weight of fair sharing, which is off unless Kueue's configuration turns it on: no effect."""

    weight: Quantity | None = None
    """The share in comparison to others."""


class ResourceUsage(Message, frozen=True):
    """How much of one resource of a flavor is used."""

    name: str = ""
    """The resource."""
    total: Quantity = "0"
    """How much, what is borrowed included."""
    borrowed: Quantity = "0"
    """How much of it is borrowed of the cohort."""


class FlavorUsage(Message, frozen=True):
    """How much of one flavor is used."""

    name: str = ""
    """The flavor."""
    resources: Annotated[tuple[ResourceUsage, ...], by("name")] = ()
    """By resource."""


ResourceList = Mapping[str, Quantity]
