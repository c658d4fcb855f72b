"""What statuses say, and which object is found to be why a proxy refused something."""

from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from weft.api.diagnostics import Diagnostic
from weft.api.istio.networking_v1 import (
    Gateway,
    IstioCondition,
    IstioStatus,
    VirtualService,
    VirtualServiceSpec,
)
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import ObjectSnapshot
from weft.mesh.object_book import ObjectBook, Refusal
from weft.mesh.object_status import (
    NODES_NAMED_MAX,
    Acknowledged,
    Rejection,
    merged,
    status,
    without_status,
)
from weft.mesh.quarantine import Key, Quarantined, key

ERROR = Diagnostic("WEFT2101", "error", "no such host", path="spec.http[0]")
WARNING = Diagnostic("WEFT2104", "warning", "several ports")


def conditions(body: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in body["conditions"]}


def test_errors_are_not_accepted_and_warnings_are() -> None:
    nodes = Acknowledged(("a",))
    assert conditions(status(3, (WARNING,), nodes))["Accepted"] == ("True", "Accepted")
    body = status(3, (WARNING, ERROR), nodes)
    assert conditions(body)["Accepted"] == ("False", "WEFT2101")
    assert "WEFT2101 spec.http[0]: no such host; WEFT2104" in body["conditions"][0]["message"]
    assert {c["observedGeneration"] for c in body["conditions"]} == {3}


def test_programmed_only_when_all_nodes_have_it() -> None:
    assert conditions(status(1, (), Acknowledged(("a", "b"))))["Programmed"][0] == "True"
    body = status(1, (), Acknowledged(("a",), ("b",)))
    assert conditions(body)["Programmed"] == ("False", "Pending")
    assert body["nodes"] == {"total": 2, "acknowledged": 1, "names": ["a"], "missing": ["b"]}
    assert conditions(status(1, (), Acknowledged()))["Programmed"] == ("False", "NoNodes")


def test_a_status_stays_small_on_a_thousand_nodes() -> None:
    names = tuple(f"node-{n:04}" for n in range(1000))
    body = status(1, (), Acknowledged(names[:400], names[400:]))
    assert body["nodes"]["acknowledged"] == 400
    assert "names" not in body["nodes"]
    assert len(body["nodes"]["missing"]) == NODES_NAMED_MAX
    assert len(str(body)) < 2000


def test_conditions_of_others_and_times_stay() -> None:
    body = status(2, (), Acknowledged(("a",)))
    before = {
        "conditions": [
            {"type": "Healthy", "status": "True"},
            {"type": "Programmed", "status": "True", "lastTransitionTime": "then"},
            {"type": "Accepted", "status": "False", "lastTransitionTime": "then"},
        ],
        "inForce": {"hosts": []},
    }
    made = merged(body, before, "now")
    times = {c["type"]: c.get("lastTransitionTime") for c in made["conditions"]}
    assert times == {"Healthy": None, "Programmed": "then", "Accepted": "now"}
    assert "inForce" not in made
    assert merged(body, made, "later") == made


def route(name: str, generation: int = 1, host: str = "a") -> VirtualService:
    meta = ObjectMeta(name=name, namespace="d", uid=f"u-{name}", generation=generation)
    return VirtualService(metadata=meta, spec=VirtualServiceSpec(hosts=(host,)))


def test_our_own_status_changes_nothing_for_those_who_build() -> None:
    obj = route("a")
    ours = IstioCondition(type="Programmed", status="True")
    theirs = IstioCondition(type="Healthy", status="True")
    meta = replace(obj.metadata, resource_version="7")
    written = replace(
        obj, metadata=meta, status=IstioStatus(conditions=(ours, theirs), observed_generation=1)
    )
    assert without_status(written).status.conditions == (theirs,)
    only_ours = replace(written, status=IstioStatus(conditions=(ours,), observed_generation=1))
    assert without_status(only_ours) == without_status(obj)


class Book:
    """A book with objects of builds so far."""

    def __init__(self, *objects: Struct) -> None:
        self.book = ObjectBook((VirtualService, Gateway))
        self.number = 0
        self.build(*objects)

    def build(self, *objects: Struct) -> int:
        for obj in objects:
            before = self.book.numbers.get(key(obj))
            self.book.changed(before[0] if before else None, obj)
        self.number += 1
        self.book.built(self.number)
        return self.number

    def refuse(self, after: int, last: int, *sources: str, version: str = "v") -> tuple[Key, ...]:
        refusal = Refusal(("routes", "http.80", version), "n", "no\n good", (after, last))
        return self.book.refused(refusal, frozenset(sources))

    def seen(self, *objects: Struct) -> list[Any]:
        return list(Quarantined(ObjectSnapshot(objects), self.book.held).list(VirtualService))


def test_the_object_that_changed_is_held_and_its_last_version_stays() -> None:
    first, other = route("a"), route("b")
    book = Book(first, other)
    book.book.in_force(key(first))
    second = route("a", 2, "bad")
    last = book.build(second)
    assert book.refuse(last - 1, last) == (key(second),)
    assert book.seen(second, other) == [first, other]
    rejection = book.book.rejection(key(second))
    assert rejection == Rejection("n", "no good", {"hosts": ("a",)})
    assert [d.code for d in book.book.findings()] == ["WEFT2125"]


def test_a_new_object_is_left_out_until_it_is_changed() -> None:
    good, bad = route("a"), route("b")
    book = Book(good)
    last = book.build(bad)
    book.refuse(last - 1, last)
    assert book.seen(good, bad) == [good]
    mended = route("b", 2)
    book.build(mended)
    assert book.seen(good, mended) == [good, mended]
    assert book.book.rejection(key(mended)) is None


def test_of_several_suspects_each_is_tried_alone() -> None:
    a, b = route("a"), route("b")
    book = Book()
    last = book.build(a, b)
    book.refuse(0, last)
    assert book.seen(a, b) == []
    assert book.book.release()
    last = book.build()
    assert book.seen(a, b) == [a]  # and the proxy takes it
    assert book.book.release()
    last = book.build()
    assert book.refuse(last - 1, last, version="w") == (key(b),)
    assert book.seen(a, b) == [a]
    assert not book.book.release()
    assert book.book.rejection(key(a)) is None
    assert book.book.rejection(key(b)) is not None


def test_a_suspect_that_makes_the_refused_resource_again_is_held_back_again() -> None:
    """Alone it gives the very version that the proxy refused: that refusal counts anew."""
    bad, good = route("a"), route("b")
    book = Book()
    last = book.build(bad, good)
    book.refuse(0, last, version="v")
    assert book.book.release()
    last = book.build()
    assert book.seen(bad, good) == [bad]
    assert book.refuse(last - 1, last, version="v") == (key(bad),)
    assert book.seen(bad, good) == []
    assert book.book.release()
    book.build()
    assert book.seen(bad, good) == [good]
    assert book.book.rejection(key(bad)) is not None


def test_only_what_the_resource_is_made_from_is_suspected() -> None:
    a, b = route("a"), route("b")
    book = Book()
    last = book.build(a, b)
    assert book.refuse(0, last, "VirtualService d/b") == (key(b),)


def test_one_refusal_on_many_nodes_has_one_cause() -> None:
    a, b = route("a"), route("b")
    book = Book(a)
    last = book.build(b)
    assert book.refuse(last - 1, last) == (key(b),)
    assert book.refuse(0, last) == ()
    assert book.seen(a, b) == [a]


def test_who_came_after_the_cause_is_not_blamed_for_it() -> None:
    """The proxy answers for the first build when the second one is on its way already."""
    a, bad, other = route("a"), route("bad"), route("other")
    book = Book(a)
    first = book.build(bad)
    second = book.build(other)
    assert book.refuse(first - 1, first, "VirtualService d/bad", version="v") == (key(bad),)
    assert book.refuse(first - 1, second, "VirtualService d/other", version="w") == ()
    assert book.seen(a, bad, other) == [a, other]
    third = book.build()
    assert book.refuse(first - 1, third, "VirtualService d/other", version="x") == (key(other),)


def test_too_many_possible_causes_hold_nothing() -> None:
    many = [route(f"r{n}") for n in range(100)]
    book = Book()
    last = book.build(*many)
    assert book.refuse(0, last) == ()
    assert book.seen(*many) == sorted(many, key=lambda o: o.metadata.name)


@pytest.mark.parametrize("still", [True, False])
def test_a_gateway_is_offered_again_and_reported_meanwhile(still: bool) -> None:
    gateway = Gateway(metadata=ObjectMeta(name="g", namespace="d", uid="g", generation=1))
    book = Book()
    last = book.build(gateway)
    assert book.refuse(0, last) == (key(gateway),)
    assert key(gateway) not in book.book.held
    book.book.still_refused(frozenset({("routes", "http.80")} if still else ()))
    assert (book.book.rejection(key(gateway)) is not None) == still
