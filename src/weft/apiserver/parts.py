"""Whom weft's own parts act as when they write, in process: Kubernetes' names for them. Pure.

Admission policies and webhooks see these names, as those written for Kubernetes expect them, and
each part may write what its ClusterRole says (`part_roles`), nothing else.
"""

from collections.abc import Mapping

from weft.apiserver.access import (
    AUTHENTICATED,
    User,
    service_account_groups,
    service_account_name,
)

NAMESPACE = "kube-system"
SCHEDULER = "scheduler"
SCHEDULER_USER = "system:kube-scheduler"
MESH = "mesh"
MESH_USER = "system:weft-mesh"
"""Writes Events, the status of the mesh's kinds and of nodes, certificates, and wakes what sleeps:
what no component of Kubernetes does."""
_ACCOUNTS: Mapping[str, str] = {
    "serviceaccount": "service-account-controller",
    "root-ca-cert-publisher": "root-ca-cert-publisher",
    "certificate-cleaner": "certificate-controller",
    "replication-controller": "replication-controller",
    "daemonset": "daemon-set-controller",
    "endpoints": "endpoint-controller",
    "loadbalancer": "service-controller",
    "persistentvolumeclaim": "persistent-volume-binder",
    "persistentvolume": "persistent-volume-binder",
    "garbage-collector": "generic-garbage-collector",
    "pod-gc": "pod-garbage-collector",
    "node-lifecycle": "node-controller",
    "pods-of-silent-nodes": "node-controller",
    "node-ipam": "node-controller",
    "horizontalpodautoscaler": "horizontal-pod-autoscaler",
}
"""Service accounts of Kubernetes' controllers whose names are not just `NAME-controller`."""


def user_of(part: str) -> User:
    """The user that a controller, the scheduler, or the mesh acts as."""
    if part == MESH:
        return User(MESH_USER, (AUTHENTICATED,))
    if part == SCHEDULER:
        return User(SCHEDULER_USER, (AUTHENTICATED,))
    return controller_user(_ACCOUNTS.get(part, f"{part}-controller"))


def controller_user(account: str) -> User:
    """A service account of Kubernetes' own controllers."""
    groups = (*service_account_groups(NAMESPACE), AUTHENTICATED)
    return User(service_account_name(NAMESPACE, account), groups)
