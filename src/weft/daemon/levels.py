"""How full containers and nodes are, of what nodes measured and what the objects allow. Pure."""

from collections.abc import Iterable, Iterator

from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import meta
from weft.daemon.usage import Readings
from weft.lib.quantity import parse_quantity
from weft.telemetry.alerting.growth import DISK, MEMORY, Level, Vessel


def levels(readings: Readings, pods: Iterable[Pod]) -> Iterator[Level]:
    """Of containers that have a memory limit, and of nodes. A node is believed about its own."""
    by_uid = {meta(pod).uid: pod for pod in pods}
    for node, reading in readings.items():
        machine = reading.machine.memory_bytes
        yield Level(Vessel(MEMORY, "Node", "", node), machine, reading.memory_bytes)
        disk = Vessel(DISK, "Node", "", node)
        yield Level(disk, reading.disk_used_bytes, reading.disk_bytes)
        for ident, sample in reading.containers.items():
            uid, _, rest = ident.partition("_")
            container, _, attempt = rest.rpartition("_")
            pod = by_uid.get(uid)
            if pod is None or pod.spec.node_name != node:
                continue
            limit = _memory_limit(pod, container)
            place = MEMORY, "Pod", meta(pod).namespace, meta(pod).name, container
            vessel = Vessel(*place, start=f"{uid}_{attempt}")
            yield Level(vessel, sample.memory_bytes, limit)


def _memory_limit(pod: Pod, name: str) -> float:
    """0 is none."""
    for container in (*pod.spec.init_containers, *pod.spec.containers):
        if container.name == name and container.resources is not None:
            text = container.resources.limits.get("memory")
            return float(parse_quantity(text)) if text else 0.0
    return 0.0
