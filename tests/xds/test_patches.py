"""Patches of resources: what each operation does, for whom, and that nothing changes without."""

import json
from typing import Any

import msgspec
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from google.protobuf.json_format import ParseDict
from msgspec.structs import replace

from tests.golden_support import case_names, documents
from weft.mesh.model import (
    ClusterPatchMatch,
    Destination,
    EnvoyPatch,
    ListenerPatchMatch,
    NodeModel,
    NodeSettings,
    RoutePatchMatch,
)
from weft.xds.identity import NAMESPACE_KEY
from weft.xds.patch_listeners import edit, patch_listener, wanted_port
from weft.xds.patch_routes import patch_routes
from weft.xds.patch_values import merge, parsed, problem
from weft.xds.proto import Proto
from weft.xds.resource import CLUSTER
from weft.xds.translate import Translator, translate

MERGE = "MERGE"
IDLE = EnvoyPatch("EnvoyFilter d/idle", "p", "CLUSTER", MERGE, '{"connect_timeout":"3s"}',
                  cluster=ClusterPatchMatch(host="nobody"))  # fmt: skip


def patch(apply_to: str, operation: str, value: Any = None, **fields: Any) -> EnvoyPatch:
    text = json.dumps(value if value is not None else {})
    return EnvoyPatch("EnvoyFilter d/f", "p", apply_to, operation, text, **fields)  # type: ignore[arg-type]


def model(case: str) -> NodeModel:
    (document,) = documents("xds", case)
    return msgspec.convert(document, NodeModel)


@pytest.mark.parametrize("case", [name for name in case_names("xds") if name != "patches"])
def test_nothing_changes_where_no_patch_matches(case: str) -> None:
    """Byte for byte, with the code of patches at work and without."""
    assert translate(replace(model(case), patches=(IDLE,))) == translate(model(case))


def test_patches_that_go_leave_nothing_behind() -> None:
    with_patches = model("patches")
    plain = replace(with_patches, patches=())
    translator = Translator()
    assert translator.translate(with_patches) == translate(with_patches) != translate(plain)
    assert translator.applied == set(with_patches.patches)
    assert translator.translate(plain) == translate(plain)
    assert not translator.applied
    assert not any(resource.patched_by for resource in translate(plain))


def names(operation: str, name: str, terminal_last: bool = True) -> list[str]:
    manager = hcm_pb2.HttpConnectionManager()
    for each in ("a", "b", "router"):
        manager.http_filters.add(name=each)
    edit(manager.http_filters, patch("HTTP_FILTER", operation, {"name": "x"}), name, terminal_last)
    return [each.name for each in manager.http_filters]


@pytest.mark.parametrize(
    ("operation", "name", "expected"),
    [
        ("INSERT_FIRST", "", "x a b router"),
        ("INSERT_BEFORE", "b", "a x b router"),
        ("INSERT_AFTER", "a", "a x b router"),
        ("INSERT_AFTER", "router", "a b x router"),
        ("INSERT_BEFORE", "nobody", "a b router"),
        ("ADD", "", "a b x router"),
        ("REMOVE", "b", "a router"),
        ("REPLACE", "b", "a x router"),
        ("REPLACE", "nobody", "a b router"),
    ],
)
def test_operations_on_lists(operation: str, name: str, expected: str) -> None:
    assert names(operation, name) == expected.split()


def test_without_a_terminal_filter_the_end_is_the_end() -> None:
    assert names("ADD", "", terminal_last=False)[-1] == "x"


def test_merging_sets_grows_and_keeps() -> None:
    into = ParseDict(
        {"name": "c", "connectTimeout": "9s", "altStatName": "s"}, cluster_pb2.Cluster()
    )
    into.health_checks.add()
    merge(into, parsed("CLUSTER", '{"connect_timeout":"3s","health_checks":[{}]}'))
    assert (into.connect_timeout.seconds, into.alt_stat_name, len(into.health_checks)) == (
        3,
        "s",
        2,
    )


def test_lists_that_are_replaced() -> None:
    """Only those that the change has; also within messages, but not within packed ones."""
    into = ParseDict(
        {"name": "c", "healthChecks": [{}, {}], "loadAssignment": {"endpoints": [{}, {}]}},
        cluster_pb2.Cluster(),
    )
    change = '{"load_assignment":{"endpoints":[{"priority":1}]}}'
    merge(into, parsed("CLUSTER", change), replaces_lists=True)
    assert len(into.health_checks) == 2
    assert [each.priority for each in into.load_assignment.endpoints] == [1]


@pytest.mark.parametrize(
    ("value", "word"),
    [({"conect_timeout": "3s"}, "conect_timeout"), ({"connect_timeout": "soon"}, "soon")],
)
def test_values_that_are_no_message_are_named(value: Any, word: str) -> None:
    found = problem(patch("CLUSTER", MERGE, value))
    assert found
    assert word in found
    assert not problem(patch("CLUSTER", "REMOVE", value))


def test_a_bad_value_changes_nothing() -> None:
    bad = patch("CLUSTER", MERGE, {"conect_timeout": "3s"})
    plain = model("http")
    assert translate(replace(plain, patches=(bad,))) == translate(plain)


def listener() -> Proto:
    made = listener_pb2.Listener(name="outbound|u1")
    for port in (80, 90):
        chain = made.filter_chains.add(name=f"http|{port}")
        chain.filter_chain_match.destination_port.value = port
        chain.filters.add(name="tcp")
    return made


def test_a_port_of_a_listener_is_patched_alone() -> None:
    made = listener()
    match = ListenerPatchMatch(name="0.0.0.0_80")
    assert wanted_port(match) == 80
    change = patch("NETWORK_FILTER", "INSERT_FIRST", {"name": "x"}, listener=match)
    assert patch_listener(made, change, "SIDECAR_OUTBOUND", ())
    assert [[f.name for f in c.filters] for c in made.filter_chains] == [["x", "tcp"], ["tcp"]]


def test_an_inbound_port_gets_chains_of_its_own() -> None:
    made = listener_pb2.Listener(name="inbound|u1")
    made.default_filter_chain.filters.add(name="tcp")
    match = ListenerPatchMatch(port=8080)
    change = patch("NETWORK_FILTER", "INSERT_FIRST", {"name": "x"}, listener=match)
    assert patch_listener(made, change, "SIDECAR_INBOUND", (8080,))
    assert [f.name for f in made.default_filter_chain.filters] == ["tcp"]
    (own,) = made.filter_chains
    assert [f.name for f in own.filters] == ["x", "tcp"]
    assert own.filter_chain_match.destination_port.value == 8080


def test_virtual_listeners_are_those_of_their_direction() -> None:
    removed = patch("LISTENER", "REMOVE", listener=ListenerPatchMatch(name="virtualInbound"))
    assert not patch_listener(listener(), removed, "SIDECAR_INBOUND", ())
    assert patch_listener(listener(), removed, "SIDECAR_OUTBOUND", ())


def routes() -> Proto:
    made = route_pb2.RouteConfiguration(name="80@shop/*+shop/f")
    for name in ("web:80", "api:80"):
        host = made.virtual_hosts.add(name=name, domains=[name])
        host.routes.add(name="go").route.cluster = "c"
        host.routes.add(name="away").redirect.host_redirect = "h"
    return made


@pytest.mark.parametrize(
    ("match", "left"),
    [
        (RoutePatchMatch(), [[], []]),
        (RoutePatchMatch(name="80", virtual_host="web:80"), [[], ["go", "away"]]),
        (RoutePatchMatch(action="REDIRECT"), [["go"], ["go"]]),
        (RoutePatchMatch(domain="api:80", route="go"), [["go", "away"], ["away"]]),
        (RoutePatchMatch(port=81), [["go", "away"], ["go", "away"]]),
        (RoutePatchMatch(name="81"), [["go", "away"], ["go", "away"]]),
    ],
)
def test_matches_of_routes(match: RoutePatchMatch, left: list[list[str]]) -> None:
    made = routes()
    patch_routes(made, patch("HTTP_ROUTE", "REMOVE", route=match), ())
    assert [[route.name for route in host.routes] for host in made.virtual_hosts] == left


def short(*namespaces: str) -> Proto:
    """The virtual host of a short name, which means another service in each namespace."""
    made = route_pb2.RouteConfiguration(name="80")
    host = made.virtual_hosts.add(name="web:80", domains=["web"])
    for namespace in namespaces:
        route = host.routes.add(name=namespace)
        route.route.cluster = "c"
        condition = route.match.filter_state.add(key=NAMESPACE_KEY)
        condition.string_match.exact = namespace
    return made


OF_SHOP = RoutePatchMatch(virtual_host="web.shop.svc.cluster.local:80")
TIMES = {"route": {"timeout": "7s"}}
HEADER = {"response_headers_to_add": [{"header": {"key": "x", "value": "y"}}]}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (patch("HTTP_ROUTE", "REMOVE", route=OF_SHOP), ["till"]),
        (patch("HTTP_ROUTE", MERGE, TIMES, route=OF_SHOP), ["shop 7 shop", "till"]),
        (patch("HTTP_ROUTE", "INSERT_FIRST", TIMES | {"name": "x"}, route=OF_SHOP),
         ["x 7 shop", "shop", "till"]),
        (patch("VIRTUAL_HOST", "REMOVE", route=OF_SHOP), ["till"]),
        (patch("VIRTUAL_HOST", MERGE, HEADER, route=OF_SHOP), ["shop", "till"]),
    ],
)  # fmt: skip
def test_short_names_are_patched_for_callers_of_their_namespace(
    change: EnvoyPatch, left: list[str]
) -> None:
    made = short("shop", "till")
    patch_routes(made, change, ())
    (host,) = made.virtual_hosts
    assert [
        f"{r.name} 7 {r.match.filter_state[0].string_match.exact}" if r.route.timeout.seconds
        else r.name
        for r in host.routes
    ] == left  # fmt: skip
    assert not host.response_headers_to_add, "it is of others, too"


def test_short_names_of_one_namespace_are_patched_as_a_whole() -> None:
    made = short("shop")
    change = {"name": "x", "domains": ["y"], **HEADER}
    patch_routes(made, patch("VIRTUAL_HOST", MERGE, change, route=OF_SHOP), ())
    (host,) = made.virtual_hosts
    assert (host.name, list(host.domains)) == ("web:80", ["web"])
    assert host.response_headers_to_add[0].header.key == "x"
    patch_routes(made, patch("VIRTUAL_HOST", "REMOVE", route=OF_SHOP), ())
    assert not made.virtual_hosts


def timeouts(*patches: EnvoyPatch, names: tuple[str, ...]) -> list[int]:
    found = tuple(Destination(name, "web", 80, "http") for name in names)
    resources = translate(NodeModel(NodeSettings("n"), destinations=found, patches=patches))
    clusters = {r.name: cluster_pb2.Cluster.FromString(r.body) for r in resources
                if r.type_url == CLUSTER}  # fmt: skip
    return [clusters[name].connect_timeout.seconds for name in names]


def test_clusters_of_some_callers_and_their_copies_for_limits() -> None:
    plain = "outbound|80||web"
    every = (plain, f"{plain}#shop/a", f"{plain}@shop/*+shop/f", f"{plain}@shop/*+shop/f#shop/a")
    match = ClusterPatchMatch(host="web", port=80)
    change = patch("CLUSTER", MERGE, {"connect_timeout": "3s"}, cluster=match)
    assert timeouts(change, names=every) == [3, 3, 3, 3]
    own = replace(change, everywhere=False, scopes=("shop/*+shop/f",))
    assert timeouts(own, names=every) == [10, 10, 3, 3]


def test_what_is_added_puts_nothing_aside() -> None:
    value = {"name": "outbound|80||web", "connect_timeout": "1s"}
    added = patch("CLUSTER", "ADD", value)
    assert timeouts(added, names=("outbound|80||web",)) == [10]
    other = patch("CLUSTER", "ADD", value | {"name": "own"})
    found = translate(NodeModel(NodeSettings("n"), patches=(other, other)))
    assert [r.name for r in found].count("own") == 1
