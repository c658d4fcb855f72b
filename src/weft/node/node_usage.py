"""What a node has left and its pods take, as far as the kernel counts it."""

import re
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from weft.api.k8s.container_v1 import Container
from weft.api.k8s.pod_v1 import Pod
from weft.lib.quantity import parse_quantity
from weft.node import pressure
from weft.node.agent_settings import MachineFacts
from weft.node.eviction_order import Candidate, Requests, Use
from weft.node.machine_facts import memory_limit, pids_max, working_set
from weft.node.pressure import MEMORY, PIDS, Observation, Signal
from weft.node.runtime import ContainerRuntime
from weft.node.storage_usage import STORAGE, DiskUse, all_containers, file_systems, total

Place = tuple[str, str]
"""Pod uid and container."""
_OF_POD = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_([a-z0-9-]+)_[0-9]+")


class Taken(Struct, frozen=True):
    """What containers take, and a pod has on disk."""

    memory: Mapping[Place, float]
    processes: Mapping[Place, int] = {}
    disk: DiskUse = DiskUse()


def machine_left(machine: MachineFacts, node: Path, images: Path) -> dict[Signal, Observation]:
    """What the machine, or the control group that weft runs in, has left, and the file systems of
    pods and images. Blocking. OSError, ValueError."""
    limit = memory_limit()
    left = pressure.memory_available(
        Path("/proc/meminfo").read_text(), limit, working_set() if limit is not None else 0
    )
    most = pids_max()
    running = pressure.threads_running(Path("/proc/loadavg").read_text())
    return {
        MEMORY: Observation(left, machine.memory_bytes),
        PIDS: Observation(max(0, most - running), most),
        **file_systems(node, images if images.parts else node),
    }


async def memory_taken(runtime: ContainerRuntime) -> dict[Place, float]:
    """Of the containers of pods that run."""
    found: dict[Place, float] = {}
    for state in await runtime.list():
        match = _OF_POD.fullmatch(state.id)
        if state.exit_code is not None or match is None:
            continue
        try:
            found[match[1], match[2]] = float((await runtime.usage(state.id))[1])
        except (LookupError, OSError):
            continue  # it has just ended
    return found


def candidate(pod: Pod, taken: Taken) -> Candidate:
    uid = pod.metadata.uid
    running = [c for c in all_containers(pod) if (uid, c.name) in taken.memory]
    uses = {
        c.name: Use(
            taken.memory[uid, c.name],
            taken.processes.get((uid, c.name), 0),
            taken.disk.containers.get(c.name, Use()).disk,
            taken.disk.containers.get(c.name, Use()).inodes,
        )
        for c in running
    }
    requests = {c.name: Requests(_asked(c, "memory"), _asked(c, STORAGE)) for c in running}
    volumes = total(tuple(taken.disk.volumes.values()))
    return Candidate(uid, pod.spec.priority or 0, requests, uses, volumes)


def _asked(container: Container, resource: str) -> float:
    resources = container.resources
    return float(parse_quantity(resources.requests.get(resource, 0) if resources else 0))


def processes() -> dict[Place, int]:
    """How many each container has, by its control group. Blocking."""
    found: dict[Place, int] = {}
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = path.read_text()
        except OSError:
            continue  # it has just ended
        if (match := _OF_POD.search(text)) is not None:
            place = (match[1], match[2])
            found[place] = found.get(place, 0) + 1
    return found
