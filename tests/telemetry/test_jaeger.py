"""Traces in Jaeger's form."""

import msgspec
import pytest

from tests.telemetry.test_traces import API, SHOP, WEB, store
from weft.telemetry.jaeger import BadQuery, answer, trace_of, trace_value

KEPT = store(WEB, API)


def ask(path: str, **query: str) -> object:
    value = answer(KEPT, path, query)
    return value["data"] if value else None


def test_lists() -> None:
    assert ask("services") == ("api", "web")
    assert ask("services/api/operations") == ["GET /items"]
    assert ask("operations", service="web") == [{"name": "GET /", "spanKind": "server"}]
    assert ask("dependencies") == [{"parent": "web", "child": "api", "callCount": 1}]
    assert ask("nothing") is None


def test_a_trace() -> None:
    (trace,) = answer(KEPT, "traces", {"service": "api", "limit": "5"})["data"]
    assert trace["traceID"] == "t1"
    assert trace["processes"]["p2"]["serviceName"] == "web"
    first, second = trace["spans"]
    assert (first["startTime"], first["duration"], first["references"]) == (100_000_000, 30_000, [])
    assert second["references"] == [{"refType": "CHILD_OF", "traceID": "t1", "spanID": "a"}]
    assert {"key": "http.status_code", "type": "string", "value": "503"} in second["tags"]


def test_searching() -> None:
    assert ask("traces", service="api", tags='{"http.status_code":"503"}')
    assert ask("traces", service="api", tags='{"error":"true"}') == []
    assert ask("traces", service="api", minDuration="31ms") == []
    assert ask("traces", service="api", maxDuration="0.031s")
    assert ask("traces", start="100000001") == []


NOW = {"start": "99000000", "end": "101000000"}
"""Microseconds around the trace that is kept."""


@pytest.mark.parametrize(
    "query",
    [
        # Grafana's data source: what its form has, without what is empty.
        {"service": "web", "operation": "GET /", "lookback": "custom", "limit": "20", **NOW},
        {"service": "api", "tags": '{"http.status_code":"503"}', "minDuration": "1ms",
         "maxDuration": "1.2s", "lookback": "custom", **NOW},
        # Kiali: whole seconds, durations in microseconds.
        {"service": "api", "minDuration": "1000us", "limit": "100", **NOW},
    ],
)  # fmt: skip
def test_as_grafana_and_kiali_ask(query: dict[str, str]) -> None:
    found = answer(KEPT, "traces", query)
    assert [trace["traceID"] for trace in found["data"]] == ["t1"]
    assert found["errors"] is None
    outside = {"start": "1000000", "end": "2000000"}
    assert answer(KEPT, "traces", query | outside)["data"] == []


def test_kiali_learns_that_there_are_no_tags_of_clusters() -> None:
    """It asks once with one, and leaves it out when nothing comes."""
    probe = {"service": "web", "tags": '{"istio.cluster_id":"Kubernetes"}', "limit": "100", **NOW}
    assert answer(KEPT, "traces", probe)["data"] == []


@pytest.mark.parametrize(
    "query", [{"tags": "{"}, {"tags": "[]"}, {"minDuration": "fast"}, {"limit": "-1"}]
)
def test_what_cannot_be_read_is_said(query: dict[str, str]) -> None:
    with pytest.raises(BadQuery, match=next(iter(query))):
        answer(KEPT, "traces", query)


def test_one_by_its_id() -> None:
    long = store(WEB)
    assert answer(long, "traces/zz", {}) is None


def test_what_a_client_reads_is_what_was_kept() -> None:
    failed = msgspec.structs.replace(API, error=True, message="boom")
    trace = store(WEB, failed).get("t1")
    assert trace is not None
    again = trace_of(trace_value(trace))
    assert again.spans["b"].error
    assert again.spans["b"].message == "boom"
    assert [msgspec.structs.replace(s, start=0) for s in again.spans.values()] == [
        msgspec.structs.replace(s, start=0) for s in trace.spans.values()
    ]


def test_who_made_a_span_stands_with_its_process() -> None:
    other = msgspec.structs.replace(SHOP, span_id="d", resource=(("weft.workload", "shop-v2"),))
    (trace,) = answer(store(SHOP, other), "traces", {"service": "shop.team"})["data"]
    told = {each["processID"]: each["spanID"] for each in trace["spans"]}
    assert {told[name]: each["tags"][0]["value"] for name, each in trace["processes"].items()} == {
        "c": "shop-v1",
        "d": "shop-v2",
    }
    assert {each["serviceName"] for each in trace["processes"].values()} == {"shop.team"}
    assert trace_of(trace).spans["c"] == SHOP
