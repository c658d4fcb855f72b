"""ValidatingAdmissionPolicies: what they refuse, warn of and note."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("re2")

from tests.apiserver.crds import crd
from tests.apiserver.serving import GUEST_TOKEN, Running
from tests.apiserver.support import Api, config_map, deployment, pod
from tests.apiserver.test_app_kubectl import Kubectl, binaries
from weft.api.errors import ApiError
from weft.apiserver import audit
from weft.apiserver.access import Attributes, Decision, User
from weft.apiserver.policy_admission import PolicyAdmission, Surroundings


class Rules:
    """Only alice may."""

    def decide(self, user: User, wanted: Attributes) -> Decision:
        return Decision(user.name == "alice" and wanted.verb == "manage")


@pytest.fixture
def asked(api: Api) -> Api:
    api.resources.chain.validating.append(
        PolicyAdmission(api.store, api.resources.definitions, Surroundings(api.store, Rules()))
    )
    return api


def rule(group: str, plural: str, *operations: str) -> dict[str, Any]:
    return {
        "apiGroups": [group], "apiVersions": ["v1"], "resources": [plural],
        "operations": list(operations or ("CREATE", "UPDATE")),
    }  # fmt: skip


def policy(*expressions: str, on: Any = None, name: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [on or rule("apps", "deployments")]},
            "validations": [{"expression": e} for e in expressions],
        }
        | spec,
    }


def binding(*actions: str, name: str = "b", to: str = "p", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"policyName": to, "validationActions": list(actions or ("Deny",))} | spec,
    }


POLICIES, BINDINGS = "validatingadmissionpolicies", "validatingadmissionpolicybindings"


async def install(api: Api, made: Any, *bound: Any) -> None:
    await api.create(POLICIES, made)
    for one in bound or (binding(),):
        await api.create(BINDINGS, one)


async def test_a_denial_in_kubernetes_words(asked: Api) -> None:
    await install(asked, policy("object.spec.replicas <= 5"))
    await asked.create("deployments", deployment(replicas=5))
    with pytest.raises(ApiError) as caught:
        await asked.create("deployments", deployment("big", 6))
    text = (
        "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
        "failed expression: object.spec.replicas <= 5"
    )
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert caught.value.message == f'deployments.apps "big" is forbidden: {text}'
    assert caught.value.details["causes"] == [{"message": text}]
    with pytest.raises(ApiError, match="denied request"):
        await asked.patch("deployments", "web", {"spec": {"replicas": 6}})
    await asked.client.delete(asked.target("deployments").kind, "web", "default")


async def test_variables_messages_reasons(asked: Api) -> None:
    made = policy()
    made["spec"]["variables"] = [
        {"name": "most", "expression": "2 + 3"},
        {"name": "over", "expression": "object.spec.replicas - variables.most"},
    ]
    made["spec"]["validations"] = [
        {"expression": "variables.over <= 0", "reason": "Forbidden", "message": "plain",
         "messageExpression": "'too many by ' + string(variables.over)"}
    ]  # fmt: skip
    await install(asked, made)
    with pytest.raises(ApiError, match="denied request: too many by 2") as caught:
        await asked.create("deployments", deployment(replicas=7))
    assert (caught.value.code, caught.value.reason) == (403, "Forbidden")


async def test_what_is_matched(asked: Api) -> None:
    made = policy("false", on=rule("", "configmaps", "CREATE", "DELETE"))
    made["spec"]["matchConstraints"] |= {
        "namespaceSelector": {"matchLabels": {"env": "prod"}},
        "objectSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
        "excludeResourceRules": [rule("", "configmaps", "*") | {"resourceNames": ["spared"]}],
    }
    await install(asked, made)
    await asked.create("configmaps", config_map("before"))
    await asked.patch("namespaces", "default", {"metadata": {"labels": {"env": "prod"}}})
    with pytest.raises(ApiError, match="denied request"):
        await asked.create("configmaps", config_map("a"))
    free = config_map("free")
    free["metadata"]["labels"] = {"free": ""}
    await asked.create("configmaps", free)
    await asked.create("configmaps", config_map("spared"))
    await asked.patch("configmaps", "before", {"data": {"a": "b"}})
    with pytest.raises(ApiError, match="denied request"):
        await asked.client.delete(asked.target("configmaps").kind, "before", "default")


async def test_equivalent_versions(asked: Api) -> None:
    on = rule("networking.istio.io", "sidecars") | {"apiVersions": ["v1beta1"]}
    await install(asked, policy("object.apiVersion != 'networking.istio.io/v1beta1'", on=on))
    with pytest.raises(ApiError, match="denied request"):
        await asked.create("sidecars", {"metadata": {"name": "s"}})
    exact = {"spec": {"matchConstraints": {"matchPolicy": "Exact"}}}
    await asked.patch(POLICIES, "p", exact)
    await asked.create("sidecars", {"metadata": {"name": "s"}})


async def test_conditions_and_failures(asked: Api) -> None:
    made = policy("object.spec.template.metadata.annotations['a'] == 'b'")
    made["spec"]["matchConditions"] = [
        {"name": "not-free", "expression": "object.metadata.name != 'free'"}
    ]
    await install(asked, made)
    await asked.create("deployments", deployment("free"))
    with pytest.raises(ApiError, match="resulted in error: no such key: annotations"):
        await asked.create("deployments", deployment("a"))
    await asked.patch(POLICIES, "p", {"spec": {"failurePolicy": "Ignore"}})
    await asked.create("deployments", deployment("a"))


async def test_warnings_and_notes(asked: Api) -> None:
    made = policy("false")
    made["spec"]["auditAnnotations"] = [
        {"key": "size", "valueExpression": "'replicas ' + string(object.spec.replicas)"}
    ]
    await install(asked, made, binding("Warn", "Audit"))
    notes = audit.take_notes()
    done = await asked.resources.create(
        asked.target("deployments"), deployment(), _options(), User("alice")
    )
    assert done.warnings == (
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': "
        "failed expression: false",
    )
    assert notes["p/size"] == "replicas 2"
    assert json.loads(notes["validation.policy.admission.k8s.io/validation_failure"]) == [
        {"message": "failed expression: false", "policy": "p", "binding": "b",
         "expressionIndex": 0, "validationActions": ["Warn", "Audit"]}
    ]  # fmt: skip


def _options() -> Any:
    from weft.apiserver.request import WriteOptions

    return WriteOptions()


async def test_parameters(asked: Api) -> None:
    made = policy("object.spec.replicas <= int(params.data.most)")
    made["spec"]["paramKind"] = {"apiVersion": "v1", "kind": "ConfigMap"}
    named = binding(paramRef={"name": "limits", "parameterNotFoundAction": "Deny"})
    await install(asked, made, named)
    with pytest.raises(ApiError, match="no params found for policy binding with `Deny`"):
        await asked.create("deployments", deployment("a", 1))
    await asked.patch(BINDINGS, "b", {"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}})
    await asked.create("deployments", deployment("a", 9))
    await asked.create("configmaps", config_map("limits", most="3"))
    with pytest.raises(ApiError, match="failed expression"):
        await asked.create("deployments", deployment("b", 4))
    await asked.client.delete(asked.target(BINDINGS).kind, "b")
    chosen = {"selector": {"matchLabels": {"l": "1"}}, "parameterNotFoundAction": "Deny"}
    await asked.create(BINDINGS, binding(name="c", paramRef=chosen))
    for name, most in (("loose", "9"), ("tight", "1")):
        limit = config_map(name, most=most)
        limit["metadata"]["labels"] = {"l": "1"}
        await asked.create("configmaps", limit)
    with pytest.raises(ApiError, match="with binding 'c' denied"):
        await asked.create("deployments", deployment("b", 2))
    await asked.create("deployments", deployment("b", 1))


async def test_request_namespace_and_authorizer(asked: Api) -> None:
    made = policy(
        "request.userInfo.username == 'alice' && request.operation == 'CREATE'",
        "namespaceObject.metadata.name == request.namespace",
        "request.name == object.metadata.name",
        "authorizer.group('apps').resource('deployments').namespace('x').check('manage').allowed()",
        "!authorizer.requestResource.check('other').allowed()",
        "!authorizer.serviceAccount('a', 'b').path('/x').check('manage').allowed()",
    )
    await install(asked, made)
    await asked.create("deployments", deployment())


async def test_status_and_scale_are_asked_about_too(asked: Api) -> None:
    one = rule("apps", "deployments/scale", "UPDATE")
    await install(asked, policy("object.spec.replicas < 4 && object.kind == 'Scale'", on=one))
    two = policy("object.status.replicas < 4", on=rule("apps", "deployments/status"), name="q")
    await install(asked, two, binding(name="c", to="q"))
    await asked.create("deployments", deployment())
    with pytest.raises(ApiError, match="'p' with"):
        await asked.patch("deployments", "web", {"spec": {"replicas": 4}}, sub="scale")
    await asked.patch("deployments", "web", {"spec": {"replicas": 4}})
    with pytest.raises(ApiError, match="'q' with"):
        await asked.patch("deployments", "web", {"status": {"replicas": 4}}, sub="status")
    bind = rule("", "pods/binding", "CREATE")
    three = policy("object.target.name == 'good'", on=bind, name="r")
    await install(asked, three, binding(name="d", to="r"))
    await asked.create("pods", pod())
    with pytest.raises(ApiError, match="'r' with"):
        await asked.client.bind("p", "default", "bad")
    await asked.client.bind("p", "default", "good")


async def test_what_no_policy_may_say(asked: Api) -> None:
    with pytest.raises(ApiError, match="compilation failed: ERROR: undeclared reference to 'nope'"):
        await asked.create(POLICIES, policy("nope.x"))
    with pytest.raises(ApiError, match="must contain at least one item"):
        await asked.create(POLICIES, policy())
    with pytest.raises(ApiError, match="must not contain both Deny and Warn"):
        await asked.create(BINDINGS, binding("Deny", "Warn"))
    variables = [{"name": "a-b", "expression": "1"}]
    with pytest.raises(ApiError, match="not a valid CEL identifier"):
        await asked.create(POLICIES, policy("true", variables=variables))
    with pytest.raises(ApiError, match="Unsupported value"):
        await asked.create(POLICIES, policy("true", failurePolicy="Perhaps"))


async def test_expressions_are_checked_against_what_they_match(asked: Api) -> None:
    made = await asked.create(POLICIES, policy(
        "object.spec.replica > 1", "object.spec.template.spec.containers.all(c, c.imag != '')",
        "object.metadata.labels['a'] == 'b' && has(object.spec.strategy.rollingUpdate)",
    ))  # fmt: skip
    status = made["status"]
    assert status["observedGeneration"] == 1
    assert status["typeChecking"]["expressionWarnings"] == [
        {"fieldRef": "spec.validations[0].expression",
         "warning": "apps/v1, Kind=Deployment: ERROR: undefined field 'replica'"},
        {"fieldRef": "spec.validations[1].expression",
         "warning": "apps/v1, Kind=Deployment: ERROR: undefined field 'imag'"},
    ]  # fmt: skip


async def test_custom_kinds_are_parameters_and_objects(live: Running) -> None:
    base = "/apis/admissionregistration.k8s.io/v1"
    await live.json("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", json=crd())
    found = policy("object.spec.replicas < 3", on=rule("example.com", "*") | {"apiVersions": ["*"]})
    found["spec"]["matchConstraints"]["resourceRules"][0]["apiGroups"] = ["*"]
    found["spec"]["matchConditions"] = [
        {"name": "tabs", "expression": "request.kind.kind == 'CronTab'"}
    ]
    assert (await live.json("POST", f"{base}/{POLICIES}", json=found))[0] == 201
    assert (await live.json("POST", f"{base}/{BINDINGS}", json=binding()))[0] == 201
    from tests.apiserver.crds import GROUP, cron_tab

    path = f"/apis/{GROUP}/v1/namespaces/default/crontabs"
    status, answer = await live.json("POST", path, json=cron_tab(replicas=4))
    assert (status, answer["reason"]) == (422, "Invalid"), answer
    assert (await live.json("POST", path, json=cron_tab(replicas=2)))[0] == 201
    guest = {"Authorization": f"Bearer {GUEST_TOKEN}"}
    assert (await live.json("GET", f"{base}/{POLICIES}", headers=guest))[0] == 403


@pytest.mark.slow
@pytest.mark.parametrize("binary", binaries(), ids=lambda p: Path(p).name)
async def test_kubectl(live: Running, binary: str) -> None:
    kubectl = Kubectl(binary, live)
    head = {"apiVersion": "admissionregistration.k8s.io/v1"}
    items = [
        head | {"kind": "ValidatingAdmissionPolicy"} | policy("object.spec.replicas <= 5"),
        head | {"kind": "ValidatingAdmissionPolicyBinding"} | binding(),
    ]
    for item in items:
        await kubectl("apply", "-f", "-", stdin=json.dumps(item))
    err = await kubectl.fails("create", "deployment", "web", "--image=a", "--replicas=6")
    assert "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression" in err
    await kubectl("create", "deployment", "web", "--image=a", "--replicas=2")
    assert (await kubectl("get", "validatingadmissionpolicy", "p", "--no-headers")).split()[:3] == [
        "p", "1", "<unset>",
    ]  # fmt: skip
    row = await kubectl("get", "validatingadmissionpolicybinding", "b", "--no-headers")
    assert row.split()[:3] == ["b", "p", "<unset>"]
    await kubectl("patch", "validatingadmissionpolicybinding", "b", "--type=merge", "-p",
                  '{"spec":{"validationActions":["Warn"]}}')  # fmt: skip
    done = await kubectl("create", "deployment", "big", "--image=a", "--replicas=6")
    assert "created" in done
    assert "matchConstraints" in await kubectl("explain", "validatingadmissionpolicy.spec")
