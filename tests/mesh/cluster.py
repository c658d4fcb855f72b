"""Snapshots from YAML: Kubernetes and Istio objects, and a short form for running back ends.

`kind: Backends` stands for ready pods of a service and the EndpointSlice that the controllers
would make of them:

    kind: Backends
    service: reviews            # a Service of the same documents
    namespace: default
    pods:
      reviews-v1-a: {ip: 10.244.0.1, labels: {version: v1}, node: node-a, state: ready}

`state` is ready (the default), unready, terminating, or done.
"""

from typing import Any

from msgspec import Struct

from weft.api import objects, registry
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import ObjectSnapshot

Document = dict[str, Any]


def snapshot(documents: list[Document]) -> ObjectSnapshot:
    """All documents as typed objects; namespaced ones without a namespace are in `default`."""
    services = {
        (_namespace(d), d["metadata"]["name"]): d for d in documents if d["kind"] == "Service"
    }
    made: list[Struct] = []
    for document in documents:
        if document["kind"] == "Backends":
            service = services[document.get("namespace", "default"), document["service"]]
            made.extend(_backends(document, service))
        else:
            made.append(_typed(document))
    return ObjectSnapshot(made)


def _typed(document: Document) -> Struct:
    kind = registry.kind_of(document)
    assert kind is not None, f"unknown kind {document.get('kind')}"
    assert kind.struct is not None
    body = dict(document)
    if kind.namespaced:
        body["metadata"] = {"namespace": _namespace(document), **body["metadata"]}
    return objects.decode(kind.struct, body)


def _namespace(document: Document) -> str:
    return str(document["metadata"].get("namespace", "default"))


def _backends(document: Document, service: Document) -> list[Struct]:
    namespace = document.get("namespace", "default")
    pods = {name: _pod(name, namespace, given, service) for name, given in document["pods"].items()}
    ports = [
        {
            "name": port.get("name", ""),
            "port": port.get("targetPort", port["port"]),
            "protocol": port.get("protocol", "TCP"),
        }
        for port in service["spec"]["ports"]
        if isinstance(port.get("targetPort", 0), int)
    ]
    endpoints = [_endpoint(name, given) for name, given in document["pods"].items()]
    each = objects.decode(
        EndpointSlice,
        {
            "metadata": {
                "name": f"{document['service']}-1",
                "namespace": namespace,
                "labels": {"kubernetes.io/service-name": document["service"]},
            },
            "addressType": "IPv4",
            "ports": ports,
            "endpoints": endpoints,
        },
    )
    return [*pods.values(), each]


def _endpoint(name: str, given: Document) -> Document:
    state = given.get("state", "ready")
    return {
        "addresses": [given["ip"]],
        "hostname": given.get("hostname", ""),
        "targetRef": {"kind": "Pod", "name": name},
        "conditions": {
            "ready": state == "ready",
            "serving": state in ("ready", "terminating"),
            "terminating": state == "terminating",
        },
    }


def _pod(name: str, namespace: str, given: Document, service: Document) -> Pod:
    state = given.get("state", "ready")
    owner, _, _ = name.rpartition("-")
    meta: Document = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "labels": {
            **service["spec"].get("selector", {}),
            "pod-template-hash": "abc",
            **given.get("labels", {}),
        },
        "annotations": given.get("annotations", {"weft.dev/netns": f"/run/netns/{name}"}),
        "ownerReferences": [{"kind": "ReplicaSet", "name": f"{owner}-abc", "controller": True}],
    }
    if state == "terminating":
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    ready = "True" if state == "ready" else "False"
    return objects.decode(
        Pod,
        {
            "metadata": meta,
            "spec": {
                "nodeName": given.get("node", "node-a"),
                "serviceAccountName": given.get("account", owner),
                "containers": [{"name": "app", "ports": given.get("ports", [])}],
            },
            "status": {
                "phase": "Succeeded" if state == "done" else "Running",
                "podIP": given["ip"],
                "conditions": [
                    {"type": "PodReadyToStartContainers", "status": "True"},
                    {"type": "Ready", "status": ready},
                ],
            },
        },
    )
