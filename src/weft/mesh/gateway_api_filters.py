"""Filters of HTTPRoutes and GRPCRoutes."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_external_auth import read_external_auth
from weft.mesh.gateway_api_refs import Backend
from weft.mesh.model import (
    Cors,
    DirectResponse,
    Header,
    HeaderOperations,
    HttpMatch,
    HttpRoute,
    Mirror,
    Redirect,
    Rewrite,
    StringMatch,
    WeightedDestination,
)

Filter = gw.HTTPRouteFilter | gw.GRPCRouteFilter
WELL_KNOWN_PORTS = {"http": 80, "https": 443}
WHOLE_PATH = "^/.*$"
ALL_PERCENT = 100.0
CANNOT_ASK = 500
"""What the specification answers for filters that cannot be resolved; none is skipped."""
FIRST_PRINTABLE = 0x20


class Referred(Protocol):
    """Looks up what filters refer to, and remembers what cannot be resolved."""

    def backend(self, ref: gw.BackendObjectReference, grpc: bool = False) -> Backend: ...
    def extension(self, ref: gw.LocalObjectReference) -> Backend: ...


class Step(Struct, frozen=True):
    """A route while filters are applied to it."""

    route: HttpRoute
    match: HttpMatch
    port: int
    ends: bool = False
    """A filter answers; no back end is needed."""
    problem: str = ""
    refusal: str = ""
    """Why no request may pass: somebody cannot be asked about them."""


def apply_filters(step: Step, filters: Sequence[Filter], seen: Referred) -> Step:
    """All filters of a rule, in order."""
    for each in filters:
        step = _apply(step, each, seen)
    if not step.refusal:
        return step
    answer = DirectResponse(CANNOT_ASK, f"weft: {step.refusal} ({step.route.source})\n")
    closed = replace(step.route, direct_response=answer, redirect=None, mirrors=(), asks=())
    return replace(step, route=closed, ends=True)


def backend_headers(share: WeightedDestination, filters: Sequence[Filter]) -> WeightedDestination:
    """Filters of one back end: changes to headers."""
    for each in filters:
        if each.request_header_modifier is not None:
            operations = _operations(each.request_header_modifier)
            share = replace(share, request_headers=operations)
        if each.response_header_modifier is not None:
            operations = _operations(each.response_header_modifier)
            share = replace(share, response_headers=operations)
    return share


def is_header_filter(each: Filter) -> bool:
    """Whether a filter changes nothing but headers, which each share of a route can have."""
    return each.request_header_modifier is not None or each.response_header_modifier is not None


def backend_problem(filters: Iterable[Filter]) -> str:
    """What header filters of a back end ask for and cannot be done; empty when all can."""
    for each in filters:
        changes = each.request_header_modifier or each.response_header_modifier
        if changes is not None and (problem := _header_problem(changes)):
            return problem
    return ""


def _header_problem(wanted: gw.HTTPHeaderFilter) -> str:
    """Values that no header can have: a proxy refuses them with the whole table."""
    for header in (*wanted.set, *wanted.add):
        if any(ord(c) < FIRST_PRINTABLE and c != "\t" for c in header.value):
            return f"header `{header.name}` has a control character in its value"
    return ""


def _apply(step: Step, each: Filter, seen: Referred) -> Step:
    route = step.route
    changes = each.request_header_modifier or each.response_header_modifier
    if changes is not None and (problem := _header_problem(changes)):
        return replace(step, problem=problem)
    if each.request_header_modifier is not None:
        operations = _operations(each.request_header_modifier)
        return replace(step, route=replace(route, request_headers=operations))
    if each.response_header_modifier is not None:
        operations = _operations(each.response_header_modifier)
        return replace(step, route=replace(route, response_headers=operations))
    if each.request_mirror is not None:
        found = seen.backend(each.request_mirror.backend_ref)
        if not found.destination:
            return step
        mirror = Mirror(found.destination, _share(each.request_mirror))
        return replace(step, route=replace(route, mirrors=(*route.mirrors, mirror)))
    if isinstance(each, gw.HTTPRouteFilter) and each.external_auth is not None:
        return _asking(step, each.external_auth, seen)
    if each.extension_ref is not None:
        # What is not known must not be skipped.
        return replace(step, refusal=seen.extension(each.extension_ref).message)
    return _apply_http(step, each)


def _apply_http(step: Step, each: Filter) -> Step:
    """Filters that no GRPCRoute has."""
    route = step.route
    if isinstance(each, gw.HTTPRouteFilter):
        if each.request_redirect is not None:
            redirect = _redirect(each.request_redirect, step)
            return replace(step, route=replace(route, redirect=redirect), ends=True)
        if each.url_rewrite is not None:
            rewrite = _rewrite(each.url_rewrite, step.match)
            return replace(step, route=replace(route, rewrite=rewrite))
        if each.cors is not None:
            return replace(step, route=replace(route, cors=_cors(each.cors)))
    return replace(step, problem=f"filter {each.type or 'without a type'} is not supported")


def _asking(step: Step, wanted: gw.HTTPExternalAuthFilter, seen: Referred) -> Step:
    found = seen.backend(wanted.backend_ref, grpc=wanted.protocol == "GRPC")
    if not found.destination:
        return replace(step, refusal=found.message or "nobody can be asked")
    authorizer, problem = read_external_auth(wanted, found)
    if authorizer is None:
        return replace(step, problem=problem)
    asks = tuple(dict.fromkeys((*step.route.asks, authorizer)))
    return replace(step, route=replace(step.route, asks=asks))


def _operations(wanted: gw.HTTPHeaderFilter) -> HeaderOperations:
    return HeaderOperations(
        set=tuple(Header(h.name, h.value) for h in wanted.set),
        add=tuple(Header(h.name, h.value) for h in wanted.add),
        remove=wanted.remove,
    )


def _share(mirror: gw.HTTPRequestMirrorFilter) -> float:
    if mirror.fraction is not None:
        return ALL_PERCENT * mirror.fraction.numerator / (mirror.fraction.denominator or 100)
    return ALL_PERCENT if mirror.percent is None else float(mirror.percent)


def _cors(wanted: gw.HTTPCORSFilter) -> Cors:
    return Cors(
        origins=tuple(_origin(o) for o in wanted.allow_origins),
        methods=wanted.allow_methods,
        headers=wanted.allow_headers,
        expose=wanted.expose_headers,
        max_age=float(wanted.max_age),
        credentials=wanted.allow_credentials,
        forward_unmatched=False,
    )


def _origin(text: str) -> StringMatch:
    """An origin, perhaps with `*` for any part of it."""
    if "*" not in text:
        return StringMatch("exact", text)
    return StringMatch("regex", ".*".join(re.escape(part) for part in text.split("*")))


# --- paths


class _NewPath(Struct, frozen=True):
    prefix: str = ""
    regex: str = ""
    substitution: str = ""


def _new_path(path: gw.HTTPPathModifier | None, match: HttpMatch) -> _NewPath:
    if path is None:
        return _NewPath()
    if path.type == "ReplaceFullPath":
        full = path.replace_full_path or "/"
        return _NewPath(regex=WHOLE_PATH, substitution=_literal(full))
    before = match.path.value.rstrip("/") if match.path is not None else ""
    after = (path.replace_prefix_match or "").rstrip("/")
    if before and after:
        return _NewPath(prefix=after)
    # An empty side would leave two slashes, or none, between the new prefix and the rest.
    return _NewPath(regex=f"^{re.escape(before)}/*", substitution=_literal(f"{after}/"))


def _literal(text: str) -> str:
    """Text in a substitution, where `\\1` would mean a group."""
    return text.replace("\\", "\\\\")


def _rewrite(wanted: gw.HTTPURLRewriteFilter, match: HttpMatch) -> Rewrite:
    new = _new_path(wanted.path, match)
    return Rewrite(
        prefix=new.prefix or None,
        authority=wanted.hostname,
        regex=new.regex,
        substitution=new.substitution,
    )


def _redirect(wanted: gw.HTTPRequestRedirectFilter, step: Step) -> Redirect:
    """Without a port: that of the scheme when one is named, else the listener's. A well-known port
    is not written out, so that what the caller wrote in Host stays."""
    port = wanted.port or 0
    if not port and wanted.scheme:
        usual = step.port in WELL_KNOWN_PORTS.values()
        port = 0 if usual else WELL_KNOWN_PORTS[wanted.scheme]
    elif not port and step.port not in WELL_KNOWN_PORTS.values():
        port = step.port
    elif wanted.scheme and port == WELL_KNOWN_PORTS[wanted.scheme]:
        port = 0
    new = _new_path(wanted.path, step.match)
    full = wanted.path.replace_full_path if wanted.path else None
    return Redirect(
        scheme=wanted.scheme,
        host=wanted.hostname,
        port=port,
        path=full or "",
        prefix_rewrite=new.prefix,
        regex="" if full else new.regex,
        substitution="" if full else new.substitution,
        code=wanted.status_code,
    )
