import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.pki.identity import (
    SpiffeId,
    Validity,
    api_server_names,
    is_due,
    parse,
    renew_at,
    validity,
    workload_id,
)


def test_a_workload_id_reads_back() -> None:
    found = workload_id("cluster.local", "shop", "reviews")
    assert str(found) == "spiffe://cluster.local/ns/shop/sa/reviews"
    assert parse(str(found)) == found
    assert found.workload == ("shop", "reviews")


def test_ids_of_other_forms_name_no_workload() -> None:
    assert parse("spiffe://example.org") == SpiffeId("example.org")
    assert parse("spiffe://example.org/db/primary").workload is None
    assert parse("spiffe://example.org/ns/a/sa/b/more").workload is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("https://example.org/a", "start with"),
        ("SPIFFE://example.org/a", "start with"),
        ("spiffe:///a", "trust domain"),
        ("spiffe://Example.org/a", "trust domain"),
        ("spiffe://user@example.org/a", "trust domain"),
        ("spiffe://example.org:443/a", "trust domain"),
        ("spiffe://" + "a" * 256 + "/a", "255"),
        ("spiffe://example.org/", "segment"),
        ("spiffe://example.org/a/", "segment"),
        ("spiffe://example.org//a", "segment"),
        ("spiffe://example.org/a/../b", "segment"),
        ("spiffe://example.org/a?b", "segment"),
        ("spiffe://example.org/a#b", "segment"),
        ("spiffe://example.org/%41", "segment"),
        ("spiffe://example.org/" + "a" * 2048, "2048"),
        ("spiffe://example.org/a\n", "segment"),
    ],
)
def test_what_the_standard_forbids_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse(text)


def test_a_name_with_a_slash_cannot_become_another_identity() -> None:
    with pytest.raises(ValueError, match="segment"):
        workload_id("cluster.local", "shop", "../../ns/admin/sa/root")
    assert workload_id("cluster.local", "a", "b/sa/c").workload is None


@given(st.text(alphabet="ab.-_/%?#: é", max_size=20))
def test_what_parse_accepts_is_written_as_it_was_read(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert str(parse(f"spiffe://{text}")) == f"spiffe://{text}"


def test_a_certificate_is_renewed_at_half_of_its_life() -> None:
    valid = Validity(1000.0, 2000.0)
    assert renew_at(valid) == 1500.0
    assert renew_at(valid, spread=0.5) == 1550.0
    assert not is_due(valid, 1499.0)
    assert is_due(valid, 1500.0)
    assert is_due(valid, 999.0)


def test_a_certificate_never_outlives_its_issuer() -> None:
    assert validity(1000.0, 500.0, Validity(0.0, 1200.0)).not_after == 1200.0
    assert validity(1000.0, 100.0, Validity(0.0, 1200.0)).not_after == 1100.0
    assert validity(1000.0, 100.0).not_before < 1000.0


def test_api_server_names_hold_what_clients_dial() -> None:
    names = api_server_names(["10.96.0.1"])
    assert {"127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1"} <= set(names)
    assert "kubernetes.default.svc.cluster.local" in names
