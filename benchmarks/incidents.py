"""Made-up services with incidents and with what only looks like one: how often alerts are right.

`python -m benchmarks incidents` prints precision, recall by kind of incident, and how long it took.
Pure but for its own random numbers: the same seed gives the same result.
"""

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct

from benchmarks.harness import Benchmark, Row
from weft.telemetry.alerting import anomalies
from weft.telemetry.alerting.alerts import Alert, AlertKey, step
from weft.telemetry.alerting.history import ServiceHistory
from weft.telemetry.traffic import BOUNDS_MS, Counts

STEP_SECONDS, STEPS_PER_MINUTE = 5, 12
WARM_MINUTES, WATCHED_MINUTES = 40, 30
GRACE_SECONDS = 120.0
"""An alert so long after an incident still belongs to it: the last minute must pass first."""


class Incident(Struct, frozen=True):
    """What happens to a service for some minutes."""

    kind: str
    start: float = 0.0
    """Minutes since the beginning."""
    minutes: float = 0.0
    errors: float = 0.0
    """Share of requests that fail besides the usual."""
    slower: float = 1.0
    rate: float = 1.0
    harmless: bool = False
    """Nobody should be told."""


INCIDENTS = (
    Incident("errors 3%", minutes=8, errors=0.03),
    Incident("errors 10%", minutes=8, errors=0.1),
    Incident("errors 50%", minutes=5, errors=0.5),
    Incident("twice as slow", minutes=8, slower=2.4),
    Incident("four times as slow", minutes=8, slower=4.0),
    Incident("no calls", minutes=6, rate=0.0),
    Incident("twice the calls", minutes=8, rate=2.0, harmless=True),
    Incident("half the calls", minutes=8, rate=0.5, harmless=True),
    Incident("few errors for 10 s", minutes=0.17, errors=0.04, harmless=True),
    Incident("a slow 20 s", minutes=0.33, slower=1.6, harmless=True),
    Incident("nothing", harmless=True),
    Incident("nothing", harmless=True),
)


class Profile(Struct, frozen=True):
    """How a service usually is."""

    per_minute: float
    errors: float
    median_ms: float
    sigma: float
    wave: float
    """How much traffic goes up and down, slowly."""
    jitter: float
    """How much durations differ from minute to minute."""


class Outcome(Struct):
    """Of one kind of incident."""

    happened: int = 0
    found: int = 0
    seconds: float = 0.0
    """Until found, in all."""


class Report(Struct):
    """Of all services."""

    by_kind: dict[str, Outcome]
    right: int = 0
    """Alerts during an incident."""
    wrong: int = 0
    names: dict[str, int] = {}
    """Wrong alerts by name."""

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.wrong)

    @property
    def recall(self) -> float:
        real = [one for one in self.by_kind.values() if one.happened]
        return sum(o.found for o in real) / max(1, sum(o.happened for o in real))


def simulate(services: int, seed: int = 1) -> Report:
    """Each service lives for an hour and ten minutes, with at most one incident."""
    dice = random.Random(seed)
    report = Report(defaultdict(Outcome))
    for number in range(services):
        incident = INCIDENTS[number % len(INCIDENTS)]
        at = WARM_MINUTES + dice.uniform(2, 10)
        _live(_profile(dice), Incident(**{**_fields(incident), "start": at}), dice, report)
    return report


def _fields(incident: Incident) -> dict[str, object]:
    return {name: getattr(incident, name) for name in incident.__struct_fields__}


def _profile(dice: random.Random) -> Profile:
    return Profile(
        per_minute=math.exp(dice.uniform(math.log(60), math.log(30_000))),
        errors=dice.choice((0.0, 0.0, 0.0005, 0.002, 0.01)),
        median_ms=math.exp(dice.uniform(math.log(2), math.log(200))),
        sigma=dice.uniform(0.3, 0.9),
        wave=dice.uniform(0.0, 0.3),
        jitter=dice.uniform(0.0, 0.12),
    )


def _live(profile: Profile, incident: Incident, dice: random.Random, report: Report) -> None:
    steps: list[Counts] = []
    minutes: list[Counts] = []
    alerts: dict[AlertKey, Alert] = {}
    found_after: float | None = None
    for number, counts in enumerate(_steps(profile, incident, dice)):
        steps.append(counts)
        if len(steps) % STEPS_PER_MINUTE == 0:
            minutes.append(_sum(steps[-STEPS_PER_MINUTE:]))
        at = (number + 1) * STEP_SECONDS
        if at < WARM_MINUTES * 60:
            continue
        history = ServiceHistory(
            ("shop", "api"), _sum(steps[-STEPS_PER_MINUTE:]), tuple(minutes[-60:])
        )
        active = {k: a.active_at for k, a in alerts.items() if a.state != "resolved"}
        done = step(alerts, anomalies.findings(history, active, at), at)
        alerts = dict(done.alerts)
        for alert in done.fired:
            after = at - incident.start * 60
            within = 0 <= after <= incident.minutes * 60 + GRACE_SECONDS
            if within and not incident.harmless:
                report.right += 1
                found_after = after if found_after is None else found_after
            else:
                report.wrong += 1
                name = alert.key.name
                report.names[name] = report.names.get(name, 0) + 1
    if not incident.harmless:
        outcome = report.by_kind[incident.kind]
        outcome.happened += 1
        if found_after is not None:
            outcome.found += 1
            outcome.seconds += found_after


def _steps(profile: Profile, incident: Incident, dice: random.Random) -> Iterator[Counts]:
    phase = dice.uniform(0, 2 * math.pi)
    minute_factor = 1.0
    for number in range((WARM_MINUTES + WATCHED_MINUTES) * STEPS_PER_MINUTE):
        minute = number / STEPS_PER_MINUTE
        if number % STEPS_PER_MINUTE == 0:
            minute_factor = math.exp(dice.gauss(0, profile.jitter))
        on = incident.start <= minute < incident.start + incident.minutes
        rate = profile.per_minute / STEPS_PER_MINUTE
        rate *= 1 + profile.wave * math.sin(phase + minute / 30)
        rate *= incident.rate if on else 1.0
        requests = _poisson(rate, dice)
        share = profile.errors + (incident.errors if on else 0.0)
        median = profile.median_ms * minute_factor * (incident.slower if on else 1.0)
        yield Counts(
            requests=requests,
            errors=_binomial(requests, share, dice),
            buckets=_buckets(requests, median, profile.sigma, dice),
        )


def _buckets(requests: int, median: float, sigma: float, dice: random.Random) -> tuple[float, ...]:
    found, left, below = [], requests, 0.0
    for bound in BOUNDS_MS:
        inside = 0.5 * (1 + math.erf(math.log(bound / median) / sigma / math.sqrt(2)))
        share = (inside - below) / (1 - below) if below < 1 else 0.0
        count = _binomial(left, min(1.0, max(0.0, share)), dice)
        found.append(float(count))
        left, below = left - count, inside
    return (*found, float(left))


def _poisson(rate: float, dice: random.Random) -> int:
    if rate > 50:
        return max(0, round(dice.gauss(rate, math.sqrt(rate))))
    limit, product, count = math.exp(-rate), dice.random(), 0
    while product > limit:
        product *= dice.random()
        count += 1
    return count


def _binomial(count: int, share: float, dice: random.Random) -> int:
    if share <= 0 or count <= 0:
        return 0
    if share >= 1:
        return count
    expected = count * share
    if expected > 30 and count - expected > 30:
        return min(count, max(0, round(dice.gauss(expected, math.sqrt(expected * (1 - share))))))
    if share < 0.1:
        return min(count, _poisson(expected, dice))
    if share > 0.9:
        return max(0, count - _poisson(count - expected, dice))
    return sum(dice.random() < share for _ in range(count))


def _sum(parts: list[Counts]) -> Counts:
    rows = [part.row() for part in parts]
    return Counts.of([sum(column) for column in zip(*rows, strict=True)])


SERVICES, SEED = 360, 2


def run() -> Iterable[Row]:
    report = simulate(SERVICES, SEED)
    alerts = report.right + report.wrong
    yield Row(f"precision, {alerts} alerts", "%", (100 * report.precision,))
    yield Row(f"recall, {SERVICES} services, half with an incident", "%", (100 * report.recall,))
    for kind, outcome in report.by_kind.items():
        yield Row(f"{kind}: found", "%", (100 * outcome.found / outcome.happened,))
        if outcome.found:
            yield Row(f"{kind}: after", "s", (outcome.seconds / outcome.found,))


BENCHMARK = Benchmark("incidents", "how often alerts are right, on made-up incidents", run)
