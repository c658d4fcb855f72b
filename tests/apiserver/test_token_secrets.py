"""Secrets that hold a service account's token."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

from tests.apiserver.serving import Running
from weft.pki.signing_keys import new_ring

SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


async def until(look: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(10):
        while not (found := await look()):  # noqa: ASYNC110 - anything may make it true
            await asyncio.sleep(0.01)
    return found


def secret(name: str = "s", account: str = "robot") -> dict[str, Any]:
    annotations = {"kubernetes.io/service-account.name": account}
    return {
        "metadata": {"name": name, "annotations": annotations},
        "type": "kubernetes.io/service-account-token",
    }


async def filled(live: Running, name: str = "s") -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        status, found = await live.json("GET", f"{SECRETS}/{name}")
        return found if status == 200 and "token" in (found.get("data") or {}) else None

    return await until(look)


async def who(live: Running, token: str) -> tuple[int, Any]:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    headers = {"Authorization": f"Bearer {token}"}
    return await live.json("POST", path, json={}, headers=headers)


async def test_filled_believed_and_ended_with_the_secret(live: Running) -> None:
    live.server.roots = "the CA"
    assert (await live.json("POST", ACCOUNTS, json={"metadata": {"name": "robot"}}))[0] == 201
    assert (await live.json("POST", SECRETS, json=secret()))[0] == 201
    found = await filled(live)
    data = {k: base64.b64decode(v).decode() for k, v in found["data"].items()}
    assert (data["namespace"], data["ca.crt"]) == ("default", "the CA")
    assert found["metadata"]["annotations"]["kubernetes.io/service-account.uid"]
    status, told = await who(live, data["token"])
    assert (status, told["status"]["userInfo"]["username"]) == (
        201, "system:serviceaccount:default:robot",
    )  # fmt: skip
    await live.json("DELETE", f"{SECRETS}/s")
    assert (await who(live, data["token"]))[0] == 401


async def test_gone_with_its_account(live: Running) -> None:
    await live.json("POST", ACCOUNTS, json={"metadata": {"name": "robot"}})
    await live.json("POST", SECRETS, json=secret())
    await filled(live)
    await live.json("DELETE", f"{ACCOUNTS}/robot")

    async def gone() -> bool:
        return (await live.json("GET", f"{SECRETS}/s"))[0] == 404

    await until(gone)
    await live.json("POST", SECRETS, json=secret("other", "nobody"))

    async def other_gone() -> bool:
        return (await live.json("GET", f"{SECRETS}/other"))[0] == 404

    await until(other_gone)


async def test_a_token_whose_key_was_forgotten_is_made_anew(live: Running) -> None:
    await live.json("POST", ACCOUNTS, json={"metadata": {"name": "robot"}})
    await live.json("POST", SECRETS, json=secret())
    old = (await filled(live))["data"]["token"]
    live.server.use_signing_keys(new_ring())

    async def renewed() -> bool:
        return bool((await filled(live))["data"]["token"] != old)

    await until(renewed)
