"""Admission webhooks on a real server: what they are asked, and what their answers do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

pytest.importorskip("re2")

from tests.apiserver.serving import Running
from tests.apiserver.support import config_map, deployment, pod
from tests.apiserver.test_app_kubectl import Kubectl, binaries
from tests.apiserver.webhooks import Webhook, add, patch, rule, serving

BASE = "/apis/admissionregistration.k8s.io/v1"
MAPS = "/api/v1/namespaces/default/configmaps"
CONFIG_MAPS = rule("", "configmaps")


@pytest_asyncio.fixture
async def webhook(tmp_path: Path) -> AsyncIterator[Webhook]:
    async with serving(tmp_path) as found:
        yield found


async def configure(live: Running, phase: str, *hooks: Any, name: str = "c") -> Any:
    body = {"metadata": {"name": name}, "webhooks": list(hooks)}
    path = f"{BASE}/{phase}webhookconfigurations"
    status, made = await live.json("POST", path, json=body)
    assert status == 201, made
    return made


async def create(live: Running, name: str = "a", **data: str) -> tuple[int, Any]:
    return await live.json("POST", MAPS, json=config_map(name, **data))


async def test_a_denial(live: Running, webhook: Webhook) -> None:
    webhook.decide["/"] = lambda r: {
        "allowed": r["object"]["data"].get("ok") == "yes",
        "status": {"message": "not ok", "code": 403, "reason": "Forbidden"},
    }
    made = await configure(live, "validating", webhook.hook("deny", CONFIG_MAPS))
    assert made["webhooks"][0]["timeoutSeconds"] == 10
    assert (await create(live, ok="yes"))[0] == 201
    status, answer = await create(live, "b")
    assert (status, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == ('admission webhook "deny.example.com" denied the request: not ok')
    request = webhook.seen[0]
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert (request["operation"], request["namespace"], request["name"]) == (
        "CREATE", "default", "a",
    )  # fmt: skip
    assert request["userInfo"]["username"] == "admin"
    assert request["dryRun"] is False
    assert request["object"]["apiVersion"] == "v1"
    assert request["oldObject"] is None
    assert (await live.json("PATCH", f"{MAPS}/a", json={"data": {"ok": "no"}},
            headers={"Content-Type": "application/merge-patch+json"}))[0] == 403  # fmt: skip
    assert webhook.seen[-1]["oldObject"]["data"] == {"ok": "yes"}


async def test_mutations_in_turn_and_once_more(live: Running, webhook: Webhook) -> None:
    def note(name: str) -> Any:
        def decide(request: Any) -> Any:
            seen = ",".join(sorted(request["object"].get("data") or {}))
            return patch(add("/data", {**(request["object"].get("data") or {}), name: seen}))

        return decide

    webhook.decide = {"/a": note("a"), "/b": note("b")}
    await configure(
        live, "mutating",
        webhook.hook("a", CONFIG_MAPS, path="/a", reinvocationPolicy="IfNeeded"),
        webhook.hook("b", CONFIG_MAPS, path="/b"),
    )  # fmt: skip
    status, made = await create(live, x="")
    assert status == 201
    assert made["data"] == {"x": "", "a": "a,b,x", "b": "a,x"}
    assert [r["path"] for r in webhook.seen] == ["/a", "/b", "/a"]


async def test_what_a_webhook_makes_is_defaulted_checked_and_limited(
    live: Running, webhook: Webhook
) -> None:
    side = {"name": "side", "image": "s:1"}
    webhook.decide["/"] = lambda r: patch(add("/spec/containers/-", side))
    await configure(live, "mutating", webhook.hook("inject", rule("", "pods")))
    pods = "/api/v1/namespaces/default/pods"
    status, made = await live.json("POST", pods, json=pod())
    assert status == 201
    assert made["spec"]["containers"][1]["terminationMessagePath"] == "/dev/termination-log"
    webhook.decide["/"] = lambda r: patch(add("/spec/serviceAccountName", "nobody"))
    status, answer = await live.json("POST", pods, json=pod("b"))
    assert (status, "nobody" in answer["message"]) == (403, True)
    webhook.decide["/"] = lambda r: patch(add("/spec/containers/0/image", ""))
    assert (await live.json("POST", pods, json=pod("c")))[0] == 422
    webhook.decide["/"] = lambda r: patch(add("/metadata/name", "other"))
    status, answer = await live.json("POST", pods, json=pod("d"))
    assert (status, "changed metadata.name" in answer["message"]) == (500, True)


async def test_warnings_and_a_dry_run(live: Running, webhook: Webhook) -> None:
    webhook.decide["/"] = lambda r: {"allowed": True, "warnings": ["mind the gap"]}
    await configure(live, "validating", webhook.hook("warn", CONFIG_MAPS))
    async with live.session.post(f"{MAPS}?dryRun=All", json=config_map("a")) as response:
        assert response.status == 201
        assert 'mind the gap"' in response.headers["Warning"]
    assert webhook.seen[0]["dryRun"] is True
    assert webhook.seen[0]["options"]["dryRun"] == ["All"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"nope", "the answer is no JSON"),
        (b"{}", "Kind=AdmissionReview"),
        ({"allowed": True, "uid": "x"}, "expected response.uid"),
        ({"allowed": True, "patch": "e30=", "patchType": "JSONPatch"}, "no list of operations"),
        (patch({"op": "remove", "path": "/nothing"}), "does not fit"),
        (patch(add("/kind", "Secret")), "changes apiVersion or kind"),
    ],
)
async def test_answers_that_mean_nothing(
    live: Running, webhook: Webhook, answer: Any, why: str
) -> None:
    webhook.decide["/"] = lambda r: answer
    await configure(live, "mutating", webhook.hook("bad", CONFIG_MAPS))
    status, told = await create(live)
    assert (status, told["reason"]) == (500, "InternalError")
    assert 'failed calling webhook "bad.example.com"' in told["message"]
    assert why in told["message"]
    await live.json("DELETE", f"{BASE}/mutatingwebhookconfigurations/c")
    hook = webhook.hook("bad", CONFIG_MAPS, failurePolicy="Ignore")
    await configure(live, "mutating", hook)
    assert (await create(live))[0] == 201


async def test_slow_and_dead_ones(live: Running, webhook: Webhook) -> None:
    webhook.delay = 30
    slow = webhook.hook("slow", CONFIG_MAPS, timeoutSeconds=1)
    await configure(live, "validating", slow)
    began = time.monotonic()
    status, told = await create(live)
    assert status == 500
    assert "context deadline exceeded after 1 s" in told["message"]
    assert time.monotonic() - began < 5
    await live.json("DELETE", f"{BASE}/validatingwebhookconfigurations/c")
    dead = webhook.hook("dead", CONFIG_MAPS)
    dead["clientConfig"]["url"] = "https://127.0.0.1:1/"
    await configure(live, "validating", dead)
    status, told = await create(live)
    assert (status, "failed to call webhook: Post" in told["message"]) == (500, True)
    assert (await live.json("GET", f"{MAPS}/a"))[0] == 404
    untrusted = webhook.hook("dead", CONFIG_MAPS)
    del untrusted["clientConfig"]["caBundle"]
    body = {"metadata": {"name": "c"}, "webhooks": [untrusted]}
    await live.json("PUT", f"{BASE}/validatingwebhookconfigurations/c", json=body)
    status, told = await create(live)
    assert (status, "certificate verify failed" in told["message"]) == (500, True)
    # Whoever may, can always take it away again.
    status, _ = await live.json("DELETE", f"{BASE}/validatingwebhookconfigurations/c")
    assert status == 200
    assert (await create(live))[0] == 201


async def test_validating_ones_are_asked_side_by_side(live: Running, webhook: Webhook) -> None:
    webhook.delay = 0.3
    names = ("a", "b", "c")
    hooks = [webhook.hook(n, CONFIG_MAPS, path=f"/{n}") for n in names]
    webhook.decide = {f"/{n}": _denies(n) for n in ("c", "b")}
    await configure(live, "validating", *hooks)
    _, told = await create(live)
    assert webhook.at_once == 3
    assert told["message"].endswith('"b.example.com" denied the request: b')


def _denies(name: str) -> Any:
    return lambda request: {"allowed": False, "status": {"message": name}}


async def test_which_writes_are_asked_about(live: Running, webhook: Webhook) -> None:
    webhook.decide["/"] = lambda r: {"allowed": False}
    hook = webhook.hook(
        "some", rule("", "configmaps", "DELETE"), rule("apps", "deployments/status", "UPDATE"),
        rule("", "pods/*", "*"), rule("apps", "deployments/scale", "UPDATE"),
        rule("", "serviceaccounts/token", "CREATE"),
        objectSelector={"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]},
        matchConditions=[{"name": "x", "expression": "request.userInfo.username != 'bob'"}],
    )  # fmt: skip
    free = config_map("free")
    free["metadata"]["labels"] = {"free": "1"}
    bare = pod("bare")
    bare["metadata"]["labels"] = {"free": "1"}
    deploys = "/apis/apps/v1/namespaces/default/deployments"
    assert (await create(live))[0] == 201
    assert (await live.json("POST", MAPS, json=free))[0] == 201
    assert (await live.json("POST", deploys, json=deployment()))[0] == 201
    assert (await live.json("POST", "/api/v1/namespaces/default/pods", json=bare))[0] == 201
    await configure(live, "validating", hook)
    assert (await live.json("DELETE", f"{MAPS}/a"))[0] == 400
    assert (await live.json("DELETE", f"{MAPS}/free"))[0] == 200
    merge = {"Content-Type": "application/merge-patch+json"}
    for path, body in (
        ("status", {"status": {"replicas": 1}}),
        ("scale", {"spec": {"replicas": 1}}),
    ):
        status, told = await live.json("PATCH", f"{deploys}/web/{path}", json=body, headers=merge)
        assert status == 400, told
        assert "denied the request without explanation" in told["message"]
        assert webhook.seen[-1]["subResource"] == path
    assert webhook.seen[-1]["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    pods = "/api/v1/namespaces/default/pods/bare"
    evict = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "bare"}}
    assert (await live.json("POST", f"{pods}/eviction", json=evict))[0] == 400
    binding = {"target": {"kind": "Node", "name": "n"}}
    assert (await live.json("POST", f"{pods}/binding", json=binding))[0] == 400
    assert webhook.seen[-1]["object"]["target"] == {"kind": "Node", "name": "n"}
    assert (await live.json("POST", f"{pods}/exec?command=ls&stdout=1"))[0] == 400
    assert webhook.seen[-1]["operation"] == "CONNECT"
    assert webhook.seen[-1]["object"]["command"] == ["ls"]
    token = "/api/v1/namespaces/default/serviceaccounts/default/token"
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    assert (await live.json("POST", token, json=kind))[0] == 400
    assert (await live.json("DELETE", f"{pods}"))[0] == 200


async def test_called_as_a_service(live: Running, webhook: Webhook) -> None:
    webhook.decide["/check"] = lambda r: {"allowed": False, "status": {"message": "by service"}}
    hook = webhook.hook("svc", CONFIG_MAPS)
    reference = {"name": "hook", "namespace": "default", "path": "/check", "port": 8443}
    hook["clientConfig"] = {"service": reference, "caBundle": webhook.bundle}
    await configure(live, "validating", hook)
    status, told = await create(live)
    assert (status, 'service "hook" not found' in told["message"]) == (500, True)
    service = {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 8443}]}}
    await live.json("POST", "/api/v1/namespaces/default/services", json=service)
    _, told = await create(live)
    assert "no ready endpoints" in told["message"]
    found = {
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["127.0.0.9"], "conditions": {"ready": True}},
            {"addresses": ["127.0.0.1"], "conditions": {"ready": True}},
        ],
        "ports": [{"name": "", "port": webhook.port}],
    }
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
    assert (await live.json("POST", slices, json=found))[0] == 201
    for _ in range(2):
        status, told = await create(live)
        assert (status, "by service" in told["message"]) == (400, True), told


@pytest.mark.slow
async def test_many_writes_at_once_share_the_calls(live: Running, webhook: Webhook) -> None:
    webhook.delay = 0.05
    await configure(live, "validating", webhook.hook("many", CONFIG_MAPS))
    done = await asyncio.gather(*(create(live, f"m{n}") for n in range(60)))
    assert {status for status, _ in done} == {201}


async def test_what_no_configuration_may_say(live: Running, webhook: Webhook) -> None:
    cases = (
        ({"sideEffects": "Some"}, "sideEffects"),
        ({"timeoutSeconds": 31}, "between 1 and 30"),
        ({"admissionReviewVersions": ["v2"]}, "at least one of v1"),
        ({"clientConfig": {"url": "http://x/"}}, "'https' is the only allowed URL scheme"),
        ({"clientConfig": {}}, "exactly one of url or service is required"),
        ({"name": "short"}, "three segments"),
        ({"rules": [CONFIG_MAPS | {"operations": ["READ"]}]}, "Unsupported value"),
        ({"matchConditions": [{"name": "a", "expression": "nope("}]}, "compilation failed"),
    )
    path = f"{BASE}/validatingwebhookconfigurations"
    for change, why in cases:
        body = {"metadata": {"name": "c"}, "webhooks": [webhook.hook("x", CONFIG_MAPS) | change]}
        status, told = await live.json("POST", path, json=body)
        assert (status, why in told["message"]) == (422, True), told


@pytest.mark.slow
@pytest.mark.parametrize("binary", binaries(), ids=lambda p: Path(p).name)
async def test_kubectl(live: Running, webhook: Webhook, binary: str) -> None:
    kubectl = Kubectl(binary, live)
    webhook.decide["/"] = lambda r: {
        "allowed": r["name"] != "bad", "warnings": ["told"],
        "status": {"message": "bad name", "code": 403, "reason": "Forbidden"},
    }  # fmt: skip
    head = {"apiVersion": "admissionregistration.k8s.io/v1"}
    body = head | {
        "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "c"},
        "webhooks": [webhook.hook("deny", CONFIG_MAPS)],
    }  # fmt: skip
    await kubectl("apply", "-f", "-", stdin=json.dumps(body))
    assert (await kubectl("get", "validatingwebhookconfiguration", "--no-headers")).split()[:2] == [
        "c", "1",
    ]  # fmt: skip
    err = await kubectl.fails("create", "configmap", "bad")
    assert 'admission webhook "deny.example.com" denied the request: bad name' in err
    _, _, err = await kubectl.run("create", "configmap", "good")
    assert "Warning: told" in err
