"""When to probe, and what the results mean. Pure.

Rules: kubelet's prober (Kubernetes 1.33), with two additions. Until a startup or readiness probe
first succeeds it is also tried between its periods, so that a container is ready as soon as it can
be; those attempts never count as failures. And a container without a readiness probe is ready when
its declared TCP ports accept connections, or after LISTENING_WAIT_SECONDS.
"""

from msgspec.structs import replace

from weft.api.k8s.container_v1 import Container, Probe
from weft.node.pod_state import (
    LISTENING_WAIT_SECONDS,
    PROBE_EARLY_SECONDS,
    ContainerRecord,
    ProbeKind,
    ProbeRecord,
    RecordEvent,
    RunProbe,
)
from weft.node.pod_turn import Turn

PERIOD_DEFAULT_SECONDS = 10
FAILURES_DEFAULT = 3
_TITLES = {"startup": "Startup", "liveness": "Liveness", "readiness": "Readiness"}


def probe_spec(spec: Container, kind: ProbeKind) -> Probe | None:
    """The probe of this kind; a `listening` probe has no spec."""
    if kind == "startup":
        return spec.startup_probe
    if kind == "liveness":
        return spec.liveness_probe
    return spec.readiness_probe if kind == "readiness" else None


def tcp_ports(spec: Container) -> tuple[int, ...]:
    """Declared TCP ports."""
    return tuple(
        p.container_port for p in spec.ports if p.container_port and p.protocol in ("", "TCP")
    )


def begin(turn: Turn, name: str) -> None:
    """An instance started, or its startup probe succeeded: probe what is due from then on."""
    record, spec = turn.container(name), turn.spec(name)
    if spec.startup_probe is not None and not record.started:
        turn.set_container(name, probes=(_first(record, "startup", spec.startup_probe),))
        return
    turn.set_container(name, started=True, ready=record.ready or _ready_at_once(record, spec))
    probes: list[ProbeRecord] = []
    if spec.liveness_probe is not None:
        probes.append(_first(record, "liveness", spec.liveness_probe, turn.now))
    if spec.readiness_probe is not None:
        probes.append(_first(record, "readiness", spec.readiness_probe))
    elif not turn.container(name).ready:
        probes.append(ProbeRecord(kind="listening", next_at=turn.now, regular_at=turn.now))
    turn.set_container(name, probes=tuple(probes))


def _ready_at_once(record: ContainerRecord, spec: Container) -> bool:
    return record.role == "init" or (spec.readiness_probe is None and not tcp_ports(spec))


def _first(
    record: ContainerRecord, kind: ProbeKind, spec: Probe, not_before: float = 0.0
) -> ProbeRecord:
    at = max(record.started_at + float(spec.initial_delay_seconds or 0), not_before)
    return ProbeRecord(kind=kind, next_at=at, regular_at=at)


def run_due(turn: Turn, name: str) -> None:
    """Start the probes whose time has come."""
    record = turn.container(name)
    if record.stage != "running" or record.post_start:
        return
    probes: list[ProbeRecord] = []
    for probe in record.probes:
        if not probe.running and probe.next_at <= turn.now:
            turn.do(RunProbe(container=name, id=turn.id_of(record), kind=probe.kind))
            probes.append(replace(probe, running=True))
        else:
            probes.append(probe)
    turn.set_container(name, probes=tuple(probes))


def next_at(record: ContainerRecord) -> list[float]:
    """Times at which `run_due` has something to do."""
    if record.stage != "running" or record.post_start:
        return []
    return [p.next_at for p in record.probes if not p.running]


def succeeded(turn: Turn, record: ContainerRecord, kind: ProbeKind) -> None:
    """A probe of the current instance succeeded."""
    probe = _find(record, kind)
    if probe is None:
        return
    spec = probe_spec(turn.spec(record.name), kind) or Probe()
    successes = probe.successes + 1
    reached = successes >= (spec.success_threshold or 1)
    _put(turn, record.name, _again(probe, spec, turn.now, successes=successes, failures=0))
    if kind == "startup" and reached:
        turn.set_container(record.name, started=True)
        begin(turn, record.name)
    elif kind == "readiness" and reached:
        turn.set_container(record.name, ready=True)
    elif kind == "listening":
        _listening(turn, record)


def failed(turn: Turn, record: ContainerRecord, kind: ProbeKind, message: str) -> bool:
    """A probe of the current instance failed. True: the container must be restarted."""
    probe = _find(record, kind)
    if probe is None:
        return False
    if kind == "listening":
        _not_listening(turn, record, probe, message)
        return False
    spec = probe_spec(turn.spec(record.name), kind) or Probe()
    early = _is_early(probe, turn.now)
    failures = probe.failures + (0 if early else 1)
    _put(turn, record.name, _again(probe, spec, turn.now, successes=0, failures=failures))
    if early:
        return False
    text = f"{_TITLES[kind]} probe failed: {message}"
    turn.do(RecordEvent("Warning", "Unhealthy", text, record.name))
    if failures < (spec.failure_threshold or FAILURES_DEFAULT):
        return False
    if kind == "readiness":
        turn.set_container(record.name, ready=False)
        return False
    return True


def _find(record: ContainerRecord, kind: ProbeKind) -> ProbeRecord | None:
    return next((p for p in record.probes if p.kind == kind), None)


def _put(turn: Turn, name: str, probe: ProbeRecord) -> None:
    probes = turn.container(name).probes
    turn.set_container(name, probes=tuple(probe if p.kind == probe.kind else p for p in probes))


def _is_early(probe: ProbeRecord, now: float) -> bool:
    return probe.attempts > 0 and now < probe.regular_at


def _again(
    probe: ProbeRecord, spec: Probe, now: float, *, successes: int, failures: int
) -> ProbeRecord:
    """The probe's next run: at its next regular time, or earlier while it never succeeded."""
    period = float(spec.period_seconds or PERIOD_DEFAULT_SECONDS)
    regular = probe.regular_at
    while regular <= now:
        regular += period
    at = regular
    seen_well = successes > 0 or (probe.attempts < 0)
    if probe.kind != "liveness" and not seen_well:
        at = min(regular, now + PROBE_EARLY_SECONDS * 2 ** min(probe.attempts, 20))
    return replace(
        probe, running=False, next_at=at, regular_at=regular, successes=successes,
        failures=failures, attempts=-1 if seen_well else probe.attempts + 1,
    )  # fmt: skip


def _listening(turn: Turn, record: ContainerRecord) -> None:
    turn.set_container(record.name, ready=True, probes=_without(turn, record, "listening"))


def _not_listening(turn: Turn, record: ContainerRecord, probe: ProbeRecord, message: str) -> None:
    if turn.now - record.started_at < LISTENING_WAIT_SECONDS:
        at = turn.now + PROBE_EARLY_SECONDS * 2 ** min(probe.attempts, 4)
        _put(turn, record.name, replace(probe, running=False, next_at=at,
                                        attempts=probe.attempts + 1))  # fmt: skip
        return
    _listening(turn, record)
    hint = (
        "; programs must listen on $PORT in host isolation"
        if turn.state.settings.isolation == "host"
        else ""
    )
    turn.do(
        RecordEvent(
            "Warning", "NotListening",
            f"nothing listens on a declared port after {LISTENING_WAIT_SECONDS:g} s, "
            f"taken as ready: {message}{hint}", record.name,
        )
    )  # fmt: skip


def _without(turn: Turn, record: ContainerRecord, kind: ProbeKind) -> tuple[ProbeRecord, ...]:
    return tuple(p for p in turn.container(record.name).probes if p.kind != kind)
