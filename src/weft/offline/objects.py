"""The objects that would be there if manifests were applied and every pod ran.

What the files do not have, and the mesh needs, is derived: pods of Deployments and their kin, all
ready; endpoints of Services that select them; addresses of Services; a node, when there is none.
"""

import copy
import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct, structs

from weft.api.defaults import default
from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import Namespace, Node, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.kinds import Kind
from weft.api.manifests import Document
from weft.api.objects import decode
from weft.api.prepare import prepare_create
from weft.api.snapshot import ObjectSnapshot
from weft.api.wellknown import (
    ANNOTATION_NODE_ISOLATION,
    ANNOTATION_POD_NETNS,
    CONDITION_POD_SANDBOX_READY,
    ISOLATION_NETNS,
    LABEL_POD_TEMPLATE_HASH,
    LABEL_SERVICE_NAME,
)
from weft.apiserver import addresses
from weft.controllers import endpointslices
from weft.runtime.plan import Create, Key

Json = dict[str, Any]

NODE_NAME = "node"
"""Of the node that stands for all when the files have none."""
POD_NETWORK = ipaddress.IPv4Network("10.244.0.0/16")
REPLICAS_MAX = 100
"""Pods that are derived for each workload; more replicas change nothing but the length."""
TEMPLATE_HASH = "offline"
FIRST_ADDRESS = 10
"""Lower addresses of the pod network belong to nodes."""
SYSTEM_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease", "istio-system")


def objects_of(documents: Iterable[Document], namespace: str = "default") -> ObjectSnapshot:
    """All objects, written and derived. Documents of unknown kinds are left out."""
    written = [
        (document.kind, settled(document.kind, document.value, namespace))
        for document in documents
        if document.kind is not None and document.kind.struct is not None
    ]
    _give_addresses([value for kind, value in written if kind.kind == "Service"])
    found: list[Struct] = [decode(kind.struct, value) for kind, value in written if kind.struct]
    nodes = [obj for obj in found if isinstance(obj, Node)] or [default_node()]
    pods = _pods(written, [node.metadata.name for node in nodes])
    found = [obj for obj in found if not isinstance(obj, Pod)]
    found += [*_namespaces(found), *nodes, *pods]
    if not any(isinstance(obj, gw.GatewayClass) for obj in found):
        found.append(_gateway_class())
    snapshot = ObjectSnapshot(found)
    return ObjectSnapshot([*found, *_slices(snapshot)])


def default_node() -> Node:
    """A node as it is where nothing is said about it."""
    annotations = {ANNOTATION_NODE_ISOLATION: ISOLATION_NETNS}
    return Node(metadata=ObjectMeta(name=NODE_NAME, annotations=annotations))


def settled(kind: Kind, value: Mapping[str, Any], namespace: str) -> Json:
    """The object as the API server would store it, but for the addresses of Services."""
    body: Json = copy.deepcopy(dict(value)) | {"apiVersion": kind.api_version}
    meta = body.setdefault("metadata", {})
    if kind.namespaced and not meta.get("namespace"):
        meta["namespace"] = namespace
    uid = f"{kind.kind}/{meta.get('namespace', '')}/{meta.get('name', '')}".lower()
    meta.setdefault("uid", uid)
    return prepare_create(kind, default(kind, body), uid)


def _give_addresses(services: list[Json]) -> None:
    """Addresses in order of the files, none twice."""
    ranges = addresses.Ranges()
    for service in services:
        addresses.settle(service)
    used = frozenset(key for service in services for key in addresses.held(service))
    for number, service in enumerate(services):
        if addresses.lacking(service):
            addresses.assign(service, ranges, used, _first_tried(number))
            used |= addresses.held(service)


def _first_tried(number: int) -> addresses.Random:
    """Where the search for a free address begins: at the first that may be."""
    return lambda size: number % size


def _namespaces(found: Iterable[Struct]) -> Iterator[Namespace]:
    known = {o.metadata.name for o in found if isinstance(o, Namespace)}
    meta = (o.metadata for o in found)  # type: ignore[attr-defined]
    named = [*SYSTEM_NAMESPACES, *(m.namespace for m in meta if m.namespace)]
    for name in dict.fromkeys(named):
        if name not in known:
            labels = {"kubernetes.io/metadata.name": name}
            yield Namespace(metadata=ObjectMeta(name=name, labels=labels))


def _gateway_class() -> gw.GatewayClass:
    value = {
        "metadata": {"name": gw.CLASS_NAME},
        "spec": {"controllerName": gw.CONTROLLER_NAME},
    }
    return decode(gw.GatewayClass, value)


# --- pods


def _pods(written: Iterable[tuple[Kind, Json]], nodes: list[str]) -> Iterator[Pod]:
    """Pods that are written and those that workloads would make, each running and ready."""
    number = 0
    for kind, value in written:
        for pod in _pods_of(kind, value, len(nodes)):
            pod.setdefault("spec", {}).setdefault("nodeName", nodes[number % len(nodes)])
            address = str(POD_NETWORK[FIRST_ADDRESS + number])
            yield decode(Pod, _running(pod, address))
            number += 1


def _pods_of(kind: Kind, value: Json, nodes: int) -> Iterator[Json]:
    if kind.kind == "Pod":
        yield copy.deepcopy(value)
        return
    spec = value.get("spec") or {}
    template = spec.get("template")
    if kind.kind == "CronJob":
        template = ((spec.get("jobTemplate") or {}).get("spec") or {}).get("template")
    if not isinstance(template, dict) or "spec" not in template:
        return
    usual = nodes if kind.kind == "DaemonSet" else 1
    given = (spec[name] for name in ("replicas", "parallelism") if spec.get(name) is not None)
    wanted = next(given, usual)
    for number in range(min(int(wanted), REPLICAS_MAX)):
        yield _from_template(kind, value["metadata"], template, number)


def _from_template(kind: Kind, owner: Json, template: Json, number: int) -> Json:
    pod: Json = copy.deepcopy(template)
    meta = pod.setdefault("metadata", {})
    name = owner["name"]
    meta |= {"name": f"{name}-{number}", "namespace": owner["namespace"]}
    owner_kind, owner_name = kind.kind, name
    if kind.kind == "Deployment":
        owner_kind, owner_name = "ReplicaSet", f"{name}-{TEMPLATE_HASH}"
        meta["labels"] = {**(meta.get("labels") or {}), LABEL_POD_TEMPLATE_HASH: TEMPLATE_HASH}
    meta["ownerReferences"] = [{"kind": owner_kind, "name": owner_name, "controller": True}]
    return pod


def _running(pod: Json, address: str) -> Json:
    meta = pod["metadata"]
    meta["uid"] = f"{meta['namespace']}.{meta['name']}"
    annotations = meta.get("annotations") or {}
    path = f"/run/netns/{meta['namespace']}.{meta['name']}"
    meta["annotations"] = {ANNOTATION_POD_NETNS: path, **annotations}
    holding = ("Ready", CONDITION_POD_SANDBOX_READY)
    pod["status"] = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": name, "status": "True"} for name in holding],
    }
    return pod


# --- endpoints


def _slices(snapshot: ObjectSnapshot) -> Iterator[EndpointSlice]:
    """What the controller would make for Services without slices of their own."""
    given = {
        (each.metadata.namespace, each.metadata.labels.get(LABEL_SERVICE_NAME, ""))
        for each in snapshot.list(EndpointSlice)
    }
    for service in snapshot.list(Service):
        key = Key(service.metadata.namespace, service.metadata.name)
        if (key.namespace, key.name) in given:
            continue
        actions = endpointslices.plan(snapshot, key, 0.0).actions
        made = (a.object for a in actions if isinstance(a, Create))
        for number, each in enumerate(made):
            assert isinstance(each, EndpointSlice)
            name = f"{service.metadata.name}-{number}"
            yield structs.replace(each, metadata=structs.replace(each.metadata, name=name))
