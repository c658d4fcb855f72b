"""The audit log's policy and what its events say."""

from typing import Any

import orjson
import pytest

from weft.apiserver import audit
from weft.apiserver.access import Attributes, Decision, User
from weft.apiserver.audit import PolicyError, Trail, parse_policy

ALICE = User("alice", ("dev", "system:authenticated"))
PODS = Attributes("create", version="v1", resource="pods", namespace="shop", name="p")


def policy(*rules: dict[str, Any], **more: Any) -> audit.Policy:
    return parse_policy(
        {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **more}
    )


def level(rule: dict[str, Any], wanted: Attributes = PODS, user: User | None = ALICE) -> str:
    return audit.judge(policy({"level": "Request", **rule}), user, wanted).level


@pytest.mark.parametrize(
    ("rule", "matches"),
    [
        ({}, True),
        ({"users": ["alice"]}, True),
        ({"users": ["bob"]}, False),
        ({"userGroups": ["dev"]}, True),
        ({"userGroups": ["ops"]}, False),
        ({"verbs": ["create", "delete"]}, True),
        ({"verbs": ["get"]}, False),
        ({"namespaces": ["shop"]}, True),
        ({"namespaces": [""]}, False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, True),
        ({"resources": [{"group": ""}]}, True),
        ({"resources": [{"group": "apps"}]}, False),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["p"]}]}, True),
        ({"resources": [{"group": "", "resources": ["pods"], "resourceNames": ["q"]}]}, False),
        ({"nonResourceURLs": ["*"]}, False),
    ],
)
def test_what_a_rule_matches(rule: dict[str, Any], matches: bool) -> None:
    assert level(rule) == ("Request" if matches else "None")


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("pods/log", True), ("pods/*", True), ("*/log", True), ("*", True), ("pods", False)],
)
def test_subresources(pattern: str, matches: bool) -> None:
    log = Attributes("get", resource="pods", subresource="log", namespace="shop", name="p")
    rule = {"resources": [{"group": "", "resources": [pattern]}]}
    assert (level(rule, log) == "Request") is matches


def test_paths_and_the_unknown() -> None:
    path = Attributes("get", path="/healthz/ping")
    assert level({"nonResourceURLs": ["/healthz*"]}, path) == "Request"
    assert level({"nonResourceURLs": ["/version"]}, path) == "None"
    assert level({"users": ["alice"]}, path, None) == "None"
    assert level({}, path, None) == "Request"


def test_the_first_rule_counts_and_stages_add_up() -> None:
    found = policy(
        {"level": "None", "users": ["bob"]},
        {"level": "Metadata", "omitStages": ["Panic"]},
        omitStages=["RequestReceived"],
    )
    assert audit.judge(found, User("bob"), PODS).level == "None"
    verdict = audit.judge(found, ALICE, PODS)
    assert (verdict.level, verdict.omit_stages) == ("Metadata", {"Panic", "RequestReceived"})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"kind": "Policy", "rules": [{"level": "Metadata"}]}, "audit.k8s.io/v1"),
        ({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": []}, "no rules"),
        ({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "All"}]}, "level"),
        ({"rules": [{"level": "None", "user": ["x"]}]}, "unknown field `user`"),
        (None, "object"),
    ],
)
def test_a_policy_that_makes_no_sense(content: Any, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        parse_policy(content)


def trail(level: Any, wanted: Attributes = PODS, body: bytes = b"") -> Trail:
    return Trail(
        "id", 1_790_000_000.0, "/api/v1/namespaces/shop/pods", "POST", "192.0.2.1", "kubectl",
        user=ALICE, wanted=wanted, decision=Decision(True, "because"), body=body,
        verdict=audit.Verdict(level),
    )  # fmt: skip


def event(of: Trail, code: int = 201, answer: bytes | None = None) -> Any:
    line = audit.event(of, "ResponseComplete", 1_790_000_000.5, code, answer)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return orjson.loads(line)


def test_an_event() -> None:
    pod = b'{"kind":"Pod","metadata":{"name":"p"}}'
    found = event(trail("RequestResponse", body=pod), answer=pod)
    assert found == {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse",
        "auditID": "id", "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/shop/pods", "verb": "create",
        "user": {"username": "alice", "groups": ["dev", "system:authenticated"]},
        "sourceIPs": ["192.0.2.1"], "userAgent": "kubectl",
        "objectRef": {"resource": "pods", "namespace": "shop", "name": "p", "apiVersion": "v1"},
        "responseStatus": {"metadata": {}, "code": 201},
        "requestObject": {"kind": "Pod", "metadata": {"name": "p"}},
        "responseObject": {"kind": "Pod", "metadata": {"name": "p"}},
        "requestReceivedTimestamp": "2026-09-21T14:13:20.000000Z",
        "stageTimestamp": "2026-09-21T14:13:20.500000Z",
        "annotations": {"authorization.k8s.io/decision": "allow",
                        "authorization.k8s.io/reason": "because"},
    }  # fmt: skip
    found = event(trail("Metadata", body=pod), answer=pod)
    assert "requestObject" not in found
    found = event(trail("Request", body=pod), answer=pod)
    assert "requestObject" in found
    assert "responseObject" not in found


def test_a_refusal_says_why() -> None:
    answer = b'{"kind":"Status","status":"Failure","message":"no","reason":"Forbidden"}'
    status = event(trail("Metadata"), 403, answer)["responseStatus"]
    assert (status["code"], status["reason"], status["message"]) == (403, "Forbidden", "no")


@pytest.mark.parametrize(
    ("group", "resource", "sub"),
    [
        ("", "secrets", ""),
        ("", "serviceaccounts", "token"),
        ("authentication.k8s.io", "tokenreviews", ""),
    ],
)
def test_secrets_never_get_into_the_log(group: str, resource: str, sub: str) -> None:
    body = b'{"kind":"X","data":{"password":"aHVudGVyMg=="},"status":{"token":"hunter2"}}'
    wanted = Attributes(
        "create", group=group, resource=resource, subresource=sub, namespace="d", name="x"
    )
    line = audit.event(trail("RequestResponse", wanted, body), "ResponseComplete", 0, 200, body)
    assert b"hunter2" not in line
    assert b"aHVudGVyMg" not in line


def test_secrets_in_lists_of_others_are_left_out() -> None:
    body = b'{"kind":"List","items":[{"kind":"Secret","data":{"a":"aHVudGVyMg=="}},{"kind":"Pod"}]}'
    found = event(trail("RequestResponse", body=body))
    assert found["requestObject"]["items"] == [{"kind": "Secret"}, {"kind": "Pod"}]


def test_large_and_strange_bodies_are_left_out() -> None:
    big = b'{"a":"' + b"x" * audit.BODY_BYTES_MAX + b'"}'
    assert "bytes" in event(trail("Request", body=big))["requestObject"]["omitted"]
    assert event(trail("Request", body=b"k8s\0"))["requestObject"] == {"omitted": "not JSON"}


@pytest.mark.parametrize("step", ['{"a":', '{"items":[', "["])
def test_a_request_is_logged_however_deep_its_body(step: str) -> None:
    depth = 1000 // len([c for c in step if c in "{["])
    closing = "".join({"{": "}", "[": "]"}[c] for c in reversed(step) if c in "{[")
    body = f'{{"deep":{step * depth}1{closing * depth}}}'.encode()
    trail = Trail("1", 0.0, "/x", "POST", "", "", ALICE, wanted=PODS, body=body)
    trail.verdict = audit.Verdict("Request")
    found = orjson.loads(audit.event(trail, "ResponseComplete", 1.0, 201))
    assert found["requestObject"] == {"omitted": "nested too deeply"}
    assert found["user"]["username"] == "alice"
