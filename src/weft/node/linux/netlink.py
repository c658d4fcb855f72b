"""rtnetlink: network namespaces, links, addresses and routes, about 1 ms for a pod's network."""

import contextlib
import os
import socket
import struct
import threading
from collections.abc import Iterable

from weft.node.linux import ns

ROUTE = 0
NETFILTER = 12

REQUEST = 0x1
ACK = 0x4
DUMP = 0x300
EXCLUSIVE = 0x200
CREATE = 0x400
APPEND = 0x800
NESTED = 0x8000

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MASTER, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 10, 18, 28
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PREFSRC = 1, 4, 5, 7
IFF_UP = 1
RT_TABLE_MAIN, RTPROT_STATIC, RTN_UNICAST = 254, 4, 1
RTPROT_WEFT = 0xF7
"""Routes to pods of other nodes carry it, so that they are found again."""
REPLACE = 0x100
RT_TABLE_LOCAL, RT_SCOPE_LINK, RT_SCOPE_HOST, RTN_LOCAL = 255, 253, 254, 2

LOOPBACK_INDEX = 1
POD_INTERFACE_INDEX = 2

_SOL_NETLINK = 270
_NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 10, 11
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_F_ACK_TLVS = 0x200
_RECEIVE_BYTES = 1 << 18
_ANSWER_TIMEOUT_SECONDS = 10.0


def attribute(kind: int, value: bytes | int | str = b"") -> bytes:
    """One attribute, padded; integers are native u32, text ends with a zero byte."""
    if isinstance(value, int):
        value = struct.pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    size = len(value) + 4
    return struct.pack("=HH", size, kind) + value + b"\0" * (-size % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that holds attributes."""
    return attribute(kind | NESTED, b"".join(attributes))


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message body by kind (the last wins)."""
    found: dict[int, bytes] = {}
    offset = 0
    while offset + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, offset)
        if size < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + size]
        offset += (size + 3) & ~3
    return found


class Netlink:
    """A netlink socket. It stays bound to the network namespace it was opened in, so one thread
    can serve all namespaces."""

    def __init__(self, protocol: int = ROUTE) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        self._socket.bind((0, 0))
        self._socket.settimeout(_ANSWER_TIMEOUT_SECONDS)
        self._sequence = 0
        for option in (_NETLINK_CAP_ACK, _NETLINK_EXT_ACK):
            with contextlib.suppress(OSError):  # kernels before 4.12: errors come without text
                self._socket.setsockopt(_SOL_NETLINK, option, 1)

    def close(self) -> None:
        self._socket.close()

    def message(self, kind: int, flags: int, body: bytes) -> bytes:
        """A message with the next sequence number."""
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(body), kind, flags | REQUEST, self._sequence, 0)
        return header + body

    def talk(self, *messages: bytes, acknowledgements: int | None = None) -> list[bytes]:
        """Send all in one datagram, wait until each is acknowledged (or the dump is done).

        Gives the bodies of what was answered. OSError is the first refusal, with the kernel's
        own words where it gives some.
        """
        self._socket.send(b"".join(messages))
        needed = len(messages) if acknowledgements is None else acknowledgements
        answers: list[bytes] = []
        failure: OSError | None = None
        while needed > 0:
            data = self._socket.recv(_RECEIVE_BYTES)
            offset = 0
            while offset + 16 <= len(data):
                size, kind, flags = struct.unpack_from("=IHH", data, offset)
                body = data[offset + 16 : offset + size]
                if kind == _NLMSG_ERROR:
                    needed -= 1
                    error = _refusal(body, flags)
                    if error is not None:
                        failure = failure or error
                        if acknowledgements is not None:  # a batch ends with its first error
                            needed = 0
                elif kind == _NLMSG_DONE:
                    needed = 0
                else:
                    answers.append(body)
                offset += (size + 3) & ~3
        if failure is not None:
            raise failure
        return answers

    def link_up(self, index: int) -> bytes:
        return self.message(RTM_NEWLINK, ACK, _link(index, IFF_UP))

    def new_bridge(self, name: str, address: bytes) -> bytes:
        """A bridge that is up, with this hardware address. EEXIST when the name is taken."""
        kind = nested(IFLA_LINKINFO, attribute(1, b"bridge"))
        body = _link(0, IFF_UP) + attribute(IFLA_IFNAME, name) + kind
        body += attribute(IFLA_ADDRESS, address)
        return self.message(RTM_NEWLINK, ACK | CREATE | EXCLUSIVE, body)

    def new_veth(
        self, name: str, master: int, peer: str, peer_namespace: int, peer_address: bytes = b""
    ) -> bytes:
        """A veth pair: `name` is up on the bridge `master`, `peer` is born (down: the kernel
        refuses it up) in the namespace behind the descriptor, with a known index and, if one is
        given, this hardware address."""
        other = _link(POD_INTERFACE_INDEX) + attribute(IFLA_IFNAME, peer)
        if peer_address:
            other += attribute(IFLA_ADDRESS, peer_address)
        other += attribute(IFLA_NET_NS_FD, peer_namespace)
        kind = nested(IFLA_LINKINFO, attribute(1, b"veth"), nested(2, attribute(1 | NESTED, other)))
        body = _link(0, IFF_UP) + attribute(IFLA_IFNAME, name) + attribute(IFLA_MASTER, master)
        return self.message(RTM_NEWLINK, ACK | CREATE | EXCLUSIVE, body + kind)

    def delete_link(self, name: str) -> bytes:
        return self.message(RTM_DELLINK, ACK, _link(0) + attribute(IFLA_IFNAME, name))

    def add_address(self, index: int, address: str, prefix: int) -> bytes:
        raw = socket.inet_aton(address)
        body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, index)
        body += attribute(IFA_LOCAL, raw) + attribute(IFA_ADDRESS, raw)
        return self.message(RTM_NEWADDR, ACK | CREATE | EXCLUSIVE, body)

    def default_route(self, index: int, gateway: str) -> bytes:
        body = struct.pack(
            "=BBBBBBBBI", socket.AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, 0, RTN_UNICAST, 0
        )
        body += attribute(RTA_GATEWAY, socket.inet_aton(gateway)) + attribute(RTA_OIF, index)
        return self.message(RTM_NEWROUTE, ACK | CREATE, body)

    def default_to_loopback(self, source: str) -> bytes:
        """What no other route leads anywhere goes to the namespace itself, from this address."""
        place = (RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_LINK, RTN_UNICAST)
        body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, *place, 0)
        body += attribute(RTA_OIF, LOOPBACK_INDEX)
        body += attribute(RTA_PREFSRC, socket.inet_aton(source))
        return self.message(RTM_NEWROUTE, ACK | CREATE | REPLACE, body)

    def node_route(self, network: str, gateway: str) -> bytes:
        """To the pods of another node, by that node's address; replaces one to the same network."""
        body = _node_route(network) + attribute(RTA_GATEWAY, socket.inet_aton(gateway))
        return self.message(RTM_NEWROUTE, ACK | CREATE | REPLACE, body)

    def delete_node_route(self, network: str) -> bytes:
        return self.message(RTM_DELROUTE, ACK, _node_route(network))

    def node_routes(self) -> dict[str, str]:
        """network -> gateway of the routes to pods of other nodes."""
        found = {}
        request = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        for body in self.talk(self.message(RTM_GETROUTE, DUMP, request)):
            parts = attributes(body[12:])
            if body[5] == RTPROT_WEFT and RTA_DST in parts and RTA_GATEWAY in parts:
                network = f"{socket.inet_ntoa(parts[RTA_DST])}/{body[1]}"
                found[network] = socket.inet_ntoa(parts[RTA_GATEWAY])
        return found

    def local_route(self, network: str, source: str) -> bytes:
        """All addresses of a network (`10.96.0.0/16`) are the namespace's own; connections to them
        come from `source`."""
        address, _, prefix = network.partition("/")
        place = (RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL)
        body = struct.pack("=BBBBBBBBI", socket.AF_INET, int(prefix), 0, 0, *place, 0)
        body += attribute(RTA_DST, socket.inet_aton(address)) + attribute(RTA_OIF, LOOPBACK_INDEX)
        body += attribute(RTA_PREFSRC, socket.inet_aton(source))
        return self.message(RTM_NEWROUTE, ACK | CREATE, body)

    def link_index(self, name: str) -> int:
        """OSError (ENODEV) when there is none."""
        body = _link(0) + attribute(IFLA_IFNAME, name)
        answer = self.talk(self.message(RTM_GETLINK, ACK, body))[0]
        return int(struct.unpack_from("=i", answer, 4)[0])

    def link_names(self) -> tuple[str, ...]:
        """Names of all links of the namespace."""
        answers = self.talk(self.message(RTM_GETLINK, DUMP, _link(0)))
        names = (attributes(body[16:]).get(IFLA_IFNAME, b"") for body in answers)
        return tuple(name.rstrip(b"\0").decode() for name in names)

    def destinations(self) -> Iterable[tuple[str, int]]:
        """(network, prefix) of every IPv4 address and route but the default: what is taken."""
        request = struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)
        for body in self.talk(self.message(RTM_GETADDR, DUMP, request)):
            found = attributes(body[8:]).get(IFA_ADDRESS)
            if found is not None:
                yield socket.inet_ntoa(found), body[1]
        request = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
        for body in self.talk(self.message(RTM_GETROUTE, DUMP, request)):
            found = attributes(body[12:]).get(RTA_DST)
            if found is not None and body[1] > 0:
                yield socket.inet_ntoa(found), body[1]


def _node_route(network: str) -> bytes:
    address, _, prefix = network.partition("/")
    place = (RT_TABLE_MAIN, RTPROT_WEFT, 0, RTN_UNICAST)
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, int(prefix), 0, 0, *place, 0)
    return body + attribute(RTA_DST, socket.inet_aton(address))


def _link(index: int, flags: int = 0) -> bytes:
    return struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, flags, flags)


def _refusal(body: bytes, flags: int) -> OSError | None:
    number = -struct.unpack_from("=i", body)[0]
    if number == 0:
        return None
    text = ""
    if flags & _F_ACK_TLVS:
        words = attributes(body[20:]).get(1)  # NLMSGERR_ATTR_MSG after the capped header
        text = ": " + words.rstrip(b"\0").decode(errors="replace") if words else ""
    return OSError(number, os.strerror(number) + text)


class Namespace:
    """A new network namespace with its sockets; close it when it is set up."""

    def __init__(self, fd: int, route: Netlink, netfilter: Netlink) -> None:
        self.fd = fd
        self.route = route
        self.netfilter = netfilter

    def close(self) -> None:
        os.close(self.fd)
        self.route.close()
        self.netfilter.close()


def new_namespace(path: str, sysctls: dict[str, str]) -> Namespace:
    """Make a network namespace and pin it at `path` (which must not exist). OSError.

    Runs in a thread of its own that ends in the new namespace: nothing has to be switched back.
    `sysctls` are names below /proc/sys/ of that namespace.
    """
    outcome: list[Namespace | BaseException] = []

    def build() -> None:
        try:
            outcome.append(_build_namespace(path, sysctls))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=build, name="netns")
    thread.start()
    thread.join()
    result = outcome[0]
    if isinstance(result, BaseException):
        raise result
    return result


def _build_namespace(path: str, sysctls: dict[str, str]) -> Namespace:
    ns.unshare(ns.CLONE_NEWNET)
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
    try:
        ns.mount("/proc/thread-self/ns/net", path, None, ns.MS_BIND)
        for name, value in sysctls.items():
            with open(f"/proc/sys/{name}", "w") as file:
                file.write(value)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return Namespace(fd, Netlink(ROUTE), Netlink(NETFILTER))
    except BaseException:
        delete_namespace(path)
        raise


def delete_namespace(path: str) -> None:
    """Remove the pin; the namespace goes with its last process or socket. Idempotent."""
    with contextlib.suppress(OSError):  # never mounted, or gone
        ns.umount(path, ns.MNT_DETACH)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def is_namespace(path: str) -> bool:
    """Whether a namespace is pinned at `path` (after a reboot only a plain file is left)."""
    try:
        with open("/proc/self/mountinfo") as file:
            wanted = path.replace("\\", "\\134").replace(" ", "\\040")
            return any(line.split(" ", 5)[4] == wanted and " - nsfs " in line for line in file)
    except OSError:
        return False
