"""The history of objects: what makes a version, how many are kept, who may read them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest

from weft.api.errors import ApiError
from weft.apiserver.access import WEFT, Attributes, Decision, User
from weft.daemon import history
from weft.daemon.history import VERSIONS_MAX, HistoryKeeper
from weft.store.interface import Delete, Put, Txn
from weft.store.sqlite import SqliteStore

KEY = "/registry/apps/deployments/shop/web"
QUERY = {"group": "apps", "resource": "deployments", "namespace": "shop", "name": "web"}


class Only:
    """Lets read what is of one resource."""

    def __init__(self, resource: str) -> None:
        self.resource = resource

    def decide(self, _: User, wanted: Attributes) -> Decision:
        return Decision(self.resource in ("*", wanted.resource))


def deployment(replicas: int, **more: Any) -> bytes:
    metadata = {"name": "web", "namespace": "shop", "resourceVersion": "9", **more.pop("meta", {})}
    return orjson.dumps({"metadata": metadata, "spec": {"replicas": replicas}, **more})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = await SqliteStore.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def kept(store: SqliteStore, *writes: Put | Delete) -> HistoryKeeper:
    """A keeper that has seen these writes."""
    keeper = HistoryKeeper(store, Only("*"))
    await keeper.load()
    for write in writes:
        await store.apply(Txn((write,)))
    task = asyncio.ensure_future(keeper.run())
    last = store.revision

    async def seen() -> None:
        while keeper.seen < last:  # noqa: ASYNC110
            await asyncio.sleep(0)

    await asyncio.wait_for(seen(), 10)
    task.cancel()
    return keeper


async def versions(keeper: HistoryKeeper) -> list[Any]:
    _, body = await keeper.page(WEFT, QUERY)
    found: list[Any] = msgspec.json.decode(body)["versions"]
    return found


async def test_what_somebody_wrote_makes_a_version(store: SqliteStore) -> None:
    fields = [{"manager": "kubectl", "time": "2026-01-01T00:00:00Z"}]
    keeper = await kept(
        store,
        Put(KEY, deployment(1)),
        Put(KEY, deployment(1, status={"replicas": 1})),
        Put(KEY, deployment(1, meta={"annotations": {"deployment.kubernetes.io/revision": "1"}})),
        Put(KEY, deployment(3, meta={"managedFields": fields})),
        Delete(KEY),
    )
    found = await versions(keeper)
    assert [(each["event"], each["object"]["spec"]["replicas"]) for each in found] == [
        ("deleted", 3),
        ("changed", 3),
        ("created", 1),
    ]
    assert found[1]["by"] == "kubectl"
    assert "managedFields" not in found[1]["object"]["metadata"]
    assert "resourceVersion" not in found[1]["object"]["metadata"]


async def test_an_object_from_before_comes_with_what_it_was(store: SqliteStore) -> None:
    await store.apply(Txn((Put(KEY, deployment(1)),)))
    keeper = await kept(store, Put(KEY, deployment(2)))
    assert [each["event"] for each in await versions(keeper)] == ["changed", "found"]


async def test_only_so_many_are_kept_and_they_outlive_a_restart(store: SqliteStore) -> None:
    await kept(store, *(Put(KEY, deployment(n)) for n in range(VERSIONS_MAX + 5)))
    again = await kept(store, Put(KEY, deployment(100)))
    found = await versions(again)
    assert [each["object"]["spec"]["replicas"] for each in found] == [
        100,
        *range(VERSIONS_MAX + 4, 5, -1),
    ]
    assert len((await store.range(history.ROOT)).entries) == VERSIONS_MAX


async def test_all_together_stay_in_bounds(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "BYTES_MAX", 4000)
    puts = [Put(KEY.replace("web", f"web-{n}"), deployment(n)) for n in range(60)]
    await kept(store, *puts)
    entries = (await store.range(history.ROOT)).entries
    assert 5 < len(entries) < 40
    assert sum(len(each.value) for each in entries) <= 4000


async def test_no_history_of_secrets_and_of_what_controllers_own(store: SqliteStore) -> None:
    owner = {"ownerReferences": [{"kind": "Deployment", "controller": True}]}
    await kept(
        store,
        Put("/registry/core/secrets/shop/key", deployment(1)),
        Put("/registry/core/pods/shop/web", deployment(1)),
        Put("/registry/apps/replicasets/shop/web", deployment(1, meta=owner)),
    )
    assert (await store.range(history.ROOT)).entries == ()


async def test_who_may_not_read_an_object_sees_nothing_of_it(store: SqliteStore) -> None:
    keeper = await kept(
        store,
        Put(KEY, deployment(1)),
        Put("/registry/core/configmaps/shop/web", deployment(1)),
    )
    keeper.access = Only("configmaps")
    with pytest.raises(ApiError) as refused:
        await keeper.page(WEFT, QUERY)
    assert refused.value.code == 404
    _, body = await keeper.page(WEFT, {})
    assert [each["resource"] for each in msgspec.json.decode(body)["changes"]] == ["configmaps"]
