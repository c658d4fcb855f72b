"""The delta protocol against a model of Envoy: whatever happens, it converges, in order."""

from collections import deque
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.xds.delta import (
    Acked,
    Nacked,
    Outcome,
    Request,
    Response,
    Retry,
    StreamState,
    Update,
    settled,
    step,
)
from weft.xds.resource import (
    CLUSTER,
    ENDPOINTS,
    EXTENSION,
    LISTENER,
    ROUTES,
    SCOPES,
    TYPE_URLS,
    Resource,
    World,
    changes,
    content_version,
    world_of,
)


def res(type_url: str, name: str, text: str = "", uses: Iterable[str] = ()) -> Resource:
    body = f"{name} {text}".encode()
    return Resource(type_url, name, content_version(body), body, tuple(uses))


def web(version: int = 0, endpoints: int = 0, routes: tuple[str, ...] = ("a",)) -> list[Resource]:
    """A small world: a listener, its routes, the clusters they name, and endpoints."""
    return [
        *(res(CLUSTER, name, str(version)) for name in routes),
        *(res(ENDPOINTS, name, str(endpoints)) for name in routes),
        res(ROUTES, "80", " ".join(routes), routes),
        res(LISTENER, "out", "", ("80",)),
    ]


class Peer:
    """A state machine and what it said, driven by hand."""

    def __init__(self, resources: list[Resource]) -> None:
        self.state = StreamState(world_of(resources))
        self.outcomes: list[Outcome] = []

    def tell(self, request: Request) -> list[Response]:
        self.state, responses, outcomes = step(self.state, request)
        self.outcomes.extend(outcomes)
        return list(responses)

    def update(self, resources: list[Resource]) -> list[Response]:
        world = world_of(resources)
        event = Update(world, changes(self.state.world, world))
        self.state, responses, outcomes = step(self.state, event)
        self.outcomes.extend(outcomes)
        return list(responses)

    def ack(self, response: Response) -> list[Response]:
        return self.tell(Request(response.type_url, nonce=response.nonce))

    def nack(self, response: Response, error: str = "bad") -> list[Response]:
        return self.tell(Request(response.type_url, nonce=response.nonce, error=error))

    def settle(self, responses: list[Response]) -> list[Response]:
        """Acknowledge everything; returns all that was sent, in order."""
        everything: list[Response] = []
        waiting = deque(responses)
        while waiting:
            response = waiting.popleft()
            everything.append(response)
            waiting.extend(self.ack(response))
        assert settled(self.state)
        return everything

    def start(self) -> list[Response]:
        """What an Envoy that starts does, in its order."""
        sent = self.tell(Request(CLUSTER))
        names = tuple(self.state.world[CLUSTER])
        sent += self.tell(Request(ENDPOINTS, subscribe=names)) if names else []
        sent = self.settle(sent)
        sent += self.settle(self.tell(Request(LISTENER)))
        routes = tuple(self.state.world[ROUTES])
        sent += self.settle(self.tell(Request(ROUTES, subscribe=routes)))
        return sent


def brief(responses: Iterable[Response]) -> list[str]:
    """`+type name` and `-type name`, in the order sent."""
    short = {url: url.rpartition(".")[2][0] for url in TYPE_URLS}
    out = []
    for response in responses:
        out += [f"+{short[response.type_url]} {r.name}" for r in response.resources]
        out += [f"-{short[response.type_url]} {name}" for name in response.removed]
    return out


def test_an_empty_world_is_said_to_be_empty() -> None:
    peer = Peer([])
    (response,) = peer.tell(Request(CLUSTER))
    assert response.resources == response.removed == ()
    assert peer.ack(response) == []


def test_first_sync_and_silence_after_it() -> None:
    peer = Peer(web())
    assert brief(peer.start()) == ["+C a", "+C a", "+L out", "+R 80"]
    assert peer.update(web()) == []


def test_a_new_service_comes_before_the_routes_to_it() -> None:
    peer = Peer(web())
    peer.start()
    first = peer.update(web(routes=("a", "b")))
    assert brief(first) == ["+C b"]
    endpoints = peer.tell(Request(ENDPOINTS, subscribe=("b",)))
    assert brief(endpoints) == ["+C b"]
    assert peer.ack(endpoints[0]) == [], "routes wait for the cluster, not for its endpoints"
    assert brief(peer.ack(first[0])) == ["+R 80"]


def test_routes_wait_for_the_extension_they_are_about() -> None:
    """Also when an earlier version of it is unanswered."""
    first = [*web(), res(EXTENSION, "tokens", "1")]
    peer = Peer(first)
    peer.start()
    peer.settle(peer.tell(Request(EXTENSION, subscribe=("tokens",))))
    (early,) = peer.update([*web(), res(EXTENSION, "tokens", "2")])
    changed = [each for each in web() if each.type_url != ROUTES]
    changed += [res(ROUTES, "80", "asks for tokens", ("a",)), res(EXTENSION, "tokens", "3")]
    assert peer.update(changed) == []
    assert brief(peer.ack(early)) == ["+T tokens", "+R 80"]


def test_a_removed_service_leaves_after_the_routes_to_it() -> None:
    peer = Peer(web(routes=("a", "b")))
    peer.start()
    first = peer.update(web(routes=("a",)))
    assert brief(first) == ["+R 80"]
    assert brief(peer.ack(first[0])) == ["-C b"]


def test_an_updated_cluster_takes_its_endpoints_along() -> None:
    peer = Peer(web())
    peer.start()
    sent = peer.update(web(version=1))
    assert [r.type_url for r in sent] == [CLUSTER, ENDPOINTS]


def test_endpoints_alone_go_alone_and_block_nothing() -> None:
    peer = Peer(web())
    peer.start()
    first = peer.update(web(endpoints=1))
    assert [r.type_url for r in first] == [ENDPOINTS]
    more = [*web(endpoints=1)[:-1], res(LISTENER, "out", "changed", ("80",))]
    assert brief(peer.update(more)) == ["+L out"], "although endpoints are in flight"
    assert peer.update([*web(endpoints=2)[:-1], more[-1]]) == [], "one in flight per type"
    assert brief(peer.ack(first[0])) == ["+C a"]


def test_one_bad_resource_of_many() -> None:
    peer = Peer([])
    (empty,) = peer.tell(Request(CLUSTER))
    peer.ack(empty)
    (batch,) = peer.update([res(CLUSTER, name) for name in "abc"])
    queue = deque(peer.nack(batch, "b is bad"))
    while queue:
        response = queue.popleft()
        (only,) = response.resources
        queue.extend(peer.nack(response) if only.name == "b" else peer.ack(response))
    assert [o.name for o in peer.outcomes if isinstance(o, Nacked)] == ["b"]
    assert set(peer.state.types[CLUSTER].acked) == {"a", "c"}
    assert settled(peer.state)
    assert brief(
        peer.update([res(CLUSTER, "a"), res(CLUSTER, "b", "good"), res(CLUSTER, "c")])
    ) == ["+C b"]


def test_what_was_refused_is_not_sent_again_and_the_old_one_may_return() -> None:
    peer = Peer([res(LISTENER, "x")])
    peer.settle(peer.tell(Request(LISTENER)))
    (bad,) = peer.update([res(LISTENER, "x", "bad")])
    assert peer.nack(bad) == []
    assert peer.update([res(LISTENER, "x", "bad"), res(LISTENER, "y")])[0].resources[0].name == "y"
    peer = Peer([res(LISTENER, "x")])
    peer.settle(peer.tell(Request(LISTENER)))
    (bad,) = peer.update([res(LISTENER, "x", "bad")])
    peer.nack(bad)
    assert peer.update([res(LISTENER, "x")]) == [], "the proxy still has it"


def test_a_retry_offers_what_was_refused_again() -> None:
    peer = Peer([res(LISTENER, "x"), res(LISTENER, "y")])
    (both,) = peer.tell(Request(LISTENER))
    (x,) = peer.nack(both)
    (y,) = peer.nack(x)
    assert peer.ack(y) == []
    peer.state, (again,), _ = step(peer.state, Retry(LISTENER))
    assert brief([again]) == ["+L x"]
    peer.ack(again)
    assert set(peer.state.types[LISTENER].acked) == {"x", "y"}
    assert step(peer.state, Retry(ROUTES)) == (peer.state, (), ())


def test_refused_routes_keep_the_clusters_they_may_name() -> None:
    peer = Peer(web(routes=("a", "b")))
    peer.start()
    (routes,) = peer.update(web(routes=("a",)))
    assert peer.nack(routes) == [], "the old routes stay in force, and with them cluster b"
    fixed = [r for r in web(routes=("a",)) if r.type_url != ROUTES] + [res(ROUTES, "80", "fixed")]
    (routes,) = peer.update(fixed)
    assert brief([routes]) == ["+R 80"]
    assert brief(peer.ack(routes)) == ["-C b"]


def test_endpoints_and_routes_are_never_removed() -> None:
    peer = Peer(web())
    peer.start()
    sent = peer.settle(peer.update([]))
    assert brief(sent) == ["-L out", "-C a"]


def test_a_name_that_does_not_exist_is_answered() -> None:
    peer = Peer([])
    (answer,) = peer.tell(Request(ENDPOINTS, subscribe=("ghost",)))
    assert answer.removed == ("ghost",)


def test_a_reconnecting_proxy_gets_only_the_difference() -> None:
    world = web(routes=("a", "b"))
    have = {r.name: r.version for r in world if r.type_url == CLUSTER}
    peer = Peer(world)
    assert peer.tell(Request(CLUSTER, initial_versions=have)) == []
    assert set(peer.state.types[CLUSTER].acked) == {"a", "b"}, "it counts as acknowledged"
    versions = {r.name: r.version for r in world if r.type_url == ENDPOINTS}
    sent = peer.tell(Request(ENDPOINTS, subscribe=("a", "b"), initial_versions=versions))
    assert brief(sent) == ["+C a", "+C b"], "a cluster may still wait for its endpoints"

    peer = Peer(world)
    sent = peer.tell(Request(CLUSTER, initial_versions=have | {"a": "older", "gone": "1"}))
    assert brief(sent) == ["+C a"], "its old routes may name what is gone"
    routes = {"80": "older"}
    assert peer.tell(Request(LISTENER, initial_versions={"out": "older"})) == []
    assert peer.tell(Request(ROUTES, subscribe=("80",), initial_versions=routes)) == []
    assert brief(peer.settle(sent))[1:] == ["+L out", "+R 80", "-C gone"]


def test_stale_and_foreign_requests_change_nothing() -> None:
    peer = Peer(web())
    (response,) = peer.tell(Request(CLUSTER))
    assert peer.tell(Request(CLUSTER, nonce="999")) == []
    assert peer.tell(Request(CLUSTER, nonce="999", error="old")) == []
    assert peer.state.types[CLUSTER].in_flight == response
    assert peer.tell(Request("type.googleapis.com/unknown")) == []
    assert isinstance(peer.ack(response), list)
    assert [type(o) for o in peer.outcomes] == [Acked]


class Envoy:
    """Enough of Envoy: it subscribes as it learns names, acknowledges clusters when all are
    warm, and refuses whole responses for one bad resource."""

    def __init__(self, bad: frozenset[str]) -> None:
        self.bad = bad
        self.has: dict[str, dict[str, Resource]] = {url: {} for url in TYPE_URLS}
        self.warming: set[str] = set()
        self.held: list[Request] = []
        self.connect(StreamState(world_of(())))

    def connect(self, state: StreamState) -> None:
        """A new stream; resources and subscriptions survive it."""
        self.state = state
        self.inbox: deque[Response] = deque()
        self.held = []
        for url in TYPE_URLS:
            versions = {name: r.version for name, r in self.has[url].items()}
            names = () if url in (CLUSTER, LISTENER) else tuple(self.subscribed(url))
            if names or url in (CLUSTER, LISTENER):
                self.say(Request(url, subscribe=names, initial_versions=versions))

    def subscribed(self, url: str) -> set[str]:
        if url == ENDPOINTS:
            return set(self.has[CLUSTER])
        return {t for r in self.has[LISTENER].values() for t in r.uses} if url == ROUTES else set()

    def say(self, request: Request) -> None:
        before = {url: t.in_flight for url, t in self.state.types.items()}
        self.state, responses, _ = step(self.state, request)
        self.inbox.extend(responses)
        for response in responses:
            known = before.get(response.type_url)
            assert known is None or known.nonce == request.nonce, "one in flight per type"

    def update(self, world: World) -> None:
        self.state, responses, _ = step(self.state, Update(world, changes(self.state.world, world)))
        self.inbox.extend(responses)

    def receive(self) -> None:
        response = self.inbox.popleft()
        url = response.type_url
        before = {u: self.subscribed(u) for u in (ENDPOINTS, ROUTES)}
        refused = [r.name for r in response.resources if r.version in self.bad]
        if refused:
            self.say(Request(url, nonce=response.nonce, error=f"bad: {refused}"))
            return
        for resource in response.resources:
            # What it has meanwhile unsubscribed from it ignores.
            if url in (CLUSTER, LISTENER) or resource.name in before[url]:
                self.has[url][resource.name] = resource
        for name in response.removed:
            # Told that endpoints do not exist, it stops waiting, and keeps those it has.
            if url in (CLUSTER, LISTENER):
                self.has[url].pop(name, None)
        if url == CLUSTER:
            self.warming |= {r.name for r in response.resources}
            self.warming &= set(self.has[CLUSTER])
        if url == ENDPOINTS:
            self.warming -= {r.name for r in response.resources} | set(response.removed)
        self.check_references()
        for named in (ENDPOINTS, ROUTES):
            new, old = self.subscribed(named), before[named]
            if new != old:
                gone = tuple(sorted(old - new))
                for name in gone:
                    self.has[named].pop(name, None)
                self.say(Request(named, subscribe=tuple(sorted(new - old)), unsubscribe=gone))
        ack = Request(url, nonce=response.nonce)
        if url == CLUSTER:
            self.held.append(ack)
        else:
            self.say(ack)
        if not self.warming:
            held, self.held = self.held, []
            for request in held:
                self.say(request)

    def check_references(self) -> None:
        """Make before break: what routes in force name exists."""
        for routes in self.has[ROUTES].values():
            for cluster in routes.uses:
                assert cluster in self.has[CLUSTER], f"routes name {cluster}, which is gone"

    def run_dry(self) -> None:
        for _ in range(1000):
            if not self.inbox:
                return
            self.receive()
        raise AssertionError("it never ends")


NAMES = st.sampled_from(["a", "b", "c", "d"])


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A world in which all references hold. A route table names only clusters of its world."""
    clusters = draw(st.dictionaries(NAMES, st.integers(0, 2), max_size=4))
    resources = [res(CLUSTER, name, str(v)) for name, v in clusters.items()]
    resources += [res(ENDPOINTS, name, str(draw(st.integers(0, 2)))) for name in clusters]
    tables = draw(st.lists(st.sampled_from(["80", "81"]), unique=True, max_size=2))
    for table in tables:
        some = st.lists(st.sampled_from(sorted(clusters)), unique=True) if clusters else st.just([])
        uses = sorted(draw(some))
        resources.append(res(ROUTES, table, f"{sorted(uses)} {draw(st.integers(0, 1))}", uses))
    listeners = draw(st.lists(st.sampled_from(["l1", "l2"]), unique=True)) if tables else []
    for name in listeners:
        uses = sorted(draw(st.lists(st.sampled_from(tables), unique=True, min_size=1)))
        resources.append(res(LISTENER, name, str(sorted(uses)), uses))
    return world_of(resources)


STEPS = st.lists(
    st.one_of(worlds(), st.just("receive"), st.just("receive"), st.just("reconnect")), max_size=30
)


def play(envoy: Envoy, steps: list[World | str]) -> None:
    for one in steps:
        if isinstance(one, dict):
            envoy.update(one)
        elif one == "reconnect":
            envoy.connect(StreamState(envoy.state.world))
        elif envoy.inbox:
            envoy.receive()
    envoy.run_dry()


@examples(150)
@given(steps=STEPS)
def test_it_converges_and_never_breaks_a_reference(steps: list[World | str]) -> None:
    envoy = Envoy(bad=frozenset())
    play(envoy, steps)
    assert settled(envoy.state)
    assert not envoy.warming, "a cluster would wait for its endpoints until a time-out"
    world = envoy.state.world
    assert envoy.has[CLUSTER] == world[CLUSTER]
    assert envoy.has[LISTENER] == world[LISTENER]
    assert envoy.has[ENDPOINTS] == world[ENDPOINTS]
    used = {t for r in world[LISTENER].values() for t in r.uses}
    assert envoy.has[ROUTES] == {n: r for n, r in world[ROUTES].items() if n in used}
    for url in TYPE_URLS:
        known = envoy.state.types.get(url)
        if known is not None:
            assert dict(known.acked) == envoy.has[url]


@examples(150)
@given(steps=STEPS, data=st.data())
def test_bad_resources_harm_only_themselves(steps: list[World | str], data: st.DataObject) -> None:
    versions = sorted(
        {
            (r.type_url, r.name, r.version)
            for one in steps
            if isinstance(one, dict)
            for url in (LISTENER, ROUTES)
            for r in one[url].values()
        }
    )
    chosen = data.draw(
        st.lists(st.sampled_from(versions), unique=True) if versions else st.just([])
    )
    bad = frozenset(version for _, _, version in chosen)
    envoy = Envoy(bad)
    play(envoy, steps)
    assert settled(envoy.state)
    world = envoy.state.world
    for url in (CLUSTER, ENDPOINTS, LISTENER):
        for name, resource in world[url].items():
            if resource.version not in bad:
                assert envoy.has[url].get(name) == resource
    for name in envoy.subscribed(ROUTES):
        wanted = world[ROUTES].get(name)
        if wanted is not None and wanted.version not in bad:
            assert envoy.has[ROUTES].get(name) == wanted


def test_scopes_stay_for_listeners_that_drain() -> None:
    scopes = [res(SCOPES, "http.80/0"), res(SCOPES, "http.80/1")]
    peer = Peer([*web(), *scopes])
    peer.start()
    sent = peer.settle(peer.tell(Request(SCOPES)))
    assert brief(sent) == ["+S http.80/0", "+S http.80/1"]
    assert peer.update(web()) == []
