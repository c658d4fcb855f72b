"""Tokens of service accounts: asked for, bound, believed no longer than they should be."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.apiserver.serving import Running, running
from tests.apiserver.support import START, Clock, pod
from weft.apiserver import token_claims
from weft.apiserver.token_claims import API_AUDIENCES, Wish

ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"


@pytest_asyncio.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path) as found:
        yield found


async def request(live: Running, account: str = "default", **spec: Any) -> tuple[int, Any]:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return await live.json("POST", f"{ACCOUNTS}/{account}/token", json=body)


async def review(live: Running, token: str, *audiences: str) -> Any:
    spec: dict[str, Any] = {"token": token} | ({"audiences": list(audiences)} if audiences else {})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    return (await live.json("POST", REVIEW, json=body))[1]["status"]


async def test_a_token_speaks_for_its_account(live: Running) -> None:
    status, answer = await request(live)
    assert status == 201
    assert answer["spec"]["audiences"] == list(API_AUDIENCES)
    assert answer["spec"]["expirationSeconds"] == 3600
    found = await review(live, answer["status"]["token"])
    assert found["user"]["username"] == "system:serviceaccount:default:default"
    assert found["user"]["groups"] == [
        "system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated",
    ]  # fmt: skip
    headers = {"Authorization": f"Bearer {answer['status']['token']}"}
    status, refused = await live.json("GET", "/api/v1/nodes", headers=headers)
    assert status == 403
    assert 'User "system:serviceaccount:default:default" cannot list' in refused["message"]
    assert (await live.json("GET", "/api", headers=headers))[0] == 200


async def test_a_token_is_for_its_audiences(live: Running) -> None:
    _, answer = await request(live, audiences=["vault"])
    token = answer["status"]["token"]
    assert (await review(live, token))["user"] == {}
    assert (await review(live, token, "vault", "x"))["audiences"] == ["vault"]
    headers = {"Authorization": f"Bearer {token}"}
    assert (await live.json("GET", "/api", headers=headers))[0] == 401


async def test_a_token_ends_with_what_it_is_bound_to(live: Running) -> None:
    _, made = await live.json("POST", "/api/v1/namespaces/default/pods", json=pod("p"))
    uid = made["metadata"]["uid"]
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": uid}
    _, answer = await request(live, boundObjectRef=bound)
    token = answer["status"]["token"]
    extra = (await review(live, token))["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert extra["authentication.kubernetes.io/pod-uid"] == [uid]
    await live.json("DELETE", "/api/v1/namespaces/default/pods/p")
    assert "authenticated" not in await review(live, token)
    await live.json("POST", "/api/v1/namespaces/default/pods", json=pod("p"))
    assert "authenticated" not in await review(live, token), "another pod of that name"


async def test_a_token_ends_with_its_account(live: Running) -> None:
    await live.json("POST", ACCOUNTS, json={"metadata": {"name": "robot"}})
    _, answer = await request(live, "robot")
    token = answer["status"]["token"]
    assert (await review(live, token))["authenticated"]
    await live.json("DELETE", f"{ACCOUNTS}/robot")
    await live.json("POST", ACCOUNTS, json={"metadata": {"name": "robot"}})
    assert "authenticated" not in await review(live, token)


async def test_requests_that_make_no_sense(live: Running) -> None:
    status, answer = await request(live, expirationSeconds=10)
    assert (status, answer["details"]["causes"][0]["field"]) == (422, "spec.expirationSeconds")
    assert "may not specify a duration less than 10 minutes" in answer["message"]
    assert (await request(live, "nobody"))[0] == 404
    gone = {"kind": "Pod", "apiVersion": "v1", "name": "gone"}
    assert (await request(live, boundObjectRef=gone))[0] == 404
    assert (await request(live, boundObjectRef={**gone, "kind": "Service"}))[0] == 400
    await live.json("POST", "/api/v1/namespaces/default/pods", json=pod("p"))
    other = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "another"}
    assert (await request(live, boundObjectRef=other))[0] == 409
    for odd in ("x", 3, {"kind": "Pod", "name": 3}, {"kind": ["Pod"], "name": "p"}):
        assert (await request(live, boundObjectRef=odd))[0] == 400
    for audiences in ("one", 3, [3]):
        assert (await request(live, audiences=audiences))[0] == 400
    assert (await live.json("POST", f"{ACCOUNTS}/default/token", json={"spec": "x"}))[0] == 400
    assert (await live.json("GET", f"{ACCOUNTS}/default/token"))[0] == 405


async def test_verifiers_elsewhere_find_the_keys(live: Running) -> None:
    _, answer = await live.json("GET", "/.well-known/openid-configuration")
    assert answer["issuer"] == API_AUDIENCES[0]
    assert answer["jwks_uri"] == f"{live.url}/openid/v1/jwks"
    async with live.session.get("/openid/v1/jwks") as keys:
        assert (await keys.json(content_type=None))["keys"][0]["alg"] == "ES256"


def test_times() -> None:
    clock = Clock()
    wish = Wish(API_AUDIENCES, 600)
    made = token_claims.claims(
        namespace="d",
        account="a",
        account_uid="u",
        wish=wish,
        bound_uid="",
        token_id="t",
        now=START,
    )
    assert token_claims.read(made, clock.now) is not None
    assert token_claims.read(made, START + 599) is not None
    assert token_claims.read(made, START + 620) is None
    assert token_claims.read(made, START - 60) is None
    assert token_claims.read({**made, "iss": "https://elsewhere"}, START) is None
    assert token_claims.read({**made, "sub": "system:serviceaccount:d:b"}, START) is None
    assert token_claims.read({}, START) is None
