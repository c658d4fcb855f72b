"""20 changes of security policies of every kind, under load: once a policy says that it is in
force, no request is served under the one before, and nobody who stays allowed notices."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import APPS, fresh
from tests.e2e.instance import Instance, Load, ask, wait_for
from tests.e2e.test_authorization import call
from tests.e2e.test_external_authorization import AUTHZ
from tests.e2e.tokens import Issuer

pytestmark = [pytest.mark.e2e, pytest.mark.root]

CHANGES = 4
"""Of each of the five kinds."""
ISSUER = "https://issuer.example"
KEYS = """
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {shop: key-of-shop}
"""
Spec = dict[str, Any]
Seen = Callable[[Instance], int]


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    for instance in fresh("netns"):
        instance.image("authz:1", APPS / "authz", sys.executable, "app.py")
        instance.up()
        text = AUTHZ + KEYS
        for name in ("api", "front"):
            text += "---" + m.echo(name) + m.service(name)
            text += m.gateway(name, f"{name}.example")
            text += m.routes(f"{name}-edge", m.to(name), f"{name}.example", name)
        instance.weft("apply", "-f", "-", stdin=text)
        for name in ("api", "front", "authz"):
            instance.wait_ready(f"app={name}", 1)
        yield instance


def inside(weft: Instance) -> int:
    return call(weft, "front", "/changing")


def from_outside(weft: Instance, **headers: str) -> int:
    return ask(weft, "/changing", "api.example", **headers)[0]


def around(weft: Instance) -> int:
    """By the pod's own address, where nobody has an identity; 599 is a closed connection."""
    (pod,) = weft.ready_pods("app=api")
    return call(weft, "front", "/changing", f"{pod['status']['podIP']}:8080")


API = {"selector": {"matchLabels": {"app": "api"}}}
CHANGING = [{"to": [{"operation": {"paths": ["/changing"]}}]}]
OTHER = [{"to": [{"operation": {"paths": ["/other"]}}]}]
KEY = {"secrets": [{"name": "keys"}]}
GATE = {"targetRef": {"kind": "Gateway", "name": "api"}}
HONEST, STRANGER = Issuer(ISSUER), Issuer(ISSUER)
TOMORROW = int(time.time()) + 86_400
"""These tests may come a long time after they were collected."""
TOKEN = {"authorization": f"Bearer {HONEST.token(sub='ann', exp=TOMORROW)}"}


def believing(issuer: Issuer) -> Spec:
    return {**API, "jwtRules": [{"issuer": ISSUER, "jwks": issuer.key_set}]}


def login(header: str) -> Spec:
    return {**GATE, "apiKey": {**KEY, "headers": [header]}}


KINDS: dict[str, tuple[str, tuple[Spec, int], tuple[Spec, int], Seen]] = {
    "AuthorizationPolicy": (
        "security.istio.io/v1/{}/authorizationpolicies",
        ({**API, "action": "DENY", "rules": CHANGING}, 403),
        ({**API, "action": "DENY", "rules": OTHER}, 200),
        inside,
    ),
    "AuthorizationPolicy CUSTOM": (
        "security.istio.io/v1/{}/authorizationpolicies",
        ({**API, "action": "CUSTOM", "provider": {"name": "over-http"}, "rules": CHANGING}, 401),
        ({**API, "action": "CUSTOM", "provider": {"name": "over-http"}, "rules": OTHER}, 200),
        inside,
    ),
    "RequestAuthentication": (
        "security.istio.io/v1/{}/requestauthentications",
        (believing(STRANGER), 401),
        (believing(HONEST), 200),
        partial(from_outside, **TOKEN),
    ),
    "PeerAuthentication": (
        "security.istio.io/v1/{}/peerauthentications",
        ({**API, "mtls": {"mode": "STRICT"}}, 599),
        ({**API, "mtls": {"mode": "PERMISSIVE"}}, 200),
        around,
    ),
    "AuthenticationPolicy": (
        "policy.weft.dev/v1alpha1/{}/authenticationpolicies",
        (login("x-other-key"), 401),
        (login("x-key"), 200),
        partial(from_outside, **{"x-key": "key-of-shop"}),
    ),
}


def in_force(weft: Instance, path: str, generation: int) -> bool:
    """Whether the policy says that this version is in force on the node, by name."""
    status = weft.read(path).get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    programmed = conditions.get("Programmed", {})
    if programmed.get("observedGeneration") != generation or programmed["status"] != "True":
        return False
    assert status["nodes"]["acknowledged"] == status["nodes"]["total"] == 1
    (node,) = weft.read("/api/v1/nodes")["items"]
    assert status["nodes"]["names"] == [node["metadata"]["name"]]
    return True


@pytest.mark.parametrize("kind", KINDS)
async def test_changes_under_load(weft: Instance, kind: str) -> None:
    place, refusing, passing, seen = KINDS[kind]
    group, resource = place.split("/{}/")
    objects = f"/apis/{group}/namespaces/default/{resource}"
    path = f"{objects}/changing"
    headers = {"Host": "api.example", **TOKEN, "x-key": "key-of-shop", "x-other-key": "key-of-shop"}
    if kind == "RequestAuthentication":
        headers.pop("authorization")  # without a token nothing changes

    def change(number: int) -> None:
        spec, wanted = passing if number % 2 else refusing
        if number:
            code, answer = weft.api(path, "PUT", body(weft, path, spec))
        else:
            code, answer = weft.api(
                objects, "POST", {"metadata": {"name": "changing"}, "spec": spec}
            )
        assert code in (200, 201), answer
        generation = json.loads(answer)["metadata"]["generation"]
        wait_for(partial(in_force, weft, path, generation), f"{kind} {number} in force", 20)
        assert [seen(weft) for _ in range(5)] == [wanted] * 5, f"change {number}"

    async with Load(f"{weft.gateway()}/steady", clients=4, headers=headers) as load:
        for number in range(CHANGES):
            await asyncio.to_thread(change, number)
        await load.until(load.total + 100)
    assert load.failed == 0, load.report()
    assert weft.api(path, "DELETE")[0] == 200


def body(weft: Instance, path: str, spec: Spec) -> dict[str, Any]:
    metadata = weft.read(path)["metadata"]
    known = {"name": "changing", "resourceVersion": metadata["resourceVersion"]}
    return {"metadata": known, "spec": spec}
