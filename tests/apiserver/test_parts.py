"""Whom weft's parts act as."""

import pytest

from weft.apiserver.access import MASTERS
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


def test_every_controller_is_a_service_account_of_kube_system() -> None:
    for controller in controllers():
        user = user_of(controller.name)
        assert user.name.startswith("system:serviceaccount:kube-system:")
        assert {"system:serviceaccounts:kube-system", MASTERS} <= set(user.groups)
