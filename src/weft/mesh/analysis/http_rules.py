"""HTTP rules of single VirtualServices: what never applies, and what does other than it looks."""

import re
from collections.abc import Iterator, Sequence

from weft.api.istio import networking_v1 as istio
from weft.lib.durations import parse_duration
from weft.mesh import findings as f
from weft.mesh.analysis import catalogue as c
from weft.mesh.analysis.matching import NOTHING, covers, everything, same
from weft.mesh.analysis.world import World
from weft.mesh.findings import Findings

MATCHES_COMPARED_MAX = 256
"""Of a longer list only so many earlier matches are looked at: the effort grows with the square."""
WEIGHTS_TOTAL = 100
_Seen = tuple[istio.HTTPMatchRequest, str]


def unreachable_rules(world: World, report: Findings) -> None:
    """Rules and matches that requests never get to, because an earlier one takes them."""
    for obj in world.list(istio.VirtualService):
        taken_by = ""
        seen: list[_Seen] = []
        for index, route in enumerate(obj.spec.http):
            path = f"spec.http[{index}]"
            if taken_by:
                report.add(f.SHADOWED, obj, path, earlier=f"`{taken_by}`")
                continue
            for number, match in enumerate(route.match):
                where = f"{path}.match[{number}]"
                if not _taken(obj, match, where, seen, report):
                    seen.append((match, where))
            if not route.match or any(everything(m) for m in route.match):
                taken_by = path


def _taken(
    obj: istio.VirtualService,
    match: istio.HTTPMatchRequest,
    where: str,
    seen: Sequence[_Seen],
    report: Findings,
) -> bool:
    for earlier, at in seen[:MATCHES_COMPARED_MAX]:
        if same(earlier, match):
            report.add(f.ROUTE_DUPLICATE, obj, where, earlier=f"`{at}`")
            return True
        if covers(earlier, match, obj.spec.gateways):
            report.add(c.MATCH_COVERED, obj, where, earlier=f"`{at}`")
            return True
    return False


def shares(world: World, report: Findings) -> None:
    """Weights that mean other shares than they seem to, and destinations that stand twice."""
    for obj in world.list(istio.VirtualService):
        for path, found in _share_lists(obj):
            _weights(obj, path, [share.weight for share in found], report)
            first: dict[istio.Destination, int] = {}
            for number, share in enumerate(found):
                if share.destination is None:
                    continue
                known = first.setdefault(share.destination, number)
                if known != number:
                    report.add(
                        c.DESTINATION_TWICE,
                        obj,
                        f"{path}[{number}].destination",
                        earlier=f"`{path}[{known}]`",
                    )


def _share_lists(
    obj: istio.VirtualService,
) -> Iterator[tuple[str, Sequence[istio.HTTPRouteDestination | istio.RouteDestination]]]:
    for index, http in enumerate(obj.spec.http):
        yield f"spec.http[{index}].route", http.route
    for index, tls in enumerate(obj.spec.tls):
        yield f"spec.tls[{index}].route", tls.route
    for index, tcp in enumerate(obj.spec.tcp):
        yield f"spec.tcp[{index}].route", tcp.route


def _weights(
    obj: istio.VirtualService, path: str, weights: Sequence[int | None], report: Findings
) -> None:
    if len(weights) == 1 and weights[0] not in (None, WEIGHTS_TOTAL):
        report.add(c.WEIGHT_ALONE, obj, f"{path}[0].weight", weight=weights[0])
    total = sum(weight or 0 for weight in weights)
    if len(weights) > 1 and total not in (0, WEIGHTS_TOTAL):
        percents = f.quoted(f"{100 * (weight or 0) / total:.3g}%" for weight in weights)
        report.add(c.WEIGHTS_SUM, obj, path, total=total, shares=percents)


def retries(world: World, report: Findings) -> None:
    """Tries that the timeout of the whole request leaves no time for."""
    for obj, path, route in _routes(world):
        if route.retries is None or not route.retries.attempts:
            continue
        each, whole = _seconds(route.retries.per_try_timeout), _seconds(route.timeout)
        attempts = route.retries.attempts
        if each and whole and each * attempts > whole:
            report.add(
                c.RETRIES_EXCEED_TIMEOUT,
                obj,
                f"{path}.retries.perTryTimeout",
                tries=attempts,
                each=route.retries.per_try_timeout,
                timeout=route.timeout,
            )


def _seconds(text: str) -> float:
    try:
        return parse_duration(text) if text else 0.0
    except ValueError:
        return 0.0


def literal_stars(world: World, report: Findings) -> None:
    """Patterns in places that know none."""
    for obj, path, match in _matches(world):
        found = [("uri", match.uri), ("authority", match.authority)]
        found += [(f"headers[{name}]", value) for name, value in match.headers.items()]
        for name, value in found:
            if value is None:
                continue
            kind = "exact" if value.exact is not None else "prefix"
            text = value.exact if value.exact is not None else value.prefix
            if text and "*" in text:
                report.add(
                    c.STAR_LITERAL,
                    obj,
                    f"{path}.{name}.{kind}",
                    kind=kind,
                    value=text,
                    instead=_instead(text),
                )


def _instead(text: str) -> str:
    """The condition that was meant."""
    if text.count("*") == 1 and text.endswith("*") and len(text) > 1:
        return f"prefix: {text[:-1]}"
    pattern = ".*".join(re.escape(part) for part in text.split("*"))
    return f'regex: "{pattern}"'


def doubled_slashes(world: World, report: Findings) -> None:
    """Prefixes without a closing slash that are replaced by one with it."""
    for obj, path, route in _routes(world):
        rewrite = route.rewrite.uri if route.rewrite else ""
        if not rewrite.endswith("/"):
            continue
        for number, match in enumerate(route.match):
            prefix = match.uri.prefix if match.uri else None
            if prefix and not prefix.endswith("/"):
                report.add(
                    c.SLASH_DOUBLED,
                    obj,
                    f"{path}.match[{number}].uri.prefix",
                    prefix=prefix,
                    rewrite=rewrite,
                    example=f"{prefix}/x",
                    result=f"{rewrite}/x",
                    closed=f"prefix: {prefix}/",
                )


def deprecated_fields(world: World, report: Findings) -> None:
    """Fields with a newer name."""
    for obj, path, route in _routes(world):
        for field, instead in _deprecated(route):
            report.add(f.DEPRECATED, obj, f"{path}.{field}", field=field, instead=instead)


def _deprecated(route: istio.HTTPRoute) -> Iterator[tuple[str, str]]:
    fault = route.fault or istio.HTTPFaultInjection()
    if route.mirror_percent is not None or route.mirror_percent_old is not None:
        yield "mirrorPercent", "mirrorPercentage"
    if fault.delay is not None and fault.delay.percent is not None:
        yield "fault.delay.percent", "fault.delay.percentage"
    if fault.abort is not None and fault.abort.percent is not None:
        yield "fault.abort.percent", "fault.abort.percentage"
    if route.cors_policy is not None and route.cors_policy.allow_origin:
        yield "corsPolicy.allowOrigin", "corsPolicy.allowOrigins"


def _routes(world: World) -> Iterator[tuple[istio.VirtualService, str, istio.HTTPRoute]]:
    for obj in world.list(istio.VirtualService):
        for index, route in enumerate(obj.spec.http):
            yield obj, f"spec.http[{index}]", route


def _matches(world: World) -> Iterator[tuple[istio.VirtualService, str, istio.HTTPMatchRequest]]:
    for obj, path, route in _routes(world):
        for number, match in enumerate(route.match):
            if match is not NOTHING:
                yield obj, f"{path}.match[{number}]", match


CHECKS = (
    unreachable_rules, shares, retries, literal_stars, doubled_slashes, deprecated_fields,
)  # fmt: skip
