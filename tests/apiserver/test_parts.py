"""Whom weft's parts act as."""

import pytest

from weft.apiserver.access import MASTERS
from weft.apiserver.part_roles import CONTROLLERS, ROLES, bindings
from weft.apiserver.parts import user_of
from weft.controllers.catalog import controllers
from weft.scheduler.controller import CONTROLLER as SCHEDULER


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("deployment", "system:serviceaccount:kube-system:deployment-controller"),
        ("daemonset", "system:serviceaccount:kube-system:daemon-set-controller"),
        ("garbage-collector", "system:serviceaccount:kube-system:generic-garbage-collector"),
        (SCHEDULER.name, "system:kube-scheduler"),
    ],
)
def test_they_have_kubernetes_names(part: str, name: str) -> None:
    assert user_of(part).name == name


def test_every_controller_is_a_service_account_of_kube_system_with_a_role() -> None:
    for controller in controllers():
        user = user_of(controller.name)
        account = user.name.removeprefix("system:serviceaccount:kube-system:")
        assert account in CONTROLLERS
        assert "system:serviceaccounts:kube-system" in user.groups
        assert MASTERS not in user.groups


def test_each_role_is_bound_to_one_part() -> None:
    bound = {b["metadata"]["name"]: b["subjects"] for b in bindings()}
    assert bound.keys() == ROLES.keys()
    assert bound["system:controller:job-controller"] == [
        {"kind": "ServiceAccount", "namespace": "kube-system", "name": "job-controller"}
    ]
    assert [s["kind"] for s in bound["system:kube-scheduler"]] == ["User"]
