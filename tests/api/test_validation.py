"""Validation as the server and `weft apply` call it: order, merging, dropping, updates."""

import copy
from typing import Any

from tests.api.test_structure import DEPLOYMENT, POD, ROUTES, SERVICE, kind_of
from weft.api.defaults import default
from weft.api.prepare import prepare_create
from weft.api.validation import (
    check_manifest,
    drop_unknown,
    structure_errors,
    validate_create,
    validate_update,
)


def made(obj: dict[str, Any]) -> dict[str, Any]:
    kind = kind_of(obj)
    return prepare_create(kind, default(kind, copy.deepcopy(obj)), "u")


def test_the_articles_routes() -> None:
    """A weight without a destination: what is missing, what does not belong, how to write it."""
    routes = [
        {"destination": {"host": "my-service"}},
        {"weight": 100, "namespace": "default", "subset": "v1"},
    ]
    body = {**ROUTES, "spec": {"hosts": ["my-service"], "http": [{"route": routes}]}}
    errors = structure_errors(kind_of(ROUTES), body)
    assert [e.message for e in errors if e.kind == "Unknown"] == [
        'unknown field "spec.http[0].route[1].namespace"',
        'unknown field "spec.http[0].route[1].subset"',
    ]
    (missing,) = [e for e in errors if e.kind == "Required"]
    assert missing.message == "spec.http[0].route[1].destination: Required value"
    assert missing.reason == "FieldValueRequired"
    assert "- {destination: {host: my-service, subset: v1}, weight: 100}" in missing.suggestion


def test_ignored_unknown_fields_are_dropped() -> None:
    body = {**POD, "spec": {**POD["spec"], "nonsense": {"a": 1}}, "more": 1}
    errors = structure_errors(kind_of(POD), body)
    assert len(errors) == 2
    assert drop_unknown(body, errors) == POD
    assert "more" in body


def test_a_wrong_type_ends_the_check() -> None:
    body = {**DEPLOYMENT, "spec": {"replicas": "x"}}
    errors = validate_create(kind_of(DEPLOYMENT), body)
    assert {e.path for e in errors} == {"spec.replicas", "spec.selector", "spec.template"}


def test_the_same_error_is_reported_once() -> None:
    errors = check_manifest(kind_of(DEPLOYMENT), {**DEPLOYMENT, "spec": {"template": {}}})
    paths = [e.path for e in errors]
    assert sorted(paths) == ["spec.selector", "spec.template.spec.containers"]


def test_checking_leaves_the_manifest_alone() -> None:
    before = copy.deepcopy(DEPLOYMENT)
    check_manifest(kind_of(DEPLOYMENT), DEPLOYMENT)
    assert before == DEPLOYMENT


def test_several_errors_at_once() -> None:
    body = {**SERVICE, "spec": {"ports": [{"port": 0}, {"port": 80}]}}
    errors = check_manifest(kind_of(SERVICE), body)
    assert [e.message for e in errors] == [
        "spec.ports[0].name: Required value",
        "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        "spec.ports[1].name: Required value",
    ]


def test_updates() -> None:
    kind, old = kind_of(DEPLOYMENT), made(DEPLOYMENT)
    new = copy.deepcopy(old)
    assert validate_update(kind, new, old) == []
    new["spec"]["selector"] = {"matchLabels": {"app": "y"}}
    new["spec"]["template"]["metadata"]["labels"] = {"app": "y"}
    new["metadata"]["name"] = "other"
    errors = validate_update(kind, new, old)
    assert [(e.path, e.detail) for e in errors] == [
        ("metadata.name", "field is immutable"),
        ("spec.selector", "field is immutable"),
    ]
