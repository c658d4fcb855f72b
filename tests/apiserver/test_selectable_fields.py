"""Which fields a selector can name, and what objects without them count as."""

import orjson
import pytest

from tests.apiserver.serving import Running
from tests.apiserver.support import Api, kind, pod
from weft.api.errors import ApiError
from weft.apiserver.selection import compile_selection

WORDS = 'is not a known field selector: only "metadata.name", "metadata.namespace"'


@pytest.mark.parametrize(
    ("plural", "selector", "words"),
    [
        ("pods", "spec.foo=1", "field label not supported: spec.foo"),
        ("pods", "metadata.labels.a=1", "field label not supported: metadata.labels.a"),
        ("events", "message=x", "field label not supported: message"),
        ("configmaps", "data.x=1", f'"data.x" {WORDS}'),
        ("deployments", "metadata.name=a,status.replicas=1", f'"status.replicas" {WORDS}'),
    ],
)
def test_other_fields_are_refused(plural: str, selector: str, words: str) -> None:
    """They used to select nothing, or everything with `!=`: a script deletes the wrong pods."""
    found = kind(plural)
    with pytest.raises(ApiError, match=words.replace("(", r"\(")) as refused:
        compile_selection(found, found.version, "", selector)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("spec.hostNetwork=false", ["a"]),
        ("spec.hostNetwork=true", ["b"]),
        ("spec.nodeName=", ["a", "b"]),
        ("status.phase=Pending,spec.restartPolicy=Always", ["a", "b"]),
        ("spec.serviceAccountName!=default", []),
        ("metadata.name!=a", ["b"]),
    ],
)
async def test_absent_fields_count_as_their_zero(api: Api, selector: str, names: list[str]) -> None:
    await api.create("pods", pod("a"))
    await api.create("pods", pod("b", hostNetwork=True))
    listed = await api.client.list(kind("pods"), "default", field_selector=selector)
    assert [orjson.loads(item)["metadata"]["name"] for item in listed.items] == names


async def test_events_by_who_reported_them(live: Running) -> None:
    """In both groups, by the names that each has for the fields."""
    about = {"kind": "Pod", "name": "p", "namespace": "default"}
    event = {"metadata": {"name": "e"}, "involvedObject": about, "reason": "R",
             "source": {"component": "kubelet"}, "type": "Normal"}  # fmt: skip
    core, new = "/api/v1/namespaces/default/events", "/apis/events.k8s.io/v1/events"
    assert (await live.json("POST", core, json=event))[0] == 201
    for path, selector, count in (
        (core, "source=kubelet", 1),
        (core, "source=other", 0),
        (core, "involvedObject.name=p,reason=R", 1),
        (new, "regarding.name=p,regarding.kind=Pod", 1),
    ):
        _, found = await live.json("GET", path, params={"fieldSelector": selector})
        assert len(found["items"]) == count, selector
    code, refused = await live.json("GET", new, params={"fieldSelector": "involvedObject.name=p"})
    assert (code, refused["reason"]) == (400, "BadRequest")
