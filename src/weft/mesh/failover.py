"""Fail-over: endpoints of other services or subsets that take over for those of a destination."""

from collections.abc import Mapping

from msgspec.structs import replace

from weft.api.weft import policy_v1alpha1 as weft
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import Destination, Endpoint
from weft.mesh.names import destination_name, nearest, service_host, udp_destination_name

Known = Mapping[str, Destination]
"""Destinations by name, before any policy."""
HTTP1, HTTP2 = ("http", "auto"), ("http2", "grpc")


def with_failover(
    destination: Destination, policy: weft.BackendPolicy, known: Known, report: Findings
) -> Destination:
    """The destination with the endpoints that take over for its own."""
    added: list[Endpoint] = []
    seen = {(e.address, e.port) for e in destination.endpoints}
    for index in range(len(policy.spec.failover)):
        found = _find(destination, policy, index, known, report)
        if found is None:
            continue
        for endpoint in found.endpoints:
            if (endpoint.address, endpoint.port) not in seen:
                seen.add((endpoint.address, endpoint.port))
                added.append(replace(endpoint, fallback=index + 1, service=found.service))
    if not added:
        return destination
    return replace(destination, endpoints=(*destination.endpoints, *added))


def _find(
    destination: Destination,
    policy: weft.BackendPolicy,
    index: int,
    known: Known,
    report: Findings,
) -> Destination | None:
    """None when there is nothing to take over, which is reported unless it is meant so."""
    target, path = policy.spec.failover[index], f"spec.failover[{index}]"
    service = target.service or destination.service
    namespace = target.namespace or policy.metadata.namespace
    host = service_host(service, namespace)
    port = target.port or destination.port
    udp = destination.protocol == "udp"
    name = udp_destination_name(port, host) if udp else destination_name(port, host, target.subset)
    found = known.get(name)
    if found is None:
        hosts = {d.host for d in known.values()}
        near = "" if host in hosts else nearest(host, hosts - {destination.host})
        what = f"subset `{target.subset}` of `{host}`" if target.subset else f"`{host}`"
        report.add(
            f.FAILOVER_UNKNOWN, policy, path, f"did you mean `{near}`?" if near else "",
            what=what, port=port,
        )  # fmt: skip
        return None
    if (found.host, found.port, found.subset) == (
        destination.host, destination.port, destination.subset,
    ):  # fmt: skip
        return None
    if not _alike(destination, found):
        report.add(
            f.FAILOVER_PROTOCOL, policy, path, host=host, port=port, theirs=found.protocol,
            ours=destination.protocol,
        )  # fmt: skip
        return None
    return found


def _alike(one: Destination, other: Destination) -> bool:
    """Whether the proxy speaks the same to both."""
    if one.protocol == other.protocol:
        return True
    return any(one.protocol in kind and other.protocol in kind for kind in (HTTP1, HTTP2))
