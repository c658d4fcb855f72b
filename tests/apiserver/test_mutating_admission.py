"""MutatingAdmissionPolicies: what they make of objects, and what they refuse."""

from typing import Any

import pytest

pytest.importorskip("re2")

from tests.apiserver.serving import Running
from tests.apiserver.support import deployment, pod

GROUP = "/apis/admissionregistration.k8s.io/v1beta1"
POLICIES = f"{GROUP}/mutatingadmissionpolicies"
BINDINGS = f"{GROUP}/mutatingadmissionpolicybindings"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
PODS = "/api/v1/namespaces/default/pods"


def apply(expression: str) -> dict[str, Any]:
    return {
        "patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}
    }  # fmt: skip


def patch(expression: str) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


def policy(*mutations: Any, on: str = "deployments", name: str = "p", **spec: Any) -> Any:
    group = "" if on == "pods" else "apps"
    rules = [{"apiGroups": [group], "apiVersions": ["v1"], "resources": [on],
              "operations": ["CREATE", "UPDATE"]}]  # fmt: skip
    return {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules},
            "reinvocationPolicy": "Never",
            "mutations": list(mutations),
        }
        | spec,
    }


async def bind(live: Running, made: Any, **spec: Any) -> None:
    name = made["metadata"]["name"]
    code, body = await live.json("POST", POLICIES, json=made)
    assert code == 201, body
    bound = {"metadata": {"name": name}, "spec": {"policyName": name} | spec}
    code, body = await live.json("POST", BINDINGS, json=bound)
    assert code == 201, body


async def test_a_sidecar_is_applied_and_the_rest_is_kept(live: Running) -> None:
    """The example of Kubernetes' documentation, with a condition that keeps it from doing it
    twice; the served versions share the objects."""
    sidecar = (
        "Object{spec: Object.spec{initContainers: [Object.spec.initContainers{"
        "name: 'proxy', image: 'mesh/proxy:v1', restartPolicy: 'Always'}]}}"
    )
    once = [{"name": "once", "expression": "!object.spec.?initContainers.orValue([])"
             ".exists(c, c.name == 'proxy')"}]  # fmt: skip
    await bind(live, policy(apply(sidecar), on="pods", matchConditions=once))
    own = {"name": "own", "image": "own:1"}
    code, made = await live.json("POST", PODS, json=pod("a", initContainers=[own]))
    assert code == 201, made["message"]
    assert [c["name"] for c in made["spec"]["initContainers"]] == ["own", "proxy"]
    assert made["spec"]["initContainers"][1]["restartPolicy"] == "Always"
    assert [c["name"] for c in made["spec"]["containers"]] == ["c"]
    _, other = await live.json("GET", POLICIES.replace("v1beta1", "v1alpha1") + "/p")
    assert other["apiVersion"] == "admissionregistration.k8s.io/v1alpha1"
    assert other["spec"]["failurePolicy"] == "Fail"


async def test_patches_variables_and_parameters(live: Running) -> None:
    parameters = {"metadata": {"name": "limits"}, "data": {"most": "2"}}
    await live.json("POST", "/api/v1/namespaces/default/configmaps", json=parameters)
    made = policy(
        patch("has(object.metadata.annotations) ? [] : [JSONPatch{op: 'add', "
              "path: '/metadata/annotations', value: {}}]"),
        patch("[JSONPatch{op: 'add', path: '/metadata/annotations/' + "
              "jsonpatch.escapeKey('example.com/was'), value: string(variables.asked)}]"),
        apply("Object{spec: Object.spec{replicas: variables.asked > int(params.data.most) ? "
              "int(params.data.most) : variables.asked}}"),
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        variables=[{"name": "asked", "expression": "object.spec.replicas"}],
    )  # fmt: skip
    await bind(live, made, paramRef={"name": "limits", "parameterNotFoundAction": "Deny"})
    code, web = await live.json("POST", DEPLOYMENTS, json=deployment(replicas=5))
    assert code == 201, web["message"]
    assert web["spec"]["replicas"] == 2
    assert web["metadata"]["annotations"]["example.com/was"] == "5"
    code, _ = await live.json("POST", DEPLOYMENTS, json=deployment("small", replicas=1))
    _, small = await live.json("GET", f"{DEPLOYMENTS}/small")
    assert small["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("mutation", "words"),
    [
        (apply("object"), "must evaluate to Object"),
        (patch("object.metadata.name"), "must evaluate to a list of JSONPatch"),
        (patch("[JSONPatch{op: 'test', path: '/spec/replicas', value: 99}]"), "JSON Patch"),
        (apply("Object{spec: Object.metadata{name: 'x'}}"), "wanted 'Object.spec'"),
        (
            apply("Object{spec: Object.spec{selector: Object.spec.selector{matchLabels: {}}}}"),
            "may not mutate atomic arrays, maps or structs: .spec.selector",
        ),
        (apply("Object{metadata: Object.metadata{name: 'other'}}"), "metadata.name"),
        (
            apply(
                "Object{spec: Object.spec{template: Object.spec.template{spec: "
                "Object.spec.template.spec{containers: [Object.spec.template.spec.containers{"
                "name: 'c', args: ['x']}]}}}}"
            ),
            "structs: .spec.template.spec.containers[0].args",
        ),
    ],
)
async def test_what_fails_refuses_the_write(live: Running, mutation: Any, words: str) -> None:
    """And leaves it as it was when the policy ignores failures."""
    await bind(live, policy(mutation))
    code, refused = await live.json("POST", DEPLOYMENTS, json=deployment())
    assert code in (400, 422), refused["message"]
    assert words in refused["message"]
    assert (await live.json("GET", f"{DEPLOYMENTS}/web"))[0] == 404


async def test_fields_that_do_not_exist_are_refused(live: Running) -> None:
    await bind(live, policy(apply("Object{spec: Object.spec{replica: 1}}")))
    code, answer = await live.json("POST", DEPLOYMENTS, json=deployment())
    assert code == 422, answer
    assert ".spec.replica: field not declared in schema" in answer["message"]


async def test_failures_can_be_ignored(live: Running) -> None:
    await bind(live, policy(apply("object"), failurePolicy="Ignore"))
    assert (await live.json("POST", DEPLOYMENTS, json=deployment()))[0] == 201


async def test_a_policy_may_see_what_others_made_after_it(live: Running) -> None:
    seen = apply("Object{metadata: Object.metadata{labels: {'seen': "
                 "object.metadata.?labels.?late.orValue('no')}}}")  # fmt: skip
    late = apply("Object{metadata: Object.metadata{labels: {'late': 'yes'}}}")
    await bind(live, policy(seen, name="a", reinvocationPolicy="IfNeeded"))
    await bind(live, policy(late, name="b"))
    _, web = await live.json("POST", DEPLOYMENTS, json=deployment())
    assert web["metadata"]["labels"]["seen"] == "yes"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mutations": []}, "spec.mutations: Required value"),
        ({"reinvocationPolicy": "Often"}, "spec.reinvocationPolicy: Unsupported value"),
        ({"mutations": [patch("[JSONPatch{op: 'add', pth: 'x'}]")]}, "undefined field 'pth'"),
        ({"mutations": [apply("Other{}")]}, "undeclared reference to 'Other'"),
        ({"mutations": [apply("Object{a: 1, a: 2}")]}, "duplicate field"),
        ({"mutations": [{"patchType": "JSONPatch"}]}, "jsonPatch: Required value"),
        ({"mutations": [apply("Object{}") | patch("[]")]}, "applyConfiguration: Forbidden"),
    ],
)
async def test_policies_are_checked(live: Running, change: Any, words: str) -> None:
    made = policy(apply("Object{}"))
    made["spec"] |= change
    code, refused = await live.json("POST", POLICIES, json=made)
    assert code == 422
    assert words in refused["message"]
