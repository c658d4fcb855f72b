"""Addresses and ports of Gateways: each its own, kept while others come and go."""

from collections.abc import Callable
from typing import Any

from weft.api.gateway import v1 as gw
from weft.api.gateway_bindings import Binding, decode, encode
from weft.api.istio import networking_v1 as istio
from weft.api.objects import decode as typed
from weft.node.gateway_bindings import Wanted, bind, named_addresses, pool_of, wanted_bindings

SHARED, POOL = "127.0.0.1", "127.140.0.0/16"
WEB, SHOP = Wanted("a/web", (80, 443)), Wanted("a/shop", (80,), (53,))


def free_but(*busy: tuple[str, int]) -> Callable[[str, int, str], bool]:
    return lambda address, port, _transport: (address, port) not in busy


def test_the_first_has_the_shared_address_and_others_have_their_own() -> None:
    made = bind((WEB, SHOP), {}, SHARED, POOL, free_but())
    assert made["a/web"] == Binding((SHARED,), {80: 80, 443: 443})
    assert made["a/shop"] == Binding(("127.140.0.1",), {80: 80}, {53: 53})
    assert decode(encode(made)) == made


def test_what_a_gateway_has_it_keeps() -> None:
    before = bind((WEB, SHOP), {}, SHARED, POOL, free_but())
    nothing_free: Callable[[str, int, str], bool] = lambda *_: False  # noqa: E731
    assert bind((SHOP, WEB), before, SHARED, POOL, nothing_free) == before
    alone = bind((SHOP,), before, SHARED, POOL, nothing_free)
    assert alone == {"a/shop": before["a/shop"]}
    third = Wanted("b/third", (80,))
    assert bind((SHOP, third), alone, SHARED, POOL, free_but())["b/third"].addresses == (SHARED,)


def test_ports_come_before_addresses_and_move_only_where_no_address_has_them() -> None:
    elsewhere = bind((WEB,), {}, SHARED, POOL, free_but((SHARED, 80)))
    assert elsewhere["a/web"] == Binding(("127.140.0.1",), {80: 80, 443: 443})
    ordinary = bind((WEB, SHOP), {}, SHARED, POOL, lambda _a, port, _t: not 0 < port < 1024)
    assert ordinary["a/web"] == Binding((SHARED,), {80: 8080, 443: 8443})
    assert ordinary["a/shop"] == Binding(("127.140.0.1",), {80: 8080}, {53: 8053})
    one_address = bind((WEB, Wanted("a/x", (80,))), {}, "10.0.0.1", "", free_but())
    assert one_address["a/x"] == Binding(("10.0.0.1",), {80: 8080})


def test_addresses_that_are_asked_for() -> None:
    asked = Wanted("a/web", (80,), addresses=("127.9.0.1", "192.0.2.1", "0.0.0.0", "no"))
    free = lambda address, _port, _t: address.startswith("127.")  # noqa: E731
    found = bind((asked,), {}, SHARED, POOL, free)["a/web"]
    assert found == Binding(
        ("127.9.0.1",),
        {80: 80},
        unusable=("192.0.2.1", "0.0.0.0", "no"),
    )
    pinned = Wanted("a/web", (80,), addresses=(SHARED,))
    had = {"a/web": Binding((SHARED,), {80: 80})}
    assert bind((pinned,), had, SHARED, POOL, lambda *_: False) == had


def test_what_gateways_ask_for() -> None:
    def gateway(name: str, listeners: list[dict[str, Any]], **spec: Any) -> gw.Gateway:
        meta = {"name": name, "namespace": "a"}
        body = {"gatewayClassName": "weft", "listeners": listeners, **spec}
        return typed(gw.Gateway, {"metadata": meta, "spec": body})

    own = typed(
        gw.GatewayClass,
        {"metadata": {"name": "weft"}, "spec": {"controllerName": gw.CONTROLLER_NAME}},
    )
    http, dns = {"port": 80, "protocol": "HTTP"}, {"port": 53, "protocol": "UDP"}
    more = typed(
        gw.ListenerSet,
        {
            "metadata": {"name": "more", "namespace": "b"},
            "spec": {"parentRef": {"name": "x", "namespace": "a"}, "listeners": [{"port": 81}]},
        },
    )
    x = gateway("x", [http, dns], addresses=[{"value": "127.9.0.1"}, {"type": "IPAddress"}])
    other = gateway("y", [http])
    theirs = typed(gw.Gateway, {"metadata": {"name": "z"}, "spec": {"gatewayClassName": "nginx"}})
    assert wanted_bindings([other, x, theirs], [own], [more]) == (
        Wanted("a/x", (80, 81), (53,), ("127.9.0.1",)),
        Wanted("a/y", (80,)),
    )


def test_each_instance_has_a_part_of_the_loopback_network() -> None:
    assert pool_of("127.0.0.1", "00000a") == "127.138.0.0/16"
    assert pool_of("10.0.0.1", "00000a") == ""


def test_servers_of_istio_may_name_an_address() -> None:
    servers = [
        {"port": {"number": number}, "hosts": ["*"], "bind": address}
        for number, address in ((80, ""), (81, "127.0.0.9"), (80, "127.0.0.9"), (80, "0.0.0.0"))
    ]
    spec = {"servers": [*servers, {"port": {"number": 1}, "bind": "unix:///x"}]}
    gateway = typed(istio.Gateway, {"metadata": {"name": "x"}, "spec": spec})
    (wanted,) = named_addresses([gateway])
    assert wanted == Wanted("bind 127.0.0.9", (80, 81), addresses=("127.0.0.9",))
    made = bind((wanted,), {}, SHARED, POOL, free_but(("127.0.0.9", 80)))
    assert made["bind 127.0.0.9"].ports == {80: 8080, 81: 81}
    egress = spec | {"selector": {"istio": "egressgateway"}}
    assert named_addresses([typed(istio.Gateway, {"spec": egress})]) == ()
