"""How far a proxy has come: up to which change it has answered for everything. Pure.

Every set of resources that is offered to proxies has a number. A proxy has *answered* number N
once each resource that differed then has been acknowledged, in that version or a later one, or
was refused. So under steady change the number grows as well, other than "all is acknowledged".
"""

from collections.abc import Mapping

from msgspec import Struct

from weft.xds.delta import REMOVED_TYPES, StreamState
from weft.xds.resource import CLUSTER, LISTENER, ROUTES, SCOPES, TYPE_URLS, World

Key = tuple[str, str]
"""(type URL, name)"""
VERSIONS_KEPT_MAX = 8
"""Of one resource, for a proxy that does not answer."""
GONE = ""
"""The version of a resource that the proxy shall not have."""


class Offered(Struct, frozen=True):
    """A version of a resource, and with which number it was offered."""

    number: int
    version: str
    after: int = 0
    """The number of the set before."""


Pending = Mapping[Key, tuple[Offered, ...]]
"""What was offered and not answered, oldest first."""


def offered(
    pending: Pending, step: tuple[int, int], world: World, changed: Mapping[str, frozenset[str]]
) -> Pending:
    """With the changes of one more set of resources. `step`: the number of the set before, and
    that of this one."""
    after, number = step
    made = dict(pending)
    for type_url, names in changed.items():
        wanted = world.get(type_url, {})
        for name in names:
            resource = wanted.get(name)
            version = GONE if resource is None else resource.version
            if resource is not None or type_url in REMOVED_TYPES:
                first, *rest = (*made.get((type_url, name), ()), Offered(number, version, after))
                made[type_url, name] = (first, *rest[1 - VERSIONS_KEPT_MAX :])
            else:
                # Nothing is said about its end: the proxy drops it with what needed it.
                made.pop((type_url, name), None)
    return made


def answered(pending: Pending, state: StreamState) -> Pending:
    """Without what the proxy has answered since."""
    left: dict[Key, tuple[Offered, ...]] = {}
    for type_url in TYPE_URLS:  # clusters and listeners decide what else is needed
        for (its_type, name), versions in pending.items():
            if its_type == type_url:
                rest = _unanswered(versions, type_url, name, state)
                if rest and _needed(type_url, name, state, left):
                    left[type_url, name] = rest
    return left


def _unanswered(
    versions: tuple[Offered, ...], type_url: str, name: str, state: StreamState
) -> tuple[Offered, ...]:
    current = state.types.get(type_url)
    if current is None:
        return versions
    has = current.acked[name].version if name in current.acked else GONE
    if has == GONE and name in current.sent:
        has = "on its way"
    settled = {has, current.bad.get(name, has)}
    last = max((n for n, entry in enumerate(versions) if entry.version in settled), default=-1)
    return versions[last + 1 :]


def _needed(type_url: str, name: str, state: StreamState, left: Pending) -> bool:
    """Whether the proxy will ask for it. It may still do so as long as a cluster or listener is
    on its way; route tables are asked for by whatever listener names them."""
    if type_url in REMOVED_TYPES:
        return True
    current = state.types.get(type_url)
    if type_url == SCOPES:
        return current is not None
    if current is not None and name in current.names:
        return True
    if type_url == ROUTES:
        return any(name in r.uses for r in state.world.get(LISTENER, {}).values())
    return any(waiting in (CLUSTER, LISTENER) for waiting, _ in left)


def number(pending: Pending, last: int) -> int:
    """Up to which number everything is answered. `last` is that of the newest set."""
    return min((entries[0].number for entries in pending.values()), default=last + 1) - 1


def refused_between(pending: Pending, type_url: str, name: str, version: str) -> tuple[int, int]:
    """Between which numbers whatever made a proxy refuse this version came: after the first, at
    the latest with the second. Zeros when it was offered before the proxy connected."""
    entries = pending.get((type_url, name), ())
    last = next((entry.number for entry in entries if entry.version == version), 0)
    return (entries[0].after, last) if last else (0, 0)
