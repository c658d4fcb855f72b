"""The PROXY protocol: connections to endpoints begin with the address of the caller."""

from envoy.config.core.v3 import base_pb2, proxy_protocol_pb2
from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.raw_buffer.v3 import raw_buffer_pb2

from weft.xds.proto import Proto, any_of

TRANSPORT_SOCKET = "envoy.transport_sockets.upstream_proxy_protocol"
_VERSIONS = {
    "V1": proxy_protocol_pb2.ProxyProtocolConfig.V1,
    "V2": proxy_protocol_pb2.ProxyProtocolConfig.V2,
}


def announce_callers(cluster: Proto, version: str) -> None:
    """Put the header before whatever the cluster's connections begin with now. Connections are
    shared by callers of one address only, so that no request travels under another's."""
    inner = base_pb2.TransportSocket(
        name="envoy.transport_sockets.raw_buffer", typed_config=any_of(raw_buffer_pb2.RawBuffer())
    )
    if cluster.HasField("transport_socket"):
        inner.CopyFrom(cluster.transport_socket)
    config = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport(transport_socket=inner)
    config.config.version = _VERSIONS[version]
    cluster.transport_socket.name = TRANSPORT_SOCKET
    cluster.transport_socket.typed_config.CopyFrom(any_of(config))
