"""CPU time that the mesh model takes to build: cold, after one change, and per node.

Run with `python -m benchmarks.mesh_build [services] [endpoints]`.
"""

import gc
import sys
import time
from collections.abc import Callable

from weft.api.k8s.core_v1 import ObjectReference, Service, ServicePort, ServiceSpec
from weft.api.k8s.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod, PodCondition, PodSpec, PodStatus
from weft.api.snapshot import ObjectSnapshot
from weft.api.wellknown import LABEL_SERVICE_NAME
from weft.mesh.build import BuildSettings, build
from weft.mesh.memo import Memo
from weft.mesh.model import NodeSettings
from weft.mesh.scope import scope

NAMESPACES = 10
NODES = 10
ROUNDS = 5


def pod(service: int, number: int, version: str = "v1") -> Pod:
    name, namespace = f"s{service}-{number}", f"ns{service % NAMESPACES}"
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            labels={"app": f"s{service}", "version": version, "pod-template-hash": "abc"},
            annotations={"weft.dev/netns": f"/run/netns/{name}"},
            owner_references=(
                OwnerReference(kind="ReplicaSet", name=f"s{service}-abc", controller=True),
            ),
        ),
        spec=PodSpec(node_name=f"node{number % NODES}", service_account_name=f"s{service}"),
        status=PodStatus(
            phase="Running",
            pod_ip=f"10.{service >> 8}.{service & 255}.{number + 1}",
            conditions=(
                PodCondition(type="PodReadyToStartContainers", status="True"),
                PodCondition(type="Ready", status="True"),
            ),
        ),
    )


def service(number: int) -> Service:
    return Service(
        metadata=ObjectMeta(name=f"s{number}", namespace=f"ns{number % NAMESPACES}"),
        spec=ServiceSpec(
            cluster_ip=f"10.96.{number >> 8}.{number & 255}",
            ports=(ServicePort(name="http", port=80, target_port=8080, protocol="TCP"),),
        ),
    )


def endpoint_slice(number: int, endpoints: int, ready: bool = True) -> EndpointSlice:
    namespace = f"ns{number % NAMESPACES}"
    return EndpointSlice(
        metadata=ObjectMeta(
            name=f"s{number}-x", namespace=namespace, labels={LABEL_SERVICE_NAME: f"s{number}"}
        ),
        address_type="IPv4",
        ports=(EndpointPort(name="http", port=8080, protocol="TCP"),),
        endpoints=tuple(
            Endpoint(
                addresses=(f"10.{number >> 8}.{number & 255}.{i + 1}",),
                conditions=EndpointConditions(ready=ready or i > 0, serving=True),
                target_ref=ObjectReference(kind="Pod", namespace=namespace, name=f"s{number}-{i}"),
            )
            for i in range(endpoints)
        ),
    )


def milliseconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1000


def main() -> None:
    services, endpoints = (int(a) for a in [*sys.argv[1:], "1000", "10"][:2])
    objects = [
        *(pod(s, n) for s in range(services) for n in range(endpoints)),
        *(service(s) for s in range(services)),
        *(endpoint_slice(s, endpoints) for s in range(services)),
    ]
    first = ObjectSnapshot(objects)
    changed = ObjectSnapshot([*objects, endpoint_slice(0, endpoints, ready=False)])
    new_service = ObjectSnapshot([*objects, service(services)])
    listing = milliseconds(lambda: (first.list(Pod), first.list(EndpointSlice)))
    cold = min(milliseconds(lambda: build(first, BuildSettings())) for _ in range(ROUNDS))
    gc.collect()
    gc.freeze()
    print(f"{services} services, {services * endpoints} pods, {NAMESPACES} namespaces")
    print(f"  (of each build: listing from the test's snapshot {listing:.0f} ms)")
    print(f"  cold, collector follows the objects  {cold:7.1f} ms")
    cold = min(milliseconds(lambda: build(first, BuildSettings())) for _ in range(ROUNDS))
    memo = Memo()
    build(first, BuildSettings(), memo)
    settings = BuildSettings()
    same = min(milliseconds(lambda: build(first, settings, memo)) for _ in range(ROUNDS))
    one_endpoint = milliseconds(lambda: build(changed, settings, memo))
    one_service = milliseconds(lambda: build(new_service, settings, memo))
    model = build(first, settings, memo).model
    node = NodeSettings(name="node0")
    scoped = min(milliseconds(lambda: scope(model, node)) for _ in range(ROUNDS))
    print(f"  cold, objects frozen (gc.freeze)     {cold:7.1f} ms")
    print(f"  nothing changed                      {same:7.1f} ms")
    print(f"  one endpoint changed                 {one_endpoint:7.1f} ms")
    print(f"  one service added                    {one_service:7.1f} ms")
    print(f"  scope to one node                    {scoped:7.1f} ms")


if __name__ == "__main__":
    main()
