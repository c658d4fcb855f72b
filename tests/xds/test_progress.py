"""Up to which change a proxy has answered for everything."""

from collections.abc import Mapping

from weft.xds.delta import Request, StreamState, Update, step
from weft.xds.progress import (
    VERSIONS_KEPT_MAX,
    Pending,
    answered,
    number,
    offered,
    refused_between,
)
from weft.xds.resource import CLUSTER, LISTENER, ROUTES, SCOPES, Resource, World, changes, world_of


def world(**versions: str) -> World:
    kinds: Mapping[str, tuple[str, tuple[str, ...]]] = {
        "c": (CLUSTER, ()), "l": (LISTENER, ("r",)), "r": (ROUTES, ()),
        "s": (SCOPES, ()),
    }  # fmt: skip
    return world_of(
        Resource(kinds[name[0]][0], name, version, b"", kinds[name[0]][1])
        for name, version in versions.items()
    )


class Proxy:
    """One proxy, whose answers a test gives."""

    def __init__(self, first: World) -> None:
        self.pending: Pending = offered({}, (0, 1), first, changes({}, first))
        self.number = 1
        self.state = StreamState(first)
        self.waiting: dict[str, str] = {}
        for kind in (CLUSTER, LISTENER):
            self.say(Request(kind, node="n"))

    def say(self, event: Request | Update) -> None:
        self.state, responses, _ = step(self.state, event)
        self.waiting.update({r.type_url: r.nonce for r in responses})

    def change(self, now: World) -> None:
        changed = changes(self.state.world, now)
        self.pending = offered(self.pending, (self.number, self.number + 1), now, changed)
        self.number += 1
        self.say(Update(now, changed))

    def ack(self, kind: str, error: str | None = None) -> None:
        self.say(Request(kind, self.waiting.pop(kind), error))

    def at(self) -> int:
        self.pending = answered(self.pending, self.state)
        return number(self.pending, self.number)


def ready() -> Proxy:
    proxy = Proxy(world(c="1", l="1", r="1"))
    assert proxy.at() == 0
    proxy.ack(CLUSTER)
    proxy.ack(LISTENER)
    assert proxy.at() == 0  # the listener will ask for its routes
    proxy.say(Request(ROUTES, subscribe=("r",)))
    proxy.ack(ROUTES)
    assert proxy.at() == 1
    return proxy


def test_everything_has_to_be_acknowledged() -> None:
    proxy = ready()
    proxy.change(world(c="1", l="1", r="2"))
    assert proxy.at() == 1
    proxy.ack(ROUTES)
    assert proxy.at() == 2


def test_under_steady_change_it_grows_as_well() -> None:
    proxy = ready()
    for version in range(2, 6):
        proxy.change(world(c="1", l="1", r=str(version)))
    # Version 2 is on its way, 5 waits behind it: a later version stands for those it replaced.
    proxy.ack(ROUTES)
    assert proxy.at() == 2
    proxy.ack(ROUTES)
    assert proxy.at() == 5


def test_a_refusal_is_an_answer_and_tells_between_which_changes_its_cause_lies() -> None:
    proxy = ready()
    proxy.change(world(c="1", l="1", r="2"))
    proxy.change(world(c="1", l="1", r="3"))
    proxy.ack(ROUTES, error="bad")
    assert refused_between(proxy.pending, ROUTES, "r", "2") == (1, 2)
    proxy.ack(ROUTES, error="bad")
    assert refused_between(proxy.pending, ROUTES, "r", "3") == (1, 3)
    assert proxy.at() == 3


def test_a_removed_cluster_counts_until_it_is_gone() -> None:
    proxy = ready()
    proxy.change(world(l="1", r="1"))
    assert proxy.at() == 1
    proxy.ack(CLUSTER)
    assert proxy.at() == 2


def test_what_no_listener_uses_is_not_waited_for() -> None:
    proxy = ready()
    proxy.change(world(c="1", l="1", r="1", r2="1"))
    assert proxy.at() == 2


def test_a_proxy_that_never_answers_costs_little() -> None:
    proxy = ready()
    for version in range(100):
        proxy.change(world(c="1", l="1", r=f"v{version}"))
    assert len(proxy.pending[ROUTES, "r"]) <= VERSIONS_KEPT_MAX
    assert proxy.at() == 1


def test_scopes_count_for_proxies_that_ask_for_them() -> None:
    proxy = ready()
    proxy.change(world(c="1", l="1", r="1", s="1"))
    assert proxy.at() == 2
    proxy.say(Request(SCOPES))
    proxy.change(world(c="1", l="1", r="1", s="2"))
    assert proxy.at() == 2
    proxy.ack(SCOPES)
    proxy.ack(SCOPES)
    assert proxy.at() == 3
