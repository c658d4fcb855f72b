"""How far a proxy is with one resource, as `weft why` says it."""

import pytest

from weft.xds.acks import resource_state
from weft.xds.delta import StreamState, TypeState
from weft.xds.resource import ROUTES, Resource, world_of

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
