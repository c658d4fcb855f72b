"""BackendPolicies: how the endpoints of a service are chosen, checked and protected."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.weft import policy_v1alpha1 as weft
from weft.mesh import findings as f
from weft.mesh.caller_limits import per_caller
from weft.mesh.failover import with_failover
from weft.mesh.findings import Findings
from weft.mesh.istio_policies import RETRY_BUDGET_DEFAULT
from weft.mesh.model import (
    AdmissionControl,
    ConnectionPool,
    Destination,
    FailurePercentage,
    HealthCheck,
    LoadBalancer,
    OutlierDetection,
    SuccessRate,
)
from weft.mesh.values import seconds

BYTES = ("tcp", "tls", "udp")
"""Protocols without requests."""
HTTP2 = ("http2", "grpc")
"""Protocols that the gRPC health protocol can be spoken over."""
OF_REQUESTS: Mapping[str, str] = {
    "load_balancer": "loadBalancer",
    "health_check": "healthCheck",
    "max_requests_in_flight": "maxRequestsInFlight",
    "max_requests_in_flight_per_caller": "maxRequestsInFlightPerCaller",
    "retry": "retry",
    "timeouts": "timeouts",
    "outlier_ejection": "outlierEjection",
    "admission_control": "admissionControl",
    "adaptive_concurrency": "adaptiveConcurrency",
    "max_request_bytes": "maxRequestBytes",
    "compression": "compression",
}
"""What has no meaning for datagrams, by attribute."""
_DEFAULT = HealthCheck("tcp")
Targets = dict[tuple[str, str], weft.BackendPolicy]


class Backends(Struct, frozen=True):
    """Destinations with their policies."""

    destinations: tuple[Destination, ...]
    findings: tuple[Diagnostic, ...] = ()


def with_backend_policies(
    destinations: tuple[Destination, ...], policies: Sequence[weft.BackendPolicy]
) -> Backends:
    """Destinations of services as the services' policies want them. Of several policies for one
    service the oldest holds."""
    report = Findings()
    targets = targets_of(policies, report)
    known = {d.name: d for d in destinations} if any(p.spec.failover for p in policies) else {}
    found: set[tuple[str, str]] = set()
    changed = []
    for destination in destinations:
        key = (destination.namespace, destination.service)
        policy = targets.get(key)
        if policy is not None and destination.discovery != "original_dst":
            found.add(key)
            joined = with_failover(destination, policy, known, report)
            changed.append(_under(joined, policy, report))
        else:
            changed.append(destination)
    for key, policy in targets.items():
        if key not in found:
            report.add(f.POLICY_TARGET_UNKNOWN, policy, "spec.targetRef", name=key[1])
    return Backends(tuple(changed), report.all())


def targets_of(policies: Sequence[weft.BackendPolicy], report: Findings) -> Targets:
    """The policy of each service, by namespace and name."""
    targets: Targets = {}
    oldest_first = sorted(
        policies,
        key=lambda p: (p.metadata.creation_timestamp, p.metadata.namespace, p.metadata.name),
    )
    for policy in oldest_first:
        target = policy.spec.target_ref
        if target is None:
            continue
        key = (policy.metadata.namespace, target.name)
        taken = targets.setdefault(key, policy)
        if taken is not policy:
            other = f"BackendPolicy {taken.metadata.namespace}/{taken.metadata.name}"
            report.add(
                f.POLICY_DEFINED_TWICE, policy, "spec.targetRef", host=target.name, other=other
            )
    return targets


def _under(destination: Destination, policy: weft.BackendPolicy, report: Findings) -> Destination:
    spec = policy.spec
    name = f"BackendPolicy {policy.metadata.namespace}/{policy.metadata.name}"
    source = ", ".join(part for part in (destination.source, name) if part)
    if destination.protocol == "udp":
        for attribute, field in OF_REQUESTS.items():
            if getattr(spec, attribute) not in ("", None, ()):
                report.add(
                    f.POLICY_OF_DATAGRAMS, policy, f"spec.{field}", field=field,
                    port=destination.port,
                )  # fmt: skip
        return replace(destination, panic_percent=spec.panic_threshold, source=source)
    balancer = destination.load_balancer
    if spec.load_balancer:
        if destination.protocol in BYTES:
            report.add(f.ANSWERS_OF_BYTES, policy, "spec.loadBalancer", port=destination.port)
            balancer = LoadBalancer(algorithm="least_request")
        else:
            balancer = LoadBalancer(algorithm="least_response_time")
    return replace(
        destination,
        load_balancer=balancer,
        pool=_pool(policy, destination, report),
        outlier=_outlier(policy, destination.outlier, report),
        health_check=_health_check(policy, destination, report),
        panic_percent=spec.panic_threshold,
        admission=_admission(policy, report),
        request_bytes_max=spec.max_request_bytes or 0,
        compression=spec.compression,
        source=source,
    )


def _admission(policy: weft.BackendPolicy, report: Findings) -> AdmissionControl | None:
    wanted, usual = policy.spec.admission_control, AdmissionControl()
    if wanted is None:
        return None

    def invalid(problem: str) -> None:
        path = "spec.admissionControl.samplingWindow"
        report.add(f.VALUE_INVALID, policy, path, problem=problem, part="value")

    rate, most = wanted.success_rate_threshold, wanted.max_rejection_percent
    return AdmissionControl(
        success_percent=usual.success_percent if rate is None else float(rate),
        window=seconds(wanted.sampling_window, usual.window, invalid) or usual.window,
        aggression=max(wanted.aggression or usual.aggression, 1.0),
        requests_per_second_min=wanted.minimum_requests_per_second or 0,
        rejection_percent_max=usual.rejection_percent_max if most is None else float(most),
    )


def _pool(policy: weft.BackendPolicy, destination: Destination, report: Findings) -> ConnectionPool:
    spec, pool = policy.spec, destination.pool
    if spec.max_requests_in_flight is not None:
        if per_caller(pool) or spec.max_requests_in_flight_per_caller is not None:
            other = destination.source if per_caller(pool) else "`maxRequestsInFlightPerCaller`"
            report.add(f.LIMITS_SHARED, policy, "spec.maxRequestsInFlight", other=other)
        pool = replace(pool, requests_max=spec.max_requests_in_flight, shared=True)
    elif spec.max_requests_in_flight_per_caller is not None:
        pool = replace(pool, requests_max=spec.max_requests_in_flight_per_caller)
    budget = spec.retry.budget if spec.retry else None
    if budget is not None:
        percent, least = budget.percent, budget.min_concurrency
        pool = replace(
            pool,
            retry_budget_percent=RETRY_BUDGET_DEFAULT if percent is None else float(percent),
            retry_budget_min=pool.retry_budget_min if least is None else least,
        )
    return pool


def _outlier(
    policy: weft.BackendPolicy, known: OutlierDetection | None, report: Findings
) -> OutlierDetection | None:
    wanted = policy.spec.outlier_ejection
    if wanted is None:
        return known
    made = known or OutlierDetection()

    def duration(text: str, field: str, default: float) -> float:
        def invalid(problem: str) -> None:
            path = f"spec.outlierEjection.{field}"
            report.add(f.VALUE_INVALID, policy, path, problem=problem, part="value")

        return seconds(text, default, invalid) or default

    rate, failures = wanted.success_rate, wanted.failure_percentage
    percent = wanted.max_ejection_percent
    return replace(
        made,
        interval=duration(wanted.interval, "interval", made.interval),
        base_ejection_time=duration(
            wanted.base_ejection_time, "baseEjectionTime", made.base_ejection_time
        ),
        ejection_percent_max=made.ejection_percent_max if percent is None else percent,
        success_rate=None if rate is None else _success_rate(rate),
        failure_percentage=None if failures is None else _failure_percentage(failures),
    )


def _success_rate(wanted: weft.SuccessRateEjection) -> SuccessRate:
    usual = SuccessRate()
    return SuccessRate(
        hosts_min=_or(wanted.minimum_hosts, usual.hosts_min),
        requests_min=_or(wanted.request_volume, usual.requests_min),
        deviations=usual.deviations if wanted.stdev_factor is None else wanted.stdev_factor,
    )


def _failure_percentage(wanted: weft.FailurePercentageEjection) -> FailurePercentage:
    usual = FailurePercentage()
    return FailurePercentage(
        percent=_or(wanted.threshold, usual.percent),
        hosts_min=_or(wanted.minimum_hosts, usual.hosts_min),
        requests_min=_or(wanted.request_volume, usual.requests_min),
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _health_check(
    policy: weft.BackendPolicy, destination: Destination, report: Findings
) -> HealthCheck | None:
    check = policy.spec.health_check
    if check is None:
        return None
    if check.grpc is not None and destination.protocol not in HTTP2:
        problem = f"port {destination.port} is not declared as gRPC or HTTP/2"
        report.add(
            f.VALUE_INVALID, policy, "spec.healthCheck.grpc", problem=problem, part="check",
            hint="set the Service port's `appProtocol: grpc`, or start its name with it",
        )  # fmt: skip
        return None

    def duration(text: str, field: str, default: float) -> float:
        def invalid(problem: str) -> None:
            path = f"spec.healthCheck.{field}"
            report.add(f.VALUE_INVALID, policy, path, problem=problem, part="value")

        return seconds(text, default, invalid) or default

    general = replace(
        _DEFAULT,
        interval=duration(check.interval, "interval", _DEFAULT.interval),
        timeout=duration(check.timeout, "timeout", _DEFAULT.timeout),
        healthy_threshold=check.healthy_threshold or _DEFAULT.healthy_threshold,
        unhealthy_threshold=check.unhealthy_threshold or _DEFAULT.unhealthy_threshold,
    )
    if check.grpc is not None:
        return replace(general, kind="grpc", grpc_service=check.grpc.service)
    if check.http is not None:
        return replace(
            general,
            kind="http",
            path=check.http.path or "/",
            host=check.http.host or destination.host,
            statuses=check.http.expected_statuses or _DEFAULT.statuses,
        )
    return general
