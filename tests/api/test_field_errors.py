"""Errors about fields in Kubernetes' words."""

import pytest

from weft.api import field_errors as f
from weft.api.errors import ApiError


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (("spec", "http", 0, "route", 1), "spec.http[0].route[1]"),
        (("metadata", "labels", "a.b/c"), "metadata.labels[a.b/c]"),
        ((0, "a"), "[0].a"),
        ((), ""),
    ],
)
def test_paths(at: tuple[str | int, ...], text: str) -> None:
    assert f.path_text(at) == text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (f.required(("a",)), "a: Required value"),
        (f.required(("a",), "why"), "a: Required value: why"),
        (f.invalid(("a",), {"b": 1}, "why"), 'a: Invalid value: {"b":1}: why'),
        (f.invalid(("a",), "x", "why"), 'a: Invalid value: "x": why'),
        (f.forbidden(("a",), "why"), "a: Forbidden: why"),
        (f.duplicate(("a", 1), "x"), 'a[1]: Duplicate value: "x"'),
        (f.not_found(("a",), "x"), 'a: Not found: "x"'),
        (f.not_supported(("a",), "x", ("y", "z")),
         'a: Unsupported value: "x": supported values: "y", "z"'),
        (f.error(("a", "b"), "Unknown"), 'unknown field "a.b"'),
    ],
)  # fmt: skip
def test_messages(error: f.FieldError, message: str) -> None:
    assert error.message == message
    assert error.reason.startswith("FieldValue")


def test_api_errors_are_status_objects_and_back() -> None:
    error = ApiError(404, "NotFound", "gone", {"name": "x"})
    status = error.status()
    assert status["kind"] == "Status"
    again = ApiError.from_status(status)
    assert (again.code, again.reason, again.message, again.details) == (
        404,
        "NotFound",
        "gone",
        {"name": "x"},
    )


@pytest.mark.parametrize(
    "steps",
    [("spec", "http", 0, "match", 12, "uri"), ("metadata", "annotations", "a.b/c"), (), ("kind",)],
)
def test_paths_are_read_as_they_are_written(steps: tuple[str | int, ...]) -> None:
    assert f.path_steps(f.path_text(steps)) == steps
