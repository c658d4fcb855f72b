"""JSON to values and back."""

import msgspec
import pytest

from weft.api import objects, registry
from weft.api.istio import networking_v1
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.pod_v1 import Pod

TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c"}]}}


def test_round_trip_keeps_what_is_there() -> None:
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "namespace": "n"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE},
    }
    assert objects.to_json(objects.decode(Deployment, body)) == body
    text = msgspec.json.encode(body)
    assert objects.to_json(objects.decode(Deployment, text)) == body


def test_empty_messages_that_mean_something_stay() -> None:
    body = {"spec": {"securityContext": {}, "volumes": [{"name": "v", "emptyDir": {}}]}}
    made = objects.to_json(objects.decode(Pod, body))
    assert made == {"apiVersion": "v1", "kind": "Pod", **body}


def test_null_means_absent() -> None:
    body = b'{"metadata":{"name":"a","creationTimestamp":null},"spec":{"containers":null}}'
    pod = objects.decode(Pod, body)
    assert pod.metadata.creation_timestamp == ""
    assert pod.spec.containers == ()


def test_unknown_fields_are_ignored_and_wrong_types_are_not() -> None:
    assert objects.decode(Pod, {"metadata": {"name": "a"}, "later": 1}).metadata.name == "a"
    with pytest.raises(msgspec.ValidationError, match=r"spec\.containers"):
        objects.decode(Pod, {"spec": {"containers": {"name": "c"}}})


def test_served_version_is_kept() -> None:
    body = {"apiVersion": "networking.istio.io/v1alpha3", "spec": {"hosts": ["a"]}}
    made = objects.to_json(objects.decode(networking_v1.VirtualService, body))
    assert made == {"kind": "VirtualService", **body}


def test_only_kinds_have_json() -> None:
    with pytest.raises(KeyError):
        objects.to_json(PodTemplateSpec())


def test_keys() -> None:
    assert objects.key_of({"metadata": {"name": "a"}}) == ("", "a")
    pod = objects.decode(Pod, {"metadata": {"name": "a", "namespace": "n"}})
    assert objects.key_of(pod) == ("n", "a")


def test_every_kind_decodes_an_empty_object() -> None:
    for kind in registry.KINDS:
        if kind.struct is None:
            continue  # never stored
        made = objects.to_json(objects.decode(kind.struct, {}))
        assert made == {"apiVersion": kind.api_version, "kind": kind.kind}
