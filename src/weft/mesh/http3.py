"""HTTP/3 at gateways: which servers speak it."""

from collections.abc import Iterable

from msgspec.structs import replace

from weft.api.gateway import v1 as gateway_api
from weft.api.istio.networking_v1 import Gateway
from weft.api.wellknown import ANNOTATION_GATEWAY_HTTP3
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import GatewayListener, GatewayServer

AnyGateway = Gateway | gateway_api.Gateway


def with_http3(
    listeners: tuple[GatewayListener, ...], gateways: Iterable[AnyGateway], report: Findings
) -> tuple[GatewayListener, ...]:
    """Listeners whose HTTPS servers speak HTTP/3 where the Gateway's annotation says so."""
    wanted = [g for g in gateways if g.metadata.annotations.get(ANNOTATION_GATEWAY_HTTP3) == "true"]
    for gateway in wanted:
        prefix = f"{gateway.metadata.namespace}/{gateway.metadata.name}/"
        listeners = tuple(_listener(each, prefix, gateway, report) for each in listeners)
    return listeners


def _listener(
    listener: GatewayListener, prefix: str, gateway: AnyGateway, report: Findings
) -> GatewayListener:
    servers = tuple(
        _server(server, listener.port, gateway, report)
        if server.name.startswith(prefix)
        else server
        for server in listener.servers
    )
    return listener if servers == listener.servers else replace(listener, servers=servers)


def _server(
    server: GatewayServer, port: int, gateway: AnyGateway, report: Findings
) -> GatewayServer:
    if server.tls is None or not server.route_table:
        return server
    reason = ""
    if server.tls.clients is not None:
        reason = "it asks for client certificates"
    elif server.tls.version_max not in ("", "1.3"):
        reason = f"it speaks TLS up to {server.tls.version_max}, QUIC needs 1.3"
    if reason:
        path = f"metadata.annotations[{ANNOTATION_GATEWAY_HTTP3}]"
        report.add(f.HTTP3_IMPOSSIBLE, gateway, path, server=server.name, port=port, reason=reason)
        return server
    return replace(server, http3=True)
