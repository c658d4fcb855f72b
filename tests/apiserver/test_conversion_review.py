"""What conversion webhooks are sent, and what their answers mean."""

from typing import Any

import orjson
import pytest

pytest.importorskip("re2")

from tests.apiserver.crds import GROUP, crd, cron_tab, version
from weft.api.crd.definition import Conversion, kind_of
from weft.apiserver import codec, conversion_review
from weft.apiserver.conversion_review import BadConversion

V1, V2 = f"{GROUP}/v1", f"{GROUP}/v2"
HOOK = Conversion({}, "v1")
SENT = cron_tab() | {
    "metadata": {"name": "a", "namespace": "default", "uid": "u", "labels": {"a": "b"},
                 "finalizers": ["x.io/y"]},
}  # fmt: skip


def made(**change: Any) -> dict[str, Any]:
    return SENT | {"apiVersion": V2} | change


def review(*converted: Any, **response: Any) -> dict[str, Any]:
    answer = {"uid": "1", "result": {"status": "Success"}, "convertedObjects": list(converted)}
    return {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": answer | response}  # fmt: skip


def answer(raw: Any) -> Any:
    return conversion_review.answer(orjson.dumps(raw), HOOK, V2, "1", [SENT])


def test_the_review_that_is_sent() -> None:
    kind = kind_of(crd(version(), version("v2", storage=False)))
    obj = SENT | {"metadata": SENT["metadata"] | {"resourceVersion": "7"}}
    sent = conversion_review.sent(kind, V2, obj)
    assert list(sent) == ["kind", "apiVersion", "metadata", "spec"]
    assert (sent["apiVersion"], "resourceVersion" in sent["metadata"]) == (V2, False)
    found = orjson.loads(conversion_review.body(HOOK, V1, "1", [sent]))
    assert (found["kind"], found["apiVersion"]) == ("ConversionReview", "apiextensions.k8s.io/v1")
    assert found["request"] == {"uid": "1", "desiredAPIVersion": V1, "objects": [sent]}


def test_metadata_stays_but_for_labels_and_annotations() -> None:
    metadata = {"name": "a", "namespace": "default", "uid": "u", "annotations": {"x": "y"},
                "finalizers": [], "generation": 9}  # fmt: skip
    (found,) = answer(review(made(metadata=metadata)))
    kept = {k: v for k, v in SENT["metadata"].items() if k != "labels"}
    assert found["metadata"] == kept | {"annotations": {"x": "y"}}


def meta(**change: Any) -> dict[str, Any]:
    return made(metadata=SENT["metadata"] | change)


@pytest.mark.parametrize(
    ("raw", "index", "why"),
    [
        ([], None, "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview"),
        (review() | {"apiVersion": "apiextensions.k8s.io/v2"}, None, "expected webhook response"),
        (review() | {"response": None}, None, "no response provided"),
        (review(made(), uid="2"), None, 'expected response.uid="1", got "2"'),
        (review(result={"status": "Failed", "message": "no way"}), None, "no way"),
        (review(result={}), None, "response.result.status was '', not 'Success'"),
        (review(result=3), None, "response.result.status was '', not 'Success'"),
        (review(), -1, "returned 0 objects, expected 1"),
        (review(made(), made()), -1, "returned 2 objects, expected 1"),
        (review(convertedObjects=7), -1, "returned 0 objects, expected 1"),
        (review("x"), 0, "it is no object"),
        (review(SENT), 0, f"invalid groupVersion (expected {V2}, received {V1})"),
        (review(made(kind="X")), 0, "invalid kind (expected CronTab, received X)"),
        (review({k: v for k, v in made().items() if k != "metadata"}), 0, "missing metadata"),
        (review(made(metadata=[])), 0, "invalid metadata in converted object"),
        (review(meta(name="b")), 0, "must have the same name: a != b"),
        (review(meta(namespace="")), 0, "must have the same namespace: default != "),
        (review(meta(uid="v")), 0, "must have the same UID: u != v"),
        (review(meta(labels=["a"])), 0, "invalid metadata.labels in converted object"),
        (review(meta(annotations={"a": 1})), 0, "metadata.annotations[a] must be a string"),
        (review(meta(labels={"a": "-"})), 0, "metadata.labels: Invalid value"),
    ],
)
def test_bad_answers(raw: Any, index: int | None, why: str) -> None:
    with pytest.raises(BadConversion) as caught:
        answer(raw)
    assert why in str(caught.value)
    assert caught.value.index == index


def test_no_json() -> None:
    with pytest.raises(BadConversion, match="no JSON"):
        conversion_review.answer(b"<html>", HOOK, V2, "1", [SENT])


def test_kubernetes_words_of_failures() -> None:
    about = f"{V1}, Kind=CronTab"
    texts = [conversion_review.failure(about, "x", index).message for index in (None, -1, 3)]
    assert texts == [
        f"conversion webhook for {about} failed: x",
        f"conversion webhook for {about} x",
        f"conversion webhook for {about} returned invalid converted object at index 3: x",
    ]


def test_the_head_tells_the_stored_version() -> None:
    kind = kind_of(crd(version(), version("v2", storage=False)))
    value = codec.to_stored(kind, SENT)
    assert codec.stored_version(value) == "v1"
    assert codec.is_in(kind, "v1", value)
    assert not codec.is_in(kind, "v2", value)
    other = codec.to_stored(kind, made(spec={}))
    assert codec.with_words_of(value, other) == other
