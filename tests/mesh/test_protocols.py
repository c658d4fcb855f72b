"""Protocols of ports, by every way to declare them."""

import pytest

from weft.mesh.protocols import of_istio, of_port


@pytest.mark.parametrize(
    ("name", "app_protocol", "transport", "number", "expected"),
    [
        ("http", "", "TCP", 80, "http"),
        ("http-web", "", "", 8080, "http"),
        ("HTTP2-x", "", "TCP", 80, "http2"),
        ("grpc", "", "TCP", 1, "grpc"),
        ("grpc-web", "", "TCP", 1, "grpc"),
        ("https-x", "", "TCP", 443, "tls"),
        ("redis", "", "TCP", 1, "tcp"),
        ("httpbin", "", "TCP", 80, "auto"),
        ("", "", "TCP", 80, "auto"),
        ("web", "kubernetes.io/h2c", "TCP", 80, "http2"),
        ("tcp-x", "http", "TCP", 80, "http"),
        ("http", "unheard-of", "TCP", 80, "http"),
        ("", "", "TCP", 3306, "tcp"),
        ("http", "", "TCP", 3306, "http"),
        ("dns", "", "UDP", 53, "udp"),
    ],
)
def test_kubernetes_ports(
    name: str, app_protocol: str, transport: str, number: int, expected: str
) -> None:
    assert of_port(name, app_protocol, transport, number) == expected


def test_istio_ports() -> None:
    assert of_istio("HTTPS", 443) == "tls"
    assert of_istio("GRPC-WEB", 80) == "grpc"
    assert of_istio("", 6379) == "tcp"
    assert of_istio("", 80) == "auto"
