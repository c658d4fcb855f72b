"""Single requests from what proxies log, and which of them are wanted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.telemetry.requests import BETWEEN, FIELDS, KEPT_MAX, Filter, Request, RequestLog, read

SAID = {
    "source": "web|shop|spiffe://cluster.local/ns/shop/sa/web|web|v1",
    "destination": "api-v2|shop|unknown|api|v2",
    "service": "api.shop.svc.cluster.local|api|shop",
    "method": "GET",
    "authority": "api",
    "path": "/items?x=1",
    "protocol": "HTTP/1.1",
    "status": "503",
    "flags": "UH",
    "details": "no_healthy_upstream",
    "duration_ms": "12",
    "attempts": "2",
    "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
}


def text(**changed: str) -> str:
    return BETWEEN.join((SAID | changed).get(name, "-") for name in FIELDS)


def request(**changed: str) -> Request:
    found = read(text(**changed), node="n1", at=5.0, number=1)
    assert found is not None
    return found


def test_a_request_is_read() -> None:
    found = request()
    assert (found.source, found.destination, found.version) == ("shop/web", "shop/api-v2", "v2")
    assert (found.status, found.duration_ms, found.attempts) == (503, 12, 2)
    assert (found.request_id, found.grpc_status) == ("", "")
    assert found.trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (found.node, found.at, found.number) == ("n1", 5.0, 1)


def test_callers_outside_and_calls_that_nobody_answered() -> None:
    found = request(source="unknown|unknown|unknown|unknown|unknown", destination="-")
    assert (found.source, found.destination) == ("", "")


@given(
    st.text(max_size=100) | st.lists(st.text(max_size=9), min_size=20, max_size=20).map("\x1f".join)
)
def test_any_text_is_read_or_left(said: str) -> None:
    found = read(said, node="", at=0, number=1)
    assert found is None or found.number == 1


@pytest.mark.parametrize(
    ("wanted", "yes"),
    [
        (Filter(), True),
        (Filter(source="web"), True),
        (Filter(source="shop/web"), True),
        (Filter(source="other/web"), False),
        (Filter(destination="api-v2"), True),
        (Filter(destination="api"), True),
        (Filter(destination="shop/api"), True),
        (Filter(destination="api.shop.svc.cluster.local"), True),
        (Filter(destination="web"), False),
        (Filter(method="get"), True),
        (Filter(method="POST"), False),
        (Filter(path="/items"), True),
        (Filter(path="/other"), False),
        (Filter(status="503"), True),
        (Filter(status="5xx"), True),
        (Filter(status="error"), True),
        (Filter(status="4xx"), False),
        (Filter(slower_ms=12), True),
        (Filter(slower_ms=13), False),
    ],
)
def test_filters(wanted: Filter, yes: bool) -> None:
    assert wanted.wants(request()) is yes


def test_errors_of_grpc_and_of_connections() -> None:
    errors = Filter(status="error")
    assert errors.wants(request(status="200", grpc_status="14"))
    assert not errors.wants(request(status="200", grpc_status="0"))
    assert errors.wants(request(method="-", status="-", protocol="-", flags="UF"))
    assert not errors.wants(request(method="-", status="-", protocol="-", flags="-"))


def test_the_log_keeps_the_newest() -> None:
    log = RequestLog()
    log.add([(text(path=f"/{n}"), float(n)) for n in range(KEPT_MAX + 10)], "n1")
    log.add([("garbage", 0.0)], "n1")
    assert log.newest == KEPT_MAX + 10
    everything = log.since(0, Filter().wants, KEPT_MAX + 10)
    assert (len(everything), everything[0].path) == (KEPT_MAX, "/10")
    assert [r.path for r in log.since(log.newest - 2, Filter().wants, 9)] == ["/5008", "/5009"]
    assert len(log.since(0, Filter().wants, 3)) == 3
