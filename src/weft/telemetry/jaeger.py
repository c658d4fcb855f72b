"""Traces as Jaeger's query service gives them, for Grafana, Kiali and Jaeger's own page.

Source: Jaeger, "APIs", the internal HTTP JSON that its user interface uses.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from weft.telemetry.traces import Search, Span, Trace, TraceStore

LIMIT_DEFAULT = 20
LIMIT_MAX = 1500
MICROSECONDS = 1e6
STATUS_MESSAGE = "otel.status_description"
_UNITS_MS = {"us": 0.001, "µs": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0, "h": 3_600_000.0}


class BadQuery(Exception):
    """A parameter that cannot be read: says which, and how to write it."""


def answer(store: TraceStore, path: str, query: Mapping[str, str]) -> Any:
    """The JSON value of a page below `/api`; None when there is no such page or trace. BadQuery."""
    match path.strip("/").split("/"):
        case ["services"]:
            return _data(store.services())
        case ["services", service, "operations"]:
            return _data([name for name, _ in store.operations(service)])
        case ["operations"]:
            named = store.operations(query.get("service", ""))
            return _data([{"name": name, "spanKind": kind} for name, kind in named])
        case ["traces"]:
            limit = min(LIMIT_MAX, int(_number(query, "limit", LIMIT_DEFAULT)))
            found = store.search(search(query), limit)
            return _data([trace_value(trace) for trace in found])
        case ["traces", trace_id]:
            trace = store.get(trace_id.lower().zfill(32))
            return None if trace is None else _data([trace_value(trace)])
        case ["dependencies"]:
            end = _number(query, "endTs", 0) / 1000 or float("inf")
            start = end - _number(query, "lookback", 0) / 1000 if query.get("lookback") else 0.0
            calls = sorted(store.calls(start, end).items())
            return _data([{"parent": a, "child": b, "callCount": n} for (a, b), n in calls])
    return None


def _data(values: Sequence[Any]) -> Any:
    return {"data": values, "total": len(values), "limit": 0, "offset": 0, "errors": None}


def search(query: Mapping[str, str]) -> Search:
    """What Jaeger's parameters ask for. BadQuery."""
    tags = _tags(query.get("tags", ""))
    failed = tags.pop("error", "") == "true"
    return Search(
        service=query.get("service", ""),
        operation=query.get("operation", ""),
        failed=failed,
        slower_ms=_duration_ms(query, "minDuration"),
        faster_ms=_duration_ms(query, "maxDuration"),
        tags=tags,
        after=_number(query, "start", 0) / MICROSECONDS,
        before=_number(query, "end", 0) / MICROSECONDS or float("inf"),
    )


def _tags(text: str) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise BadQuery('tags: is no JSON object such as {"http.status_code":"503"}') from error
    if not isinstance(found, dict):
        raise BadQuery("tags: is no JSON object")
    return {str(key): str(value) for key, value in found.items()}


def _number(query: Mapping[str, str], name: str, default: float) -> float:
    text = query.get(name) or ""
    if not text:
        return default
    if not text.isascii() or not text.isdecimal():
        raise BadQuery(f"{name}: `{text}` is no number")
    return float(text)


def _duration_ms(query: Mapping[str, str], name: str) -> float:
    text = query.get(name) or ""
    if not text:
        return 0
    unit = text.lstrip("0123456789.")
    try:
        return float(text[: len(text) - len(unit)]) * _UNITS_MS[unit]
    except (ValueError, KeyError):
        raise BadQuery(f"{name}: `{text}` is no duration; write 100ms or 1.5s") from None


def trace_value(trace: Trace) -> Any:
    """A trace as Jaeger's JSON."""
    makers = sorted({(span.service, span.resource) for span in trace.spans.values()})
    processes = {maker: f"p{number}" for number, maker in enumerate(makers, 1)}
    return {
        "traceID": trace.trace_id,
        "spans": [
            _span_value(span, processes[span.service, span.resource])
            for span in sorted(trace.spans.values(), key=lambda s: (s.start, s.span_id))
        ],
        "processes": {
            process: {"serviceName": service, "tags": [_tag(*each) for each in about]}
            for (service, about), process in processes.items()
        },
        "warnings": [f"{trace.dropped} more spans found no room"] if trace.dropped else None,
    }


def _span_value(span: Span, process: str) -> Any:
    tags = [_tag(key, value) for key, value in span.attributes]
    if span.kind:
        tags.append(_tag("span.kind", span.kind))
    if span.error:
        tags.append({"key": "error", "type": "bool", "value": True})
    if span.message:
        tags.append(_tag(STATUS_MESSAGE, span.message))
    parent = {"refType": "CHILD_OF", "traceID": span.trace_id, "spanID": span.parent_id}
    return {
        "traceID": span.trace_id,
        "spanID": span.span_id,
        "operationName": span.name,
        "references": [parent] if span.parent_id else [],
        "startTime": round(span.start * MICROSECONDS),
        "duration": round(span.duration_ms * 1000),
        "tags": tags,
        "logs": [
            {
                "timestamp": round(note.at * MICROSECONDS),
                "fields": [_tag("event", note.name), *(_tag(k, v) for k, v in note.attributes)],
            }
            for note in span.notes
        ],
        "processID": process,
        "warnings": None,
    }


def _tag(key: str, value: str) -> Any:
    return {"key": key, "type": "string", "value": value}


def trace_of(value: Any) -> Trace:
    """A trace from what `trace_value` made of it."""
    found = Trace(value["traceID"])
    for each in value["spans"]:
        span = _span_of(each, value["processes"][each["processID"]])
        found.spans[span.span_id] = span
    return found


def _span_of(value: Any, process: Any) -> Span:
    tags = {tag["key"]: tag["value"] for tag in value["tags"]}
    error, kind = tags.pop("error", False), tags.pop("span.kind", "")
    return Span(
        trace_id=value["traceID"],
        span_id=value["spanID"],
        parent_id=value["references"][0]["spanID"] if value["references"] else "",
        service=process["serviceName"],
        name=value["operationName"],
        kind=kind,
        start=value["startTime"] / MICROSECONDS,
        duration_ms=value["duration"] / 1000,
        error=bool(error),
        message=tags.pop(STATUS_MESSAGE, ""),
        attributes=tuple(tags.items()),
        resource=tuple((tag["key"], tag["value"]) for tag in process["tags"]),
    )
