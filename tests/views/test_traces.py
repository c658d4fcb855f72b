"""Traces as a person sees them."""

import msgspec

from tests.telemetry.test_traces import API, WEB, store
from weft.telemetry.traces import Search
from weft.views.traces import trace_rows, waterfall


def test_a_list() -> None:
    assert trace_rows(store(WEB, API).search(Search(), 9)) == [
        "TRACE   BEGAN          SERVICE   NAME    SPANS   TOOK      OUTCOME",
        "t1      00:01:40.000   web       GET /   2       30.0 ms   ok",
    ]


def test_a_waterfall() -> None:
    failed = msgspec.structs.replace(API, error=True)
    trace = store(WEB, failed).get("t1")
    assert trace is not None
    first, root, child = waterfall(trace)
    assert first == "t1  30.0 ms"
    assert root == f"web: GET /         {'█' * 40}    30.0 ms"
    assert child == f"  api: GET /items  {' ' * 13}{'█' * 13}{' ' * 14}    10.0 ms  status 503"


def test_circles_end() -> None:
    one = msgspec.structs.replace(WEB, parent_id="b")
    trace = store(one, API).get("t1")
    assert trace is not None
    assert len(waterfall(trace)) == 3
