"""How ports are treated."""

from typing import Literal

AppProtocol = Literal["http", "http2", "grpc", "tcp", "tls", "udp", "auto"]
"""How a port is treated. `http` is HTTP/1.1 with upgrades; http2 and grpc are HTTP/2 cleartext;
`auto` is not declared: a connection that begins like HTTP is HTTP (upstream HTTP/1.1, or HTTP/2
when the caller speaks that), anything else is bytes."""
