"""Datagrams: which UDP ports of services callers reach through the mesh."""

from collections.abc import Iterable

from weft.mesh.directory import Directory
from weft.mesh.hosts import Host
from weft.mesh.model import ServiceListener, UdpRoute


def udp_routes(hosts: Iterable[Host], directory: Directory, client: str) -> tuple[UdpRoute, ...]:
    """The routes of callers of a namespace ("" is any that has no rules of its own). Headless
    services have none: their callers send to endpoints themselves."""
    return tuple(
        UdpRoute(
            addresses=host.cluster_ips,
            port=port.number,
            destination=directory.udp_target(host, port, client),
            source=host.source,
        )
        for host in hosts
        if host.cluster_ips and (not host.visible_in or client in host.visible_in)
        for port in host.udp_ports
    )


def udp_listeners(routes: Iterable[UdpRoute]) -> tuple[ServiceListener, ...]:
    """Host isolation: the service addresses on which the node proxy takes datagrams."""
    return tuple(
        ServiceListener(address, route.port, udp=route)
        for route in routes
        for address in route.addresses
    )
