"""Read your writes: what a snapshot must show before a key is planned again. Pure."""

from msgspec import Struct

from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import meta
from weft.runtime.cache import Cache


class Seen(Struct, frozen=True):
    """All changes of a class up to a revision."""

    cls: type[Struct]
    revision: int


class Present(Struct, frozen=True):
    """An object that somebody created already."""

    cls: type[Struct]
    namespace: str
    name: str


class Leaving(Struct, frozen=True):
    """An object that was deleted: it is gone, another one, or marked for deletion."""

    cls: type[Struct]
    namespace: str
    name: str
    uid: str


class Bound(Struct, frozen=True):
    """A pod that was bound: it names a node, or is gone."""

    namespace: str
    name: str


Expectation = Seen | Present | Leaving | Bound


def is_met(expectation: Expectation, cache: Cache) -> bool:
    """Whether the cache shows it. A class that the cache does not hold is not waited for."""
    cls = Pod if isinstance(expectation, Bound) else expectation.cls
    if not cache.holds(cls):
        return True
    if isinstance(expectation, Seen):
        return cache.revision(cls) >= expectation.revision
    found = cache.get(cls, expectation.name, expectation.namespace)
    match expectation:
        case Present():
            return found is not None
        case Leaving():
            return (
                found is None
                or meta(found).uid != expectation.uid
                or bool(meta(found).deletion_timestamp)
            )
        case Bound():
            return not isinstance(found, Pod) or bool(found.spec and found.spec.node_name)
