"""A request as a line."""

from tests.telemetry.test_requests import request
from weft.views.requests import request_line
from weft.views.tables import COLOUR


def test_a_failed_request_says_why() -> None:
    assert request_line(request()) == (
        "00:00:05.000  shop/web → shop/api-v2 v2  GET api/items?x=1"
        "  503 UH (no_healthy_upstream)  12 ms  2 attempts"
    )
    assert COLOUR.bad in request_line(request(), COLOUR)


def test_good_ones_grpc_and_connections() -> None:
    assert request_line(request(status="200", flags="-", attempts="1")).endswith("  200  12 ms")
    assert "  grpc 14 UH" in request_line(request(status="200", grpc_status="14"))
    line = request_line(request(method="-", protocol="-", flags="-", sent_bytes="7"))
    assert line.endswith("TCP  closed  0 B sent, 7 B received")


def test_nobody_answered() -> None:
    line = request_line(request(destination="-", service="-", source="-"))
    assert "outside → api  GET" in line
