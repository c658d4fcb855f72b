"""A node proxy in a network of its own, and the relay: a second Envoy in the machine's network.

Without root, pods and the node proxy live in networks that the machine's network has no way into
or out of; Unix sockets are the way. Each listener of the node proxy that callers of the machine's
network must reach is divided: the relay has its addresses and passes bytes on, the node proxy
listens on a Unix socket and does all the rest. What the node proxy opens to addresses outside its
network goes the other way. Both directions carry the addresses of both ends by PROXY protocol, so
TLS, HTTP, policies and logs are what they are without a relay.

Source: Envoy, listener filter `envoy.filters.listener.proxy_protocol` and transport socket
`envoy.transport_sockets.upstream_proxy_protocol`.
"""

import hashlib
from collections.abc import Iterable

from envoy.config.cluster.v3 import circuit_breaker_pb2, cluster_pb2
from envoy.config.core.v3 import address_pb2, base_pb2, proxy_protocol_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2
from envoy.extensions.filters.listener.proxy_protocol.v3 import proxy_protocol_pb2 as filter_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.type.matcher.v3 import address_pb2 as address_matcher_pb2
from envoy.type.matcher.v3 import filter_state_pb2
from msgspec import Struct
from msgspec.structs import replace

from weft.xds.clusters import CONNECTION_BUFFER_BYTES_MAX
from weft.xds.identity import PEER_ADDRESS_KEY, peer_address
from weft.xds.listeners import finish_listener
from weft.xds.proto import (
    UNLIMITED,
    Proto,
    any_of,
    cidr,
    duration,
    resource,
    socket_address,
    uint32,
    xds_cidr,
)
from weft.xds.proxy_protocol import announce_callers
from weft.xds.resource import CLUSTER, LISTENER, Resource, content_version

EGRESS = "relay|egress"
"""Listener of both proxies, and the node proxy's cluster: what leaves the node."""
API = "relay|api"
"""The same for weft's own API server, which listens on the machine's loopback."""
OUTSIDE = "relay|outside"
"""The relay's cluster for where a connection was going."""
NOWHERE = "relay|nowhere"
LOOPBACK = "127.0.0.1"
EGRESS_PORT = 15010
"""As in `weft.api.wellknown`."""
FORBIDDEN = (
    "0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16",
    "::/128", "::1/128", "::ffff:0:0/96", "fe80::/10",
)  # fmt: skip
"""Where nothing of the node may connect to: what the machine's own programs offer to each other
only, and link-local addresses, among them the metadata services of clouds."""
CONNECT_SECONDS = 5.0
CONNECT_ATTEMPTS_MAX = 12
"""Of the relay to the node proxy, which is back within a second when it ended."""
RETRY_SECONDS = 0.05
RETRY_SECONDS_MAX = 0.25
SOCKET_NAME_BYTES = 6
"""Of a hash: paths of Unix sockets have 107 bytes at most."""
_MODE = 0o600


class RelaySettings(Struct, frozen=True):
    """What the two proxies of a node must agree on."""

    directory: str
    """Where their Unix sockets are."""
    api_port: int = 0
    """Of weft's API on the machine's loopback; 0: pods do not reach it."""


class Relayed(Struct, frozen=True):
    """What the two proxies of a node get."""

    node: tuple[Resource, ...]
    relay: tuple[Resource, ...]
    left_out: tuple[str, ...] = ()
    """Listeners for datagrams, which Unix sockets cannot pass on."""


class _Halves(Struct, frozen=True):
    node: Resource
    relay: tuple[Resource, ...]
    """Empty when there is no way."""


class Relay:
    """Divides the resources of one node after another; a listener that did not change is the same
    object as before."""

    def __init__(self, settings: RelaySettings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[Resource, _Halves | None]] = {}
        """A listener, and what was made of it; None where it is for pods."""

    def divide(self, resources: Iterable[Resource]) -> Relayed:
        """The resources of the node's proxy as the two proxies shall have them."""
        node: list[Resource] = node_ways_out(self._settings)
        relay: list[Resource] = relay_ways_out(self._settings)
        left_out: list[str] = []
        before, self._known = self._known, {}
        for each in resources:
            if each.type_url != LISTENER:
                node.append(each)
                continue
            known = before.get(each.name)
            if known is None or known[0] != each:
                known = (each, self._halves(each))
            self._known[each.name] = known
            halves = known[1]
            if halves is None:
                node.append(each)
            elif halves.relay:
                node.append(halves.node)
                relay.extend(halves.relay)
            else:
                left_out.append(each.name)
        return Relayed(tuple(node), tuple(relay), tuple(left_out))

    def _halves(self, listener: Resource) -> _Halves | None:
        content = listener_pb2.Listener.FromString(listener.body)
        place = content.address.socket_address
        if not content.address.HasField("socket_address") or place.network_namespace_filepath:
            return None
        if place.protocol == address_pb2.SocketAddress.UDP:
            return _Halves(listener, ())
        path = socket_path(self._settings, listener.name)
        body = _behind_pipe(content, path).SerializeToString(deterministic=True)
        return _Halves(
            replace(listener, body=body, version=content_version(body)),
            (
                _pipe_cluster(listener.name, path, announce=True),
                resource(LISTENER, listener.name, _relay_listener(content)),
            ),
        )


def socket_path(settings: RelaySettings, name: str) -> str:
    """Of the Unix socket at which the connections of a listener arrive."""
    digest = hashlib.blake2b(name.encode(), digest_size=SOCKET_NAME_BYTES).hexdigest()
    return f"{settings.directory}/{digest}"


def node_ways_out(settings: RelaySettings) -> list[Resource]:
    """The node proxy's listeners for what leaves its network: the kernel sends there what nobody in
    it has the address of."""
    places = {EGRESS: EGRESS_PORT} | ({API: settings.api_port} if settings.api_port else {})
    made = [_pipe_cluster(n, socket_path(settings, n), announce=n == EGRESS) for n in places]
    for name, port in places.items():
        listener = _passing(name, socket_address(LOOPBACK, port), name)
        if name == EGRESS:
            original = listener_components_pb2.ListenerFilter(
                name="envoy.filters.listener.original_dst",
                typed_config=any_of(original_dst_pb2.OriginalDst()),
            )
            listener.listener_filters.append(original)
        finish_listener(listener)
        made.append(resource(LISTENER, name, listener))
    return made


def relay_ways_out(settings: RelaySettings) -> list[Resource]:
    """The relay's listeners for what leaves the node."""
    nowhere = _cluster(NOWHERE, cluster_pb2.Cluster.STATIC)
    outside = _cluster(OUTSIDE, cluster_pb2.Cluster.ORIGINAL_DST)
    outside.lb_policy = cluster_pb2.Cluster.CLUSTER_PROVIDED
    made = [resource(CLUSTER, cluster.name, cluster) for cluster in (nowhere, outside)]
    egress = _passing(EGRESS, _pipe(socket_path(settings, EGRESS)), OUTSIDE)
    egress.default_filter_chain.CopyFrom(egress.filter_chains[0])
    del egress.filter_chains[:]
    refused = egress.filter_chains.add(name="refused", filters=[_tcp_proxy(NOWHERE)])
    refused.filter_chain_match.prefix_ranges.extend(cidr(network) for network in FORBIDDEN)
    egress.listener_filters.append(_reads_addresses())
    listeners = [egress]
    if settings.api_port:
        api = _cluster(API, cluster_pb2.Cluster.STATIC)
        _add_endpoint(api, socket_address(LOOPBACK, settings.api_port))
        made.append(resource(CLUSTER, API, api))
        listeners.append(_passing(API, _pipe(socket_path(settings, API)), API))
    for listener in listeners:
        _finish_pipe(listener)
        listener.continue_on_listener_filters_timeout = False
        made.append(resource(LISTENER, listener.name, listener))
    return made


def _behind_pipe(content: Proto, path: str) -> Proto:
    """A listener as the node proxy has it."""
    inner = listener_pb2.Listener()
    inner.CopyFrom(content)
    inner.address.CopyFrom(_pipe(path))
    for field in ("additional_addresses", "freebind", "transparent", "tcp_backlog_size"):
        inner.ClearField(field)
    del inner.listener_filters[:]
    inner.listener_filters.extend([_reads_addresses(), peer_address(), *content.listener_filters])
    default = [inner.default_filter_chain] if inner.HasField("default_filter_chain") else []
    for chain in (*inner.filter_chains, *default):
        filters = [_known_callers(), *chain.filters]
        del chain.filters[:]
        chain.filters.extend(filters)
    _finish_pipe(inner)
    return inner


def _known_callers() -> Proto:
    """The filter that closes connections of which nobody said where they come from: listener
    filters that wait for it give up in the end, and policies would not see the caller."""
    every = address_matcher_pb2.AddressMatcher(ranges=map(xds_cidr, ("0.0.0.0/0", "::/0")))
    known = filter_state_pb2.FilterStateMatcher(key=PEER_ADDRESS_KEY, address_match=every)
    policy = rules_pb2.Policy(
        permissions=[rules_pb2.Permission(any=True)],
        principals=[rules_pb2.Principal(filter_state=known)],
    )
    config = rbac_pb2.RBAC(stat_prefix="relay.", rules=rules_pb2.RBAC(policies={"known": policy}))
    return listener_components_pb2.Filter(
        name="envoy.filters.network.rbac", typed_config=any_of(config)
    )


def _finish_pipe(listener: Proto) -> None:
    finish_listener(listener)
    listener.ClearField("enable_reuse_port")


def _relay_listener(content: Proto) -> Proto:
    """A listener as the relay has it: the addresses, and nothing that looks into connections."""
    outer = _passing(content.name, content.address, content.name)
    outer.additional_addresses.extend(content.additional_addresses)
    outer.traffic_direction = base_pb2.INBOUND
    finish_listener(outer)
    return outer


def _passing(name: str, address: Proto, cluster: str) -> Proto:
    chain = listener_components_pb2.FilterChain(name="bytes", filters=[_tcp_proxy(cluster)])
    return listener_pb2.Listener(name=name, address=address, filter_chains=[chain])


_READS_ADDRESSES = "envoy.filters.listener.proxy_protocol"


def _reads_addresses() -> Proto:
    config = filter_pb2.ProxyProtocol(
        disallowed_versions=[proxy_protocol_pb2.ProxyProtocolConfig.V1]
    )
    return listener_components_pb2.ListenerFilter(
        name=_READS_ADDRESSES, typed_config=any_of(config)
    )


def _tcp_proxy(cluster: str) -> Proto:
    """Passes bytes on for as long as both ends like: how long that is the node proxy decides."""
    config = tcp_proxy_pb2.TcpProxy(stat_prefix="relay", cluster=cluster, idle_timeout=duration(0))
    if cluster not in (OUTSIDE, NOWHERE):
        config.max_connect_attempts.CopyFrom(uint32(CONNECT_ATTEMPTS_MAX))
        config.backoff_options.base_interval.CopyFrom(duration(RETRY_SECONDS))
        config.backoff_options.max_interval.CopyFrom(duration(RETRY_SECONDS_MAX))
    return listener_components_pb2.Filter(
        name="envoy.filters.network.tcp_proxy", typed_config=any_of(config)
    )


def _pipe(path: str) -> Proto:
    return address_pb2.Address(pipe=address_pb2.Pipe(path=path, mode=_MODE))


def _pipe_cluster(name: str, path: str, *, announce: bool) -> Resource:
    """To the other proxy of the node; `announce`: with the addresses of both ends."""
    cluster = _cluster(name, cluster_pb2.Cluster.STATIC)
    _add_endpoint(cluster, address_pb2.Address(pipe=address_pb2.Pipe(path=path)))
    if announce:
        announce_callers(cluster, "V2")
    return resource(CLUSTER, name, cluster)


def _add_endpoint(cluster: Proto, address: Proto) -> None:
    cluster.load_assignment.cluster_name = cluster.name
    endpoint = cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    endpoint.address.CopyFrom(address)


def _cluster(name: str, kind: int) -> Proto:
    limits = circuit_breaker_pb2.CircuitBreakers.Thresholds(
        max_connections=uint32(UNLIMITED),
        max_pending_requests=uint32(UNLIMITED),
        max_requests=uint32(UNLIMITED),
        max_retries=uint32(UNLIMITED),
    )
    return cluster_pb2.Cluster(
        name=name,
        alt_stat_name=f"{name};",
        type=kind,
        connect_timeout=duration(CONNECT_SECONDS),
        per_connection_buffer_limit_bytes=uint32(CONNECTION_BUFFER_BYTES_MAX),
        circuit_breakers=circuit_breaker_pb2.CircuitBreakers(thresholds=[limits]),
    )
