"""Gives every node its part of the pod network (`spec.podCIDR`), as Kubernetes' node IPAM does."""

import ipaddress
from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.core_v1 import Node
from weft.api.snapshot import Snapshot
from weft.api.wellknown import ANNOTATION_NODE_ISOLATION, ISOLATION_HOST
from weft.controllers.support.patches import object_patch
from weft.runtime.controller import Controller
from weft.runtime.plan import NOTHING, Action, Key, Plan, RecordEvent

POD_RANGES = tuple(ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(244, 252))
PREFIX = 24
_ALL = Key("", "")
"""One key for all nodes: two that join at once must not get the same network."""


def plan(snapshot: Snapshot, key: Key, now: float) -> Plan:
    """Networks for all nodes that have none, oldest first."""
    nodes = sorted(
        snapshot.list(Node), key=lambda n: (n.metadata.creation_timestamp, n.metadata.name)
    )
    taken = [network for node in nodes for network in _networks(node)]
    actions: list[Action] = []
    free = (s for whole in POD_RANGES for s in whole.subnets(new_prefix=PREFIX))
    for node in nodes:
        if node.spec.pod_cidr or node.metadata.deletion_timestamp or _in_host_isolation(node):
            continue
        found = next((s for s in free if not any(s.overlaps(t) for t in taken)), None)
        if found is None:
            text = f"no free /{PREFIX} is left in {POD_RANGES[0]} to {POD_RANGES[-1]}"
            actions.append(RecordEvent(node, "Warning", "CIDRNotAvailable", text))
            continue
        spec = replace(node.spec, pod_cidr=str(found), pod_cidrs=(str(found),))
        actions += object_patch(node, replace(node, spec=spec), conditional=True)
    return Plan(tuple(actions)) if actions else NOTHING


def _in_host_isolation(node: Node) -> bool:
    """Its pods have addresses of 127.0.0.0/8."""
    return node.metadata.annotations.get(ANNOTATION_NODE_ISOLATION) == ISOLATION_HOST


def _networks(node: Node) -> Iterable[ipaddress.IPv4Network]:
    for text in (node.spec.pod_cidr, *node.spec.pod_cidrs):
        try:
            yield ipaddress.IPv4Network(text)
        except ValueError:
            continue


def _all(node: Struct, snapshot: Snapshot) -> Iterable[Key]:
    return (_ALL,)


CONTROLLER = Controller(name="node-ipam", primary=Node, plan=plan, primary_keys=_all)
