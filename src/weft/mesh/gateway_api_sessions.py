"""Sessions of HTTPRoutes and GRPCRoutes that stay at one endpoint."""

import hashlib

from weft.api.gateway import v1 as gw
from weft.mesh.model import Session
from weft.mesh.values import seconds

NAME_DIGITS = 8


def read_session(
    rule: gw.HTTPRouteRule | gw.GRPCRouteRule, obj: gw.HTTPRoute | gw.GRPCRoute
) -> tuple[Session | None, str]:
    """The session of a rule, or what in it cannot be done."""
    wanted = rule.session_persistence
    if wanted is None:
        return None, ""
    if wanted.idle_timeout:
        return None, "`idleTimeout` is not supported"
    lasting = wanted.cookie_config is not None and wanted.cookie_config.lifetime_type == "Permanent"
    ttl = seconds(wanted.absolute_timeout, None, lambda _: None) or 0.0
    if lasting and not ttl:
        return None, "a permanent cookie needs `absoluteTimeout`"
    if wanted.type == "Header":
        if ttl:
            return None, "`absoluteTimeout` is supported for cookies only"
        return Session("header", wanted.session_name or f"x-{_name(rule, obj)}"), ""
    return Session("cookie", wanted.session_name or _name(rule, obj), ttl if lasting else 0.0), ""


def _name(rule: gw.HTTPRouteRule | gw.GRPCRouteRule, obj: gw.HTTPRoute | gw.GRPCRoute) -> str:
    """A name of its own for each rule: the same for the same rule, so that sessions outlive other
    changes."""
    number = obj.spec.rules.index(rule)
    own = f"{obj.metadata.namespace}/{obj.metadata.name}/{rule.name or number}"
    return f"weft-session-{hashlib.sha256(own.encode()).hexdigest()[:NAME_DIGITS]}"
