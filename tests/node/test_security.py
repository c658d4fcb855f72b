"""Users, groups and what containers may do."""

from typing import Any

import msgspec
import pytest

from tests.archives import GROUP, PASSWD
from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.node.environment import Refusal
from weft.node.oci.security import (
    CAPABILITIES_DEFAULT,
    Identity,
    confinement,
    engine_user,
    identity,
)


def who(user: str, container: Any = None, pod: Any = None) -> Identity | Refusal:
    spec = msgspec.convert(
        {"metadata": {"name": "p"}, "spec": {"securityContext": pod or {}, "containers": []}}, Pod
    )
    own = msgspec.convert({"name": "c", "securityContext": container or {}}, Container)
    return identity(spec, own, user, PASSWD.decode(), GROUP.decode())


@pytest.mark.parametrize(
    ("user", "container", "pod", "wanted"),
    [
        ("", {}, {}, (0, 0, (), "/root")),
        ("web", {}, {}, (1000, 1000, (50,), "/home/web")),
        ("1000", {}, {}, (1000, 1000, (50,), "/home/web")),
        ("web:staff", {}, {}, (1000, 50, (), "/home/web")),
        ("4000:7", {}, {}, (4000, 7, (), "/")),
        ("web", {"runAsUser": 5}, {"runAsUser": 6, "fsGroup": 9}, (5, 0, (9,), "/")),
        ("", {}, {"runAsUser": 1000, "runAsGroup": 2}, (1000, 2, (50,), "/home/web")),
        ("", {"runAsUser": 1000}, {"supplementalGroups": [8], "supplementalGroupsPolicy": "Strict"},
         (1000, 1000, (8,), "/home/web")),
    ],
)  # fmt: skip
def test_users(user: str, container: Any, pod: Any, wanted: Any) -> None:
    found = who(user, container, pod)
    assert isinstance(found, Identity)
    assert (found.uid, found.gid, found.groups, found.home) == wanted


@pytest.mark.parametrize(
    ("user", "container", "why"),
    [
        ("", {"runAsNonRoot": True}, "image will run as root"),
        ("web", {"runAsNonRoot": True}, "image has non-numeric user (web), cannot verify"),
        ("web", {"runAsNonRoot": True, "runAsUser": 0}, "breaks non-root policy"),
        ("ghost", {}, '"ghost"'),
        ("web:ghosts", {}, '"ghosts"'),
    ],
)
def test_users_that_are_refused(user: str, container: Any, why: str) -> None:
    found = who(user, container)
    assert isinstance(found, Refusal)
    assert why in found.message


@pytest.mark.parametrize(
    ("image", "container", "pod", "wanted"),
    [
        ("", {}, {}, ("", ())),
        ("web:staff", {}, {}, ("web:staff", ())),
        ("web", {"runAsUser": 5}, {"runAsUser": 6, "fsGroup": 9}, ("5", ("9",))),
        ("web", {"runAsGroup": 7}, {"supplementalGroups": [8, 8]}, ("web:7", ("8",))),
        ("", {"runAsGroup": 7}, {"supplementalGroupsPolicy": "Strict"}, ("0:7", ())),
        ("", {}, {"supplementalGroupsPolicy": "Strict"}, "needs runAsGroup"),
        ("", {"runAsNonRoot": True}, {}, "image will run as root"),
        ("web", {"runAsNonRoot": True}, {}, "non-numeric user (web)"),
    ],
)
def test_users_as_engines_are_told(image: str, container: Any, pod: Any, wanted: Any) -> None:
    spec = msgspec.convert({"spec": {"securityContext": pod, "containers": []}}, Pod)
    own = msgspec.convert({"name": "c", "securityContext": container}, Container)
    found = engine_user(spec, own, image)
    if isinstance(found, Refusal):
        assert wanted in found.message
    else:
        assert found == wanted


def may(container: Any, pod: Any = None) -> Any:
    spec = msgspec.convert({"spec": {"securityContext": pod or {}, "containers": []}}, Pod)
    return confinement(spec, msgspec.convert({"name": "c", "securityContext": container},
                                             Container))  # fmt: skip


def test_capabilities_and_filters() -> None:
    assert may({}).capabilities == CAPABILITIES_DEFAULT
    assert may({"capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}).capabilities == (
        "NET_BIND_SERVICE",
    )
    assert "NET_ADMIN" in may({"capabilities": {"add": ["CAP_NET_ADMIN"]}}).capabilities
    assert "KILL" not in may({"capabilities": {"add": ["ALL"], "drop": ["KILL"]}}).capabilities
    assert "there is SYS_ADMIN" in may({"capabilities": {"add": ["SYS_ADMINS"]}}).message
    assert may({}).seccomp
    assert not may({"seccompProfile": {"type": "Unconfined"}}).seccomp
    assert not may({}, {"seccompProfile": {"type": "Unconfined"}}).seccomp
    assert may({"seccompProfile": {"type": "RuntimeDefault"}},
               {"seccompProfile": {"type": "Unconfined"}}).seccomp  # fmt: skip
    assert isinstance(may({"seccompProfile": {"type": "Localhost"}}), Refusal)
    privileged = may({"privileged": True})
    assert (privileged.seccomp, privileged.masked) == (False, False)
    assert may({"allowPrivilegeEscalation": False}).no_new_privileges
