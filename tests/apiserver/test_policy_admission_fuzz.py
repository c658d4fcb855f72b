"""Policies, bindings, webhook configurations, quotas and answers that nobody thought of: each is
stored or refused, and what is stored never makes a write a bug."""

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("re2")

import orjson

from tests.apiserver.support import Api, config_map, deployment, kind, pod, service
from tests.apiserver.test_policy_admission import Rules, binding, policy
from tests.apiserver.test_resources_fuzz import mutated
from tests.examples import examples
from weft.api.errors import ApiError
from weft.apiserver.access import Review, User
from weft.apiserver.policy_admission import PolicyAdmission, Surroundings
from weft.apiserver.webhook_admission import WebhookAdmission
from weft.apiserver.webhook_client import CallFailed
from weft.apiserver.webhook_review import Answer, BadAnswer, answer, patched

RULE = {
    "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*", "*/*"], "operations": ["*"],
}  # fmt: skip
HOOK = {
    "name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [RULE],
    "clientConfig": {"url": "https://a/"}, "failurePolicy": "Ignore",
    "objectSelector": {"matchLabels": {"a": "b"}},
    "matchConditions": [{"name": "x", "expression": "object.metadata.name != 'a'"}],
}  # fmt: skip
PARAMS = {"apiVersion": "v1", "kind": "ConfigMap"}
QUOTA = {
    "metadata": {"name": "q"},
    "spec": {
        "hard": {"pods": "3", "requests.cpu": "2", "count/configmaps": "100", "services": "1"},
        "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]},
    },
}  # fmt: skip
SAMPLES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("validatingadmissionpolicies", policy(
        "object.metadata.name != params.data.x && variables.v == 1", on=RULE,
        variables=[{"name": "v", "expression": "1"}], paramKind=PARAMS,
        matchConditions=[{"name": "m", "expression": "has(object.spec)"}],
        auditAnnotations=[{"key": "k", "valueExpression": "'v'"}],
    )),
    ("validatingadmissionpolicybindings", binding(
        paramRef={"name": "a", "parameterNotFoundAction": "Deny"}, matchResources={
            "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]},
            "resourceRules": [RULE]},
    )),
    ("validatingwebhookconfigurations", {"metadata": {"name": "w"}, "webhooks": [HOOK]}),
    ("mutatingwebhookconfigurations", {"metadata": {"name": "w"}, "webhooks": [HOOK]}),
    ("resourcequotas", QUOTA),
)  # fmt: skip
WRITES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("pods", pod(priorityClassName="high")), ("deployments", deployment()),
    ("services", service()), ("configmaps", config_map("a", x="y")),
)  # fmt: skip


class Nobody:
    """A webhook client without a network."""

    async def call(self, *_: Any) -> bytes:
        raise CallFailed("nobody is there")


def guarded(api: Api) -> None:
    around = Surroundings(api.store, Rules())
    chain, client = api.resources.chain, Nobody()
    for phase, hooks in (("mutating", chain.mutating), ("validating", chain.validating)):
        hooks.append(WebhookAdmission(phase, api.store, client, around, lambda: "u"))  # type: ignore[arg-type]
    chain.validating.append(PolicyAdmission(api.store, api.resources.definitions, around))


def sent(obj: Any) -> Any:
    """As the server reads it from the wire."""
    return orjson.loads(json.dumps(obj))


def check_refusal(error: ApiError) -> None:
    """In words; 500 only for webhooks that cannot be asked."""
    webhook = error.code == 500 and "failed calling webhook" in error.message
    assert error.code in (400, 403, 404, 409, 413, 422) or webhook, error


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_stored_decides_and_never_breaks(api: Api, seed: int) -> None:
    guarded(api)
    choose = random.Random(seed)
    stored = decided = 0
    unchanged = [True]
    for _ in range(300):
        plural, sample = choose.choice(SAMPLES)
        try:
            made = await api.create(plural, sent(mutated(sample, choose)))
        except ApiError as error:
            check_refusal(error)
            continue
        stored += 1
        for what, obj in WRITES:
            before = api.store.revision
            try:
                await api.create(what, sent(mutated(obj, choose)) if choose.random() < 0.3 else obj)
                decided += 1
            except ApiError as error:
                check_refusal(error)
                unchanged.append(api.store.revision == before)
        await api.client.delete(kind(plural), made["metadata"]["name"],
                                "default" if kind(plural).namespaced else "")  # fmt: skip
        for what, obj in WRITES:
            with contextlib.suppress(ApiError):
                await api.client.delete(kind(what), obj["metadata"]["name"], "default")
    assert all(unchanged)
    assert stored > 3
    assert decided > 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
responses = st.dictionaries(
    st.sampled_from(["uid", "allowed", "patch", "patchType", "status", "warnings",
                     "auditAnnotations"]), json_values | st.just("u") | st.just("JSONPatch"),
)  # fmt: skip


@examples(300)
@given(responses | json_values, st.sampled_from(["mutating", "validating"]))
def test_any_answer_is_one_or_is_refused(response: Any, phase: Any) -> None:
    head = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}
    try:
        raw = orjson.dumps(head | {"response": response})
    except (TypeError, orjson.JSONEncodeError):
        return  # numbers that JSON here does not know
    try:
        found = answer(raw, "u", phase)
    except BadAnswer:
        return
    assert isinstance(found, Answer)


@examples(300)
@given(st.binary(max_size=40))
def test_bytes_are_no_answer(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        answer(raw, "u", "mutating")


operations = st.fixed_dictionaries(
    {}, optional={
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
        "path": st.sampled_from(["", "/", "/metadata", "/metadata/name", "/data/a", "/kind", "x",
                                 "/data/-", "/metadata/labels/a~1b", "/data/a/0"]),
        "from": st.sampled_from(["/metadata", "/data/a", "/nothing"]),
        "value": json_values,
    },
)  # fmt: skip


@examples(300)
@given(st.lists(operations | json_values, max_size=4))
def test_any_patch_fits_or_is_refused(found: list[Any]) -> None:
    maps = kind("configmaps")
    obj = {"kind": "ConfigMap", "apiVersion": "v1"} | config_map("a", a="b")
    asked = Review("CREATE", maps, "default", "a", obj, None, User("u"))
    try:
        made = patched(obj, found, asked, "v1")
    except BadAnswer:
        return
    assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
    assert isinstance(made["metadata"], dict)
