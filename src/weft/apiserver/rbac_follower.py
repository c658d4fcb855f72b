"""Keeps the access rules in memory as the roles and bindings of the store are."""

from weft.api.kinds import Kind
from weft.api.registry import KINDS
from weft.apiserver import codec, keys
from weft.apiserver.rbac import GROUP, Rbac
from weft.apiserver.store_follower import StoreFollower
from weft.store.interface import Store

PREFIX = f"{keys.ROOT}{GROUP}/"


class RbacFollower(StoreFollower):
    """Roles, cluster roles and their bindings."""

    def __init__(self, store: Store, rbac: Rbac) -> None:
        super().__init__(store, PREFIX, "access rules")
        self._rbac = rbac
        self._kinds = {k.plural: k for k in KINDS if k.group == GROUP}

    def clear(self) -> None:
        self._rbac.clear()

    def put(self, key: str, value: bytes) -> None:
        kind = self._kind(key)
        if kind is not None:
            self._rbac.put(kind.plural, codec.to_object(value))

    def remove(self, key: str) -> None:
        kind = self._kind(key)
        if kind is not None:
            self._rbac.remove(kind.plural, keys.names(kind, key))

    def _kind(self, key: str) -> Kind | None:
        return self._kinds.get(key[len(PREFIX) :].partition("/")[0])
