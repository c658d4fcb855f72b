"""The delta xDS protocol of one stream, as a pure state machine.

`step(state, event)` takes what happened and gives the new state, the responses to send, and what
was learnt (acknowledged, refused). The rules, each of which cost somebody an outage:

* Make before break. Clusters and endpoints go first; listeners and routes wait until the proxy
  acknowledged the clusters (Envoy does that once they are warm); clusters are removed last, after
  the routes and listeners that no longer name them are acknowledged. Routes come after the
  extensions that they are about.
* A cluster that is sent again warms again, and Envoy does not ask for its endpoints a second
  time: they are sent along, changed or not.
* At most one response per type is in flight: a slow proxy gets one merged difference, never a
  queue.
* Envoy may refuse a whole response for one bad resource. The response is then repeated one
  resource at a time; the bad one is remembered and not sent again until it changes.
* A cluster that is asked for by name and does not exist yet (on-demand CDS) is answered when it
  comes: the proxy holds the connections that need it until then.
* Endpoints and routes are never removed by the server: a proxy unsubscribes from them itself when
  it drops the cluster or listener that needed them. Nor are scopes: listeners that drain need them.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

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
)

WILDCARD = "*"
WILDCARD_TYPES = frozenset((CLUSTER, LISTENER, SCOPES))
REMOVED_TYPES = frozenset((CLUSTER, LISTENER))
"""Types whose resources the proxy is told to drop."""
WAITING_TYPES = frozenset((LISTENER, ROUTES))
"""Types whose changes wait for the clusters they may name."""


class Request(Struct, frozen=True):
    """What a proxy said."""

    type_url: str
    nonce: str = ""
    """Of the response that this acknowledges or refuses; empty for a spontaneous request."""
    error: str | None = None
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = {}
    """What the proxy has from an earlier connection: name -> version."""
    node: str = ""


class Update(Struct, frozen=True):
    """The wanted resources changed. `changed` names, per type, all that differ."""

    world: World
    changed: Mapping[str, frozenset[str]]


class Retry(Struct, frozen=True):
    """Offer what was refused of this type once more: the reason may have been outside of it (a
    port in use, a network namespace that did not exist yet)."""

    type_url: str


class Response(Struct, frozen=True):
    """What to send."""

    type_url: str
    nonce: str
    resources: tuple[Resource, ...]
    removed: tuple[str, ...]


class Acked(Struct, frozen=True):
    """The proxy applied a response."""

    response: Response


class Nacked(Struct, frozen=True):
    """The proxy refused this resource; what it had before stays in force."""

    type_url: str
    name: str
    version: str
    error: str


class TypeState(Struct, frozen=True):
    """What is known about a proxy's resources of one type."""

    wildcard: bool = False
    names: frozenset[str] = frozenset()
    """Subscribed by name."""
    sent: Mapping[str, str] = {}
    """name -> version that the proxy has or is about to have."""
    acked: Mapping[str, Resource] = {}
    """name -> what the proxy acknowledged last."""
    bad: Mapping[str, str] = {}
    """name -> version that the proxy refused."""
    dirty: frozenset[str] = frozenset()
    """Names to look at when the next response is made."""
    forced: frozenset[str] = frozenset()
    """Names to send even when the proxy has this version."""
    replay: tuple[str, ...] = ()
    """Names of a refused response, to be sent one by one."""
    in_flight: Response | None = None
    greeting: bool = False
    """The proxy waits for an answer even when there is nothing to tell."""


class StreamState(Struct, frozen=True):
    """One stream of one proxy."""

    world: World
    types: Mapping[str, TypeState] = {}
    nonce: int = 0


Event = Request | Update | Retry
Outcome = Acked | Nacked
Step = tuple[StreamState, tuple[Response, ...], tuple[Outcome, ...]]


def step(state: StreamState, event: Event) -> Step:
    """The next state, the responses to send now in this order, and what was learnt."""
    outcomes: tuple[Outcome, ...] = ()
    if isinstance(event, Update):
        state = _updated(state, event)
    elif isinstance(event, Retry):
        state = _retried(state, event.type_url)
    elif event.type_url in TYPE_URLS:
        state, outcomes = _requested(state, event)
    state, responses = _flush(state)
    return state, responses, outcomes


def settled(state: StreamState) -> bool:
    """Whether nothing is unanswered. A state that `step` returned has then nothing to send either,
    but for what a refused resource holds back."""
    return all(current.in_flight is None for current in state.types.values())


def _set(state: StreamState, type_url: str, value: TypeState) -> StreamState:
    return msgspec.structs.replace(state, types={**state.types, type_url: value})


def _updated(state: StreamState, event: Update) -> StreamState:
    types = dict(state.types)
    for type_url, names in event.changed.items():
        known = types.get(type_url)
        if known is not None and names:
            mine = names if known.wildcard else names & known.names
            acked = {**known.acked, **_brought(known, event.world.get(type_url, {}), mine)}
            types[type_url] = msgspec.structs.replace(known, dirty=known.dirty | mine, acked=acked)
    return msgspec.structs.replace(state, world=event.world, types=types)


def _retried(state: StreamState, type_url: str) -> StreamState:
    current = state.types.get(type_url)
    if current is None:
        return state
    dirty = current.dirty | frozenset(current.bad)
    return _set(state, type_url, msgspec.structs.replace(current, bad={}, dirty=dirty))


def _brought(
    current: TypeState, wanted: Mapping[str, Resource], names: Iterable[str]
) -> dict[str, Resource]:
    """Wanted resources that a reconnected proxy brought along, so nobody will acknowledge them."""
    on_the_way = () if current.in_flight is None else current.in_flight.resources
    pending = {resource.name for resource in on_the_way}
    return {
        name: wanted[name]
        for name in names
        if name in wanted and name not in pending and current.sent.get(name) == wanted[name].version
    }


def _requested(state: StreamState, request: Request) -> tuple[StreamState, tuple[Outcome, ...]]:
    known = state.types.get(request.type_url)
    first = known is None
    current = known or TypeState()
    outcomes: tuple[Outcome, ...] = ()
    in_flight = current.in_flight
    if in_flight is not None and request.nonce == in_flight.nonce:
        if request.error is None:
            current, outcomes = _acknowledged(current, in_flight)
        else:
            current, outcomes = _refused(current, in_flight, request.error)
    if first or request.subscribe or request.unsubscribe:
        current = _subscribed(state, current, request, first)
    return _set(state, request.type_url, current), outcomes


def _acknowledged(current: TypeState, response: Response) -> tuple[TypeState, tuple[Outcome, ...]]:
    acked = {**current.acked, **{r.name: r for r in response.resources if r.name in current.sent}}
    for name in response.removed:
        acked.pop(name, None)
    state = msgspec.structs.replace(current, in_flight=None, acked=acked)
    return state, (Acked(response),)


def _refused(
    current: TypeState, response: Response, error: str
) -> tuple[TypeState, tuple[Outcome, ...]]:
    """A refused response changed nothing that could be relied on: what it carried counts as not
    sent. Of a single resource we know that it is bad; of several, each is tried alone."""
    sent = dict(current.sent)
    for resource in response.resources:
        had = current.acked.get(resource.name)
        if had is None:
            sent.pop(resource.name, None)
        else:
            sent[resource.name] = had.version
    for name in response.removed:
        if name in current.acked:
            sent[name] = current.acked[name].version
    bad = dict(current.bad)
    outcomes: tuple[Outcome, ...] = ()
    replay: tuple[str, ...] = current.replay
    if len(response.resources) == 1 and not response.removed:
        only = response.resources[0]
        bad[only.name] = only.version
        outcomes = (Nacked(response.type_url, only.name, only.version, error),)
    elif response.resources:
        replay = (*(r.name for r in response.resources), *response.removed)
    state = msgspec.structs.replace(current, in_flight=None, sent=sent, bad=bad, replay=replay)
    return state, outcomes


def _subscribed(state: StreamState, current: TypeState, request: Request, first: bool) -> TypeState:
    wanted = state.world.get(request.type_url, {})
    asked = frozenset(request.subscribe) - {WILDCARD}
    gone = frozenset(request.unsubscribe)
    wildcard = current.wildcard and WILDCARD not in gone
    starts_wildcard = WILDCARD in request.subscribe or (
        first and not request.subscribe and request.type_url in WILDCARD_TYPES
    )
    sent = {name: v for name, v in current.sent.items() if name not in gone}
    acked = {name: r for name, r in current.acked.items() if name not in gone}
    dirty = (current.dirty - gone) | asked
    if request.initial_versions:
        sent |= request.initial_versions
        acked |= _brought(
            msgspec.structs.replace(current, sent=sent), wanted, request.initial_versions
        )
        dirty |= frozenset(request.initial_versions)
    if starts_wildcard:
        dirty |= frozenset(wanted)
    # A name that is asked for anew has to be answered, except what a reconnecting proxy has. Not
    # so endpoints: it may have lost its last stream between a cluster and its endpoints, and would
    # wait for them.
    known = () if request.type_url == ENDPOINTS else request.initial_versions
    forced = (current.forced - gone) | (asked - frozenset(known))
    return msgspec.structs.replace(
        current,
        wildcard=wildcard or starts_wildcard,
        names=(current.names - gone) | asked,
        sent=sent,
        acked=acked,
        bad={name: v for name, v in current.bad.items() if name not in gone},
        dirty=dirty,
        forced=forced,
        greeting=current.greeting or (starts_wildcard and not request.initial_versions),
    )


class _Pending(Struct, frozen=True):
    """What a type has to send now."""

    resources: tuple[Resource, ...] = ()
    removed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.resources or self.removed)


def _pending(state: StreamState, type_url: str, current: TypeState) -> _Pending:
    """All that differs between what the proxy has and what it shall have."""
    wanted = state.world.get(type_url, {})
    names = current.dirty | current.forced
    if not names:
        return _Pending()
    resources: list[Resource] = []
    removed: list[str] = []
    for name in sorted(names):
        resource = wanted.get(name)
        if not (current.wildcard or name in current.names):
            continue
        if resource is None:
            last = current.acked.get(name)
            if type_url not in REMOVED_TYPES and name in current.forced and last is not None:
                # Asked for again while it leaves: what it was last ends the waiting.
                resources.append(last)
            elif type_url in REMOVED_TYPES:
                if name in current.sent:
                    removed.append(name)
            elif name in current.forced:
                removed.append(name)
        elif current.bad.get(name) == resource.version:
            continue
        elif name in current.forced or current.sent.get(name) != resource.version:
            resources.append(resource)
    return _Pending(tuple(resources), tuple(removed))


def _flush(state: StreamState) -> tuple[StreamState, tuple[Response, ...]]:
    """Send all that may be sent now."""
    responses: list[Response] = []
    for type_url in TYPE_URLS:
        current = state.types.get(type_url)
        if current is None or current.in_flight is not None:
            continue
        state, response = _next_response(state, type_url, current)
        if response is not None:
            responses.append(response)
    return state, tuple(responses)


def _next_response(
    state: StreamState, type_url: str, current: TypeState
) -> tuple[StreamState, Response | None]:
    current, replayed = _next_replayed(state, type_url, current)
    if replayed is not None:
        return _send(state, type_url, current, replayed)
    pending = _pending(state, type_url, current)
    held = _Pending()
    if type_url == CLUSTER and pending.removed and _may_name_clusters(state):
        held = _Pending(removed=pending.removed)
        pending = _Pending(resources=pending.resources)
    elif type_url in WAITING_TYPES and pending.resources and _must_wait(state, type_url):
        held = _Pending(resources=pending.resources)
        pending = _Pending(removed=pending.removed)
    keep = frozenset(held.removed) | frozenset(r.name for r in held.resources)
    current = msgspec.structs.replace(
        current, dirty=current.dirty & keep, forced=current.forced & keep
    )
    if not pending and not (current.greeting and not held):
        return _set(state, type_url, current), None
    return _send(state, type_url, current, pending)


def _next_replayed(
    state: StreamState, type_url: str, current: TypeState
) -> tuple[TypeState, _Pending | None]:
    """The next resource of a refused response that is still wanted."""
    wanted = state.world.get(type_url, {})
    replay = list(current.replay)
    found = None
    while replay and found is None:
        name = replay.pop(0)
        resource = wanted.get(name)
        if resource is None:
            found = _Pending(removed=(name,)) if name in current.sent else None
        elif current.bad.get(name) != resource.version:
            found = _Pending(resources=(resource,))
    return msgspec.structs.replace(current, replay=tuple(replay)), found


def _send(
    state: StreamState, type_url: str, current: TypeState, pending: _Pending
) -> tuple[StreamState, Response]:
    nonce = state.nonce + 1
    response = Response(type_url, str(nonce), pending.resources, pending.removed)
    names = frozenset(r.name for r in pending.resources)
    sent = {**current.sent, **{r.name: r.version for r in pending.resources}}
    for name in pending.removed:
        sent.pop(name, None)
    bad = {name: v for name, v in current.bad.items() if name not in names}
    current = msgspec.structs.replace(
        current,
        sent=sent,
        bad=bad,
        in_flight=response,
        greeting=False,
        forced=current.forced - names - frozenset(pending.removed),
    )
    state = msgspec.structs.replace(_set(state, type_url, current), nonce=nonce)
    if type_url == CLUSTER and names:
        state = _force_endpoints(state, names)
    return state, response


def _force_endpoints(state: StreamState, clusters: Iterable[str]) -> StreamState:
    """These clusters warm (again): endpoints that the proxy has subscribed to by now it will not
    ask for once more, so they are sent, changed or not."""
    current = state.types.get(ENDPOINTS)
    if current is None:
        return state
    forced = current.forced | (frozenset(clusters) & current.names)
    return _set(state, ENDPOINTS, msgspec.structs.replace(current, forced=forced))


def _must_wait(state: StreamState, type_url: str) -> bool:
    """Whether changes of listeners or routes could name what the proxy does not have yet. What
    extensions had to send was sent before, unless an earlier response is unanswered."""
    extensions = state.types.get(EXTENSION) if type_url == ROUTES else None
    if extensions is not None and _pending(state, EXTENSION, extensions).resources:
        return True
    return _clusters_unsettled(state)


def _clusters_unsettled(state: StreamState) -> bool:
    """Whether a route sent now could name a cluster that the proxy does not have yet.

    Endpoints count until the proxy acknowledged some for each cluster, no longer: under steady
    change of endpoints routes would otherwise never be sent.
    """
    clusters = state.types.get(CLUSTER)
    if clusters is None:
        return False
    if clusters.in_flight is not None and clusters.in_flight.resources:
        return True
    if clusters.replay or _pending(state, CLUSTER, clusters).resources:
        return True
    endpoints = state.types.get(ENDPOINTS)
    if endpoints is None:
        return False
    on_the_way = endpoints.in_flight.resources if endpoints.in_flight is not None else ()
    to_send = _pending(state, ENDPOINTS, endpoints).resources
    return any(r.name not in endpoints.acked for r in (*on_the_way, *to_send))


def _may_name_clusters(state: StreamState) -> bool:
    """Whether listeners or routes that the proxy still uses may name a cluster we drop.

    A refused route configuration leaves an older one in force, so it counts.
    """
    listeners = state.types.get(LISTENER)
    if listeners is None:
        return True
    if ROUTES not in state.types and any(
        name not in listeners.acked or listeners.acked[name].uses for name in listeners.sent
    ):
        return True  # a proxy that reconnects has routes, but has not said so yet
    for type_url in (LISTENER, ROUTES):
        current = state.types.get(type_url)
        if current is None:
            continue
        if current.in_flight is not None or current.replay or _pending(state, type_url, current):
            return True
        wanted = state.world.get(type_url, {})
        if any(name in wanted and wanted[name].version == v for name, v in current.bad.items()):
            return True
    return False
