"""Puts workloads to sleep that nobody calls, holds the calls that come then, and wakes them."""

import asyncio
import contextlib
import logging
from collections import Counter

from weft.api.errors import ApiError
from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.controllers import scale_to_zero as zero
from weft.controllers.scale_to_zero import Sleeper
from weft.daemon.all_nodes import AllInFlight
from weft.lib.aio import Tasks, now, ticks
from weft.mesh.model import Destination, MeshModel
from weft.node.envoy import EnvoyError
from weft.runtime.client import Client
from weft.runtime.events import EventRecorder
from weft.runtime.execute import Executor
from weft.runtime.informer import Informers
from weft.runtime.plan import Action, Plan
from weft.telemetry.traffic import Traffic
from weft.xds.holding import HOLD_SECONDS_DEFAULT, HOLD_SECONDS_MAX
from weft.xds.server import AdsServer

log = logging.getLogger("weft.scale_to_zero")

LOOK_SECONDS = 1.0
"""Between two looks at who is idle."""
FALL_SECONDS_MAX = 10.0
"""How long proxies may take to hold calls before the workload is left awake."""
HELD_REQUESTS_PER_NODE_MAX = 768
"""Requests that a node's proxy may have held at one time; further ones are answered 503. Envoy has
1024 requests to its control plane under way at most, and needs some for other things."""

SLEEPS, SERVES = "sleeps", "serves"

Key = tuple[str, str]


SAID_AT_LOOK = 2


class ScaleToZero:
    """One for all workloads. `run` it; tell it of models and of what proxies ask for."""

    def __init__(
        self,
        client: Client,
        informers: Informers,
        recorder: EventRecorder,
        *,
        ads: AdsServer,
        traffic: Traffic,
        inflight: AllInFlight,
    ) -> None:
        self._cache = informers.cache
        self._informers = informers
        self._executor = Executor(client, recorder)
        self._ads = ads
        self._traffic = traffic
        self._inflight = inflight
        self._tasks = Tasks()
        self._busy: dict[Key, float] = {}
        """Ticks of the last call of each workload that we know of."""
        self._waking: set[Key] = set()
        self._down: set[Key] = set()
        """Workloads that were scaled to zero, whatever the cache says yet."""
        self._called: set[Key] = set()
        """Workloads that calls are held for."""
        self._falling: set[Key] = set()
        self._sleepless: dict[str, int] = {}
        """Uids of workloads that will never sleep -> at how many looks it was so."""
        self._hold_seconds_of: dict[Key, float] = {}
        self._destinations: dict[str, Destination] = {}
        self._since: dict[str, tuple[str, int]] = {}
        """Destination -> its state, and the number of the first build in which it has that."""
        self._held: Counter[str] = Counter()
        self._waits: dict[tuple[str, str], asyncio.Task[None]] = {}
        """What those who wait for one destination at one proxy share."""
        informers.add(HorizontalPodAutoscaler)
        for cls in zero.SLEEPERS.values():
            informers.add(cls)

    # --- what proxies have

    def on_model(self, model: MeshModel, number: int) -> None:
        """There is a new model, which proxies get with this number."""
        found = {d.name: d for d in model.destinations if d.wakes}
        before, self._since = self._since, {}
        for name, destination in found.items():
            state = _state(destination)
            if state == SERVES:
                self._called.discard((destination.namespace, destination.wakes))
            known = before.get(name)
            self._since[name] = (
                known if known is not None and known[0] == state else (state, number)
            )
        self._destinations = found

    def _ready(self, name: str, node: str) -> bool:
        """Whether this node's proxy sends calls to it."""
        if name not in self._destinations:
            return True  # it sleeps no more, or is gone: not ours to hold
        state, since = self._since[name]
        return state == SERVES and self._ads.answered(node) >= since

    # --- calls

    def on_missing(self, node: str, clusters: tuple[str, ...]) -> None:
        """A proxy holds connections for these clusters."""
        for name in clusters:
            self._wake_for(name)

    async def hold(self, name: str, node: str) -> str:
        """Wait until this node's proxy can send a request to the destination. Returns why it is
        refused, or nothing."""
        if self._held[node] >= HELD_REQUESTS_PER_NODE_MAX:
            text = f"{HELD_REQUESTS_PER_NODE_MAX} requests wait already"
            return f"weft: {self._named(name)} is scaled to zero, and {text}\n"
        self._held[node] += 1
        seconds = self._hold_seconds(name)
        try:
            self._wake_for(name)
            async with asyncio.timeout(seconds):
                await asyncio.shield(self._readiness(name, node))
            return ""
        except TimeoutError:
            return self._excuse(name, seconds)
        finally:
            self._held[node] -= 1

    def _readiness(self, name: str, node: str) -> asyncio.Task[None]:
        key = name, node
        found = self._waits.get(key)
        if found is None:
            condition = self._ads.wait(lambda _: self._ready(name, node))
            found = self._waits[key] = self._tasks.spawn(condition, "held calls")
            found.add_done_callback(lambda _: self._waits.pop(key, None))
        return found

    def _hold_seconds(self, name: str) -> float:
        destination = self._destinations.get(name)
        key = (destination.namespace, destination.wakes) if destination is not None else ("", "")
        return min(self._hold_seconds_of.get(key, HOLD_SECONDS_DEFAULT), HOLD_SECONDS_MAX)

    def _named(self, name: str) -> str:
        destination = self._destinations.get(name)
        return destination.wakes if destination is not None else name

    def _excuse(self, name: str, seconds: float) -> str:
        destination = self._destinations.get(name)
        why = "it is gone"
        if destination is not None:
            sleeper = self._sleeper((destination.namespace, destination.wakes))
            why = zero.why_not_ready(self._cache, sleeper) if sleeper is not None else why
        named = self._named(name)
        return f"weft: {named} was woken and does not serve after {seconds:g} s: {why}\n"

    # --- waking

    def _wake_for(self, name: str) -> None:
        destination = self._destinations.get(name)
        if destination is None:
            return
        key = destination.namespace, destination.wakes
        self._busy[key] = ticks()
        if self._since[name][0] == SERVES:
            return  # its proxy has not heard of it yet
        self._called.add(key)
        if key not in self._waking and key not in self._falling:
            self._waking.add(key)
            self._tasks.spawn(self._wake(key), "scale-from-zero")

    async def _wake(self, key: Key) -> None:
        try:
            sleeper = self._sleeper(key)
            if sleeper is None:
                return
            if sleeper.replicas == 0 or key in self._down:
                await self._do((*zero.woken(sleeper), *zero.marked(sleeper, "asleep")))
                self._down.discard(key)
        except ApiError as error:
            log.warning("not woken workload=%s/%s error=%s", *key, error.message)
        finally:
            self._waking.discard(key)

    def _sleeper(self, key: Key) -> Sleeper | None:
        return next((s for s in zero.sleepers(self._cache) if s.key == key), None)

    async def _do(self, actions: tuple[Action, ...]) -> None:
        if actions:
            outcome = await self._executor.execute(Plan(actions))
            if outcome.error is not None:
                raise outcome.error

    # --- sleeping

    async def run(self) -> None:
        """For ever."""
        await self._informers.synced()
        while True:
            try:
                await self._look()
            except ApiError as error:
                log.warning("scale to zero: %s", error.message)
            except Exception:
                log.exception("scale to zero failed")
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        found = zero.sleepers(self._cache)
        never = zero.sleepless(self._cache, found)
        self._sleepless = {uid: self._sleepless.get(uid, 0) + 1 for uid in never}
        # Its Service may be made right after it: said at the second look, once.
        await self._do(tuple(e for uid, e in never.items() if self._sleepless[uid] == SAID_AT_LOOK))
        await self._do(zero.unmarked(self._cache, found))
        if not found:
            self._busy.clear()
            return
        said = {s.key: s.hold_seconds for s in found}
        self._hold_seconds_of = {k: seconds for k, seconds in said.items() if seconds is not None}
        called = self._last_calls()
        for sleeper in found:
            key = sleeper.key
            before = max(self._busy.get(key, ticks()), called.get(_name(sleeper), 0.0))
            self._busy[key] = before
            if key in self._falling or key in self._waking:
                continue
            if sleeper.replicas > 0 and key in self._down:
                continue  # the cache lags
            if sleeper.replicas == 0:
                self._down.discard(key)
                await self._rest(sleeper)
            elif not self._serving(key):
                # It starts, or starts again: calls are held until it serves.
                await self._do(zero.marked(sleeper, "asleep"))
                self._busy[key] = ticks()
            elif ticks() - before < sleeper.idle_seconds:
                await self._do(zero.marked(sleeper, ""))
            else:
                self._falling.add(key)
                self._tasks.spawn(self._fall(sleeper), "scale-to-zero")

    async def _rest(self, sleeper: Sleeper) -> None:
        """No replicas are wanted. Once none is left it sleeps; if calls are held, it is woken."""
        if sleeper.left == 0 or "asleep" in sleeper.sleep:
            await self._do(zero.marked(sleeper, "asleep"))
        else:
            await self._do(zero.marked(sleeper, "falling"))
        if sleeper.key in self._called:
            self._called.discard(sleeper.key)
            await self._do(zero.woken(sleeper))

    def _serving(self, key: Key) -> bool:
        """Whether some destination of it has endpoints that serve."""
        mine = self._mine(key)
        return not mine or any(_serves(d) for d in mine)

    def _mine(self, key: Key) -> list[Destination]:
        return [d for d in self._destinations.values() if (d.namespace, d.wakes) == key]

    def _last_calls(self) -> dict[tuple[str, str], float]:
        """Workload, by namespace and name -> ticks of the last call that proxies told us of."""
        found: dict[tuple[str, str], float] = {}
        ago = ticks() - now()
        for key, last in self._traffic.known_edges().items():
            found[key.callee] = max(found.get(key.callee, 0.0), last + ago)
        return found

    async def _fall(self, sleeper: Sleeper) -> None:
        """Have proxies hold its calls; then, if nobody called meanwhile, scale it to zero."""
        key = sleeper.key
        self._called.discard(key)
        try:
            if await self._in_use(sleeper):
                self._busy[key] = ticks()
                return
            await self._do(zero.marked(sleeper, "falling"))
            if not await self._calls_are_held(key) or key in self._called:
                await self._do(zero.marked(self._sleeper(key) or sleeper, ""))
                self._busy[key] = ticks()
                return
            self._down.add(key)
            await self._do(zero.put_to_sleep(sleeper))
        except ApiError as error:
            log.warning("not scaled to zero workload=%s/%s error=%s", *key, error.message)
        finally:
            self._falling.discard(key)
            if key in self._called and key in self._down:
                self._waking.add(key)
                self._tasks.spawn(self._wake(key), "scale-from-zero")

    async def _calls_are_held(self, key: Key) -> bool:
        """Wait until every connected proxy holds calls to it."""

        def held(ads: AdsServer) -> bool:
            states = [self._since[d.name] for d in self._mine(key)]
            if not states or any(state != SLEEPS for state, _ in states):
                return False
            since = max(number for _, number in states)
            return all(ads.answered(n) >= since for n in ads.nodes() if ads.connected(n))

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FALL_SECONDS_MAX):
                await self._ads.wait(held)
                return True
        return False

    async def _in_use(self, sleeper: Sleeper) -> bool:
        """Whether requests are under way, or connections open."""
        try:
            places = {(e.address, e.port) for d in self._mine(sleeper.key) for e in d.endpoints}
            for address, port in sorted(places):
                if await self._inflight.active(address, (port,), connections=True):
                    return True
        except EnvoyError:
            return True  # who cannot be asked may be in use
        return False

    def exposition(self) -> str:
        """How many requests are held, as Prometheus text."""
        held = [f'weft_held_requests{{node="{n}"}} {c}' for n, c in sorted(self._held.items()) if c]
        return "\n".join(("# TYPE weft_held_requests gauge", *held, "")) if held else ""

    async def close(self) -> None:
        """Let go of everything."""
        await self._tasks.close()


def _state(destination: Destination) -> str:
    if destination.asleep:
        return SLEEPS
    return SERVES if _serves(destination) else ""


def _name(sleeper: Sleeper) -> tuple[str, str]:
    """By which telemetry knows its pods."""
    namespace, named = sleeper.key
    return namespace, named.partition("/")[2]


def _serves(destination: Destination) -> bool:
    return any(e.health == "HEALTHY" for e in destination.endpoints)
