"""How far a proxy is with one resource, as `weft why` says it."""

import pytest

from weft.xds.acks import resource_state
from weft.xds.delta import StreamState, TypeState
from weft.xds.resource import ROUTES, Resource, world_of
from weft.xds.scoped_routes import PARTS, part_name

OLD, NEW = (Resource(ROUTES, "80", version, b"") for version in ("1", "2"))


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (None, "pending"),
        (TypeState(), "pending"),
        (TypeState(acked={"80": OLD}), "pending"),
        (TypeState(acked={"80": NEW}), "acknowledged"),
        (TypeState(acked={"80": OLD}, bad={"80": "2"}), "refused"),
        (TypeState(acked={"80": NEW}, bad={"80": "1"}), "acknowledged"),
    ],
)
def test_states(known: TypeState | None, state: str) -> None:
    types = {} if known is None else {ROUTES: known}
    assert resource_state(StreamState(world_of([NEW]), types), ROUTES, "80") == state


def test_what_a_proxy_shall_not_have_is_absent() -> None:
    assert resource_state(StreamState(world_of([])), ROUTES, "80") == "absent"


def test_a_divided_table_is_as_far_as_its_last_part() -> None:
    parts = {n: Resource(ROUTES, part_name("http.80", n), "1", b"") for n in range(PARTS)}
    world, names = world_of(parts.values()), {r.name: r for r in parts.values()}
    everything = TypeState(acked=names)
    state = StreamState(world, {ROUTES: everything})
    assert resource_state(state, ROUTES, "http.80") == "acknowledged"
    missing = {name: r for name, r in names.items() if r is not parts[3]}
    state = StreamState(world, {ROUTES: TypeState(acked=missing)})
    assert resource_state(state, ROUTES, "http.80") == "pending"
    bad = TypeState(acked=missing, bad={parts[3].name: "1"})
    state = StreamState(world, {ROUTES: bad})
    assert resource_state(state, ROUTES, "http.80") == "refused"
