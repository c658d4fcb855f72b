"""Large tables of gateways are divided by host, and one changed host is one changed part."""

from collections import Counter

import pytest
import re2
from envoy.config.route.v3 import route_pb2
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from weft.mesh.model import (
    EnvoyPatch,
    GatewayListener,
    GatewayServer,
    HttpRoute,
    NodeModel,
    NodeSettings,
    RateLimit,
    RouteTable,
    VirtualHost,
    WeightedDestination,
)
from weft.xds.resource import LISTENER, ROUTES, SCOPES, Resource
from weft.xds.scoped_routes import (
    PARTS,
    SCOPE_HEADER,
    SCOPED_HOSTS_MIN,
    WHOLE_HOSTS_MAX,
    part_name,
    part_of,
    patterns,
    shall_be_scoped,
    table_of,
)
from weft.xds.translate import Translator, translate

ENVOY_PROGRAM_SIZE_MAX = 100
TABLE = "http.80"


def route(to: str = "one", **fields: object) -> HttpRoute:
    return HttpRoute(name="r", destinations=(WeightedDestination(to),), **fields)  # type: ignore[arg-type]


def host(domain: str, *routes: HttpRoute) -> VirtualHost:
    return VirtualHost(f"{domain}:80", (domain,), routes or (route(),))


def table(*more: VirtualHost, hosts: int = SCOPED_HOSTS_MIN) -> RouteTable:
    made = tuple(host(f"r{n}.example.com") for n in range(hosts))
    return RouteTable(TABLE, (*made, *more), passthrough=False, ignore_port=True)


def model(routes: RouteTable, **fields: object) -> NodeModel:
    node = NodeSettings(name="n", gateway_address="127.0.0.1", gateway_ports=((80, 8080),))
    gateway = GatewayListener(80, "http", (GatewayServer("default/edge/0", ("*",), TABLE),))
    return NodeModel(node, route_tables=(routes,), gateways=(gateway,), **fields)  # type: ignore[arg-type]


def of(resources: tuple[Resource, ...], type_url: str) -> dict[str, Resource]:
    return {r.name: r for r in resources if r.type_url == type_url}


def domains(resource: Resource) -> set[str]:
    found = route_pb2.RouteConfiguration.FromString(resource.body)
    return {domain for each in found.virtual_hosts for domain in each.domains}


PROGRAMS = [re2.compile(pattern) for pattern in patterns()]


@given(st.text(alphabet="ABZabcmxyz0159.-_:é /\n", max_size=14))
def test_envoy_and_we_compute_the_same_part(text: str) -> None:
    number = 0
    for program in PROGRAMS:
        number = number * 2 + (program.search(text) is not None)
    assert part_of(text) == number


@given(st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True))
def test_what_envoy_ignores_makes_no_difference(domain: str) -> None:
    for written in (domain.upper(), f"{domain}:8080", f"{domain}.", f"{domain}.:80"):
        assert part_of(written) == part_of(domain)


def test_envoy_takes_the_expressions() -> None:
    assert all(program.programsize <= ENVOY_PROGRAM_SIZE_MAX for program in PROGRAMS)


@pytest.mark.parametrize(
    "form", ["r{}.example.com", "api.tenant{}.com", "shop-{:05}.eu.example.org", "{:x}.dev"]
)
def test_hosts_spread(form: str) -> None:
    sizes = Counter(part_of(form.format(n)) for n in range(3000))
    assert max(sizes.values()) < 3000 // PARTS * 4


def test_every_host_is_in_its_part_and_wildcards_are_in_all() -> None:
    resources = translate(model(table(host("*.example.org"))))
    parts = of(resources, ROUTES)
    assert set(parts) == {part_name(TABLE, n) for n in range(PARTS)} == set(of(resources, SCOPES))
    assert sum(len(domains(part)) for part in parts.values()) == SCOPED_HOSTS_MIN + PARTS
    for name, part in parts.items():
        assert "*.example.org" in domains(part)
        assert all(part_name(TABLE, part_of(d)) == name for d in domains(part) if d[0] != "*")
        made = route_pb2.RouteConfiguration.FromString(part.body)
        assert SCOPE_HEADER in made.request_headers_to_remove


def test_the_listener_waits_for_all_parts() -> None:
    (listener,) = of(translate(model(table())), LISTENER).values()
    assert set(listener.uses) == {part_name(TABLE, n) for n in range(PARTS)}
    assert SCOPE_HEADER.encode() in listener.body


def test_one_changed_host_changes_one_part() -> None:
    translator, first = Translator(), table()
    before = translator.translate(model(first))
    changed = host("r7.example.com", route("two"))
    hosts = tuple(changed if h.name == changed.name else h for h in first.virtual_hosts)
    after = translator.translate(model(replace(first, virtual_hosts=hosts)))
    old = set(map(id, before))
    assert [r.name for r in after if id(r) not in old] == [
        part_name(TABLE, part_of("r7.example.com"))
    ]
    assert {r.name: r.version for r in after} == {
        r.name: r.version for r in translate(model(replace(first, virtual_hosts=hosts)))
    }


def test_hosts_that_only_redirect_are_divided_too() -> None:
    gateway = GatewayServer("default/edge/0", ("a.example.net",), TABLE, https_redirect=True)
    made = replace(model(table()), gateways=(GatewayListener(80, "http", (gateway,)),))
    parts = of(translate(made), ROUTES)
    having = [name for name, part in parts.items() if "a.example.net" in domains(part)]
    assert having == [part_name(TABLE, part_of("a.example.net"))]


def test_small_tables_stay_whole_and_large_ones_divided_in_between() -> None:
    assert not shall_be_scoped(table(hosts=SCOPED_HOSTS_MIN - 1), False)
    assert shall_be_scoped(table(), False)
    assert shall_be_scoped(table(hosts=SCOPED_HOSTS_MIN - 1), True)
    assert not shall_be_scoped(table(hosts=WHOLE_HOSTS_MAX - 1), True)


def test_what_every_part_would_need_is_not_divided() -> None:
    wild = [host(f"*.t{n}.example.com") for n in range(SCOPED_HOSTS_MIN)]
    assert not shall_be_scoped(table(*wild), False)
    assert not shall_be_scoped(replace(table(), name="80"), False)
    assert not shall_be_scoped(replace(table(), passthrough=True), False)


@pytest.mark.parametrize("everywhere", [False, True])
def test_requests_that_are_counted_for_the_whole_table(everywhere: bool) -> None:
    """The buckets are none of the parts'."""
    limit = RateLimit("l", requests=1, per=1.0, burst=1, everywhere=everywhere)
    limited = table(host("l.example.com", route(rate_limits=(limit,))))
    assert shall_be_scoped(limited, False)


def test_patches_of_gateways_find_whole_tables() -> None:
    patch = EnvoyPatch(
        "EnvoyFilter a/b", "spec", "ROUTE_CONFIGURATION", "MERGE", "{}", context="GATEWAY"
    )
    assert not of(translate(model(table(), patches=(patch,))), SCOPES)


def test_parts_are_known_by_their_table() -> None:
    assert table_of(part_name(TABLE, 3)) == table_of(TABLE) == TABLE
    assert table_of("80") == "80"
