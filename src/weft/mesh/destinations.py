"""Hosts and rules as destinations: one for each port and subset of a host."""

from collections.abc import Iterable

from msgspec.structs import replace

from weft.mesh.hosts import Host, HostPort
from weft.mesh.istio_localities import locality_policy, zone_policy
from weft.mesh.istio_policies import HostRule, Policy, SubsetRule
from weft.mesh.model import (
    AppProtocol,
    ConnectionPool,
    Destination,
    Endpoint,
    LoadBalancer,
    LocalityPolicy,
    UpstreamTls,
)
from weft.mesh.names import destination_name, udp_destination_name

_NO_RULE = HostRule()
_NO_POLICY = Policy()


def host_destinations(
    host: Host, rule: HostRule | None, client: str, base: Policy = _NO_POLICY
) -> tuple[Destination, ...]:
    """All destinations of a host under a rule; `base` is what holds in the whole mesh where the
    rule says nothing. `client` marks those that only callers of one
    namespace get, because that namespace has a rule of its own for the host."""
    rule = rule or _NO_RULE
    made: list[Destination] = []
    for port in host.ports:
        general = _destination(host, port, rule, None, client, base)
        made.append(general)
        made.extend(_destination(host, port, rule, s, client, base) for s in rule.subsets)
        if not client:
            made.extend(_pod_destinations(host, port, general))
    made.extend(_udp_destination(host, port, rule, client, base) for port in host.udp_ports)
    return tuple(made)


def named_udp(host: str, port: int, client: str) -> str:
    """As `named`, for a UDP port."""
    name = udp_destination_name(port, host)
    return f"{name}@{client}" if client else name


def named(host: str, port: int, subset: str, client: str) -> str:
    """The name of a destination for callers of a namespace ("" is everyone)."""
    name = destination_name(port, host, subset)
    return f"{name}@{client}" if client else name


def _destination(  # noqa: PLR0917 - all that makes one
    host: Host,
    port: HostPort,
    rule: HostRule,
    subset: SubsetRule | None,
    client: str,
    base: Policy,
) -> Destination:
    policy = rule.policy.at(port.number)
    if subset is not None:
        policy = subset.policy.at(port.number).over(policy)
    policy = policy.over(replace(base, locality=None, zones=None))
    label = subset.name if subset else ""
    endpoints = _with_labels(port.endpoints, subset.labels) if subset else port.endpoints
    return Destination(
        name=named(host.host, port.number, label, client),
        host=host.host,
        port=port.number,
        protocol="tcp" if rule.as_bytes else _protocol(port.protocol, policy),
        discovery="original_dst" if policy.passthrough else host.discovery,
        subset=label,
        endpoints=() if policy.passthrough else endpoints,
        coming=() if policy.passthrough else port.coming,
        load_balancer=_balancer(policy, host, base),
        pool=policy.pool or ConnectionPool(),
        outlier=policy.outlier,
        node_local=host.node_local,
        tls=None if rule.as_bytes else _tls(policy, host),
        proxy_protocol=policy.proxy_protocol,  # type: ignore[arg-type]
        tunnel=policy.tunnel,
        service=host.name,
        namespace=host.namespace,
        source=", ".join(s for s in (host.source, rule.source) if s),
        wakes=host.wakes,
        asleep=_asleep(host, port),
    )


def _asleep(host: Host, port: HostPort) -> bool:
    """Whether calls have to wait for the workload to be woken. One that is about to be scaled to
    zero counts: the proxies must hold calls before the last pod goes."""
    if host.sleep == "asleep":
        return not any(e.health == "HEALTHY" for e in port.endpoints)
    return host.sleep == "falling"


def _udp_destination(
    host: Host, port: HostPort, rule: HostRule, client: str, base: Policy
) -> Destination:
    general = _destination(host, port, rule, None, client, base)
    balancer = general.load_balancer
    if balancer.algorithm in ("least_request", "least_response_time"):
        # There are no requests to count, so Envoy would draw lots.
        balancer = replace(balancer, algorithm="round_robin")
    return replace(
        general,
        name=named_udp(host.host, port.number, client),
        load_balancer=balancer,
        outlier=None,
        tls=None,
        wakes="",
        asleep=False,
    )


def _pod_destinations(host: Host, port: HostPort, general: Destination) -> Iterable[Destination]:
    """Headless services: each endpoint by itself, since callers choose."""
    for pod in host.pods:
        endpoints = tuple(e for e in port.endpoints if e.address == pod.address)
        if endpoints:
            yield replace(
                general,
                name=destination_name(port.number, pod.host),
                host=pod.host,
                endpoints=endpoints,
            )


def missing_destination(host: str, port: int, subset: str, why: str) -> Destination:
    """What a route names although it does not exist: no endpoints, so requests are answered 503
    while the other shares of the route go on."""
    return Destination(
        name=destination_name(port, host, subset),
        host=host,
        port=port,
        protocol="http",
        subset=subset,
        service=host.partition(".")[0],
        source=why,
    )


def _with_labels(
    endpoints: tuple[Endpoint, ...], labels: tuple[tuple[str, str], ...]
) -> tuple[Endpoint, ...]:
    wanted = set(labels)
    return tuple(e for e in endpoints if wanted.issubset(e.labels))


def _balancer(policy: Policy, host: Host, base: Policy) -> LoadBalancer:
    balancer = policy.load_balancer or host.load_balancer
    if policy.locality is None and policy.zones is None:
        policy = replace(policy, locality=base.locality, zones=base.zones)
        said = False
    else:
        said = True
    if host.nearness and not said:
        near = LocalityPolicy(labels=tuple((n, "") for n in host.nearness), failover_enabled=True)
        return replace(balancer, locality=near)
    locality = zone_policy(policy.zones) or locality_policy(
        policy.locality, policy.outlier is not None
    )
    return balancer if locality is None else replace(balancer, locality=locality)


def _protocol(protocol: AppProtocol, policy: Policy) -> AppProtocol:
    return "http2" if policy.http2 and protocol in ("http", "auto") else protocol


def _tls(policy: Policy, host: Host) -> UpstreamTls | None:
    tls = policy.tls
    # Calls within the mesh are mutual TLS where they leave a node, whatever rules say.
    if tls is None or (tls.mode == "mesh" and not host.external):
        return None
    if not tls.subject_alt_names:
        tls = replace(tls, subject_alt_names=host.subject_alt_names)
    return tls if tls.sni or host.host.startswith("*") else replace(tls, sni=host.host)
