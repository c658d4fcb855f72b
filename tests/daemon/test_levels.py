"""How full things are, by what nodes say and what the objects allow."""

from typing import Any

import msgspec

from weft.api.k8s.pod_v1 import Pod
from weft.daemon.levels import levels
from weft.daemon.usage import Reading, Sample
from weft.telemetry.alerting.growth import DISK, MEMORY, Level, Vessel


def pod(name: str, uid: str, node: str, **limits: str) -> Pod:
    resources: dict[str, Any] = {"resources": {"limits": limits}} if limits else {}
    body = {
        "metadata": {"name": name, "namespace": "shop", "uid": uid},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "x", **resources}]},
    }
    return msgspec.convert(body, Pod, strict=False)


def test_containers_with_a_limit_and_nodes() -> None:
    pods = [pod("web-0", "u1", "a", memory="64Mi"), pod("free", "u2", "a"), pod("far", "u3", "b")]
    now = Sample(1.0, 1.0, 1000)
    containers = {"u1_main_2": now, "u2_main_0": now, "u3_main_0": now, "gone_main_0": now}
    reading = Reading(Sample(1.0, 1.0, 4000), containers, 8000, 300, 900)
    found = {each.vessel.name: each for each in levels({"a": reading}, pods) if each.limit_bytes}
    web = Vessel(MEMORY, "Pod", "shop", "web-0", "main", "u1_2")
    assert found["web-0"] == Level(web, 1000, 64 << 20)
    assert found["a"] == Level(Vessel(DISK, "Node", "", "a"), 300, 900)
    assert set(found) == {"web-0", "a"}, "no limit, another node's pod, a pod that is gone"
