"""Which objects name which owners, by the owners' uids: kept as objects change. Pure."""

from collections.abc import Iterable

from weft.apiserver import codec

_MARK = b'"ownerReferences"'


class Dependents:
    """Keys by uid of owner."""

    def __init__(self) -> None:
        self._owners: dict[str, tuple[str, ...]] = {}
        self._keys: dict[str, set[str]] = {}

    def put(self, key: str, value: bytes) -> None:
        """An object as it is now."""
        owners: tuple[str, ...] = ()
        if _MARK in value:
            references = codec.to_object(value)["metadata"].get("ownerReferences") or ()
            owners = tuple(str(reference["uid"]) for reference in references)
        known = self._owners.get(key, ())
        if owners == known:
            return
        self.remove(key)
        if owners:
            self._owners[key] = owners
            for uid in owners:
                self._keys.setdefault(uid, set()).add(key)

    def remove(self, key: str) -> None:
        """It is gone; idempotent."""
        for uid in self._owners.pop(key, ()):
            found = self._keys.get(uid, set())
            found.discard(key)
            if not found:
                self._keys.pop(uid, None)

    def of(self, uids: Iterable[str]) -> list[str]:
        """In order of their keys."""
        return sorted({key for uid in uids for key in self._keys.get(uid, ())})
