"""Pod networks in real namespaces: what arrives where, who keeps what, what is left behind."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.node.machine import lines, podhost, shell
from tests.outside import another_user, inside, outside
from tests.waiting import until
from weft.mesh.model import Walls
from weft.node.linux import netlink, nft
from weft.node.network_netns import NetnsNetwork
from weft.node.runtime import Limits, Mount

pytestmark = [pytest.mark.slow, pytest.mark.root]

RESOLVER = "192.0.2.53"


@asynccontextmanager
async def network(dns_port: int = 5300) -> AsyncIterator[NetnsNetwork]:
    directory = Path(tempfile.mkdtemp(prefix="weft-n"))
    made = NetnsNetwork(directory, dns_port=dns_port)
    await made.open()
    try:
        yield made
    finally:
        await made.destroy()
        shutil.rmtree(directory)


def listener(address: str, port: int) -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen()
    server.settimeout(5)
    return server


def connect(address: str, port: int) -> socket.socket:
    return socket.create_connection((address, port), timeout=5)


def original_destination(connection: socket.socket) -> tuple[str, int]:
    raw = connection.getsockopt(socket.IPPROTO_IP, 80, 16)
    return socket.inet_ntoa(raw[4:8]), int.from_bytes(raw[2:4], "big")


async def test_outgoing_tcp_reaches_the_outbound_listener() -> None:
    async with network() as pods:
        pod = await pods.create("a")
        server = inside(pod.netns, lambda: listener("127.0.0.1", 15001))
        client = inside(pod.netns, lambda: connect("10.96.7.7", 80))
        accepted, _ = server.accept()
        assert client.getsockname()[0] == pod.address
        assert original_destination(accepted) == ("10.96.7.7", 80)
        local = inside(pod.netns, lambda: listener("127.0.0.1", 9999))
        inside(pod.netns, lambda: connect("127.0.0.1", 9999))
        local.accept()
        for one in (server, client, accepted, local):
            one.close()


async def test_incoming_tcp_reaches_the_inbound_listener_unless_from_the_node() -> None:
    async with network() as pods:
        pod = await pods.create("a")
        proxy = inside(pod.netns, lambda: listener("0.0.0.0", 15006))
        app = inside(pod.netns, lambda: listener("0.0.0.0", 8080))
        trusted = socket.create_connection(
            (pod.address, 8080), timeout=5, source_address=(pods.node_address, 0)
        )
        assert app.accept()[1][0] == pods.node_address
        stranger = socket.create_connection(
            (pod.address, 8080), timeout=5, source_address=(pods.passthrough_address, 0)
        )
        accepted, source = proxy.accept()
        assert source[0] == pods.passthrough_address
        assert original_destination(accepted) == (pod.address, 8080)
        for one in (proxy, app, trusted, stranger, accepted):
            one.close()


async def test_other_users_of_the_machine_are_not_the_node() -> None:
    async with network() as pods:
        pod = await pods.create("a")
        proxy = inside(pod.netns, lambda: listener("0.0.0.0", 15006))
        for source in (None, (pods.node_address, 0)):
            with another_user():
                client = socket.create_connection(
                    (pod.address, 8080), timeout=5, source_address=source
                )
            accepted, seen = proxy.accept()
            assert seen[0] == pods.passthrough_address
            assert original_destination(accepted) == (pod.address, 8080)
            client.close()
            accepted.close()
        proxy.close()


async def test_dns_reaches_the_node_with_the_pods_address() -> None:
    """Whichever resolver is asked; but for addresses of services, which may be servers of their
    own."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 0))
    server.settimeout(5)
    async with network(server.getsockname()[1]) as pods:
        pod = await pods.create("a")

        def ask() -> socket.socket:
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            client.settimeout(5)
            client.sendto(b"question", (RESOLVER, 53))
            return client

        client = inside(pod.netns, ask)
        question, source = server.recvfrom(100)
        assert (question, source[0]) == (b"question", pod.address)
        server.sendto(b"answer", source)
        assert client.recvfrom(100) == (b"answer", (RESOLVER, 53))
        tcp = listener(pods.node_address, server.getsockname()[1])
        over_tcp = inside(pod.netns, lambda: connect(RESOLVER, 53))
        assert tcp.accept()[1][0] == pod.address
        for one in (client, tcp, over_tcp):
            one.close()
    server.close()


async def test_a_pod_that_goes_takes_nobodys_way_to_the_node() -> None:
    """A bridge without an address of its own has the lowest one of its links: with that pod went
    the address that the others knew, and they reached the node a minute later."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    async with network() as pods:
        server.bind((pods.node_address, 0))
        server.settimeout(5)

        def ask() -> None:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.sendto(b"here", server.getsockname())

        def link(uid: str) -> Path:
            return Path("/sys/class/net") / pods._link_name(left[uid].address)

        left = {uid: await pods.create(uid) for uid in "abc"}
        while left:
            for pod in left.values():
                inside(pod.netns, ask)
                assert server.recvfrom(9)[1][0] == pod.address
            lowest = min(left, key=lambda uid: (link(uid) / "address").read_text())
            gone = link(lowest)
            del left[lowest]
            await pods.delete(lowest)
            await until(lambda gone=gone: not gone.exists())
    server.close()


async def test_low_ports_are_free_for_every_user() -> None:
    async with network() as pods, podhost() as (runtime, directory):
        pod = await pods.create("a")
        directory.chmod(0o755)
        script = "import socket; s = socket.socket(); s.bind(('0.0.0.0', 80)); print('bound')"
        env = {"PATH": "/usr/bin:/bin"}
        spec = shell(
            *("c", f'exec python3 -c "{script}"', directory),
            netns=pod.netns,
            uid=65534,
            env=env,
        )
        await runtime.start(spec)
        await until(lambda: lines(directory, "c") == ["bound"])


async def test_a_restarted_agent_finds_its_pods() -> None:
    async with network() as pods:
        made = {uid: await pods.create(uid) for uid in ("a", "b", "c")}
        await pods.delete("b")
        again = NetnsNetwork(pods._run_dir, dns_port=5300)
        await again.open()
        assert await again.list() == {"a": made["a"], "c": made["c"]}
        assert (again.bridge, again.subnet) == (pods.bridge, pods.subnet)
        assert await again.create("a") == made["a"]
        late = await again.create("d")
        assert late.address not in {network.address for network in made.values()}
        await again.delete("b")
        await again.delete("d")


async def test_policies_stand_before_a_network_is_used_and_after_a_restart() -> None:
    walls = {"a": Walls(egress=()), "late": Walls(egress=())}
    async with network() as pods:
        first, free = await pods.create("a"), await pods.create("b")
        await pods.enforce(walls)
        late = await pods.create("late")
        shut = rules_of(first.netns, "walls")
        assert "ip protocol tcp drop" in shut or "meta l4proto tcp drop" in shut
        assert rules_of(late.netns, "walls") == shut
        assert rules_of(free.netns, "walls") == []
        await pods.delete("a")
        assert rules_of((await pods.create("a")).netns, "walls") == shut, "the same pod again"
        again = NetnsNetwork(pods._run_dir, dns_port=5300)
        await again.open()
        assert rules_of((await again.create("a")).netns, "walls") == shut
        await again.enforce(walls)
        assert rules_of(late.netns, "walls") == shut
        await again.enforce({"late": walls["late"]})
        assert rules_of((await again.create("a")).netns, "walls") == []


async def test_after_a_reboot_nothing_is_believed() -> None:
    async with network() as pods:
        file = pods._run_dir / "network.json"
        file.write_text(json.dumps({"addresses": {"old": "10.244.0.9"}, "last_host": 9}))
        (pods._run_dir / "netns/old").touch()
        again = NetnsNetwork(pods._run_dir, dns_port=5300)
        await again.open()
        assert await again.list() == {}
        assert not (pods._run_dir / "netns/old").exists()


async def test_instances_live_side_by_side() -> None:
    async with network() as first, network() as second:
        assert not first.subnet.overlaps(second.subnet)
        a, b = await first.create("same-uid"), await second.create("same-uid")
        assert a.address != b.address
        here = inside(a.netns, lambda: listener("127.0.0.1", 15001))
        there = inside(b.netns, lambda: listener("127.0.0.1", 15001))
        for one in (here, there):
            one.close()


async def test_twenty_pods_come_and_go_and_leave_nothing() -> None:
    async with network() as pods, podhost() as (runtime, directory):
        (directory / "etc").mkdir()
        (directory / "volume").mkdir()
        await _round(pods, runtime, directory, "warm")
        await until(lambda: _footprint(pods, runtime.podhost_pid)["links"] == 0)
        before = _footprint(pods, runtime.podhost_pid)
        assert before["mounts"] == before["groups"] == 0
        for number in range(2):
            await _round(pods, runtime, directory, f"r{number}")
        assert await runtime.list() == ()
        assert await pods.list() == {}
        await until(lambda: _footprint(pods, runtime.podhost_pid) == before)
        bridge, subnet_file = pods.bridge, Path("/run/weft") / pods.bridge
        assert subnet_file.exists()
    assert not subnet_file.exists()
    assert not (Path("/sys/class/net") / bridge).exists()


async def _round(pods: NetnsNetwork, runtime: Any, directory: Path, name: str) -> None:
    async def one(number: int) -> None:
        uid = f"{name}-{number}"
        pod = await pods.create(uid)
        spec = shell(
            *(uid, "setsid sleep 60 & echo up; sleep 60", directory),
            netns=pod.netns,
            hostname=uid,
            etc_dir=str(directory / "etc"),
            mounts=(Mount(str(directory / "volume"), "/weft-test-volume"),),
            limits=Limits(cpu_cores=0.5, memory_bytes=64 << 20, pids=50),
        )
        assert (await runtime.start(spec)).exit_code is None
        await runtime.kill(uid)
        await runtime.remove(uid)
        await pods.delete(uid)

    await asyncio.gather(*(one(number) for number in range(10)))


def _footprint(pods: NetnsNetwork, podhost_pid: int) -> dict[str, Any]:
    """What a leak would enlarge."""
    mounts = Path("/proc/self/mountinfo").read_text()
    links = [p.name for p in Path("/sys/class/net").iterdir()]
    groups = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    mine = f"{pods.subnet[0]}".split(".")[:3]
    prefix = "wv" + "".join(f"{int(part):02x}" for part in mine)
    return {
        "mounts": mounts.count(str(pods._run_dir)),
        "links": sum(name.startswith(prefix) for name in links),
        "descriptors": len(os.listdir(f"/proc/{podhost_pid}/fd")),
        "children": Path(f"/proc/{podhost_pid}/task/{podhost_pid}/children").read_text().count(" "),
        "groups": sum(name.startswith(("warm-", "r0-", "r1-")) for name in groups),
        "own descriptors": len(os.listdir("/proc/self/fd")),
    }


def source_seen(server: socket.socket, address: str, source: str) -> str:
    """As whom a connection from one of the node's addresses arrives."""
    port = server.getsockname()[1]
    client = socket.create_connection((address, port), timeout=2, source_address=(source, 0))
    accepted, (seen, _) = server.accept()
    client.close()
    accepted.close()
    return str(seen)


async def test_only_what_leaves_the_machine_is_masqueraded() -> None:
    async with network() as pods, network() as others:
        other = await others.create("other")
        with outside() as host:
            far = inside(host.netns, lambda: listener(host.address, 0))
            assert source_seen(far, host.address, pods.passthrough_address) == host.node
            assert source_seen(far, host.address, pods.node_address) == host.node
            assert source_seen(far, host.address, host.node) == host.node
            near = listener("0.0.0.0", 0)
            for own in (host.node, pods.node_address, others.node_address):
                assert source_seen(near, own, pods.passthrough_address) == pods.passthrough_address
            # A pod of another instance must not take it for its own, trusted node.
            stranger = inside(other.netns, lambda: listener(other.address, 15006))
            address = pods.passthrough_address
            assert source_seen(stranger, other.address, address) == address
            for one in (far, near, stranger):
                one.close()


def rules_of(netns: str = "", table: str = "") -> list[str]:
    """As the nft program shows them."""
    if shutil.which("nft") is None or shutil.which("nsenter") is None:
        pytest.skip("needs nft and nsenter to look")
    enter = ["nsenter", f"--net={netns}"] if netns else []
    what = ["table", "ip", table] if table else ["ruleset"]
    done = subprocess.run(
        [*enter, "nft", "list", *what], capture_output=True, text=True, check=False
    )
    return [line.strip() for line in done.stdout.splitlines() if line.startswith("\t\t")]


async def test_the_nodes_rules_are_made_again_and_go_with_the_network() -> None:
    async with network() as pods:
        wanted = [
            "type nat hook postrouting priority srcnat; policy accept;",
            'oif "lo" return',
            f'oifname "weft*" ip saddr {pods.node_address} meta skuid != {os.geteuid()}'
            f" snat to {pods.passthrough_address}",
            'oifname "weft*" return',
            f"ip saddr {pods.subnet} masquerade",
        ]
        assert rules_of(table=pods.bridge) == wanted
        with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
            nft.remove(netfilter, pods.bridge)
        again = NetnsNetwork(pods._run_dir, dns_port=5300)
        for _ in range(2):
            await again.open()
            assert rules_of(table=pods.bridge) == wanted
            assert again.missing == ""
        gone = pods.bridge
    assert rules_of(table=gone) == []


async def test_the_rules_are_what_nft_lists() -> None:
    async with network(5353) as pods:
        pod = await pods.create("a")
        assert rules_of(pod.netns) == [
            "type filter hook output priority raw; policy accept;",
            "ip daddr 10.96.0.0/16 udp dport != 61440 udp dport set udp dport ^ 61440",
            "ip saddr 10.96.0.0/16 udp sport != 61440 udp sport set udp sport ^ 61440",
            "type nat hook output priority -100; policy accept;",
            "meta l4proto tcp ip daddr 10.96.0.0/16 redirect to :15001",
            'oif "lo" return',
            "ip daddr 127.0.0.0/8 return",
            f"udp dport 53 dnat to {pods.node_address}:5353",
            f"tcp dport 53 dnat to {pods.node_address}:5353",
            f"ip daddr {pods.node_address} tcp dport 4317 return",
            f"ip daddr {pods.node_address} tcp dport 4318 return",
            "meta l4proto tcp redirect to :15001",
            "type nat hook prerouting priority dstnat; policy accept;",
            'iif "lo" return',
            f"ip saddr {pods.node_address} return",
            "meta l4proto tcp redirect to :15006",
        ]


async def test_calls_to_other_nodes_go_to_their_proxies() -> None:
    async with network() as pods:
        await pods.open_gates({"10.250.0.0/24": "192.0.2.9"}, 15008)
        await pods.open_gates({"10.251.0.0/24": "192.0.2.2", "10.251.4.0/24": "192.0.2.3"}, 15008)
        table = f"{pods.bridge}-nodes"
        from_proxy = f"meta l4proto tcp ip saddr {pods.node_address}"
        assert rules_of(table=table) == [
            "type nat hook output priority -100; policy accept;",
            f"{from_proxy} ip daddr 10.251.0.0/24 dnat to 192.0.2.2:15008",
            f"{from_proxy} ip daddr 10.251.4.0/24 dnat to 192.0.2.3:15008",
        ]
    assert rules_of(table=table) == []
