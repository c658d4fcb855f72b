"""Spans in OTLP's JSON."""

from typing import Any

import pytest

from weft.telemetry.otlp_json import trace_request
from weft.telemetry.traces import spans


def body(**span: Any) -> Any:
    made = {"traceId": "5b8e" * 8, "spanId": "00" * 7 + "01", "name": "work",
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
            **span}  # fmt: skip
    return {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "lib"}, "spans": [made]}]}]}


def test_ids_are_hexadecimal_and_names_those_of_today() -> None:
    (span,) = spans(trace_request(body(kind=2, parentSpanId="00" * 7 + "02", newField=1)))
    assert (span.trace_id, span.span_id, span.parent_id) == ("5b8e" * 8, "00" * 7 + "01",
                                                             "00" * 7 + "02")  # fmt: skip
    assert (span.kind, span.duration_ms) == ("server", 1000)


@pytest.mark.parametrize(
    "bad", [1, [], {"resourceSpans": 1}, body(traceId="xyz"), body(startTimeUnixNano={})]
)
def test_what_is_none_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the parser's own words
        trace_request(bad)
