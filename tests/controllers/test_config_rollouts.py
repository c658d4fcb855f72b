"""Deployments whose pods are replaced when their configuration changes."""

from typing import Any

from tests.controllers.simulate import World, make
from weft.api.k8s.apps_v1 import Deployment
from weft.api.k8s.core_v1 import ConfigMap, Secret
from weft.api.wellknown import (
    ANNOTATION_CONFIG_SEEN,
    ANNOTATION_POD_CONFIG_REVISION,
    ANNOTATION_ROLL_ON_CONFIG,
)
from weft.controllers import config_rollouts

CONTAINER = {
    "name": "main",
    "envFrom": [{"configMapRef": {"name": "env"}}],
    "env": [{"name": "P", "valueFrom": {"secretKeyRef": {"name": "key", "key": "k"}}}],
}
VOLUMES = [
    {"name": "a", "configMap": {"name": "files"}},
    {"name": "b", "projected": {"sources": [{"secret": {"name": "certs"}}]}},
]


def world(opted_in: bool = True) -> World:
    w = World([config_rollouts.CONTROLLER])
    w.put(make(ConfigMap, {"data": {"a": "1"}}, name="env"))
    w.put(make(ConfigMap, {"data": {"a": "1"}}, name="other"))
    w.put(make(Secret, {"data": {"k": "eA=="}}, name="key"))
    template = {"spec": {"containers": [CONTAINER], "volumes": VOLUMES}}
    notes = {ANNOTATION_ROLL_ON_CONFIG: "true"} if opted_in else {}
    w.put(make(Deployment, {"spec": {"template": template}}, name="web", annotations=notes))
    w.settle()
    return w


def mark(w: World) -> str | None:
    found = w.need(Deployment, "web").spec.template.metadata.annotations
    return found.get(ANNOTATION_POD_CONFIG_REVISION)


def change(w: World, cls: Any, name: str, **data: str) -> str | None:
    w.patch(cls, name, {"data": data})
    w.settle()
    return mark(w)


def test_nothing_rolls_at_first() -> None:
    w = world()
    assert mark(w) is None
    assert w.need(Deployment, "web").metadata.annotations[ANNOTATION_CONFIG_SEEN]


def test_changes_of_what_the_pods_read_roll() -> None:
    w = world()
    first = change(w, ConfigMap, "env", a="2")
    assert first
    assert w.events[-1].message == "Pods are replaced because of changes in configmap/env"
    second = change(w, Secret, "key", k="eQ==")
    assert second not in (None, first)
    w.settle()
    assert mark(w) == second


def test_other_changes_do_not() -> None:
    w = world()
    assert change(w, ConfigMap, "other", a="2") is None
    w.patch(ConfigMap, "env", {"metadata": {"labels": {"x": "y"}}})
    w.settle()
    assert mark(w) is None
    assert change(world(opted_in=False), ConfigMap, "env", a="2") is None


def test_an_object_that_appears_is_only_noted() -> None:
    w = world()
    w.put(make(ConfigMap, {"data": {"f": "1"}}, name="files"))
    w.settle()
    assert mark(w) is None
    assert change(w, ConfigMap, "files", f="2")


def test_deleted_and_made_again_the_same_is_no_change() -> None:
    w = world()
    w.delete(ConfigMap, "env")
    w.settle()
    w.put(make(ConfigMap, {"data": {"a": "1"}}, name="env"))
    w.settle()
    assert mark(w) is None


def test_secrets_leave_no_trace_of_their_content() -> None:
    w = world()
    seen = w.need(Deployment, "web").metadata.annotations[ANNOTATION_CONFIG_SEEN]
    version = w.need(Secret, "key").metadata.resource_version
    assert f"secret/key={version}" in seen
