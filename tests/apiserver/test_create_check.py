"""What may be created, granted and impersonated, through every door."""

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.apiserver.serving import GUEST_TOKEN, TOKEN, Running
from tests.apiserver.support import pod
from weft.apiserver import rbac
from weft.apiserver.escalation import ATOMS_MAX

MAPS = "/api/v1/namespaces/default/configmaps"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
APPLY = {"Content-Type": "application/apply-patch+yaml"}


async def grant(live: Running, *rules: dict[str, Any]) -> None:
    """To the guest, in the namespace default."""
    role = {"metadata": {"name": "guest"}, "rules": list(rules)}
    await live.json("POST", f"{ROLES}/roles", json=role)
    binding = {
        "metadata": {"name": "guest"},
        "roleRef": {"apiGroup": rbac.GROUP, "kind": "Role", "name": "guest"},
        "subjects": [{"apiGroup": rbac.GROUP, "kind": "User", "name": "guest"}],
    }
    assert (await live.json("POST", f"{ROLES}/rolebindings", json=binding))[0] == 201


def rule(resource: str, *verbs: str, group: str = "") -> dict[str, Any]:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}


def as_guest(live: Running) -> ClientSession:
    headers = {"Authorization": f"Bearer {GUEST_TOKEN}"}
    return ClientSession(live.url, headers=headers, connector=live.session.connector,
                         connector_owner=False)  # fmt: skip


async def test_an_apply_that_creates_needs_the_verb_create(live: Running) -> None:
    await grant(live, rule("configmaps", "get", "patch"))
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new"}}
    query = "?fieldManager=guest&force=true"
    async with as_guest(live) as guest:
        async with guest.patch(f"{MAPS}/new{query}", json=config, headers=APPLY) as answer:
            status = await answer.json()
        assert answer.status == 403
        assert status["message"].startswith(
            'configmaps "new" is forbidden: User "guest" cannot create resource "configmaps"'
        )
        assert (await live.json("GET", f"{MAPS}/new"))[0] == 404
        await live.json("POST", MAPS, json={"metadata": {"name": "new"}})
        async with guest.patch(f"{MAPS}/new{query}", json=config, headers=APPLY) as answer:
            assert answer.status == 200


async def test_rules_without_end_are_refused_at_once(live: Running) -> None:
    await grant(live, rule("roles", "create", group=rbac.GROUP))
    many = [f"r{n}" for n in range(ATOMS_MAX // 10)]
    wide = {"apiGroups": many, "resources": many, "verbs": many, "resourceNames": many}
    role = {"metadata": {"name": "wide"}, "rules": [wide]}
    async with as_guest(live) as guest, guest.post(f"{ROLES}/roles", json=role) as answer:
        status = await answer.json()
    assert answer.status == 403
    assert f"more than {ATOMS_MAX} combinations" in status["message"]


async def test_names_that_are_no_text_are_nobody(live: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", live.server.port, ssl=live.trust)
    writer.write(
        b"GET /api/v1/namespaces HTTP/1.1\r\nHost: x\r\nImpersonate-User: \xff\r\n"
        b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
    )
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("eviction", {"metadata": "x"}),
        ("eviction", {"deleteOptions": "x"}),
        ("eviction", {"deleteOptions": {"preconditions": 3}}),
        ("binding", {"target": "x"}),
        ("binding", {"target": {"name": "n"}, "metadata": "x"}),
    ],
)
async def test_odd_bodies_are_refused(live: Running, what: str, body: Any) -> None:
    pods = "/api/v1/namespaces/default/pods"
    await live.json("POST", pods, json=pod("p"))
    assert (await live.json("POST", f"{pods}/p/{what}", json=body))[0] == 400


async def test_what_is_too_deep_or_too_large_is_refused(live: Running) -> None:
    deep: Any = 1
    for _ in range(900):
        deep = {"a": deep}
    body = {"metadata": {"name": "deep"}, "data": deep}
    assert (await live.json("POST", MAPS, json=body))[0] == 400
    assert (await live.json("GET", f"{MAPS}?resourceVersion={'9' * 5000}"))[0] == 400
