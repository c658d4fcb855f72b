"""metrics.k8s.io/v1beta1: what pods and nodes use now. Measured when asked for, never stored."""

from collections.abc import Mapping

from msgspec import Struct, field

from weft.api.k8s.meta_v1 import ObjectMeta


class ContainerMetrics(Struct, frozen=True, omit_defaults=True):
    """What one container uses."""

    name: str = ""
    """The container's name in its pod."""
    usage: Mapping[str, str] = field(default_factory=dict)
    """`cpu` in cores, on average over the window, and `memory`, the working set in bytes."""


class PodMetrics(Struct, frozen=True, omit_defaults=True):
    """What the containers of one pod use."""

    metadata: ObjectMeta = ObjectMeta()
    """The pod's name, namespace and labels."""
    timestamp: str = ""
    """When the window ended."""
    window: str = ""
    """How long was measured, such as `15s`."""
    containers: tuple[ContainerMetrics, ...] = ()
    """One for each container that runs."""


class NodeMetrics(Struct, frozen=True, omit_defaults=True):
    """What a machine uses."""

    metadata: ObjectMeta = ObjectMeta()
    """The node's name and labels."""
    timestamp: str = ""
    """When the window ended."""
    window: str = ""
    """How long was measured, such as `15s`."""
    usage: Mapping[str, str] = field(default_factory=dict)
    """`cpu` in cores, on average over the window, and `memory` in bytes."""
