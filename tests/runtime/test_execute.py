from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from tests.runtime.support import BentClient, config, kind, new_client, pod
from tests.waiting import until
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.objects import to_json
from weft.runtime.barrier import Bound, Leaving, Present, Seen
from weft.runtime.events import EventRecorder
from weft.runtime.execute import Executor
from weft.runtime.plan import Action, Bind, Create, Delete, Patch, Plan, RecordEvent

MAPS = kind("configmaps")


@pytest.fixture
async def client() -> BentClient:
    return await new_client()


@pytest.fixture
def executor(client: BentClient) -> Executor:
    return Executor(client, EventRecorder(client, "test"))


async def stored(client: BentClient, name: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(await client.get(MAPS, name, "default"))
    return found


def patch(name: str, value: str, **metadata: str) -> Patch:
    return Patch(ConfigMap, "default", name, {"data": {"v": value}, "metadata": metadata})


async def test_actions_become_requests_and_expectations(
    client: BentClient, executor: Executor
) -> None:
    await client.create(kind("pods"), to_json(pod("p")))
    plan = Plan((Create(config("a")), patch("a", "2"), Bind("default", "p", "n1")))
    outcome = await executor.execute(plan)
    assert outcome.error is None
    revision = client.store.revision
    assert outcome.expectations == (
        Seen(ConfigMap, revision - 2),
        Seen(ConfigMap, revision - 1),
        Bound("default", "p"),
    )
    assert (await stored(client, "a"))["data"] == {"v": "2"}
    bound = orjson.loads(await client.get(kind("pods"), "p", "default"))
    assert bound["spec"]["nodeName"] == "n1"


async def test_the_first_failure_ends_a_plan(client: BentClient, executor: Executor) -> None:
    plan = Plan((patch("absent", "1"), Create(config("a"))))
    outcome = await executor.execute(plan)
    assert outcome.error is not None
    assert outcome.error.code == 404
    assert "create configmaps" not in client.calls


async def test_independent_actions_are_all_carried_out(
    client: BentClient, executor: Executor
) -> None:
    actions: tuple[Action, ...] = (patch("absent", "1"),)
    actions += tuple(Create(config(f"a{n}")) for n in range(40))
    outcome = await executor.execute(Plan(actions, independent=True))
    assert outcome.error is not None
    assert len(outcome.expectations) == 40
    assert len((await client.list(MAPS)).items) == 40


async def test_what_exists_already_is_no_failure_but_is_told(
    client: BentClient, executor: Executor
) -> None:
    await client.create(MAPS, to_json(config("a")))
    outcome = await executor.execute(Plan((Create(config("a")), Create(config("b")))))
    assert outcome.error is None
    assert outcome.already_exists
    assert outcome.expectations[0] == Present(ConfigMap, "default", "a")
    await stored(client, "b")


async def test_owners_tell_of_what_was_made_and_what_was_refused(client: BentClient) -> None:
    """A ReplicaSet whose pods a quota refuses has to say so."""
    recorder = EventRecorder(client, "test")
    recorder.start()
    owner = config("owner")
    made = replace(config("x"), metadata=ObjectMeta(generate_name="x-", namespace="default"))
    await Executor(client, recorder).execute(Plan((Create(made, owner),)))
    bad = replace(config("Bad"), metadata=ObjectMeta(name="Bad", namespace="default"))
    await Executor(client, recorder).execute(Plan((Create(bad, owner),)))
    await until(lambda: client.calls.count("create events") == 2)
    await recorder.close()
    events = [orjson.loads(e) for e in (await client.list(kind("events"))).items]
    told = {e["reason"]: e["message"] for e in events}
    names = {orjson.loads(o)["metadata"]["name"] for o in (await client.list(MAPS)).items}
    assert told["SuccessfulCreate"].removeprefix("Created configmap: ") in names
    assert told["FailedCreate"].startswith('Error creating: ConfigMap "Bad" is invalid')
    assert {e["involvedObject"]["name"] for e in events} == {"owner"}


async def test_a_deletion_meets_only_the_object_it_meant(
    client: BentClient, executor: Executor
) -> None:
    await client.create(MAPS, to_json(config("a")))
    uid = (await stored(client, "a"))["metadata"]["uid"]
    refused = await executor.execute(Plan((Delete(ConfigMap, "default", "a", "other"),)))
    assert refused.error is not None
    assert refused.error.code == 409
    for _ in range(2):
        done = await executor.execute(Plan((Delete(ConfigMap, "default", "a", uid),)))
        assert done.error is None
        assert done.expectations == (Leaving(ConfigMap, "default", "a", uid),)


async def test_a_conditional_patch_of_a_stale_object_is_refused(
    client: BentClient, executor: Executor
) -> None:
    await client.create(MAPS, to_json(config("a", v="1")))
    version = (await stored(client, "a"))["metadata"]["resourceVersion"]
    first = await executor.execute(Plan((patch("a", "2", resourceVersion=version),)))
    second = await executor.execute(Plan((patch("a", "3", resourceVersion=version),)))
    assert first.error is None
    assert second.error is not None
    assert second.error.code == 409
    assert (await stored(client, "a"))["data"] == {"v": "2"}


async def test_recording_an_event_never_fails_a_plan(
    client: BentClient, executor: Executor
) -> None:
    event = RecordEvent(Pod(), "Normal", "r", "m")
    outcome = await executor.execute(Plan((event, Create(config("a")))))
    assert outcome.error is None
    await stored(client, "a")
