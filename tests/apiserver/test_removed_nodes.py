"""Which certificates of a removed node still count."""

import pytest

from weft.api.errors import ApiError
from weft.apiserver.access import User
from weft.apiserver.removed_nodes import RemovedNodes
from weft.lib.timefmt import rfc3339_micro
from weft.pki.identity import Validity, issued_at, validity

NODE = User("system:node:b", ("system:nodes", "system:authenticated"))
YEAR = 365 * 86400.0
AT = 1_700_000_000.5


def shown(at: float, seconds: float) -> Validity:
    """As certificates tell it: whole seconds."""
    valid = validity(at, seconds)
    return Validity(int(valid.not_before), int(valid.not_after))


@pytest.mark.parametrize("seconds", [10, 600, YEAR])
def test_certificates_of_before_the_removal_count_no_more(seconds: float) -> None:
    removed = RemovedNodes()
    told: list[str] = []
    removed.on_removed.append(told.append)
    removed.check(NODE, shown(AT - 5, seconds))
    removed.put({"b": rfc3339_micro(AT)})
    assert told == ["b"]
    for before in (AT - YEAR / 2, AT - 1, AT):
        with pytest.raises(ApiError) as refused:
            removed.check(NODE, shown(before, seconds))
        assert (refused.value.code, refused.value.reason) == (401, "NodeRemoved")
        assert "WEFT2689" in refused.value.message
    removed.check(NODE, shown(AT + 2, seconds))
    removed.check(User("system:node:c", NODE.groups), shown(AT - 5, seconds))
    removed.check(User("system:node:b", ("developers",)), shown(AT - 5, seconds))


def test_a_later_removal_is_told_and_an_earlier_one_is_not() -> None:
    removed = RemovedNodes()
    told: list[str] = []
    removed.on_removed.append(told.append)
    removed.put({"b": rfc3339_micro(AT)})
    removed.put({"b": rfc3339_micro(AT), "c": rfc3339_micro(AT)})
    removed.put({"b": rfc3339_micro(AT + 9), "c": rfc3339_micro(AT)})
    removed.put({})
    assert told == ["b", "c", "b"]


@pytest.mark.parametrize("text", ["", "soon", "2023-13-40"])
def test_a_time_that_cannot_be_read_never_ends(text: str) -> None:
    removed = RemovedNodes()
    removed.put({"b": text})
    assert removed.refuses("b", validity(4e9, 600))


def test_a_certificate_cut_short_by_its_issuer_is_not_taken_for_newer() -> None:
    short = validity(AT, YEAR, Validity(0, AT + 60))
    assert issued_at(short) <= AT
    assert abs(issued_at(validity(AT, YEAR)) - AT) < 1
