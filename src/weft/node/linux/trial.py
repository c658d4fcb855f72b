"""What does this machine let us do? Each answer is a real operation in a forked child.

Run as a program it prints a JSON object: question -> "" (yes) or the kernel's refusal. Uids and
capabilities prove nothing: containers and security modules take single operations away.
"""

import contextlib
import errno
import functools
import json
import os
import sys
import threading
from collections.abc import Callable

from weft.node.linux import netlink, nft, ns
from weft.node.linux.links import link_address

Answers = dict[str, str]


def ask_all() -> Answers:
    """Every question, in three children: as we are, in a user namespace, on the host."""
    answers: Answers = {}
    for prefix, flags in (("", 0), ("user.", ns.CLONE_NEWUSER)):
        for name, text in _in_child(functools.partial(_ladder, flags)).items():
            answers[prefix + name] = text
    return answers


def _ladder(user: int) -> Answers:
    answers: Answers = {}

    def ask(name: str, operation: Callable[[], object]) -> None:
        try:
            operation()
            answers[name] = ""
        except Exception as error:
            answers[name] = getattr(error, "strerror", None) or str(error)

    ask("mounts", lambda: _private_mounts(user))
    if not answers["mounts"]:
        ask("etc", _overlay_etc)
        ask("volumes", _bind)
    if user:
        ask("nested", _nested)
    else:
        ask("own_devices", _own_devices)
    ask("namespace", lambda: ns.unshare(ns.CLONE_NEWNET))
    if not answers["namespace"]:
        ask("pin", _pin)
        ask("devices", _devices)
        ask("redirect", _redirect)
        ask("low_ports", _low_ports)
    return answers


def _private_mounts(user: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    ns.unshare(ns.CLONE_NEWNS | user)
    if user:
        ns.become_mapped(uid, gid, uid, gid)
    ns.mount(None, "/", None, ns.MS_REC | ns.MS_PRIVATE)
    ns.mount("tmpfs", "/tmp", "tmpfs", 0, "size=64k")  # noqa: S108


def _overlay_etc() -> None:
    os.mkdir("/tmp/etc")  # noqa: S108
    ns.mount("overlay", "/etc", "overlay", ns.MS_RDONLY, "lowerdir=/tmp/etc:/etc")


def _nested() -> None:
    """As containers are confined there: in a user namespace of their own, with their own /etc."""
    pid = os.fork()
    if pid == 0:
        try:
            _private_mounts(ns.CLONE_NEWUSER)
            _overlay_etc()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    if code := os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise OSError(abs(code), os.strerror(abs(code)))


def _bind() -> None:
    volume = "/tmp/volume"  # noqa: S108
    os.mkdir(volume)
    ns.mount(volume, "/mnt", None, ns.MS_BIND | ns.MS_REC)


def _pin() -> None:
    with open("/tmp/pin", "w"):  # noqa: S108
        pass
    ns.mount("/proc/self/ns/net", "/tmp/pin", None, ns.MS_BIND)  # noqa: S108


def _own_devices() -> None:
    """Whether this machine's network may be changed: asked by removing what is not there."""
    with contextlib.closing(netlink.Netlink()) as node:
        try:
            node.talk(node.delete_link("weft-trial"))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise


def _devices() -> None:
    with contextlib.closing(netlink.Netlink()) as node:
        node.talk(node.link_up(netlink.LOOPBACK_INDEX))
        node.talk(node.new_bridge("trial", link_address("10.244.0.1")))
        index = node.link_index("trial")
        node.talk(node.add_address(index, "10.244.0.1", 24))
        here = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        # A namespace of its own for the other end: its index would collide in this one.
        outcome: list[str] = []
        thread = threading.Thread(target=lambda: outcome.append(_veth(here)))
        thread.start()
        thread.join()
        if outcome[0]:
            raise OSError(1, outcome[0])


def _veth(bridge_namespace: int) -> str:
    try:
        ns.unshare(ns.CLONE_NEWNET)
        with contextlib.closing(netlink.Netlink()) as pod:
            pod.talk(pod.new_veth("trial0", 0, "trial1", bridge_namespace))
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _redirect() -> None:
    with contextlib.closing(netlink.Netlink(netlink.NETFILTER)) as netfilter:
        nft.install(
            netfilter, "trial", nft.pod_table("10.244.0.1", 53, 15001, 15006, "10.96.0.0/16")
        )


def _low_ports() -> None:
    with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", "w") as file:
        file.write("0")


def _in_child(questions: Callable[[], Answers]) -> Answers:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, json.dumps(questions()).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        raw = pipe.read()
    os.waitpid(pid, 0)
    answers: Answers = json.loads(raw) if raw else {"mounts": "the trial died"}
    return answers


def main() -> int:
    sys.stdout.write(json.dumps(ask_all()))
    return 0
