"""Pod networks in netns isolation: a namespace, a veth pair on the node's bridge, redirect rules.

Everything is kept on disk and in the kernel, so that a restarted agent finds it; no command line
tool runs. Each instance of weft on a machine has its own bridge and its own /24.

Out of the pod network goes TCP only, through the node's proxy: its connections leave with the
machine's address (a table of ours in the node's own namespace masquerades them), which needs no
forwarding. UDP and ICMP of pods to the outside would have to be forwarded by the kernel: they pass
when the machine forwards already (net.ipv4.ip_forward is 1 and no firewall drops it) and are
masqueraded too. The sysctl is the machine owner's: it is never changed here. Names resolve in any
case, for the node's DNS server asks the machine's resolvers itself.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import ipaddress
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any, TypeVar

from weft.api.wellknown import EGRESS_PORT, INBOUND_PORT, OUTBOUND_PORT
from weft.lib.files import replace_file
from weft.mesh.model import Walls
from weft.node.linux import inside, netlink, nft
from weft.node.linux.links import link_address, link_table, trial_table
from weft.node.linux.walls import TABLE, walls_table
from weft.node.runtime import PodNetwork

MACHINE_DIR = Path("/run/weft")
"""Where the instances of one machine agree on who has which subnet."""
POD_RANGES = tuple(ipaddress.IPv4Network(f"10.{second}.0.0/16") for second in range(244, 252))
CLUSTER_RANGES = ("10.244.0.0/14", "10.248.0.0/14")
"""The same: pods of other nodes see the address of the pod that calls."""
SUBNET_PREFIX = 24
SERVICES = "10.96.0.0/16"
"""Service addresses. A pod's network takes all of them for its own, so that datagrams to them
reach the node proxy's listeners inside the pod."""
PASSTHROUGH_HOST = 254
PODS_MAX = 252
"""Addresses .2 to .253; .1 is the node's, .254 its second one."""
POD_SYSCTLS: Mapping[str, str] = {
    "net/ipv4/ip_unprivileged_port_start": "0",
    "net/ipv6/conf/default/disable_ipv6": "1",  # the pod network has IPv4 addresses only
}
DEVICES_GONE_SECONDS = 2.0
BRIDGE_PREFIX = "weft"
LINKS_SUFFIX = "-links"
GATES_SUFFIX = "-nodes"
"""Of the name of the table that leads to other nodes' proxies."""
_TABLE = "mesh"
T = TypeVar("T")
_INTERFACE = "eth0"


class NetworkError(Exception):
    """The machine does not let us make or find the pod network."""


class NetnsNetwork:
    """Network. `open` before use; `destroy` when the instance is taken down."""

    def __init__(
        self,
        run_dir: Path,
        *,
        dns_port: int,
        instance: str = "",
        machine_dir: Path = MACHINE_DIR,
        services: str = SERVICES,
        subnet: str = "",
        joined: bool = False,
        home: str = "",
    ) -> None:
        """`dns_port` is where the node's DNS server listens on `node_address`; `instance` is
        unique on this machine (default: derived from the run directory); `services` is the network
        of service addresses. `subnet` is the node's part of the cluster's pod network (empty: the
        first that is free on this machine); `joined`: other machines have the other parts. `home`
        is the path of the node's network namespace when it is not this process' own: nobody but
        this node is in it, and what leaves it does so through the proxy only."""
        self._run_dir = run_dir
        self._machine_dir = run_dir / "machine" if home else machine_dir
        self._home = home
        self._worker = futures.ThreadPoolExecutor(1, "network", self._go_home)
        """One thread, for it cannot come back from the node's network."""
        self._foreign: list[ipaddress.IPv4Network] = []
        """Networks of the machine around the node's."""
        self._dns_port = dns_port
        self._services = services
        self._given = ipaddress.IPv4Network(subnet) if subnet else None
        self._joined = joined
        name = instance or hashlib.sha256(str(run_dir).encode()).hexdigest()
        self.bridge = f"{BRIDGE_PREFIX}{name[:10]}"
        self.subnet = POD_RANGES[0]
        self.node_address = ""
        """The bridge's address: trusted by pods, used by the node proxy, probes and DNS."""
        self.passthrough_address = ""
        self.missing = ""
        """A sentence on what the kernel refused; the rest works."""
        self._pods: dict[str, PodNetwork] = {}
        self._walls: dict[str, Walls | None] = {}
        """What is known to be in force."""
        self._said: Mapping[str, Walls] = {}
        """What shall be: also for networks that are made anew."""
        self._last_host = 1
        self._guards_links = True
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Find or make the bridge and its subnet; find the pods. NetworkError."""
        async with self._lock:
            if self._home:
                self._foreign = await asyncio.to_thread(_machine_networks)
            await self._in_home(self._open)

    async def create(self, pod_uid: str) -> PodNetwork:
        """See Network. NetworkError when addresses ran out or the kernel refuses."""
        async with self._lock:
            known = self._pods.get(pod_uid)
            if known is not None:
                return known
            return await self._in_home(self._create, pod_uid)

    async def delete(self, pod_uid: str) -> None:
        async with self._lock:
            if pod_uid in self._pods:
                await self._in_home(self._delete, pod_uid)

    async def list(self) -> dict[str, PodNetwork]:
        return dict(self._pods)

    async def open_gates(self, gates: Mapping[str, str], port: int) -> None:
        """Send what the node proxy opens to pods of other nodes (pod network -> address of its
        node) to those nodes' proxies; replaces what was said before. NetworkError."""
        async with self._lock:
            await self._in_home(self._open_gates, gates, port)

    async def enforce(self, walls: Mapping[str, Walls]) -> None:
        """NetworkPolicies of this node's pods, by uid; those that are not named are open.
        Networks that are made later begin with what was said of them.
        NetworkError says which could not be set; the others are."""
        async with self._lock:
            await self._in_home(self._enforce, walls)

    async def destroy(self) -> None:
        """Remove every pod network, the bridge and the subnet's registration."""
        async with self._lock:
            await self._in_home(self._destroy)

    def _go_home(self) -> None:
        if self._home:
            inside.enter(self._home)

    async def _in_home(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    # --- blocking

    def _open(self) -> None:
        (self._run_dir / "netns").mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with _machine_lock(self._machine_dir), contextlib.closing(netlink.Netlink()) as node:
                self.subnet = self._claim_subnet(node)
                self.node_address = str(self.subnet[1])
                self.passthrough_address = str(self.subnet[PASSTHROUGH_HOST])
                self._make_bridge(node)
                if self._home:
                    self._lead_out(node)
                else:
                    self._masquerade()
                self._try_link_rules()
        except OSError as error:
            raise NetworkError(f"bridge {self.bridge}: {error.strerror or error}") from error
        self._load()

    def _claim_subnet(self, node: netlink.Netlink) -> ipaddress.IPv4Network:
        """The registered one, else the first /24 that nobody on this machine uses."""
        links = set(node.link_names())
        mine = _registered(self._machine_dir / self.bridge)
        if self._given is not None and mine != self._given:
            return self._claim_given(node, self._given)
        if mine is not None and (self.bridge in links or not _overlaps(mine, _taken(node))):
            return mine
        taken = [*_taken(node), *self._foreign]
        for path in self._machine_dir.iterdir():
            other = _registered(path)
            if path.name in links and other is not None:
                taken.append(other)
        for whole in POD_RANGES:
            for subnet in whole.subnets(new_prefix=SUBNET_PREFIX):
                if not _overlaps(subnet, taken):
                    replace_file(self._machine_dir / self.bridge, str(subnet).encode())
                    return subnet
        raise NetworkError("no free /24 is left in 10.244.0.0 to 10.251.255.255")

    def _claim_given(
        self, node: netlink.Netlink, subnet: ipaddress.IPv4Network
    ) -> ipaddress.IPv4Network:
        if _overlaps(subnet, _taken(node)):
            raise NetworkError(
                f"the pod network {subnet} of this node overlaps a network that this machine has;"
                " give another with --pod-cidr [WEFT2683]"
            )
        replace_file(self._machine_dir / self.bridge, str(subnet).encode())
        return subnet

    def _make_bridge(self, node: netlink.Netlink) -> None:
        """With a hardware address of its own. Left to itself a bridge has the lowest one of its
        links: when that pod went, the others sent to an address that nobody had, for a minute."""
        with _tolerate(errno.EEXIST):
            node.talk(node.new_bridge(self.bridge, link_address(self.node_address)))
        index = node.link_index(self.bridge)
        for address in (self.node_address, self.passthrough_address):
            with _tolerate(errno.EEXIST):
                node.talk(node.add_address(index, address, SUBNET_PREFIX))

    def _masquerade(self) -> None:
        """The table is named as the bridge is, so that everybody sees whose it is."""
        others = CLUSTER_RANGES if self._joined else ()
        table = nft.node_table(
            str(self.subnet), BRIDGE_PREFIX, others, trusted=self.node_address,
            untrusted=self.passthrough_address, uid=os.geteuid(),
        )  # fmt: skip
        try:
            with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
                nft.install(netfilter, self.bridge, table)
        except OSError as error:
            self._lacks(
                "Pods cannot reach addresses outside this machine, and other users of this machine"
                " reach pods past their policies, because the kernel refuses to"
                f" masquerade ({error.strerror or error})."
            )

    def _lead_out(self, node: netlink.Netlink) -> None:
        """What the proxy opens to the world stays in this network, and is sent to the listener
        that hands it over to the machine's."""
        node.talk(node.default_to_loopback(self.node_address))
        table = nft.egress_table(str(self.subnet), EGRESS_PORT, (self.node_address, self._dns_port))
        with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
            nft.install(netfilter, self.bridge, table)

    def _try_link_rules(self) -> None:
        """Whether this kernel takes such rules at all."""
        name = f"{self.bridge}-trial"
        try:
            with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
                nft.install(netfilter, name, trial_table(self.bridge, self.node_address))
                nft.remove(netfilter, name, nft.LINK)
        except OSError as error:
            self._guards_links = False
            self._lacks(
                "Pods with CAP_NET_ADMIN or CAP_NET_RAW can send in each other's name, because the"
                f" kernel refuses rules for their links ({error.strerror or error})."
            )

    def _lacks(self, sentence: str) -> None:
        self.missing = f"{self.missing} {sentence}".lstrip()

    def _open_gates(self, gates: Mapping[str, str], port: int) -> None:
        table = nft.gates_table(self.node_address, gates, port)
        try:
            with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
                nft.install(netfilter, f"{self.bridge}{GATES_SUFFIX}", table)
        except OSError as error:
            raise NetworkError(f"no way to other nodes: {error.strerror or error}") from error

    def _enforce(self, walls: Mapping[str, Walls]) -> None:
        self._said = walls
        failed = []
        for uid, network in self._pods.items():
            wanted = walls.get(uid)
            if uid in self._walls and self._walls[uid] == wanted:
                continue
            try:
                with contextlib.closing(inside.netfilter(network.netns)) as netfilter:
                    if wanted is None:
                        nft.remove(netfilter, TABLE)
                    else:
                        nft.install(netfilter, TABLE, walls_table(wanted, self._services))
                self._walls[uid] = wanted
            except OSError as error:
                failed.append(f"{uid} ({error.strerror or error})")
        for gone in self._walls.keys() - self._pods.keys():
            del self._walls[gone]
        if failed:
            raise NetworkError(f"network policies are not in force for pods {', '.join(failed)}")

    @property
    def _links_table(self) -> str:
        return f"{self.bridge}{LINKS_SUFFIX}"

    @property
    def _state_file(self) -> Path:
        return self._run_dir / "network.json"

    def _load(self) -> None:
        try:
            state = json.loads(self._state_file.read_text())
        except (OSError, ValueError):
            state = {}
        self._pods = {}
        self._last_host = state.get("last_host", 1)
        for uid, address in state.get("addresses", {}).items():
            path = self._pin(uid)
            if netlink.is_namespace(path):
                self._pods[uid] = PodNetwork(address, path, self.node_address)
        known = {Path(network.netns).name for network in self._pods.values()}
        for pin in (self._run_dir / "netns").iterdir():  # half made, or of before a reboot
            if pin.name not in known:
                netlink.delete_namespace(str(pin))

    def _save(self) -> None:
        addresses = {uid: network.address for uid, network in self._pods.items()}
        state = {"addresses": addresses, "last_host": self._last_host}
        replace_file(self._state_file, json.dumps(state).encode())

    def _pin(self, pod_uid: str) -> str:
        if "/" in pod_uid or pod_uid.startswith("."):
            raise NetworkError(f"not a pod uid: {pod_uid!r}")
        return str(self._run_dir / "netns" / pod_uid)

    def _link_name(self, address: str) -> str:
        """At most 15 characters; unique on the machine, as the address is."""
        return f"wv{int(ipaddress.IPv4Address(address)):08x}"

    def _own_links(self, node: netlink.Netlink) -> tuple[str, ...]:
        own = {self._link_name(str(address)) for address in self.subnet}
        return tuple(name for name in node.link_names() if name in own)

    def _free_address(self) -> str:
        """The next one, round and round: an address of before is used again as late as possible."""
        used = {network.address for network in self._pods.values()}
        for offset in range(PODS_MAX):
            number = 2 + (self._last_host - 1 + offset) % PODS_MAX
            address = str(self.subnet[number])
            if address not in used:
                self._last_host = number
                return address
        raise NetworkError(f"all {PODS_MAX} pod addresses of this node are in use")

    def _create(self, pod_uid: str) -> PodNetwork:
        address, path = self._free_address(), self._pin(pod_uid)
        network = PodNetwork(address, path, self.node_address)
        try:
            space = netlink.new_namespace(path, dict(POD_SYSCTLS))
            try:
                self._wire(space, address)
                if (walls := self._said.get(pod_uid)) is not None:
                    nft.install(space.netfilter, TABLE, walls_table(walls, self._services))
            except OSError:
                netlink.delete_namespace(path)
                raise
            finally:
                space.close()
        except OSError as error:
            raise NetworkError(f"network of pod {pod_uid}: {error.strerror or error}") from error
        self._pods[pod_uid] = network
        self._walls[pod_uid] = walls
        self._save()
        return network

    def _wire(self, space: netlink.Namespace, address: str) -> None:
        name = self._link_name(address)
        with contextlib.closing(netlink.Netlink()) as node:
            with _tolerate(errno.ENODEV):  # kept by something in the old namespace of the address
                node.talk(node.delete_link(name))
            bridge = node.link_index(self.bridge)
            own = link_address(address)
            node.talk(node.new_veth(name, bridge, _INTERFACE, space.fd, own))
        if self._guards_links:
            with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
                nft.extend(netfilter, self._links_table, link_table(name, address))
        route, index = space.route, netlink.POD_INTERFACE_INDEX
        route.talk(
            route.link_up(netlink.LOOPBACK_INDEX),
            route.link_up(index),
            route.add_address(index, address, SUBNET_PREFIX),
            route.default_route(index, self.node_address),
        )
        with _tolerate(errno.EEXIST):
            route.talk(route.local_route(self._services, address))
        ports = (self._dns_port, OUTBOUND_PORT, INBOUND_PORT)
        table = nft.pod_table(self.node_address, *ports, self._services)
        nft.install(space.netfilter, _TABLE, table)

    def _delete(self, pod_uid: str) -> None:
        """The kernel removes the devices with the namespace, some 0.1 s after its last process
        and listener; asking for it here would take 50 ms for each pod."""
        netlink.delete_namespace(self._pods[pod_uid].netns)
        del self._pods[pod_uid]
        self._save()

    def _destroy(self) -> None:
        for pod_uid in tuple(self._pods):
            self._delete(pod_uid)
        with _machine_lock(self._machine_dir), contextlib.closing(netlink.Netlink()) as node:
            deadline = time.monotonic() + DEVICES_GONE_SECONDS
            while left := self._own_links(node):
                if time.monotonic() > deadline:  # something keeps a namespace alive
                    for name in left:
                        with _tolerate(errno.ENODEV):
                            node.talk(node.delete_link(name))
                time.sleep(0.01)
            with _tolerate(errno.ENODEV):
                node.talk(node.delete_link(self.bridge))
            with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
                nft.remove(netfilter, self.bridge)
                nft.remove(netfilter, f"{self.bridge}{GATES_SUFFIX}")
                with contextlib.suppress(OSError):  # the kernel knows no such tables
                    nft.remove(netfilter, self._links_table, nft.LINK)
            (self._machine_dir / self.bridge).unlink(missing_ok=True)
        self._state_file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty: something foreign is in it
            (self._run_dir / "netns").rmdir()


@contextlib.contextmanager
def _tolerate(*numbers: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


@contextlib.contextmanager
def _machine_lock(directory: Path) -> Iterator[None]:
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _registered(path: Path) -> ipaddress.IPv4Network | None:
    if path.is_dir():
        return None
    try:
        return ipaddress.IPv4Network(path.read_text().strip())
    except (OSError, ValueError):
        return None


def _taken(node: netlink.Netlink) -> list[ipaddress.IPv4Network]:
    return [
        ipaddress.IPv4Network(f"{address}/{prefix}", strict=False)
        for address, prefix in node.destinations()
    ]


def _machine_networks() -> list[ipaddress.IPv4Network]:
    with contextlib.closing(netlink.Netlink()) as machine:
        return _taken(machine)


def _overlaps(subnet: ipaddress.IPv4Network, taken: list[ipaddress.IPv4Network]) -> bool:
    return any(subnet.overlaps(other) for other in taken)
