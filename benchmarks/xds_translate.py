"""Translation cost: a whole node, then one changed endpoint.

`python benchmarks/xds_translate.py [services] [endpoints]`
"""

import statistics
import sys
import time

from msgspec.structs import replace

from weft.mesh.model import (
    Destination,
    Endpoint,
    HttpRoute,
    NodeModel,
    NodeSettings,
    OutboundPort,
    RetryPolicy,
    RouteTable,
    VirtualHost,
    WeightedDestination,
    Workload,
)
from weft.xds.delta import Request, StreamState, Update, step
from weft.xds.resource import CLUSTER, ENDPOINTS, LISTENER, Resource, changes, world_of
from weft.xds.translate import Translator
from weft.xds.wire import encode_response

PODS = 20
ROUNDS = 50


def make_model(services: int, endpoints: int) -> NodeModel:
    destinations = []
    hosts = []
    retry = RetryPolicy(2, ("connect-failure", "refused-stream"), safe_method_conditions=("reset",))
    for number in range(services):
        host = f"svc-{number}.ns-{number % 20}.svc.cluster.local"
        destination = Destination(
            name=f"outbound|80||{host}",
            host=host,
            port=80,
            protocol="http",
            service=f"svc-{number}",
            namespace=f"ns-{number % 20}",
            endpoints=tuple(
                Endpoint(
                    f"10.{number >> 8 & 255}.{number & 255}.{n + 1}",
                    8080,
                    pod_uid=f"{number}-{n}",
                    workload=f"svc-{number}",
                    namespace=f"ns-{number % 20}",
                    version="v1",
                )
                for n in range(endpoints)
            ),
        )
        destinations.append(destination)
        route = HttpRoute(
            "default", destinations=(WeightedDestination(destination.name),), retry=retry
        )
        hosts.append(VirtualHost(host, (host, f"svc-{number}.ns-{number % 20}"), (route,)))
    pods = tuple(
        Workload(
            *(f"uid-{n}", f"pod-{n}", "default", "n1", f"10.244.0.{n + 10}", "w", "spiffe://x/w"),
            netns=f"/run/netns/{n}",
            outbound=(OutboundPort(80, "80"),),
        )
        for n in range(PODS)
    )
    return NodeModel(
        NodeSettings("n1", address="10.244.0.1", passthrough_address="10.244.0.254"),
        workloads=pods,
        destinations=tuple(destinations),
        route_tables=(RouteTable("80", tuple(hosts), ignore_port=True),),
    )


def drained(model: NodeModel, number: int) -> NodeModel:
    """The model with one endpoint of one destination changed; all else the same objects."""
    destinations = list(model.destinations)
    chosen = destinations[number % len(destinations)]
    endpoints = list(chosen.endpoints)
    endpoints[0] = replace(endpoints[0], weight=endpoints[0].weight + 1)
    destinations[number % len(destinations)] = replace(chosen, endpoints=tuple(endpoints))
    return replace(model, destinations=tuple(destinations))


def make_update(state: StreamState, resources: tuple[Resource, ...]) -> Update:
    world = world_of(resources)
    return Update(world, changes(state.world, world))


def milliseconds(function, *args):
    begin = time.perf_counter()
    result = function(*args)
    return result, (time.perf_counter() - begin) * 1000


def main() -> None:
    services = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    endpoints = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    model = make_model(services, endpoints)
    translator = Translator()
    resources, whole = milliseconds(translator.translate, model)
    size = sum(len(r.body) for r in resources)
    print(f"{services} services x {endpoints} endpoints, {PODS} pods: {len(resources)} resources")
    print(f"whole node: {whole:.1f} ms, {whole / services * 1000:.0f} us/service, {size} bytes")

    world = world_of(resources)
    state = StreamState(world)
    for request in (
        Request(CLUSTER),
        Request(CLUSTER, nonce="1"),
        Request(ENDPOINTS, subscribe=tuple(world[ENDPOINTS])),
        Request(ENDPOINTS, nonce="2"),
        Request(LISTENER),
        Request(LISTENER, nonce="3"),
    ):
        state, _, _ = step(state, request)

    translated, updated, sent = [], [], []
    for number in range(ROUNDS):
        model = drained(model, number * 7)
        after, cost = milliseconds(translator.translate, model)
        translated.append(cost)
        update, cost = milliseconds(make_update, state, after)
        updated.append(cost)
        (state, responses, _), cost = milliseconds(step, state, update)
        begin = time.perf_counter()
        messages = [encode_response(response) for response in responses]
        sent.append(cost + (time.perf_counter() - begin) * 1000)
        assert len(messages) == 1
        assert len(responses[0].resources) == 1
        for response in responses:
            state, _, _ = step(state, Request(response.type_url, nonce=response.nonce))
    parts = [statistics.median(part) for part in (translated, updated, sent)]
    print(
        f"one endpoint changed: translate {parts[0]:.2f} ms, compare {parts[1]:.2f} ms, "
        f"protocol and message {parts[2]:.2f} ms, together {sum(parts):.2f} ms"
    )


if __name__ == "__main__":
    main()
