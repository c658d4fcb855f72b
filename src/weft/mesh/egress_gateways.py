"""Egress gateways as hosts, so that routes can send calls there.

weft's node proxies are the gateways. A Service that selects the pods of an egress gateway stands
for them, whether it has pods or not; without one there is the Service that Istio installs.
"""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Service
from weft.mesh.hosts import Host, HostPort
from weft.mesh.istio_policies import ROOT_NAMESPACE
from weft.mesh.model import AppProtocol
from weft.mesh.names import service_host

SERVICE_NAME = "istio-egressgateway"
"""The Service that Istio installs, in the root namespace."""
DEFAULT_PORTS: Mapping[int, AppProtocol] = {80: "http", 443: "tls"}


def with_egress_gateways(
    hosts: Mapping[str, Host], gateways: Iterable[istio.Gateway], services: Iterable[Service]
) -> dict[str, Host]:
    """The hosts, with those that stand for egress gateways."""
    found = dict(hosts)
    egress = [gateway for gateway in gateways if istio.is_egress(gateway)]
    if not egress:
        return found
    ports = dict(DEFAULT_PORTS)
    for server in (server for gateway in egress for server in gateway.spec.servers):
        if server.port and server.port.number:
            ports[server.port.number] = _protocol(server)
    own = tuple(HostPort(number, "", ports[number]) for number in sorted(ports))
    selectors = [gateway.spec.selector.items() for gateway in egress]
    for service in services:
        selector = service.spec.selector.items()
        if selector and any(wanted <= selector for wanted in selectors):
            name = service_host(service.metadata.name, service.metadata.namespace)
            if name in found:
                found[name] = replace(found[name], ports=own, discovery="gateway", pods=())
    name = service_host(SERVICE_NAME, ROOT_NAMESPACE)
    if name not in found:
        inside = f"{SERVICE_NAME}.{ROOT_NAMESPACE}"
        found[name] = Host(
            host=name,
            namespace=ROOT_NAMESPACE,
            name=SERVICE_NAME,
            source=f"Gateway {egress[0].metadata.namespace}/{egress[0].metadata.name}",
            ports=own,
            domains=(name, f"{inside}.svc", inside),
            discovery="gateway",
        )
    return found


def _protocol(server: istio.Server) -> AppProtocol:
    """How calls reach the server: TLS of the mesh itself is not there within a node."""
    protocol = server.port.protocol.upper() if server.port else ""
    mutual = server.tls is not None and server.tls.mode == "ISTIO_MUTUAL"
    if protocol in ("HTTP2", "GRPC"):
        return "http2"
    if protocol == "HTTP" or (protocol == "HTTPS" and mutual):
        return "http"
    return "tcp" if protocol == "TCP" or mutual else "tls"
