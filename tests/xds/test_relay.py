"""The relay: listeners of a node proxy in a network of its own, reached from the machine's."""

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.golden_support import Golden, to_yaml
from tests.xds.support import (
    APPS,
    NetnsNode,
    Proxy,
    run,
    run_async,
    service,
    table,
    to,
    virtual_host,
)
from tests.xds.test_translate import as_dict, load, readable
from tests.xds.validation import message, validate
from weft.api import wellknown
from weft.mesh.model import (
    Access,
    AccessCondition,
    AccessPolicy,
    AccessRule,
    Endpoint,
    GatewayListener,
    GatewayServer,
    InboundPort,
    NodeSettings,
    OutboundPort,
)
from weft.xds.listeners import INSPECTION_TIMEOUT
from weft.xds.relay import (
    API,
    EGRESS,
    EGRESS_PORT,
    FORBIDDEN,
    Relay,
    Relayed,
    RelaySettings,
    socket_path,
)
from weft.xds.resource import CLUSTER, LISTENER, ROUTES, Resource
from weft.xds.translate import translate

SETTINGS = RelaySettings("/run/weft/0123456789/relay", 6443)
CASES = ("access", "exposed_services", "gateway_api_more", "gateways")


def listeners(resources: Iterable[Resource]) -> dict[str, Any]:
    return {r.name: message(r) for r in resources if r.type_url == LISTENER}


def divided(case: str) -> tuple[dict[str, Any], Relayed]:
    whole = translate(load(case))
    return listeners(whole), Relay(SETTINGS).divide(whole)


@pytest.mark.parametrize("case", CASES)
def test_every_listener_for_outside_is_divided(case: str) -> None:
    whole, found = divided(case)
    node, relay = listeners(found.node), listeners(found.relay)
    own = {EGRESS, API}
    outside = {
        name
        for name, content in whole.items()
        if content.address.HasField("socket_address")
        and not content.address.socket_address.network_namespace_filepath
    }
    assert outside, "the case has no such listeners"
    assert set(relay) - own == outside - set(found.left_out)
    assert set(node) - own == set(whole) - set(found.left_out)
    assert all(whole[name].address.socket_address.protocol for name in found.left_out)  # UDP
    for name in set(relay) - own:
        assert relay[name].address == whole[name].address
        assert relay[name].additional_addresses == whole[name].additional_addresses
        assert node[name].address.pipe.path == socket_path(SETTINGS, name)
        assert node[name].address.pipe.mode == 0o600
        assert not node[name].additional_addresses
        chains = zip(node[name].filter_chains, whole[name].filter_chains, strict=True)
        for inner, before in chains:
            assert inner.filters[0].name == "envoy.filters.network.rbac"
            assert list(inner.filters[1:]) == list(before.filters)
            assert inner.filter_chain_match == before.filter_chain_match
        first = node[name].listener_filters[0].name
        assert first == "envoy.filters.listener.proxy_protocol"
        assert name in {r.name for r in found.relay if r.type_url == CLUSTER}
    for name in set(whole) - outside:
        assert node[name] == whole[name]


def test_recorded(golden: Golden) -> None:
    _, found = divided("gateways")
    node = [r for r in found.node if r.name.startswith("relay|")]
    parts = {"node": node, "relay": found.relay}
    text = {name: [readable(as_dict(r)) for r in each] for name, each in parts.items()}
    golden.check("xds", "gateways", "relay.yaml", to_yaml(text))


def test_no_path_of_a_socket_is_too_long_or_taken_twice() -> None:
    long = RelaySettings("/tmp/weft-4294967295/0123456789ab/relay")
    paths = {socket_path(long, f"service|10.0.0.1|{n}" * 9) for n in range(1000)}
    assert len(paths) == 1000
    assert max(map(len, paths)) < 100


def test_what_did_not_change_is_not_made_anew() -> None:
    whole, relay = translate(load("gateways")), Relay(SETTINGS)
    first, second = relay.divide(whole), relay.divide(whole)
    assert first == second
    known = {id(r) for r in (*first.node, *first.relay) if not r.name.startswith("relay|")}
    again = {id(r) for r in (*second.node, *second.relay) if not r.name.startswith("relay|")}
    assert again == known


def test_http3_is_promised_only_where_it_is_served() -> None:
    model = load("gateways")
    promised = [b"alt-svc" in r.body for r in translate(model) if r.type_url == ROUTES]
    relayed = msgspec.structs.replace(model, node=msgspec.structs.replace(model.node, relayed=True))
    found = [b"alt-svc" in r.body for r in translate(relayed) if r.type_url == ROUTES]
    assert (any(promised), any(found)) == (True, False)


def test_the_machines_own_programs_are_out_of_reach() -> None:
    _, found = divided("gateways")
    egress = listeners(found.relay)[EGRESS]
    (refused,) = egress.filter_chains
    ranges = {
        f"{r.address_prefix}/{r.prefix_len.value}" for r in refused.filter_chain_match.prefix_ranges
    }
    assert ranges == set(FORBIDDEN)
    assert {"127.0.0.0/8", "169.254.0.0/16", "0.0.0.0/8", "::1/128", "::ffff:0:0/96"} <= ranges


def test_the_port_of_the_way_out_is_one() -> None:
    assert EGRESS_PORT == wellknown.EGRESS_PORT


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_accepted_by_envoy(case: str, tmp_path: Path) -> None:
    _, found = divided(case)
    for name, part in (("node", found.node), ("relay", found.relay)):
        (tmp_path / name).mkdir()
        validate(part, tmp_path / name)


# --- with two Envoys

MACHINE = "192.0.2.1"
"""The machine's address; it is a network namespace here, so that nothing of the host changes."""
PORT, GATEWAY = 80, 8080
NFT_NODE = f"""
table ip egress {{
  chain out {{
    type nat hook output priority -100; policy accept;
    ip daddr {{ 127.0.0.0/8, 10.244.0.0/16 }} return
    meta l4proto tcp redirect to :{EGRESS_PORT}
  }}
}}
"""


class Machine(NetnsNode):
    """A node in a network without any way out, and the relay in the machine's."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = f"{self.tag}m"
        self._namespace(self.machine)
        for command in ("link set lo up", f"addr add {MACHINE}/32 dev lo"):
            run("ip", "-n", self.machine, *command.split())
        run("ip", "-n", self.tag, "route", "add", "default", "dev", "lo", "src", "10.244.9.1")
        run("nsenter", f"--net=/run/netns/{self.tag}", "nft", "-f", "-", text=NFT_NODE)
        self.outer = Proxy(NodeSettings("relay"), ("nsenter", f"--net=/run/netns/{self.machine}"))
        self.settings = RelaySettings(str(self.directory), 6443)
        self.relay = Relay(self.settings)
        self.egress = socket_path(self.settings, EGRESS)

    async def up(self, **model: Any) -> None:
        for proxy in (self, self.outer):
            await proxy.start_server()
            proxy.start_envoy()
        fields = {f: getattr(self.model, f) for f in self.model.__struct_fields__}
        self.model = type(self.model)(**(fields | model))
        found = self.relay.divide(self.translator.translate(self.model))
        for proxy, resources in ((self, found.node), (self.outer, found.relay)):
            proxy.server.update(proxy.node.name, resources)
            await proxy.until(lambda server, name=proxy.node.name: server.in_sync(name))  # type: ignore[misc]

    def listen(self, name: str, address: str, port: int) -> None:
        """A server in the machine's network."""
        inside = ("nsenter", f"--net=/run/netns/{self.machine}")
        command = [*inside, sys.executable, "-S", APPS, "serve", address, str(port), name]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self.processes[name] = process

    async def ask(self, *options: str) -> str:
        inside = ("nsenter", f"--net=/run/netns/{self.machine}")
        return await run_async(*inside, "curl", "-s", "-m", "5", *options)

    async def close(self) -> None:
        await self.outer.close()
        await super().close()


@pytest.fixture
async def machine() -> AsyncIterator[Machine]:
    found = Machine()
    try:
        yield found
    finally:
        await found.close()


def denied(address: str) -> AccessPolicy:
    stranger = AccessCondition("source_ip", networks=(f"{address}/32",))
    return AccessPolicy(f"default/no-{address}", "deny", (AccessRule((((stranger,),),)),))


def gateway_model(node: Machine) -> dict[str, Any]:
    """Pod 2, which refuses callers from 127.0.0.7, behind a gateway that refuses those from
    127.0.0.5; pod 1 only calls."""
    pods = (Endpoint(f"{node.network}.12", 8080, pod_uid="uid-2"),)
    web = service("web", pods, access=(Access((denied("127.0.0.7"),)),))
    return {
        "node": NodeSettings(
            name=node.node.name,
            address=node.node.address,
            passthrough_address=node.node.passthrough_address,
            gateway_address="127.0.0.1",
            gateway_ports=((PORT, GATEWAY),),
        ),
        "workloads": (
            node.workload(1, "caller", outbound=(OutboundPort(80, "80"),)),
            node.workload(2, "web", inbound=(InboundPort(8080, "http"),)),
        ),
        "destinations": (web,),
        "route_tables": (
            table(),
            table(virtual_host("web", to(web)), name="gateway", access=(denied("127.0.0.5"),)),
        ),
        "gateways": (GatewayListener(PORT, "http", (GatewayServer("web", ("*",), "gateway"),)),),
    }


def asked_by_hand(path: str, target: tuple[str, int]) -> bytes:
    """What comes back from the relay for a connection of which is said that it goes to `target`."""
    addresses = socket.inet_aton("10.244.9.1") + socket.inet_aton(target[0])
    ports = struct.pack(">HH", 40000, target[1])
    header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + struct.pack(">H", 12) + addresses + ports
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)
        connection.sendall(header + b"GET / HTTP/1.0\r\n\r\n")
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.tools("curl", "ip", "nft", "nsenter")
async def test_in_and_out_through_the_relay(machine: Machine) -> None:
    for number in (1, 2):
        machine.pod(number)
    machine.serve(2, "web")
    machine.listen("outside", MACHINE, 9000)
    machine.listen("private", "127.0.0.1", 9001)
    machine.listen("api", "127.0.0.1", 6443)
    await machine.up(**gateway_model(machine))

    silent = socket.socket(socket.AF_UNIX)
    silent.connect(socket_path(machine.settings, f"gateway|{PORT}"))
    silent_until = time.monotonic() + 1.5 * INSPECTION_TIMEOUT

    # In: callers have the addresses that they have.
    url = f"http://127.0.0.1:{GATEWAY}/"
    answer = json.loads(await machine.ask("--interface", "127.0.0.6", "-H", "Host: web", url))
    assert answer["name"] == "web"
    headers = {k.lower(): v for k, v in answer["headers"].items()}
    assert headers["x-forwarded-for"] == "127.0.0.6"
    for denied_one in ("127.0.0.5", "127.0.0.7"):
        refused = await machine.ask("--interface", denied_one, "-H", "Host: web", url)
        assert refused == "RBAC: access denied"

    # Out: what the node's proxy opens reaches the machine's addresses, and the API server.
    assert (await machine.call(1, f"http://{MACHINE}:9000/"))["name"] == "outside"
    inside = ("nsenter", f"--net=/run/netns/{machine.tag}", "curl", "-s", "-m", "5")
    assert '"api"' in await run_async(*inside, "http://127.0.0.1:6443/")
    assert "outside" in await run_async(*inside, f"http://{MACHINE}:9000/")

    # But not what listens for the machine's own programs only.
    answered = await asyncio.to_thread(asked_by_hand, machine.egress, (MACHINE, 9000))
    assert b"outside" in answered
    for forbidden in (("127.0.0.1", 9001), ("0.0.0.0", 9001), ("127.0.0.1", 6443)):
        assert await asyncio.to_thread(asked_by_hand, machine.egress, forbidden) == b""

    # Who never says where a connection comes from, and waits until nobody asks any more, is not
    # served: policies could not tell it from others.
    await asyncio.sleep(max(silent_until - time.monotonic(), 0))
    with silent:
        silent.settimeout(20)
        silent.sendall(b"GET / HTTP/1.0\r\nhost: web\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.to_thread(silent.recv, 1) == b""
