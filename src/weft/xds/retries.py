"""Retry policies."""

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2
from envoy.extensions.retry.priority.previous_priorities.v3 import (
    previous_priorities_config_pb2 as previous_priorities_pb2,
)

from weft.mesh.model import RetryPolicy
from weft.xds.matches import named_header_matcher
from weft.xds.proto import Proto, any_of, duration, uint32

HOST_SELECTION_ATTEMPTS_MAX = 32
"""How often the load balancer is asked again when it names an endpoint that was tried before.

A dead endpoint has no requests under way, so LEAST_REQUEST prefers it: of two endpoints it names
the dead one three times in four. With Istio's 5 attempts a killed pod costs requests (measured)."""
PRIORITY_ATTEMPTS = 2
"""Tries at one priority (group of localities) before a retry goes to the next one."""
STATUS_CODES_CONDITION = "retriable-status-codes"
HEADERS_CONDITION = "retriable-headers"
DEFAULT_CONDITIONS = ("connect-failure", "refused-stream")
"""When a policy names no condition: those in which the back end saw nothing of the request."""


_RESET_FORMATS = {
    "seconds": route_pb2.RetryPolicy.SECONDS,
    "unix_timestamp": route_pb2.RetryPolicy.UNIX_TIMESTAMP,
}


def retry_policy(policy: RetryPolicy | None, safe: bool) -> Proto | None:
    """None when there are no retries. `safe`: the requests may be repeated without harm."""
    if policy is None or policy.attempts <= 0:
        return None
    conditions = policy.conditions or DEFAULT_CONDITIONS
    if safe:
        conditions += policy.safe_method_conditions
    if policy.status_codes:
        conditions += (STATUS_CODES_CONDITION,)
    if policy.retriable_headers:
        conditions += (HEADERS_CONDITION,)
    result = route_pb2.RetryPolicy(
        retry_on=",".join(dict.fromkeys(conditions)),
        num_retries=uint32(policy.attempts),
        retriable_status_codes=policy.status_codes,
        retriable_headers=[named_header_matcher(each) for each in policy.retriable_headers],
    )
    if policy.per_try_timeout:
        result.per_try_timeout.CopyFrom(duration(policy.per_try_timeout))
    if policy.backoff_base:
        result.retry_back_off.base_interval.CopyFrom(duration(policy.backoff_base))
        longest = max(policy.backoff_max or policy.backoff_base * 10, policy.backoff_base)
        result.retry_back_off.max_interval.CopyFrom(duration(longest))
    if policy.reset_headers:
        limited = result.rate_limited_retry_back_off
        for name, form in policy.reset_headers:
            limited.reset_headers.add(name=name, format=_RESET_FORMATS[form])
        if policy.reset_max:
            limited.max_interval.CopyFrom(duration(policy.reset_max))
    if policy.remote_localities:
        priorities = previous_priorities_pb2.PreviousPrioritiesConfig(
            update_frequency=PRIORITY_ATTEMPTS
        )
        result.retry_priority.name = "envoy.retry_priorities.previous_priorities"
        result.retry_priority.typed_config.CopyFrom(any_of(priorities))
    if not policy.previous_hosts:
        result.retry_host_predicate.add(
            name="envoy.retry_host_predicates.previous_hosts",
            typed_config=any_of(previous_hosts_pb2.PreviousHostsPredicate()),
        )
        result.host_selection_retry_max_attempts = HOST_SELECTION_ATTEMPTS_MAX
    return result


def differs_for_safe_methods(policy: RetryPolicy | None) -> bool:
    """Whether safe methods need a route of their own."""
    if policy is None or policy.attempts <= 0:
        return False
    return not set(policy.safe_method_conditions) <= set(policy.conditions or DEFAULT_CONDITIONS)
