"""Datagrams: listeners that pass them on to the endpoints of a destination.

Inside a pod the node's proxy listens on the service addresses themselves, which the pod's network
takes for its own. So the proxy needs no original destination, which a redirect of UDP would lose.
Ports are turned (DATAGRAM_PORT_BITS), and the pod may bind the port of a service itself.
"""

from collections.abc import Iterable

from envoy.config.core.v3 import address_pb2
from envoy.config.listener.v3 import listener_components_pb2, listener_pb2, udp_listener_config_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import route_pb2, udp_proxy_pb2
from google.protobuf.wrappers_pb2 import BoolValue
from msgspec.structs import replace

from weft.mesh.model import ServiceListener, UdpRoute, Workload
from weft.xds.clusters import BLACKHOLE
from weft.xds.proto import Proto, any_of, duration, resource
from weft.xds.resource import LISTENER, Resource

UDP_PROXY = "envoy.filters.udp_listener.udp_proxy"
DATAGRAM_PORT_BITS = 0xF000
"""As in `weft.api.wellknown`."""
SESSION_SECONDS = 60.0
"""A caller's socket keeps its endpoint until it was silent for so long."""


def udp_name(uid: str, address: str, port: int) -> str:
    return f"{udp_prefix(uid)}{address}|{port}"


def udp_prefix(uid: str) -> str:
    """How the names of all UDP listeners of a pod begin."""
    return f"udp|{uid}|"


def pod_listeners(workload: Workload) -> list[Resource]:
    """A listener in the pod's network for each service address and port. Each by itself: changing
    one ends no session of another."""
    return [
        _listener(
            udp_name(workload.uid, address, route.port),
            address,
            replace(
                route,
                port=route.port ^ DATAGRAM_PORT_BITS or route.port,
                destination="" if route.destination in workload.denied else route.destination,
            ),
            workload.netns,
        )
        for route in workload.udp
        for address in route.addresses
    ]


def service_listener(listener: ServiceListener, route: UdpRoute) -> Resource:
    """Host isolation: a service's address on the node."""
    name = f"service-udp|{listener.address}|{listener.port}"
    moved = UdpRoute(route.addresses, listener.port, route.destination, route.source)
    return _listener(name, listener.address, moved, "")


def udp_address(host: str, port: int, netns: str = "") -> Proto:
    return address_pb2.Address(
        socket_address=address_pb2.SocketAddress(
            protocol=address_pb2.SocketAddress.UDP,
            address=host,
            port_value=port,
            network_namespace_filepath=netns,
        )
    )


def udp_proxy(stat_prefix: str, cluster: str) -> Proto:
    """The listener filter that passes datagrams on to a cluster. Clusters that hash do so by the
    caller's address; the others ignore it."""
    config = udp_proxy_pb2.UdpProxyConfig(
        stat_prefix=stat_prefix, idle_timeout=duration(SESSION_SECONDS)
    )
    action = config.matcher.on_no_match.action
    action.name = "route"
    action.typed_config.CopyFrom(any_of(route_pb2.Route(cluster=cluster)))
    config.hash_policies.add(source_ip=True)
    return listener_components_pb2.ListenerFilter(name=UDP_PROXY, typed_config=any_of(config))


def udp_listener(
    name: str, address: Proto, filter_: Proto, others: Iterable[Proto] = ()
) -> Resource:
    """A listener for datagrams with this filter; `others` are further addresses."""
    listener = listener_pb2.Listener(
        name=name,
        address=address,
        additional_addresses=[listener_pb2.AdditionalAddress(address=a) for a in others],
        udp_listener_config=udp_listener_config_pb2.UdpListenerConfig(),
        listener_filters=[filter_],
        # More than one worker would need it, and one does not mind.
        enable_reuse_port=BoolValue(value=True),
    )
    return resource(LISTENER, name, listener)


def _listener(name: str, address: str, route: UdpRoute, netns: str) -> Resource:
    place = udp_address(address, route.port, netns)
    return udp_listener(name, place, udp_proxy("outbound", route.destination or BLACKHOLE))
