"""Access rules follow the store, whatever happens on the way."""

import json
from typing import Any

import pytest

from tests.apiserver.test_rbac import ALICE, READ_PODS, asks, binding, role, user
from tests.waiting import until
from weft.apiserver import store_follower
from weft.apiserver.rbac import Rbac
from weft.apiserver.rbac_follower import PREFIX, RbacFollower
from weft.store.interface import Delete, Put, StoreError, Txn, Watch
from weft.store.memory import MemoryStore

BINDING = f"{PREFIX}clusterrolebindings/b"


class Unreliable(MemoryStore):
    """Cannot be watched, nor then be read, a few times."""

    failures = 0

    def watch(self, prefix: str, from_revision: int) -> Watch:
        self._fail()
        return super().watch(prefix, from_revision)

    async def range(self, *args: Any, **given: Any) -> Any:
        self._fail()
        return await super().range(*args, **given)

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreError("not now")


async def test_what_is_revoked_goes_even_after_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_follower, "RETRY_SECONDS", 0.01)
    store, rules = Unreliable(), Rbac()
    for key, obj in (
        (f"{PREFIX}clusterroles/reader", role("reader", READ_PODS)),
        (BINDING, binding("b", "reader", user("alice"))),
    ):
        await store.apply(Txn((Put(key, json.dumps(obj).encode()),)))
    follower = RbacFollower(store, rules)
    await follower.start()
    store.failures = 3  # the watch, and two attempts to read all
    assert rules.decide(ALICE, asks("get", "pods")).allowed
    await store.apply(Txn((Delete(BINDING),)))
    await until(lambda: not rules.decide(ALICE, asks("get", "pods")).allowed)
    assert store.failures == 0
    await follower.close()
