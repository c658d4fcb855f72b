"""Pod Security admission as its clients see it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.apiserver.serving import Running, running
from tests.apiserver.support import pod
from weft.apiserver import audit
from weft.apiserver.pod_security import PREFIX

PODS = "/api/v1/namespaces/safe/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/safe/deployments"
PRIVILEGED = {"privileged": True}
REFUSED = (
    'violate{} PodSecurity "baseline:latest": privileged (container "{}" must not set '
    "securityContext.privileged=true)"
)


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as found:
        yield found


async def label(live: Running, **labels: str) -> tuple[int, Any, list[str]]:
    wanted = {PREFIX + key: value for key, value in labels.items()}
    return await send(live, "PATCH", "/api/v1/namespaces/safe", {"metadata": {"labels": wanted}})


async def send(live: Running, method: str, path: str, body: Any) -> tuple[int, Any, list[str]]:
    headers = (
        {"Content-Type": "application/strategic-merge-patch+json"} if method == "PATCH" else None
    )
    async with live.session.request(method, path, json=body, headers=headers) as response:
        warnings = [w.split('"', 1)[1][:-1].replace('\\"', '"')
                    for w in response.headers.getall("Warning", ())]  # fmt: skip
        return response.status, await response.json(), warnings


def daring(name: str = "p", namespace: str = "safe") -> Any:
    found = pod(name)
    found["metadata"]["namespace"] = namespace
    found["spec"]["containers"][0]["securityContext"] = PRIVILEGED
    return found


async def prepare(live: Running) -> None:
    made = await send(live, "POST", "/api/v1/namespaces", {"metadata": {"name": "safe"}})
    assert made[0] == 201
    account = {"metadata": {"name": "default"}}
    made = await send(live, "POST", "/api/v1/namespaces/safe/serviceaccounts", account)
    assert made[0] in (201, 409)


async def test_enforce_refuses_pods_and_warns_of_controllers(live: Running) -> None:
    await prepare(live)
    inside = daring()["spec"]["containers"][0]["name"]
    assert (await send(live, "POST", PODS, daring("old")))[0] == 201
    status, _, warnings = await label(live, enforce="baseline")
    assert (status, warnings) == (
        200,
        [
            'existing pods in namespace "safe" violate the new PodSecurity enforce level '
            '"baseline:latest"',
            "old: privileged",
        ],
    )
    status, answer, warnings = await send(live, "POST", PODS, daring())
    assert (status, answer["reason"], warnings) == (403, "Forbidden", [])
    assert answer["message"] == f'pods "p" is forbidden: {REFUSED.format("s", inside)}'
    harmless = pod("p") | {"metadata": {"name": "p", "namespace": "safe"}}
    assert (await send(live, "POST", PODS, harmless))[0] == 201
    labels = {"app": "a"}
    template = {"metadata": {"labels": labels}, "spec": daring()["spec"]}
    body = {
        "metadata": {"name": "d"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }
    status, answer, warnings = await send(live, "POST", DEPLOYMENTS, body)
    assert (status, warnings) == (201, [f"would {REFUSED.format('', inside)}"]), answer
    patch = {"metadata": {"labels": {"touched": "yes"}}}
    assert (await send(live, "PATCH", f"{PODS}/old", patch))[0] == 200
    image = {"spec": {"containers": [daring()["spec"]["containers"][0] | {"image": "other"}]}}
    assert (await send(live, "PATCH", f"{PODS}/old", image))[0] == 403


async def test_a_debug_container_is_asked_about(live: Running) -> None:
    await prepare(live)
    harmless = pod("p") | {"metadata": {"name": "p", "namespace": "safe"}}
    assert (await send(live, "POST", PODS, harmless))[0] == 201
    await label(live, enforce="baseline")
    more = {"name": "debug", "image": "i", "securityContext": PRIVILEGED}
    body = {"spec": {"ephemeralContainers": [more]}}
    status, answer, _ = await send(live, "PATCH", f"{PODS}/p/ephemeralcontainers", body)
    assert status == 403, answer
    assert REFUSED.format("s", "debug") in answer["message"]


async def test_warn_and_audit_let_pass(live: Running, monkeypatch: Any) -> None:
    await prepare(live)
    noted: dict[str, str] = {}
    monkeypatch.setattr(audit, "note", noted.setdefault)
    await label(live, warn="baseline", audit="restricted")
    status, answer, warnings = await send(live, "POST", PODS, daring())
    inside = daring()["spec"]["containers"][0]["name"]
    assert (status, warnings) == (201, [f"would {REFUSED.format('', inside)}"]), answer
    assert noted[f"{PREFIX}audit-violations"].startswith(
        'would violate PodSecurity "restricted:latest": privileged'
    )


async def test_labels_that_cannot_be_read(live: Running) -> None:
    await prepare(live)
    status, answer, _ = await label(live, enforce="strict")
    assert (status, answer["message"]) == (
        422,
        f'Namespace "safe" is invalid: metadata.labels[{PREFIX}enforce]: Invalid value: "strict":'
        " must be one of privileged, baseline, restricted",
    )
