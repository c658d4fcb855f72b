"""What a graph is drawn from: busy, silent and refused edges; a service over time."""

from tests.telemetry.test_traffic import START, counted, tag, took
from weft.telemetry.signals import EdgeTraffic, TrafficDocument
from weft.telemetry.topology import service_series, topology
from weft.telemetry.traffic import Traffic


def document(traffic: Traffic, now: float, seconds: float = 60) -> TrafficDocument:
    found = traffic.edges(now, seconds).items()
    return TrafficDocument(seconds, 5, tuple(EdgeTraffic(key, counts) for key, counts in found))


def test_an_edge_is_silent_when_nothing_passed_of_late() -> None:
    traffic = Traffic(START)
    traffic.report("n1", [counted(5, tag(to="old"))], START + 1)
    now = START + 600
    traffic.report("n1", [counted(5, tag(to="old")), counted(7, tag(to="new"))], now - 15)
    found = topology(traffic, document(traffic, now), now)
    assert [each.edge.destination for each in found.traffic.edges] == ["new"]
    assert [(each.edge.destination, each.last_at) for each in found.silent] == [("old", START + 1)]


def test_refused_calls_are_told_by_edge_and_status() -> None:
    traffic = Traffic(START)
    samples = [
        counted(3, tag("403", to="unknown")),
        counted(9, tag("401", source="job", to="unknown")),
        counted(4, tag("404", to="unknown")),
        counted(100, tag()),
    ]
    traffic.report("n1", samples, START + 1)
    found = topology(traffic, document(traffic, START + 20), START + 20).refused
    assert [(each.edge.source, each.code, each.calls) for each in found] == [
        ("job", "401", 9),
        ("web", "403", 3),
    ]


def test_a_service_over_time_as_a_whole_and_by_workload() -> None:
    traffic = Traffic(START)
    traffic.report("n1", [counted(10, tag()), took(40, 10, 0, 0)], START + 1)
    late = [counted(10, tag()), took(40, 10, 0, 0), counted(5, tag("500", to="api-v2"))]
    traffic.report("n1", late, START + 16)
    found = service_series(traffic, "shop", "api", START + 20, 20)
    assert found.step_seconds == 5
    whole, v1, v2 = found.workloads
    assert (whole.workload, v1.workload, v2.workload) == ("", "api", "api-v2")
    assert whole.rate == (2.0, 0.0, 0.0, 1.0)
    assert whole.errors == v2.errors == (0.0, 0.0, 0.0, 1.0)
    assert v1.rate == (2.0, 0.0, 0.0, 0.0)
    assert v1.p50_ms[0] is not None
    assert v1.p50_ms[1] is None
    assert service_series(traffic, "shop", "nobody", START + 20, 20).workloads == ()
