"""Which virtual host of a route table a request belongs to.

Source: Envoy's order of domains: exact, then the longest `*.suffix`, then `*`.
"""

from msgspec import Struct

from weft.mesh.explain.request import Request
from weft.mesh.model import MeshModel, RouteTable, VirtualHost
from weft.mesh.names import covers, nearest, specificity

ANY_HOST = "*"


class Found(Struct, frozen=True):
    """A virtual host, and why it is this one. None with `https` set: redirected to HTTPS."""

    host: VirtualHost | None
    reason: str
    https: bool = False


def find(model: MeshModel, table: RouteTable, request: Request) -> Found | None:
    """The virtual host of a request; None when the table knows none."""
    https_hosts = _https_hosts(model, table)
    name = request.authority.lower()
    if table.ignore_port:
        name = name.partition(":")[0]
    owners: dict[str, VirtualHost | None] = dict.fromkeys(https_hosts)
    owners |= {domain: host for host in table.virtual_hosts for domain in host.domains}
    covering = [domain for domain in owners if covers(domain, name)]
    if covering:
        best = max(covering, key=specificity)
        host = owners[best]
        domains = host.domains if host is not None else (best,)
        https = any(d in https_hosts or ANY_HOST in https_hosts for d in domains)
        return Found(host, f"Host `{request.authority}` is covered by domain `{best}`", https)
    for host in table.virtual_hosts:
        if request.target and request.target in host.addresses:
            reason = f"Host `{request.authority}` is unknown; address {request.target} is known"
            return Found(host, reason)
    return None


def _https_hosts(model: MeshModel, table: RouteTable) -> tuple[str, ...]:
    """Hosts of the table that are redirected to HTTPS whatever their routes say."""
    return tuple(
        host
        for gateway in model.gateways
        for server in gateway.servers
        if server.https_redirect and server.route_table == table.name and server.tls is None
        for host in server.hosts
    )


def likely(table: RouteTable, request: Request) -> str:
    """The domain of the table that was probably meant; empty when none is alike."""
    domains = {d for host in table.virtual_hosts for d in host.domains if ":" not in d}
    return nearest(request.host.lower(), domains)
