"""Whom weft's parts act as."""

import pytest
from msgspec import Struct

from weft.api.gateway.v1 import BackendTLSPolicy, Gateway, HTTPRoute, ListenerSet
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.networking_v1 import Ingress
from weft.api.k8s.pod_v1 import Pod
from weft.api.registry import kind_for
from weft.api.weft.monitoring_v1alpha1 import AlertRule, ServiceLevelObjective
from weft.apiserver.access import MASTERS, Attributes
from weft.apiserver.part_roles import CONTROLLERS, ROLES, bindings, cluster_roles
from weft.apiserver.parts import user_of
from weft.apiserver.rbac import Rbac
from weft.controllers import root_ca
from weft.controllers.catalog import controllers
from weft.daemon.mesh_loop import STATUS_CLASSES
from weft.scheduler.controller import CONTROLLER as SCHEDULER


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("deployment", "system:serviceaccount:kube-system:deployment-controller"),
        ("daemonset", "system:serviceaccount:kube-system:daemon-set-controller"),
        ("garbage-collector", "system:serviceaccount:kube-system:generic-garbage-collector"),
        (SCHEDULER.name, "system:kube-scheduler"),
        ("mesh", "system:weft-mesh"),
    ],
)
def test_they_have_kubernetes_names(part: str, name: str) -> None:
    assert user_of(part).name == name


def test_every_controller_is_a_service_account_of_kube_system_with_a_role() -> None:
    for controller in (*controllers(), root_ca.controller(str)):
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


def test_the_mesh_may_write_each_status_that_it_writes() -> None:
    rules = Rbac()
    for role in cluster_roles():
        rules.put("clusterroles", role)
    for binding in bindings():
        rules.put("clusterrolebindings", binding)

    def may(verb: str, cls: type[Struct], subresource: str) -> bool:
        kind = kind_for(cls)
        wanted = Attributes(
            verb, group=kind.group, version=kind.version, resource=kind.plural,
            subresource=subresource, namespace="default", name="x",
        )  # fmt: skip
        return rules.decide(user_of("mesh"), wanted).allowed

    classes = {
        *STATUS_CLASSES,
        Gateway,
        HTTPRoute,
        ListenerSet,
        BackendTLSPolicy,
        Ingress,
        AlertRule,
        ServiceLevelObjective,
        Node,
    }
    assert [cls for cls in classes if not may("patch", cls, "status")] == []
    assert not may("patch", Pod, "status")
    assert not may("delete", Node, "")
