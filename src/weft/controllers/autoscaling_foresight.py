"""What a forecast means for an autoscaler: replicas ahead of the load, warnings, a condition. Pure.

Without a forecast the autoscaler goes on by what is measured, and says so.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.api.snapshot import Snapshot
from weft.controllers import autoscaling_forecast as forecast
from weft.controllers.autoscaling_behavior import Memory
from weft.controllers.autoscaling_forecast import Peak
from weft.controllers.autoscaling_limits import Limit, reached
from weft.runtime.plan import RecordEvent

CONDITION = "AbleToForecast"
UNABLE = "ForecastUnavailable"


class Foresight(Struct, frozen=True):
    memory: Memory
    replicas: int = 0
    """That will be needed; 0: nothing is known."""
    reason: str = ""
    events: tuple[RecordEvent, ...] = ()
    condition: tuple[str, str, str] | None = None
    """Status, reason, message."""


def foresee(  # noqa: PLR0917
    snapshot: Snapshot,
    scaler: HorizontalPodAutoscaler,
    target: Struct,
    needed: int,
    memory: Memory,
    now: float,
) -> Foresight:
    """`needed` is what the metrics ask for now."""
    seconds = forecast.horizon(scaler.metadata.annotations)
    if not seconds:
        return Foresight(memory)
    memory = replace(memory, history=forecast.remembered(memory.history, now, needed))
    if memory.unable:
        warned = {UNABLE: memory.unable}
        events = _events(scaler, warned, memory)
        memory = replace(memory, warned=tuple(warned))
        return Foresight(memory, events=events, condition=("False", UNABLE, memory.unable))
    peak = forecast.ahead(memory.outlooks, now, seconds)
    if peak is None:
        text = "too little is known of the demand so far"
        memory = replace(memory, warned=())
        return Foresight(memory, condition=("False", "HistoryTooShort", text))
    most = scaler.spec.max_replicas or 1
    limits: Sequence[Limit] = ()
    if peak.replicas > needed:
        limits = reached(snapshot, target, peak.replicas - needed, peak.replicas, most)
    said = f"{peak.replicas} replicas ({peak.low} to {peak.high}) will be needed in {seconds:.0f} s"
    warned = {limit.reason: f"{said}, {limit.text}" for limit in limits}
    events = _events(scaler, warned, memory)
    memory = replace(memory, warned=tuple(warned))
    reason = f"forecast of the demand in {seconds:.0f} s"
    return Foresight(memory, peak.replicas, reason, events, ("True", "ForecastReady", _basis(peak)))


def _events(
    scaler: HorizontalPodAutoscaler, warned: dict[str, str], memory: Memory
) -> tuple[RecordEvent, ...]:
    """Each once, while it holds."""
    new = (r for r in warned if r not in memory.warned)
    return tuple(RecordEvent(scaler, "Warning", reason, warned[reason]) for reason in new)


def _basis(peak: Peak) -> str:
    if not peak.period_seconds:
        return "the HPA follows the trend of the demand"
    return f"the HPA knows a pattern that repeats every {_time(peak.period_seconds)}"


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
