"""CPU time that the mesh model takes to build: cold, after one change, and per node."""

import gc
from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct

from benchmarks.harness import Benchmark, Row, milliseconds
from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Node, ObjectReference, Secret, Service, ServicePort, ServiceSpec
from weft.api.k8s.discovery_v1 import Endpoint, EndpointConditions, EndpointPort, EndpointSlice
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod, PodCondition, PodSpec, PodStatus
from weft.api.wellknown import LABEL_SERVICE_NAME
from weft.daemon.instance import GC_THRESHOLD
from weft.mesh.build import BuildSettings, build
from weft.mesh.memo import Memo
from weft.mesh.model import NodeSettings
from weft.mesh.scope import scope
from weft.runtime.cache import Cache

NAMESPACES = 10
NODES = 10
SERVICES = 1000
ENDPOINTS = 10
ROUNDS = 5
CHANGE_GOAL_MS = 20.0
ISTIO_CLASSES = (
    istio.VirtualService,
    istio.DestinationRule,
    istio.Gateway,
    istio.ServiceEntry,
)


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


def changing(cache: Cache, make: Callable[[int], Iterable[Struct]]) -> Iterator[None]:
    """Each step changes some objects."""
    for number in range(ROUNDS):
        for obj in make(number):
            cache.put(obj)
        yield


def after_changes(
    cache: Cache, memo: Memo, make: Callable[[int], Iterable[Struct]]
) -> tuple[float, ...]:
    settings = BuildSettings()
    return tuple(
        milliseconds(lambda: build(cache, settings, memo))[0] for _ in changing(cache, make)
    )


def run() -> Iterable[Row]:
    objects = [
        *(pod(s, n) for s in range(SERVICES) for n in range(ENDPOINTS)),
        *(service(s) for s in range(SERVICES)),
        *(endpoint_slice(s, ENDPOINTS) for s in range(SERVICES)),
    ]
    cache = Cache((Pod, Service, EndpointSlice, Node, Secret, *ISTIO_CLASSES))
    for obj in objects:
        cache.put(obj)
    # As the daemon does once it is up: the collector does not follow objects that stay.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    cold = "cold"
    yield Row(cold, "ms", milliseconds(lambda: build(cache, BuildSettings()), ROUNDS))
    memo, settings = Memo(), BuildSettings()
    built = build(cache, settings, memo)
    same = milliseconds(lambda: build(cache, settings, memo), ROUNDS)
    yield Row("nothing changed", "ms", same, cold)
    one = after_changes(
        cache, memo, lambda n: [endpoint_slice(n, ENDPOINTS, ready=False), endpoint_slice(0, 1)]
    )
    yield Row("endpoints of one service changed", "ms", one, cold, CHANGE_GOAL_MS)
    labelled = after_changes(cache, memo, lambda n: [pod(n, 0, "v2")])
    yield Row("labels of one pod changed", "ms", labelled, cold, CHANGE_GOAL_MS)
    added = after_changes(cache, memo, lambda n: [service(SERVICES + n)])
    yield Row("one service added", "ms", added, cold)
    node = NodeSettings(name="node0")
    yield Row(
        "scope to one node", "ms", milliseconds(lambda: scope(built.model, node), ROUNDS), cold
    )
    gc.unfreeze()


BENCHMARK = Benchmark(
    "mesh_build",
    f"CPU time to build the mesh model of {SERVICES} services with {ENDPOINTS} pods each, on "
    f"{NODES} nodes.",
    run,
)
