"""Whatever users write, building never fails and the model holds together."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from tests.mesh.cluster import snapshot
from weft.api.istio.networking_v1 import DestinationRule, Gateway, ServiceEntry, VirtualService
from weft.api.k8s.core_v1 import Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import ObjectSnapshot
from weft.mesh.analysis import analyze
from weft.mesh.build import BuildSettings, build
from weft.mesh.consistency import problems
from weft.mesh.memo import Memo
from weft.mesh.model import NodeSettings
from weft.mesh.scope import scope

NAMESPACES = st.sampled_from(["default", "shop", "istio-system"])
HOSTS = st.sampled_from(
    ["web", "api", "backend", "web.default", "api.shop.svc.cluster.local", "*",
     "*.example.com", "*.svc.cluster.local", "x.example.com", "gone", "Web", "",
     "web.default.svc.cluster.local."]
)  # fmt: skip
PORTS = st.sampled_from([80, 81, 443, 6379, 9999])
SUBSETS = st.sampled_from(["", "v1", "v2"])
DURATIONS = st.sampled_from(["", "1s", "0s", "soon", "-1s"])
GATEWAYS = st.sampled_from(["mesh", "edge", "default/edge", "missing"])
STRINGS = st.sampled_from(
    [{}, {"exact": "/a"}, {"prefix": "/"}, {"prefix": ""}, {"regex": "("}, {"regex": ".*"}]
)


def objects(kind: str, spec: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda name, namespace, created, body: {
            "apiVersion": "v1" if kind == "Service" else "networking.istio.io/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "creationTimestamp": created},
            "spec": body,
        },
        st.sampled_from(["web", "api", "edge"]),
        NAMESPACES,
        st.sampled_from(["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", ""]),
        spec,
    )


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


def listed(items: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, max_size=most)


DESTINATION = some(host=HOSTS, subset=SUBSETS, port=some(number=PORTS))
SHARES = listed(some(destination=DESTINATION, weight=st.sampled_from([0, 1, 100])))
MATCH = some(
    uri=STRINGS,
    headers=st.dictionaries(st.sampled_from(["a", "B"]), STRINGS, max_size=2),
    port=PORTS,
    gateways=listed(GATEWAYS, 2),
    sourceNamespace=NAMESPACES,
    sourceLabels=st.just({}),
)
ROUTE = some(
    match=listed(MATCH),
    route=SHARES,
    redirect=some(uri=st.just("/x"), redirectCode=st.sampled_from([0, 302, 999])),
    directResponse=some(status=st.sampled_from([0, 200, 700])),
    timeout=DURATIONS,
    retries=some(attempts=st.sampled_from([0, 3]), retryOn=st.sampled_from(["", "5xx,503", "x"])),
    mirror=DESTINATION,
    rewrite=some(uri=st.just("/y"), uriRegexRewrite=some(match=st.sampled_from(["(", "a"]))),
    headers=some(
        request=some(set=st.dictionaries(st.sampled_from(["host", "x"]), st.just("v"), max_size=2))
    ),
)
CONNECTION = some(
    match=listed(
        some(port=PORTS, sniHosts=listed(HOSTS, 2), destinationSubnets=st.just(["10.0.0.0/8"])), 2
    ),
    route=SHARES,
)
EXPORT = listed(st.sampled_from([".", "*", "shop", "~"]), 1)
VIRTUAL_SERVICE = objects(
    "VirtualService",
    some(
        hosts=listed(HOSTS),
        gateways=listed(GATEWAYS, 2),
        http=listed(ROUTE),
        tls=listed(CONNECTION, 2),
        tcp=listed(CONNECTION, 2),
        exportTo=EXPORT,
    ),
)
POLICY = some(
    loadBalancer=st.sampled_from(
        [{}, {"simple": "PASSTHROUGH"}, {"simple": "RANDOM"}, {"consistentHash": {}}]
    ),
    connectionPool=some(tcp=some(connectTimeout=DURATIONS), http=some(idleTimeout=DURATIONS)),
    outlierDetection=some(interval=DURATIONS, consecutive5xxErrors=st.just(0)),
)
RULE = objects(
    "DestinationRule",
    some(
        host=HOSTS,
        trafficPolicy=POLICY,
        subsets=listed(some(name=st.sampled_from(["v1", "v2"]), labels=st.just({"version": "v1"}))),
        exportTo=EXPORT,
    ),
)
GATEWAY = objects(
    "Gateway",
    some(
        servers=listed(
            some(
                port=some(
                    number=PORTS,
                    protocol=st.sampled_from(["HTTP", "HTTPS", "TLS", "TCP", "ODD"]),
                    name=st.just("p"),
                ),
                hosts=listed(st.sampled_from(["*", "./web", "shop/*", "x.example.com"]), 2),
                tls=some(
                    mode=st.sampled_from(["SIMPLE", "PASSTHROUGH", "MUTUAL"]),
                    credentialName=st.sampled_from(["", "secret"]),
                    serverCertificate=st.just("/c"),
                    privateKey=st.just("/k"),
                    httpsRedirect=st.booleans(),
                ),
            )
        )
    ),
)
ENTRY = objects(
    "ServiceEntry",
    some(
        hosts=listed(HOSTS),
        addresses=listed(st.sampled_from(["10.0.0.1", "10.0.0.0/8", "x"]), 2),
        ports=listed(
            some(
                number=PORTS,
                protocol=st.sampled_from(["HTTP", "TCP", "TLS", ""]),
                name=st.just("p"),
            )
        ),
        resolution=st.sampled_from(["NONE", "STATIC", "DNS", ""]),
        endpoints=listed(some(address=st.sampled_from(["192.0.2.1", "a.b", "unix:///x", ""])), 2),
        exportTo=EXPORT,
    ),
)
SERVICE = objects(
    "Service",
    some(
        clusterIP=st.sampled_from(["", "None", "10.0.0.1", "10.0.0.2"]),
        type=st.sampled_from(["ClusterIP", "ExternalName"]),
        externalName=st.sampled_from(["", "web.default.svc.cluster.local", "x.example.com"]),
        ports=listed(
            some(
                port=PORTS,
                name=st.sampled_from(["http", "", "tcp-x"]),
                protocol=st.sampled_from(["TCP", "UDP"]),
            )
        ),
    ),
)
BACKENDS = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "backend"},
        "spec": {
            "clusterIP": "10.96.0.1",
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80}],
        },
    },
    {"kind": "Backends", "service": "backend", "pods": {"web-v1-a": {"ip": "10.244.0.1"}}},
]  # fmt: skip
CLUSTER = st.lists(
    st.one_of(VIRTUAL_SERVICE, VIRTUAL_SERVICE, RULE, GATEWAY, ENTRY, SERVICE), max_size=8
)


@examples(150, slow=True)
@given(CLUSTER)
def test_any_input_gives_a_sound_model(documents: list[dict[str, Any]]) -> None:
    found = snapshot([*BACKENDS, *documents])
    memo = Memo()
    built = build(found, memo=memo)
    assert problems(built.model) == []
    assert build(found, memo=memo) == built
    for isolation in ("netns", "host"):
        node = NodeSettings(name="node-a", isolation=isolation)  # type: ignore[arg-type]
        assert problems(scope(built.model, node)) == []
    assert set(built.diagnostics) <= set(analyze(found, BuildSettings(), built))


STATES = ("ready", "unready", "terminating", "done")
MESH_CLASSES = (
    Pod, Service, EndpointSlice, VirtualService, DestinationRule, Gateway, ServiceEntry,
)  # fmt: skip


def moment(pods: dict[str, str], headless: bool) -> list[dict[str, Any]]:
    """A service and its pods (name to state) as they may be at some moment."""
    service, backends = BACKENDS
    given = {
        f"web-v1-{name}": {"ip": f"10.244.0.{ord(name)}", "state": state}
        for name, state in pods.items()
    }
    if headless:
        service = service | {"spec": service["spec"] | {"clusterIP": "None"}}
    return [service, backends | {"service": service["metadata"]["name"], "pods": given}]


@examples(100, slow=True)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcd"), st.sampled_from(STATES), max_size=4),
            st.booleans(),
            st.lists(st.one_of(VIRTUAL_SERVICE, RULE, GATEWAY, ENTRY), max_size=1),
        ),
        min_size=2,
        max_size=6,
    )
)
def test_what_is_taken_over_from_earlier_builds_is_never_stale(
    moments: list[tuple[dict[str, str], bool, list[dict[str, Any]]]],
) -> None:
    """One memo through the states of a cluster, most objects the same ones: as without it."""
    memo = Memo()
    known: dict[str, Any] = {}
    documents: list[dict[str, Any]] = []
    for pods, headless, added in moments:
        documents = [*documents, *added][-4:]
        found = snapshot([*moment(pods, headless), *documents])
        # As the informers' cache does: what did not change is the same object as before.
        same = [known.setdefault(repr(o), o) for cls in MESH_CLASSES for o in found.list(cls)]
        assert build(ObjectSnapshot(same), memo=memo) == build(found)
