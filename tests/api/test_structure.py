"""Shapes: every error with its place, and the quick way agreeing with the thorough one."""

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.api import registry
from weft.api.field_errors import FieldError
from weft.api.kinds import Kind
from weft.api.structure import fits, structural_errors
from weft.api.validation import check_manifest, validate_create, validate_update

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"app": "x"}},
    "spec": {
        "containers": [
            {
                "name": "c",
                "image": "i:1",
                "ports": [{"name": "http", "containerPort": 80}],
                "env": [{"name": "A", "value": "b"}],
                "resources": {"limits": {"cpu": 1, "memory": "1Gi"}},
                "livenessProbe": {"httpGet": {"path": "/", "port": "http"}},
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            }
        ],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "tolerations": [{"key": "k", "operator": "Exists"}],
    },
}
ROUTES: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "r"},
    "spec": {
        "hosts": ["r"],
        "http": [
            {
                "match": [{"uri": {"prefix": "/"}, "headers": {"x": {"exact": "y"}}}],
                "route": [
                    {"destination": {"host": "a", "subset": "v1"}, "weight": 90},
                    {"destination": {"host": "a", "port": {"number": 80}}, "weight": 10},
                ],
                "retries": {"attempts": 2, "perTryTimeout": "1s"},
                "timeout": "3s",
                "fault": {"abort": {"httpStatus": 500, "percentage": {"value": 0.5}}},
            }
        ],
        "tcp": [{"match": [{"port": 1}], "route": [{"destination": {"host": "a"}}]}],
    },
}
RULE: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "DestinationRule",
    "metadata": {"name": "r"},
    "spec": {
        "host": "a",
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
        "trafficPolicy": {
            "loadBalancer": {
                "consistentHash": {"httpCookie": {"name": "c", "ttl": "0s"}},
                "localityLbSetting": {"distribute": [{"from": "a/*", "to": {"b/*": 100}}]},
            },
            "outlierDetection": {"consecutive5xxErrors": 3, "interval": "1s"},
            "portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE"}}],
        },
    },
}
GATEWAY: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "g"},
    "spec": {
        "selector": {"istio": "ingressgateway"},
        "servers": [
            {
                "port": {"number": 443, "name": "https", "protocol": "HTTPS"},
                "hosts": ["*"],
                "tls": {"mode": "SIMPLE", "credentialName": "c"},
            }
        ],
    },
}
ENTRY: dict[str, Any] = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "e"},
    "spec": {
        "hosts": ["a.example.com"],
        "addresses": ["10.0.0.0/24"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": "1.2.3.4", "ports": {"http": 8080}}],
    },
}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {
        "selector": {
            "matchLabels": {"app": "x"},
            "matchExpressions": [{"key": "app", "operator": "In", "values": ["x"]}],
        },
        "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": POD["spec"]},
    },
}
SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s"},
    "spec": {"selector": {"app": "x"}, "ports": [{"port": 80, "targetPort": "http"}]},
}
SAMPLES = (POD, ROUTES, RULE, GATEWAY, ENTRY, DEPLOYMENT, SERVICE)


def kind_of(obj: dict[str, Any]) -> Kind:
    found = registry.kind_of(obj)
    assert found is not None
    return found


def errors(obj: dict[str, Any], **spec: Any) -> list[FieldError]:
    changed = copy.deepcopy(obj)
    changed["spec"].update(spec)
    return structural_errors(kind_of(obj), changed)


@pytest.mark.parametrize("obj", SAMPLES, ids=lambda o: o["kind"])
def test_samples_are_valid(obj: dict[str, Any]) -> None:
    assert fits(kind_of(obj), obj)
    assert check_manifest(kind_of(obj), obj) == []


def test_unknown_fields_in_kubernetes_words() -> None:
    found = errors(POD, replicas=1, containers=[{"name": "c", "image": "i", "imagee": "x"}])
    assert [e.message for e in found] == [
        'unknown field "spec.containers[0].imagee"',
        'unknown field "spec.replicas"',
    ]
    assert found[0].suggestion == "did you mean `image`?"


def test_a_field_in_the_wrong_place_is_told_its_right_one() -> None:
    assert errors(POD, livenessProbe={})[0].suggestion == "`livenessProbe` belongs in `containers`"
    container = {"name": "c", "image": "i", "hostNetwork": True}
    (found,) = errors(POD, containers=[container])
    assert found.suggestion == "`hostNetwork` belongs in `spec`, 2 levels up"


def test_types() -> None:
    found = errors(
        DEPLOYMENT, replicas="3", paused="yes", template={"spec": {"containers": {"name": "c"}}}
    )
    assert [(e.path, e.kind, e.suggestion) for e in found] == [
        ("spec.template.spec.containers", "TypeInvalid", "it is a list: start its items with `-`"),
        ("spec.replicas", "TypeInvalid", "leave out the quotes"),
        ("spec.paused", "TypeInvalid", "leave out the quotes"),
    ]
    assert found[1].message == (
        'spec.replicas: Invalid value: "string": must be of type integer: "string"'
    )


def test_enums_missing_fields_and_bounds() -> None:
    (found,) = errors(POD, restartPolicy="always")
    assert found.message == (
        'spec.restartPolicy: Unsupported value: "always": '
        'supported values: "Always", "Never", "OnFailure"'
    )
    assert found.suggestion == "did you mean `Always`?"
    (found,) = errors(POD, containers=[{"image": "i"}])
    assert found.message == "spec.containers[0].name: Required value"
    (found,) = errors(DEPLOYMENT, replicas=2**31)
    assert (found.path, found.kind) == ("spec.replicas", "Invalid")
    (found,) = errors(GATEWAY, servers=[{"port": {"number": 70000, "name": "x"}, "hosts": ["*"]}])
    assert "between 1 and 65535" in found.message


def test_null_is_absent_except_in_lists() -> None:
    assert errors(POD, restartPolicy=None, volumes=None) == []
    (found,) = errors(POD, containers=[None])
    assert (found.path, found.kind) == ("spec.containers[0]", "TypeInvalid")
    (found,) = errors(ROUTES, http=[{"route": [{"destination": None}]}])
    assert (found.path, found.kind) == ("spec.http[0].route[0].destination", "Required")


def test_status_may_leave_out_what_it_will() -> None:
    pod = {**POD, "status": {"containerStatuses": [{"name": "c"}], "conditions": [{}]}}
    assert fits(kind_of(POD), pod)
    wrong = {**POD, "status": {"containerStatuses": [{"nam": "c"}]}}
    (found,) = structural_errors(kind_of(POD), wrong)
    assert found.path == "status.containerStatuses[0].nam"


def test_a_direct_response_needs_its_status() -> None:
    (found,) = errors(ROUTES, http=[{"directResponse": {"body": {"string": "x"}}}])
    assert (found.path, found.kind) == ("spec.http[0].directResponse.status", "Required")


def test_unusual_keys_in_paths() -> None:
    pod = {**POD, "metadata": {"name": "p", "labels": {"a.b/c": 1}}}
    (found,) = structural_errors(kind_of(POD), pod)
    assert found.path == "metadata.labels[a.b/c]"


# ------------------------------------------------------------------ whatever users write

JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=8),
    st.just([]), st.just({}), st.just([{}]), st.just({"a": 1}), st.just("*"), st.just(["*", "x"]),
)  # fmt: skip


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [at, *(p for key, item in items for p in places(item, (*at, key)))]


def with_change(obj: dict[str, Any], at: tuple[Any, ...], value: Any, name: str) -> dict[str, Any]:
    changed = copy.deepcopy(obj)
    target: Any = changed
    for step in at[:-1]:
        target = target[step]
    if name and isinstance(target, dict):
        target[name] = value
    else:
        target[at[-1]] = value
    return changed


@examples(400)
@given(st.sampled_from(SAMPLES), st.integers(0, 10**6), JUNK, st.sampled_from(["", "", "", "new"]))
def test_no_change_of_one_value_raises(
    obj: dict[str, Any], seed: int, value: Any, name: str
) -> None:
    """Both ways agree on what is valid, and the rules of the kind bear every valid shape."""
    choice = [p for p in places(obj) if p]
    changed = with_change(obj, random.Random(seed).choice(choice), value, name)
    kind = kind_of(obj)
    walked = structural_errors(kind, changed)
    assert fits(kind, changed) is (not walked)
    check_manifest(kind, changed)
    validate_create(kind, changed)
    if not walked:
        validate_update(kind, changed, obj)
        validate_update(kind, obj, changed)
    for error in walked:
        assert error.message
