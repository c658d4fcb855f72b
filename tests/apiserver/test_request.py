"""Paths and queries."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.api.errors import ApiError
from weft.apiserver.request import (
    DeleteOptions,
    attributes,
    continue_token,
    delete_options,
    flag,
    list_options,
    parse_continue,
    parse_target,
    verb_of,
    write_options,
)


@pytest.mark.parametrize(
    ("path", "plural", "namespace", "name", "sub"),
    [
        ("/api/v1/pods", "pods", "", "", ""),
        ("/api/v1/namespaces/d/pods", "pods", "d", "", ""),
        ("/api/v1/namespaces/d/pods/p/log", "pods", "d", "p", "log"),
        ("/api/v1/namespaces/d", "namespaces", "", "d", ""),
        ("/api/v1/namespaces/d/status", "namespaces", "", "d", "status"),
        ("/api/v1/namespaces/d/finalize", "namespaces", "", "d", "finalize"),
        ("/api/v1/namespaces", "namespaces", "", "", ""),
        ("/api/v1/nodes/n/status", "nodes", "", "n", "status"),
        ("/apis/apps/v1/namespaces/d/deployments/w/scale", "deployments", "d", "w", "scale"),
        ("/apis/networking.istio.io/v1alpha3/gateways", "gateways", "", "", ""),
    ],
)
def test_paths_of_resources(path: str, plural: str, namespace: str, name: str, sub: str) -> None:
    target = parse_target(path)
    assert target is not None
    found = (target.kind.plural, target.namespace, target.name, target.subresource)
    assert found == (plural, namespace, name, sub)


@pytest.mark.parametrize(
    "path",
    [
        "/", "/api", "/api/v1", "/api/v2/pods", "/apis/apps", "/apis/apps/v1", "/apis/apps/v2/x",
        "/api/v1/nopes", "/api/v1/pods/p", "/api/v1/namespaces/d/nodes/n",
        "/api/v1/namespaces/d/pods/p/nope", "/api/v1/namespaces/d/pods/p/log/x", "/version",
    ],
)  # fmt: skip
def test_other_paths_are_no_resources(path: str) -> None:
    assert parse_target(path) is None


@examples(100)
@given(st.text(alphabet="/apisv1namespacespodslog", max_size=60))
def test_no_path_raises(path: str) -> None:
    parse_target(f"/api/v1/{path}")


def test_verbs() -> None:
    pods = parse_target("/api/v1/namespaces/d/pods")
    pod = parse_target("/api/v1/namespaces/d/pods/p")
    assert pods
    assert pod
    assert verb_of("GET", pods, {}) == "list"
    assert verb_of("GET", pods, {"watch": "1"}) == "watch"
    assert verb_of("GET", pod, {"watch": "1"}) == "get"
    assert verb_of("DELETE", pods, {}) == "deletecollection"
    for method, target in (("POST", pod), ("PATCH", pods), ("OPTIONS", pod)):
        with pytest.raises(ApiError, match="does not allow this method"):
            verb_of(method, target, {})


@pytest.mark.parametrize(
    ("selector", "name"),
    [
        ("metadata.name=mine", "mine"),
        ("metadata.namespace=d , metadata.name == mine", "mine"),
        ("metadata.name!=mine", ""),
        (r"metadata.name!=x\,metadata.name=mine", ""),
        (r"status.phase!=x\,metadata.name=mine", ""),
        ("metadata.name", ""),
    ],
)
def test_a_list_is_authorized_for_what_it_selects(selector: str, name: str) -> None:
    pods = parse_target("/api/v1/namespaces/d/pods")
    assert pods
    assert attributes(pods, "list", {"fieldSelector": selector}).name == name


@pytest.mark.parametrize("text", ["1", "t", "T", "true", "TRUE", "True", ""])
def test_true_as_go_reads_it(text: str) -> None:
    assert flag({"x": text}, "x")


@pytest.mark.parametrize("text", ["0", "f", "F", "false", "FALSE", "False"])
def test_false_as_go_reads_it(text: str) -> None:
    assert not flag({"x": text}, "x")
    assert not flag({}, "x")


def test_options_refuse_nonsense() -> None:
    for query in (
        {"dryRun": "Some"}, {"fieldValidation": "strict"}, {"force": "yes"},
    ):  # fmt: skip
        with pytest.raises(ApiError):
            write_options(query)
    for query in (
        {"sendInitialEvents": "1"},
        {"sendInitialEvents": "1", "watch": "1"},
        {"resourceVersionMatch": "Newest"},
        {"timeoutSeconds": "x"},
    ):
        with pytest.raises(ApiError):
            list_options(query)
    found = list_options(
        {"watch": "1", "sendInitialEvents": "1", "resourceVersionMatch": "NotOlderThan"}
    )
    assert found.send_initial_events


def test_delete_options_from_body_and_query() -> None:
    body = {"gracePeriodSeconds": 3, "preconditions": {"uid": "u"}, "dryRun": ["All"]}
    found = delete_options({}, body | {"propagationPolicy": "Orphan"})
    assert found == DeleteOptions(True, 3, "Orphan", "u")
    assert delete_options({"gracePeriodSeconds": "0"}, {}) == DeleteOptions(grace_period_seconds=0)
    assert delete_options({"orphanDependents": "true"}, {}).propagation == "Orphan"
    with pytest.raises(ApiError):
        delete_options({}, {"gracePeriodSeconds": "soon"})


@given(st.integers(1, 2**60), st.text(max_size=40))
def test_continue_tokens_come_back(revision: int, rest: str) -> None:
    token = continue_token(revision, f"/registry/core/pods/{rest}")
    found = parse_continue(token, "/registry/core/pods/")
    assert (found.revision, found.after) == (revision, f"/registry/core/pods/{rest}")
    with pytest.raises(ApiError):
        parse_continue(token, "/registry/core/secrets/")


@examples(50)
@given(st.text(max_size=40))
def test_other_tokens_are_refused(text: str) -> None:
    with pytest.raises(ApiError):
        parse_continue(text, "/registry/core/pods/")


@pytest.mark.parametrize("name", ["limit", "timeoutSeconds"])
def test_numbers_that_may_not_be_negative(name: str) -> None:
    with pytest.raises(ApiError, match="must be greater than or equal to 0") as refused:
        list_options({name: "-1"})
    assert refused.value.code == 400
    assert list_options({name: "0"}).limit == 0
