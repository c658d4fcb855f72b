"""Where endpoints are and how new they are: the parts of a load balancer that weigh them."""

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import LocalityPolicy, LocalityShares, WarmUp
from weft.mesh.values import seconds

WARM_UP_PERCENT_DEFAULT = 10.0
ZONE_AWARE_ENDPOINTS_DEFAULT = 6


def read_warm_up(
    rule: istio.DestinationRule, settings: istio.LoadBalancerSettings, path: str, report: Findings
) -> WarmUp | None:
    """The slow start of new endpoints, in its place of today or in the old one."""
    wanted = settings.warmup
    name = "warmup.duration" if wanted else "warmupDurationSecs"
    text = wanted.duration if wanted else settings.warmup_duration_secs
    duration = seconds(
        text,
        None,
        lambda p: report.add(f.VALUE_INVALID, rule, f"{path}.{name}", problem=p, part="warm-up"),
    )
    if not duration:
        return None
    made = WarmUp(duration)
    if wanted is None:
        return made
    percent, aggression = wanted.minimum_percent, wanted.aggression
    return WarmUp(
        duration,
        WARM_UP_PERCENT_DEFAULT if percent is None else percent,
        made.aggression if aggression is None else aggression,
    )


def zone_policy(settings: istio.ZoneAwareLbSetting | None) -> LocalityPolicy | None:
    """The caller's region first, and in it the caller's zone, where that is switched on."""
    if settings is None or settings.enabled is not True:
        return None
    size = settings.min_cluster_size
    return LocalityPolicy(
        failover=tuple((r.from_, r.to) for r in settings.failover),
        labels=_labels(settings.failover_priority),
        zone_aware=True,
        zone_aware_endpoints_min=ZONE_AWARE_ENDPOINTS_DEFAULT if size is None else size,
    )


def _labels(written: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, _, value in (p.partition("=") for p in written))


def locality_policy(
    settings: istio.LocalityLbSetting | None, detects_failures: bool
) -> LocalityPolicy | None:
    """Nearer endpoints come first wherever failures are noticed, unless it is switched off."""
    wanted = settings or istio.LocalityLbSetting()
    if wanted.enabled is False or (settings is None and not detects_failures):
        return None
    return LocalityPolicy(
        distribute=tuple(
            LocalityShares(r.from_, tuple(sorted(r.to.items()))) for r in wanted.distribute
        ),
        failover=tuple((r.from_, r.to) for r in wanted.failover),
        labels=_labels(wanted.failover_priority),
        failover_enabled=detects_failures,
    )
