"""The conditions of VirtualServices, in mesh words."""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import HttpMatch, NamedMatch, StringMatch
from weft.mesh.values import regex_problem

MESH = "mesh"
"""The name under which VirtualServices mean calls inside the mesh."""
CLAIMS_PREFIX = "@request.auth.claims"
"""Begins what stands for a claim of the request's token in the place of a header's name."""


class Rule(Struct, frozen=True):
    """An HTTP rule as it is in force, and where it is written."""

    obj: istio.VirtualService
    path: str
    """`spec.http[2]` of the object."""
    name: str
    """`namespace/name/label`, of the object that has the hosts."""
    route: istio.HTTPRoute


class _Skip(Exception):
    """A condition that cannot be in force: the match it belongs to is left out."""


def http_matches(
    rule: Rule,
    gateway: str,
    port: int,
    report: Findings,
) -> tuple[HttpMatch, ...]:
    """The conditions of a route that apply to a gateway (or `mesh`) and port; empty when the route
    does not apply there at all."""
    obj, route = rule.obj, rule.route
    if not route.match:
        return (HttpMatch(),)
    found: list[HttpMatch] = []
    for number, match in enumerate(route.match):
        if not applies(match.gateways, obj.metadata.namespace, gateway):
            continue
        if match.port is not None and match.port != port:
            continue
        path = f"{rule.path}.match[{number}]"
        try:
            found.append(_match(obj, match, path, gateway, report))
        except _Skip:
            continue
    return tuple(found)


def applies(gateways: tuple[str, ...], namespace: str, gateway: str) -> bool:
    """Whether a list of gateways of a match (empty: all of the object's) has this gateway."""
    return not gateways or gateway in {full_gateway(g, namespace) for g in gateways}


def full_gateway(name: str, namespace: str) -> str:
    """`mesh`, or `namespace/name`."""
    return name if name == MESH or "/" in name else f"{namespace}/{name}"


def _match(
    obj: istio.VirtualService,
    match: istio.HTTPMatchRequest,
    path: str,
    gateway: str,
    report: Findings,
) -> HttpMatch:
    if (match.source_namespace or match.source_labels) and gateway != MESH:
        raise _Skip
    _no_claims(obj, match, path, report)

    def string(value: istio.StringMatch | None, name: str) -> StringMatch | None:
        return None if value is None else _string(obj, value, f"{path}.{name}", report)

    def named(values: Mapping[str, istio.StringMatch], name: str) -> Iterator[NamedMatch]:
        for key in sorted(values):
            found = _string(obj, values[key], f"{path}.{name}[{key}]", report)
            yield NamedMatch(key.lower() if name != "queryParams" else key, found)

    without = (
        NamedMatch(m.name, m.match, invert=True)
        for m in named(match.without_headers, "withoutHeaders")
    )
    return HttpMatch(
        path=string(match.uri, "uri"),
        ignore_path_case=bool(match.ignore_uri_case),
        method=string(match.method, "method"),
        authority=string(match.authority, "authority"),
        scheme=string(match.scheme, "scheme"),
        headers=(*named(match.headers, "headers"), *without),
        query=tuple(named(match.query_params, "queryParams")),
        source_namespaces=(match.source_namespace,) if match.source_namespace else (),
        source_labels=tuple(sorted(match.source_labels.items())),
    )


def _no_claims(
    obj: istio.VirtualService, match: istio.HTTPMatchRequest, path: str, report: Findings
) -> None:
    """Whether a claim is there is not known when routes are chosen: the match never holds, also
    where it asks for requests without the claim."""
    fields = {"headers": match.headers, "withoutHeaders": match.without_headers}
    found = [(f"{path}.{name}[{key}]", key) for name, keys in fields.items() for key in keys
             if key.startswith(CLAIMS_PREFIX)]  # fmt: skip
    for place, key in found:
        report.add(f.CLAIM_MATCHED, obj, place, header=key)
    if found:
        raise _Skip


def _string(
    obj: istio.VirtualService, value: istio.StringMatch, path: str, report: Findings
) -> StringMatch:
    if value.exact is not None:
        return StringMatch("exact", value.exact)
    if value.prefix is not None:
        return StringMatch("prefix", value.prefix)
    if value.regex is None:
        return StringMatch("present")
    if problem := regex_problem(value.regex):
        report.add(f.REGEX_INVALID, obj, f"{path}.regex", regex=value.regex, problem=problem)
        raise _Skip
    return StringMatch("regex", value.regex)
