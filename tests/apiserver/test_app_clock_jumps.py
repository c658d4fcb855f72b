"""The wall clock is set forward, or back, under a running server: nothing is lost but what is too
old by the new time, and what is made from then on works."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from tests.apiserver.support import START, Clock, config_map, pod
from weft.api.k8s.coordination_v1 import Lease, LeaseSpec
from weft.api.k8s.core_v1 import Node, NodeCondition, NodeStatus
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import ObjectSnapshot, Observed
from weft.apiserver import codec, verbs
from weft.apiserver.access import MASTERS, User
from weft.apiserver.app import ApiServer, Settings, remove_old_events
from weft.apiserver.request import DeleteOptions, Target, WriteOptions
from weft.controllers import nodes
from weft.lib.timefmt import parse_rfc3339, rfc3339, rfc3339_micro
from weft.pki import rotation
from weft.pki.identity import Validity
from weft.runtime.plan import Key
from weft.store.memory import MemoryStore

ADMIN = User("admin", (MASTERS,))
HOUR = 3600.0
JUMPS = [pytest.param(10 * 365 * 24 * HOUR, id="forward"), pytest.param(-24 * HOUR, id="back")]


class World:
    """A server whose clock a test sets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.server = ApiServer(self.store, Settings(), clock=self.clock)
        self.client = self.server.local_client()

    async def create(self, plural: str, obj: dict[str, Any]) -> Any:
        made = await self.client.create(verbs.known_kind(plural), obj, "default")
        return orjson.loads(made)

    async def token(self) -> str:
        body = {"spec": {"expirationSeconds": 3600}}
        made = orjson.loads(await self.client.request_token("default", "default", body))
        return str(made["status"]["token"])

    async def known(self, token: str) -> bool:
        return await self.server.service_tokens.identify(token, ()) is not None


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    await made.server.start("127.0.0.1", 0)
    yield made
    await made.server.close()
    await made.store.close()


@pytest.mark.parametrize("jump", JUMPS)
async def test_tokens(world: World, jump: float) -> None:
    """A token of another time is not believed; a new one is at once, and the old one again when
    the clock is right again."""
    old = await world.token()
    assert await world.known(old)
    world.clock.now += jump
    assert not await world.known(old)
    new = await world.token()
    assert await world.known(new)
    world.clock.now = START
    assert (await world.known(old), await world.known(new)) == (True, False)


@pytest.mark.parametrize("jump", JUMPS)
async def test_objects_keep_what_they_have(world: World, jump: float) -> None:
    kind = verbs.known_kind("configmaps")
    made = await world.create("configmaps", config_map("a", x="1"))
    revision = int(made["metadata"]["resourceVersion"])
    world.clock.now += jump
    found = orjson.loads(await world.client.patch(kind, "a", {"data": {"x": "2"}}, "default"))
    assert found["metadata"]["creationTimestamp"] == rfc3339(START)
    assert int(found["metadata"]["resourceVersion"]) > revision
    other = await world.create("configmaps", config_map("b"))
    assert other["metadata"]["creationTimestamp"] == rfc3339(START + jump)
    await world.client.delete(kind, "a", "default")
    listed = await world.client.list(kind, "default")
    assert [orjson.loads(i)["metadata"]["name"] for i in listed.items] == ["b"]


@pytest.mark.parametrize("jump", JUMPS)
async def test_a_pod_that_ends_has_its_grace_in_seconds(world: World, jump: float) -> None:
    """A node counts from its own clock that is never set; another deletion never lengthens it."""
    resources, pods = world.server._resources, verbs.known_kind("pods")
    await world.create("pods", pod("p", nodeName="n"))
    target = Target(pods, pods.version, "default", "p")
    first = codec.loads((await resources.delete(target, DeleteOptions(), ADMIN)).body)["metadata"]
    world.clock.now += jump
    again = codec.loads((await resources.delete(target, DeleteOptions(), ADMIN)).body)["metadata"]
    assert again["deletionTimestamp"] == first["deletionTimestamp"]
    assert again["deletionGracePeriodSeconds"] == 30
    shorter = await resources.delete(target, DeleteOptions(grace_period_seconds=1), ADMIN)
    found = codec.loads(shorter.body)["metadata"]
    asked = parse_rfc3339(found["deletionTimestamp"]) - found["deletionGracePeriodSeconds"]
    assert (found["deletionGracePeriodSeconds"], asked) == (1, START)


async def test_the_age_of_events(world: World) -> None:
    """Set back, nothing is too old, and what seems to come from the future stays; set forward, old
    ones go and new ones stay."""

    async def event(name: str) -> None:
        about = {"kind": "Pod", "namespace": "default", "name": "p"}
        body = {"metadata": {"name": name}, "involvedObject": about, "reason": "R",
                "lastTimestamp": rfc3339(world.clock.now)}  # fmt: skip
        await world.create("events", body)

    await event("first")
    world.clock.now = START - 24 * HOUR
    await event("second")
    assert await remove_old_events(world.store, world.clock.now) == 0
    world.clock.now = START
    assert await remove_old_events(world.store, world.clock.now) == 1
    world.clock.now = START + 24 * HOUR
    await event("third")
    assert await remove_old_events(world.store, world.clock.now) == 1
    listed = await world.client.list(verbs.known_kind("events"), "default")
    names = [orjson.loads(i)["metadata"]["name"] for i in listed.items]
    assert "third" in names
    assert "first" not in names


@pytest.mark.parametrize("jump", JUMPS)
async def test_managed_fields(world: World, jump: float) -> None:
    resources, kind = world.server._resources, verbs.known_kind("configmaps")
    options = WriteOptions(field_manager="me")
    target = Target(kind, kind.version, "default", "m")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"a": "1"}}
    await resources.patch(target, "apply", body, options, ADMIN)
    world.clock.now += jump
    done = await resources.patch(
        target, "apply", body | {"data": {"a": "2", "b": "3"}}, options, ADMIN
    )
    (entry,) = codec.loads(done.body)["metadata"]["managedFields"]
    assert entry["time"] == rfc3339(START + jump)


def _silence(
    now: float, lease_seen: Observed, reason: str = "KubeletReady", ready: str = "True"
) -> Any:
    at = rfc3339(START - HOUR)
    condition = NodeCondition(type="Ready", status=ready, reason=reason, last_heartbeat_time=at)
    node = Node(
        metadata=ObjectMeta(name="n", creation_timestamp=at),
        status=NodeStatus(conditions=(condition,)),
    )
    lease = Lease(
        metadata=ObjectMeta(name="n", namespace=nodes.LEASE_NAMESPACE),
        spec=LeaseSpec(renew_time=rfc3339_micro(START)),
    )
    observed = {(Lease, nodes.LEASE_NAMESPACE, "n"): lease_seen}
    return nodes.plan(ObjectSnapshot([node, lease], observed), Key("", "n"), now)


def test_leases() -> None:
    """Whatever the clock is set to, a node is judged by when its Lease was seen changing: alive as
    long as it changes, and ready again without its own report once it does."""
    for now in (START, START - HOUR, START + HOUR):
        assert _silence(now, Observed(0.0, changed=True)).actions == ()
    silent = Observed(nodes.SILENCE_SECONDS_MAX, changed=True)
    told = _silence(START, silent)
    assert any("NodeNotReady" in repr(action) for action in told.actions)
    seen = Observed(0.0, changed=True)
    back = _silence(START + HOUR, seen, nodes.REASON_SILENT, "Unknown")
    assert any("LeaseRenewed" in repr(action) for action in back.actions)


@pytest.mark.parametrize("jump", JUMPS)
def test_the_mesh_s_roots(jump: float) -> None:
    """Set back, the root in force goes on signing; set forward over its end, a new one is made at
    once, and signs."""
    lives = rotation.Lives()
    first = rotation.Root("a", Validity(START, START + lives.root), START)
    roots = rotation.signs(rotation.made(rotation.Roots(), first), "a", START)
    now = START + jump
    action = rotation.step(roots, now, lives, frozenset({"a"}))
    if jump < 0:
        assert action is None
        return
    assert isinstance(action, rotation.MakeRoot)
    second = rotation.Root("b", Validity(now, now + action.seconds), now)
    roots = rotation.made(roots, second)
    later = now + lives.overlap
    assert rotation.step(roots, later, lives, frozenset({"a", "b"})) == rotation.SignWith("b")
