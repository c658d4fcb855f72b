"""What the proxy counts by one tag has all of Istio's labels again."""

from hypothesis import given
from hypothesis import strategies as st

from weft.telemetry.edge_labels import (
    Answer,
    Callee,
    Party,
    edge,
    folded,
    labels,
    tag_value,
    with_changes,
)

FRONTEND = Party("frontend", "shop", "spiffe://cluster.local/ns/shop/sa/web", "frontend", "v1")
REVIEWS = Party("reviews-v2", "shop", "spiffe://cluster.local/ns/shop/sa/reviews", "reviews", "v2")
CALLEE = Callee("reviews.shop.svc.cluster.local", "reviews", "shop")


def value(answer: Answer, destination: str = folded(REVIEWS), callee: str = folded(CALLEE)) -> str:
    return tag_value(
        *("source", "none"),
        source=folded(FRONTEND),
        destination=destination,
        callee=callee,
        answer=folded(answer),
    )


def test_a_request() -> None:
    found = dict(labels(value(Answer("HTTP/1.1", "503", "-", "UH"))))
    assert found["reporter"] == "source"
    assert found["source_workload"] == "frontend"
    assert found["source_principal"] == "spiffe://cluster.local/ns/shop/sa/web"
    assert found["destination_workload"] == "reviews-v2"
    assert found["destination_canonical_service"] == "reviews"
    assert found["destination_canonical_revision"] == "v2"
    assert found["destination_service"] == "reviews.shop.svc.cluster.local"
    assert found["destination_service_namespace"] == "shop"
    assert (found["request_protocol"], found["response_code"]) == ("http", "503")
    assert (found["response_flags"], found["grpc_response_status"]) == ("UH", "")


def test_a_caller_tells_mutual_tls_by_whom_it_reached() -> None:
    def policy(security: str) -> str:
        made = value(Answer("", "", "", "-")).replace("none", security, 1)
        return dict(labels(made))["connection_security_policy"]

    assert policy("spiffe://cluster.local/ns/shop/sa/reviews") == "mutual_tls"
    assert policy("-") == policy("none") == "none"
    assert policy("mutual_tls") == "mutual_tls"


def test_grpc_is_told_by_its_status() -> None:
    found = dict(labels(value(Answer("HTTP/2", "200", "14", "-"))))
    assert (found["request_protocol"], found["grpc_response_status"]) == ("grpc", "14")


def test_bytes_have_no_response() -> None:
    found = dict(labels(value(Answer("", "", "", "-"))))
    assert found["request_protocol"] == "tcp"
    assert "response_code" not in found


def test_what_envoy_does_not_know_is_unknown() -> None:
    found = edge(value(Answer("HTTP/1.1", "404", "-", "NR"), destination="-", callee="-"))
    assert set(found.destination) | set(found.callee) == {"unknown"}


@given(st.text(max_size=200))
def test_any_text_unfolds(text: str) -> None:
    assert len(labels(text)) >= 22


VALUE = value(Answer("HTTP/1.1", "503", "-", "UH"))


def test_labels_as_somebody_asked_for() -> None:
    plain = dict(labels(VALUE))
    tag = with_changes(VALUE, [("team", "shop"), ("response_flags", None), ("user", "-")])
    found = dict(labels(tag))
    assert found == {**{k: v for k, v in plain.items() if k != "response_flags"},
                     "team": "shop", "user": "unknown"}  # fmt: skip
    assert edge(tag) == edge(VALUE), "what weft counts by is the same"
    assert dict(labels(tag, removing=False))["response_flags"] == plain["response_flags"]


@given(st.text(st.characters(exclude_characters="\x1f")))
def test_a_value_that_a_caller_chose_changes_its_own_label_only(chosen: str) -> None:
    found = dict(labels(with_changes(VALUE, [("user", chosen), ("team", "shop")])))
    assert found["team"] == "shop"
    assert {k: v for k, v in found.items() if k not in ("user", "team")} == dict(labels(VALUE))
