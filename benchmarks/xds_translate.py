"""What Envoy's configuration costs: a whole node, then one changed endpoint."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec.structs import replace

from benchmarks.harness import Benchmark, Row, milliseconds
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

T = TypeVar("T")
PODS = 20
ROUNDS = 50
SERVICES = 1000
SERVICE_ENDPOINTS = 10


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


def subscribed(state: StreamState) -> StreamState:
    """A stream whose proxy has asked for everything and acknowledged it."""
    for request in (
        Request(CLUSTER),
        Request(CLUSTER, nonce="1"),
        Request(ENDPOINTS, subscribe=tuple(state.world[ENDPOINTS])),
        Request(ENDPOINTS, nonce="2"),
        Request(LISTENER),
        Request(LISTENER, nonce="3"),
    ):
        state, _, _ = step(state, request)
    return state


def run() -> Iterable[Row]:
    model = make_model(SERVICES, SERVICE_ENDPOINTS)
    translator = Translator()
    whole, resources = timed(translator.translate, model)
    yield Row("whole node", "ms", (whole,))
    size = sum(len(r.body) for r in resources) / 2**20
    yield Row("size of its configuration", "MB", (size,))
    state = subscribed(StreamState(world_of(resources)))
    costs = []
    for number in range(ROUNDS):
        model = drained(model, number * 7)
        translated, resources = timed(translator.translate, model)
        compared, update = timed(make_update, state, resources)
        sent, (stepped, responses, _) = timed(step, state, update)
        encoded, messages = timed(lambda found: list(map(encode_response, found)), responses)
        assert [len(response.resources) for response in responses] == [1] * len(messages) == [1]
        costs.append((translated, compared, sent + encoded))
        state, _, _ = step(stepped, Request(responses[0].type_url, nonce=responses[0].nonce))
    base = "one endpoint changed: translate"
    translates, compares, sends = zip(*costs, strict=True)
    yield Row(base, "ms", translates, "whole node")
    yield Row("one endpoint changed: compare", "ms", compares, base)
    yield Row("one endpoint changed: protocol and message", "ms", sends, base)


def timed(function: Callable[..., T], *args: object) -> tuple[float, T]:
    """(CPU milliseconds, result) of one call."""
    results: list[T] = []
    (cost,) = milliseconds(lambda: results.append(function(*args)))
    return cost, results[0]


BENCHMARK = Benchmark(
    "xds_translate",
    f"CPU time from a node's mesh model to messages for its Envoy: {SERVICES} services with "
    f"{SERVICE_ENDPOINTS} endpoints each, {PODS} pods on the node.",
    run,
)
