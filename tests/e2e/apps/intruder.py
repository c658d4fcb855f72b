"""What a process of a pod tries against its node and its neighbours, as the user of both: prints
one JSON object, attempt -> what refused it, or "done"."""

import ctypes
import json
import os
import sys
from collections.abc import Callable

from weft.node.linux import netlink, nft, ns

NEIGHBOUR, RUN_DIR, DATA_DIR = int(sys.argv[1]), sys.argv[2], sys.argv[3]
PARTS = [int(pid) for pid in sys.argv[4:]]
"""Processes of the node."""
PTRACE_ATTACH = 16
OUTCOMES: dict[str, str] = {}


def attempt(name: str, operation: Callable[[], object]) -> None:
    """In a process of its own, which no success can change."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = "done"
        try:
            operation()
        except Exception as error:
            said = type(error).__name__
        os.write(write_end, said.encode())
        os._exit(0)
    os.close(write_end)
    OUTCOMES[name] = os.read(read_end, 100).decode()
    os.close(read_end)
    os.waitpid(pid, 0)


def join(pid: int, flags: int) -> None:
    ns.setns(os.pidfd_open(pid), flags)


def join_by_path(pid: int) -> None:
    with open(f"/proc/{pid}/ns/net", "rb") as file:
        ns.setns(file.fileno(), ns.CLONE_NEWNET)


def trace(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(PTRACE_ATTACH, pid, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def as_root_of_another() -> None:
    """In a user namespace of its own everybody is root; over what is there only."""
    uid, gid = os.getuid(), os.getgid()
    ns.unshare(ns.CLONE_NEWUSER | ns.CLONE_NEWNS)
    ns.become_mapped(uid, gid, 0, 0)


def remove_redirects() -> None:
    nft.remove(netlink.Netlink(netlink.NETFILTER), "mesh")


def remove_link() -> None:
    node = netlink.Netlink()
    node.talk(node.delete_link("eth0"))


def uncover(path: str) -> None:
    ns.umount(path, ns.MNT_DETACH)


def rooted(operation: Callable[[], object]) -> Callable[[], object]:
    def first_root() -> None:
        as_root_of_another()
        operation()

    return first_root


def see(path: str) -> None:
    if not os.listdir(path):
        raise FileNotFoundError(path)


def read(path: str) -> None:
    with open(path, "rb") as file:
        file.read(1)


def change_network() -> None:
    with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
        file.write("1")


attempt("settings of the network", change_network)
attempt("settings of the network as another root", rooted(change_network))
attempt("redirects", remove_redirects)
attempt("redirects as another root", rooted(remove_redirects))
attempt("link", remove_link)
attempt("link as another root", rooted(remove_link))
for path in (RUN_DIR, DATA_DIR):
    attempt(f"see {path}", lambda path=path: see(path))
    attempt(f"uncover {path}", lambda path=path: uncover(path))
    attempt(f"uncover {path} as another root", rooted(lambda path=path: uncover(path)))
for pid in (NEIGHBOUR, *PARTS):
    who = "neighbour" if pid == NEIGHBOUR else f"part {PARTS.index(pid)}"
    attempt(f"user namespace of {who}", lambda pid=pid: join(pid, ns.CLONE_NEWUSER))
    attempt(f"network of {who}", lambda pid=pid: join(pid, ns.CLONE_NEWNET))
    attempt(f"network of {who} as another root", rooted(lambda pid=pid: join(pid, ns.CLONE_NEWNET)))
    attempt(f"network of {who} by path", lambda pid=pid: join_by_path(pid))
    attempt(f"files of {who}", lambda pid=pid: see(f"/proc/{pid}/root"))
    attempt(f"memory of {who}", lambda pid=pid: read(f"/proc/{pid}/mem"))
    attempt(f"environment of {who}", lambda pid=pid: read(f"/proc/{pid}/environ"))
    attempt(f"tracing {who}", lambda pid=pid: trace(pid))
print(json.dumps(OUTCOMES))
