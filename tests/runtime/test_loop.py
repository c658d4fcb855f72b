import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec import Struct

from tests.runtime.support import BentClient, config, eventually, kind, new_client, pod
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod
from weft.api.kinds import Kind
from weft.api.objects import to_json
from weft.api.snapshot import Snapshot, controller_of, meta
from weft.runtime import loop
from weft.runtime.controller import Controller, PlanFunction, Watch
from weft.runtime.events import EventRecorder
from weft.runtime.informer import Informers
from weft.runtime.loop import ControllerLoop
from weft.runtime.plan import NOTHING, Create, Delete, Key, Patch, Plan

MAPS, PODS = kind("configmaps"), kind("pods")


@pytest.fixture
async def client() -> BentClient:
    return await new_client()


def owner_keys(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
    owner = controller_of(obj)
    return (Key(meta(obj).namespace, owner.name),) if owner else ()


@asynccontextmanager
async def running(
    client: BentClient, plan: PlanFunction, *watches: Watch, **options: Any
) -> AsyncIterator[ControllerLoop]:
    informers = Informers(client)
    recorder = EventRecorder(client, "test")
    controller = Controller(name="test", primary=ConfigMap, plan=plan, watches=watches)
    made = ControllerLoop(controller, client, informers, recorder, **options)
    informers.start()
    made.start()
    try:
        yield made
    finally:
        await made.close()
        await informers.close()


async def put(client: BentClient, name: str, **data: str) -> None:
    await client.create(MAPS, to_json(config(name, **data)))


def pod_of(owner: ConfigMap, name: str) -> Pod:
    reference = OwnerReference(
        api_version="v1", kind="ConfigMap", name=owner.metadata.name,
        uid=owner.metadata.uid, controller=True,
    )  # fmt: skip
    return Pod(
        metadata=ObjectMeta(name=name, namespace="default", owner_references=(reference,)),
        spec=pod(name).spec,
    )


def replicas(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Like a ReplicaSet: `n` pods per ConfigMap, with names that never repeat."""
    owner = snapshot.get(ConfigMap, key.name, key.namespace)
    if owner is None:
        return NOTHING
    found = snapshot.owned(Pod, owner.metadata.uid)
    wanted = int(owner.data["n"])
    taken = {p.metadata.name for p in found}
    free = (f"{key.name}-{now:.6f}-{n}".replace(".", "-") for n in range(wanted))
    creations = [Create(pod_of(owner, name)) for name in free if name not in taken]
    deletions = [
        Delete(Pod, p.metadata.namespace, p.metadata.name, p.metadata.uid, 0) for p in found
    ]
    return Plan((*creations[: max(0, wanted - len(found))], *deletions[wanted:]))


async def test_what_is_there_and_what_comes_is_planned(client: BentClient) -> None:
    seen: list[str] = []

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        seen.append(key.name)
        return NOTHING

    await put(client, "a")
    async with running(client, plan):
        await eventually(lambda: seen == ["a"])
        await put(client, "b")
        await eventually(lambda: seen == ["a", "b"])
        await client.delete(MAPS, "a", "default")
        await eventually(lambda: seen == ["a", "b", "a"])


async def test_lagging_watches_never_make_a_controller_act_twice(client: BentClient) -> None:
    def lag(verb: str, kind: Kind) -> Any:
        return asyncio.sleep(0.01) if verb == "event" else None

    client.before = lag
    async with running(client, replicas, Watch(Pod, owner_keys)) as made:
        for name in "abc":
            await put(client, name, n="4")

        async def scale(name: str, count: int) -> None:
            await client.patch(MAPS, name, {"data": {"n": str(count)}}, "default")

        await eventually(lambda: client.calls.count("create pods") == 12)
        await scale("a", 2)
        await scale("b", 6)
        await eventually(lambda: client.calls.count("create pods") == 14)
        await eventually(lambda: client.calls.count("delete pods") == 2)
        await eventually(lambda: made.backlog == 0)
        await asyncio.sleep(0.1)
    assert client.calls.count("create pods") == 14
    assert client.calls.count("delete pods") == 2
    assert len((await client.list(PODS)).items) == 2 + 6 + 4


async def test_writes_that_are_never_seen_delay_a_key_but_do_not_block_it(
    client: BentClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loop, "BARRIER_SECONDS_MAX", 0.05)
    never = asyncio.Event()
    client.before = lambda verb, kind: never.wait() if verb == "event" else None
    plans: list[float] = []

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        plans.append(now)
        body = {"data": {"v": str(now)}}
        return Plan((Patch(ConfigMap, "default", "a", body),) if len(plans) == 1 else ())

    await put(client, "a")
    async with running(client, plan) as made:
        await eventually(lambda: len(plans) == 1)
        await asyncio.sleep(0)
        made.wake(Key("default", "a"))
        await eventually(lambda: len(plans) == 2)
    assert plans[1] - plans[0] >= 0.05
    assert "own writes not seen" in caplog.text


async def test_a_plan_function_that_raises_harms_only_its_key(
    client: BentClient, caplog: pytest.LogCaptureFixture
) -> None:
    seen: dict[str, int] = {}

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        seen[key.name] = seen.get(key.name, 0) + 1
        if key.name == "bad" and seen["bad"] < 3:
            raise ValueError("bug in a controller")
        return NOTHING

    await put(client, "bad")
    await put(client, "good")
    with caplog.at_level(logging.ERROR):
        async with running(client, plan):
            await eventually(lambda: seen == {"bad": 3, "good": 1})
    assert "plan failed controller=test key=default/bad" in caplog.text


async def test_a_refused_action_is_tried_again_with_back_off(client: BentClient) -> None:
    def refuse_twice(verb: str, kind: Kind) -> None:
        if verb == "create" and client.calls.count("create pods") in (1, 2):
            raise ApiError(500, "InternalError", "not now")

    await put(client, "a", n="1")
    client.before = refuse_twice
    async with running(client, replicas, Watch(Pod, owner_keys)):
        await eventually(lambda: client.calls.count("create pods") == 3)
        await asyncio.sleep(0.15)
    assert client.calls.count("create pods") == 3
    assert len((await client.list(PODS)).items) == 1


async def test_a_plan_that_asks_for_it_is_made_again_later(client: BentClient) -> None:
    times: list[float] = []

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        times.append(now)
        return Plan(requeue_after=0.05 if len(times) < 3 else None)

    await put(client, "a")
    async with running(client, plan):
        await eventually(lambda: len(times) == 3)
        await asyncio.sleep(0.1)
    assert len(times) == 3
    assert all(b - a >= 0.05 for a, b in itertools.pairwise(times))


async def test_one_key_is_never_carried_out_twice_at_once_and_all_only_so_many(
    client: BentClient,
) -> None:
    most = 0
    order: list[str] = []

    async def slow(verb: str) -> None:
        nonlocal most
        order.append(verb)
        most = max(most, order.count("create") - order.count("end"))
        await asyncio.sleep(0.01)
        order.append("end")

    def before(verb: str, kind: Kind) -> Any:
        return slow(verb) if (verb, kind.plural) == ("create", "pods") else None

    for n in range(8):
        await put(client, f"a{n}", n="1")
    client.before = before
    async with running(client, replicas, Watch(Pod, owner_keys), concurrency=3):
        await eventually(lambda: order.count("end") == 8)
    assert most == 3


async def test_an_object_that_changes_owner_wakes_both(client: BentClient) -> None:
    seen: list[str] = []

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        seen.append(key.name)
        return NOTHING

    def by_label(obj: Struct, snapshot: Snapshot) -> Iterable[Key]:
        return (Key("default", meta(obj).labels["to"]),)

    labelled: Callable[[str], dict[str, Any]] = lambda to: {"metadata": {"labels": {"to": to}}}  # noqa: E731
    async with running(client, plan, Watch(Pod, by_label)):
        body = to_json(pod("p"))
        body["metadata"] |= labelled("x")["metadata"]
        await client.create(PODS, body)
        await eventually(lambda: seen == ["x"])
        await client.patch(PODS, "p", labelled("y"), "default")
        await eventually(lambda: sorted(seen) == ["x", "x", "y"])


async def test_many_keys_leave_room_for_others(client: BentClient) -> None:
    """Planning is synchronous; a backlog must not stop everything else in the process."""
    planned = 0

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        nonlocal planned
        planned += 1
        end = asyncio.get_running_loop().time() + 0.001
        while asyncio.get_running_loop().time() < end:
            pass
        return NOTHING

    for n in range(100):
        await put(client, f"a{n}")
    async with running(client, plan):
        await eventually(lambda: planned > 0)
        turns = 0
        while planned < 100:
            await asyncio.sleep(0)
            turns += 1
    assert turns >= 5


async def test_a_clock_that_is_set_back_does_not_hold_up_failed_keys(
    client: BentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waits are counted on a clock of their own: NTP may set the other one back by an hour."""
    plans: list[float] = []

    def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
        plans.append(now)
        if len(plans) < 3:
            raise ValueError("not yet")
        return NOTHING

    await put(client, "a")
    async with running(client, plan):
        await eventually(lambda: plans)
        monkeypatch.setattr(loop, "now", lambda: plans[0] - 3600)
        await eventually(lambda: len(plans) == 3)
    assert plans[-1] == plans[0] - 3600
