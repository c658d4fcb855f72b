"""What the two proxies of a node without root get, and in which order."""

from collections.abc import Iterable

from weft.xds.relay import Relay, Relayed, RelaySettings
from weft.xds.resource import LISTENER, Resource
from weft.xds.server import AdsServer, relay_of


class RelayFeed:
    """The relay announces an address once the node's proxy listens behind it, and gives it up
    first: callers of the machine are never let in to nobody."""

    def __init__(self, ads: AdsServer, node: str, settings: RelaySettings) -> None:
        self._ads = ads
        ads.expect_relay(node)
        self._node = node
        self._relay = Relay(settings)
        self._wanted: tuple[Resource, ...] = ()
        self._number = 0
        """Of `_wanted`."""
        self._complete = 0
        """The number up to which the relay was given all."""
        self._sent: frozenset[str] | None = None
        """Listeners that the relay shall have; None: a relay that is there keeps what it has."""
        self._seen: tuple[str, ...] = ()
        """How far the node's proxy was with those that the relay was not given."""

    def offer(self, resources: Iterable[Resource], number: int) -> Relayed:
        """Give both what follows from the resources of the node's proxy."""
        found = self._relay.divide(resources)
        self._wanted, self._number = found.relay, number
        self._ads.update(self._node, found.node, number)
        self._advance()
        return found

    async def run(self) -> None:
        """Until cancelled: the relay follows what the node's proxy answers."""
        while True:
            await self._ads.wait(lambda _: bool(self._seen) and self._states() != self._seen)
            self._advance()

    def _advance(self) -> None:
        waiting = self._waiting()
        self._seen = self._states()
        if self._sent is None and "pending" in self._seen:
            return  # the relay that was there before may have what is not answered for yet
        if "pending" not in self._seen:
            self._complete = self._number
        given = tuple(r for r in self._wanted if r.type_url != LISTENER or r.name not in waiting)
        self._sent = frozenset(r.name for r in given if r.type_url == LISTENER)
        self._ads.update(relay_of(self._node), given, self._complete)

    def _waiting(self) -> list[str]:
        """Listeners behind which the node's proxy does not listen yet."""
        sent = self._sent or frozenset()
        has = self._ads.acked_names(self._node, LISTENER)
        names = (r.name for r in self._wanted if r.type_url == LISTENER)
        return [name for name in names if name not in sent and name not in has]

    def _states(self) -> tuple[str, ...]:
        """What the node's proxy says of those: refused, or nothing yet."""
        states = (self._ads.state_at(self._node, LISTENER, n) for n in self._waiting())
        return tuple("refused" if state == "refused" else "pending" for state in states)
