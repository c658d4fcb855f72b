"""Which signals are taken of calls."""

from msgspec import Struct


class SpanTag(Struct, frozen=True, gc=False):
    """A tag of every span: a fixed text, a header of the request, or a format of Envoy's logs."""

    name: str
    literal: str = ""
    header: str = ""
    default: str = ""
    """Instead of a header that is absent."""
    formatter: str = ""


class LabelChange(Struct, frozen=True, gc=False):
    """Of one metric; without a literal and a command the label is left out."""

    metric: str
    """Istio's name without `istio_`."""
    label: str
    literal: str | None = None
    command: str = ""
    """The proxy's, for what differs from call to call."""


class Reporting(Struct, frozen=True, gc=False):
    """Of one side of calls: as those who make them, or as those who take them."""

    logged: bool | None = None
    """Whether the access log has them; None is as the mesh does."""
    log_filter: str = ""
    """A CEL expression over Envoy's attributes; only calls for which it holds are logged."""
    trace_percent: float | None = None
    """How many are traced; None is as the mesh does."""
    span_tags: tuple[SpanTag, ...] = ()
    uncounted: tuple[str, ...] = ()
    """Istio's names of metrics without `istio_` that are not counted."""
    counted: tuple[str, ...] = ()
    """The same of those that are counted only where somebody asks for them."""
    labels: tuple[LabelChange, ...] = ()
    """By metric and label."""


class Sides(Struct, frozen=True, gc=False):
    """Of a workload."""

    caller: Reporting = Reporting()
    callee: Reporting = Reporting()


AS_THE_MESH = Sides()
