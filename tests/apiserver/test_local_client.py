"""The client in process, when the store under it fails."""

from collections.abc import Awaitable, Callable

import pytest

from tests.apiserver.support import Api, config_map, kind, pod
from weft.api.errors import ApiError
from weft.apiserver.local_client import LocalClient
from weft.runtime.client import Client
from weft.store.interface import StoreError, Txn

MAPS = kind("cm")


async def watch(client: Client) -> None:
    async for _ in client.watch(MAPS, resource_version="1"):
        return


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.create(MAPS, {"metadata": {"name": "b"}}, "default"),
        lambda c: c.patch(MAPS, "a", {"data": {"k": "w"}}, "default"),
        lambda c: c.update(
            MAPS, {"metadata": {"name": "a", "namespace": "default"}, "data": {"k": "w"}}
        ),
        lambda c: c.delete(MAPS, "a", "default"),
        lambda c: c.bind("p", "default", "node-1"),
    ],
)
async def test_a_full_disk_refuses_and_heals(
    api: Api,
    call: Callable[[Client], Awaitable[object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever writes in a loop knows ApiError, and must live on once the disk has room again."""
    await api.create("cm", config_map("a"))
    await api.create("pods", pod("p"))

    async def full(_: Txn) -> int:
        raise StoreError("cannot write weft.db: the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(api.store, "apply", full)
        with pytest.raises(ApiError, match="the disk is full") as caught:
            await call(api.client)
        assert caught.value.code == 503
    await call(api.client)


@pytest.mark.parametrize(
    "call",
    [lambda c: c.get(MAPS, "a", "default"), lambda c: c.list(MAPS), watch],
)
async def test_a_closed_store_is_a_refusal(
    api: Api, call: Callable[[LocalClient], Awaitable[object]]
) -> None:
    await api.store.close()
    with pytest.raises(ApiError, match="closed") as caught:
        await call(api.client)
    assert caught.value.code == 503
