"""The configuration that runc, crun and the pod host run alike."""

from typing import Any

import pytest

from weft.node.oci.configuration import Device, Place, Program, configuration
from weft.node.oci.security import CAPABILITIES_DEFAULT, Confinement, Identity
from weft.node.runtime import Limits, Mount

UNLIMITED = Limits()
PROGRAM = Program(("/a",), {"A": "1"}, "work", Identity(5, 6, (7,), "/home/x"))
POD = Place(
    netns="/run/n", spaces="/pod/spaces", hostname="web", shared_memory="/pod/shm",
    etc={"hosts": "/pod/etc/hosts", "hostname": "/etc/hostname"},
    nodes_own=frozenset(("hostname",)),
)  # fmt: skip


def made(place: Place = POD, *mounts: Mount, limits: Limits = UNLIMITED, **may: Any) -> Any:
    return configuration(PROGRAM, Confinement(**may), place, mounts, limits)


def mount(config: Any, target: str) -> Any:
    return next(m for m in config["mounts"] if m["destination"] == target)


def spaces(config: Any) -> dict[str, str]:
    return {n["type"]: n.get("path", "") for n in config["linux"]["namespaces"]}


def test_a_container_of_a_pod() -> None:
    config = made(limits=Limits(0.5, 1 << 20, 10))
    process = config["process"]
    assert process["user"] == {"uid": 5, "gid": 6, "additionalGids": [7]}
    assert process["env"] == ["HOME=/home/x", "A=1"]
    assert process["cwd"] == "/work"
    assert len(process["capabilities"]["bounding"]) == len(CAPABILITIES_DEFAULT)
    assert spaces(config) == {
        "mount": "", "network": "/run/n", "pid": "", "ipc": "/pod/spaces/ipc",
        "uts": "/pod/spaces/uts",
    }  # fmt: skip
    assert "hostname" not in config, "the pod's namespace has it already"
    assert mount(config, "/dev/shm")["source"] == "/pod/shm"
    assert "ro" in mount(config, "/sys")["options"]
    resources = config["linux"]["resources"]
    assert resources["cpu"] == {"quota": 50_000, "period": 100_000}
    assert (resources["memory"], resources["pids"]) == ({"limit": 1 << 20}, {"limit": 10})
    assert resources["devices"] == [{"allow": False, "access": "rwm"}]
    assert config["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ALLOW"


def test_the_machines_own_files_are_never_written() -> None:
    config = made()
    assert "rw" in mount(config, "/etc/hosts")["options"]
    assert "ro" in mount(config, "/etc/hostname")["options"]
    volume = made(POD, Mount("/v", "/etc/hosts", read_only=True))
    assert mount(volume, "/etc/hosts")["source"] == "/v"
    assert sum(m["destination"] == "/etc/hosts" for m in volume["mounts"]) == 1


@pytest.mark.parametrize("privileged", [False, True])
def test_devices(privileged: bool) -> None:
    place = Place(devices=(Device("/dev/x", "c", 1, 2),))
    config = made(place, Mount("/dev", "/host-dev"), privileged=privileged, seccomp=False)
    assert ("nodev" in mount(config, "/host-dev")["options"]) is not privileged
    assert bool(config["linux"].get("devices")) is privileged
    assert "seccomp" not in config["linux"]


def test_namespaces_of_the_machine() -> None:
    config = made(Place(host_pid=True, host_ipc=True))
    assert set(spaces(config)) == {"mount"}
    assert mount(config, "/proc")["type"] == "bind"
    assert mount(config, "/dev/shm")["source"] == "/dev/shm"
    shared = made(Place(spaces="/p", hostname="h", shared_pid=True))
    assert spaces(shared)["pid"] == "/p/pid"
    rootless = made(Place(rootless=True, hostname="h", netns="/n"))
    assert mount(rootless, "/sys")["type"] == "bind"
    assert rootless["hostname"] == "h"


def test_outer_mounts_come_first_and_masks_go_with_privileges() -> None:
    config = made(POD, Mount("/b", "/data/in/side"), Mount("/a", "/data", read_only=True))
    order = [m["destination"] for m in config["mounts"]]
    assert order.index("/data") < order.index("/data/in/side")
    assert "ro" in mount(config, "/data")["options"]
    assert "/proc/kcore" in config["linux"]["maskedPaths"]
    assert made(masked=False)["linux"]["maskedPaths"] == []
