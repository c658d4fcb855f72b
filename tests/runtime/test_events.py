from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.runtime.support import BentClient, eventually, kind, new_client, pod
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.kinds import Kind
from weft.runtime import events
from weft.runtime.events import EVENT_REFILL_SECONDS, EVENTS_BURST_PER_OBJECT, EventBook
from weft.runtime.plan import RecordEvent

POD = pod("p", uid="u1")


def note(reason: str = "Pulled", message: str = "m", about: Any = POD) -> RecordEvent:
    return RecordEvent(about, "Normal", reason, message)


def test_an_event_names_what_it_is_about() -> None:
    entry = EventBook("kubelet").note(note(), 1000.0)
    assert entry is not None
    event = entry.event
    assert event.involved_object is not None
    assert (event.involved_object.kind, event.involved_object.uid) == ("Pod", "u1")
    assert event.metadata.namespace == "default"
    assert event.metadata.name.startswith("p.")
    assert (event.count, event.first_timestamp) == (1, "1970-01-01T00:16:40Z")
    assert event.source is not None
    assert event.source.component == "kubelet"


def test_events_about_cluster_objects_go_to_default() -> None:
    entry = EventBook("x").note(note(about=Node(metadata=ObjectMeta(name="n"))), 0.0)
    assert entry is not None
    assert entry.event.metadata.namespace == "default"


def test_a_repeat_is_a_count_of_the_same_object() -> None:
    book = EventBook("x")
    first, other = book.note(note(), 1.0), book.note(note(message="other"), 1.0)
    again = book.note(note(), 61.0)
    assert first is not None
    assert other is not None
    assert again is not None
    assert not first.is_repeat
    assert not other.is_repeat
    assert again.is_repeat
    assert again.event.metadata == first.event.metadata != other.event.metadata
    assert (again.event.count, again.event.last_timestamp) == (2, "1970-01-01T00:01:01Z")


def test_chatter_about_one_object_is_bounded_and_does_not_silence_others() -> None:
    book = EventBook("x")
    noted = [book.note(note(message=str(n)), 0.0) for n in range(EVENTS_BURST_PER_OBJECT + 5)]
    assert [entry is not None for entry in noted].count(True) == EVENTS_BURST_PER_OBJECT
    assert book.note(note(about=pod("q", uid="u2")), 0.0) is not None
    assert book.note(note(), EVENT_REFILL_SECONDS - 1) is None
    assert book.note(note(), EVENT_REFILL_SECONDS + 1) is not None
    assert book.note(note(message="one more"), EVENT_REFILL_SECONDS + 1) is None


def test_what_is_said_again_and_again_leaves_room_for_what_is_new() -> None:
    book = EventBook("x")
    again = [book.note(note(), 0.0) for _ in range(3 * EVENTS_BURST_PER_OBJECT)]
    assert [entry is not None for entry in again].count(True) == EVENTS_BURST_PER_OBJECT + 1
    assert book.note(note(message="why it ended"), 0.0) is not None


def test_the_book_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BOOK_ENTRIES_MAX", 2)
    book = EventBook("x")
    for name in "abc":
        book.note(note(about=pod(name, uid=name)), 0.0)
    again = book.note(note(about=pod("a", uid="a")), 1.0)
    assert again is not None
    assert not again.is_repeat


@pytest.fixture
async def client() -> BentClient:
    return await new_client()


@pytest.fixture
async def recorder(client: BentClient) -> AsyncIterator[events.EventRecorder]:
    made = events.EventRecorder(client, "weft")
    made.start()
    yield made
    await made.close()


async def listed(client: BentClient) -> list[dict[str, Any]]:
    page = await client.list(kind("events"))
    return [orjson.loads(item) for item in page.items]


async def test_repeats_end_up_as_one_object_with_a_count(
    client: BentClient, recorder: events.EventRecorder
) -> None:
    for _ in range(3):
        recorder.record(note())
    recorder.record(note("Failed"))
    await eventually(lambda: client.calls.count("create events") == 2)
    found = {e["reason"]: e["count"] for e in await listed(client)}
    assert found == {"Pulled": 3, "Failed": 1}


async def test_an_event_that_expired_meanwhile_is_written_anew(
    client: BentClient, recorder: events.EventRecorder
) -> None:
    recorder.record(note())
    await eventually(lambda: "create events" in client.calls)
    (event,) = await listed(client)
    await client.delete(kind("events"), event["metadata"]["name"], "default")
    recorder.record(note())
    await eventually(lambda: client.calls.count("create events") == 2)
    (event,) = await listed(client)
    assert event["count"] == 1


async def test_a_refused_event_does_not_stop_the_others(
    client: BentClient, recorder: events.EventRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse_first(verb: str, kind: Kind) -> None:
        if client.calls.count("create events") == 1 and verb == "create":
            raise ApiError(403, "Forbidden", "no events here")

    client.before = refuse_first
    recorder.record(note("First"))
    recorder.record(note("Second"))
    await eventually(lambda: client.calls.count("create events") == 2)
    assert [e["reason"] for e in await listed(client)] == ["Second"]
    assert "no events here" in caplog.text


async def test_events_wait_while_the_api_cannot_write(
    client: BentClient, recorder: events.EventRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "RETRY_SECONDS", 0.01)
    refused: list[str] = []

    def full_disk(verb: str, kind: Kind) -> None:
        if verb == "create" and len(refused) < 3:
            refused.append(verb)
            raise ApiError(503, "ServiceUnavailable", "the disk is full")

    client.before = full_disk
    recorder.record(note("First"))
    recorder.record(note("Second"))
    await eventually(lambda: client.calls.count("create events") == 5)
    assert [e["reason"] for e in await listed(client)] == ["First", "Second"]


async def test_too_many_waiting_events_are_dropped(
    client: BentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUEUED_EVENTS_MAX", 3)
    recorder = events.EventRecorder(client, "weft")
    for n in range(10):
        recorder.record(note(about=pod(f"p{n}", uid=str(n))))
    recorder.start()
    await eventually(lambda: client.calls.count("create events") == 3)
    await recorder.close()
    assert len(await listed(client)) == 3
