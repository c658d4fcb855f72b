"""Alerts from what the objects say."""

from typing import Any

import msgspec

from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.telemetry.alerting import objects
from weft.telemetry.traffic import Counts

SLEEPS = {"weft.dev/sleep": "asleep"}


def pod(reason: str, restarts: int = 4) -> Pod:
    waiting = {"reason": reason, "message": "back-off 40s"}
    status = {"name": "app", "restartCount": restarts, "state": {"waiting": waiting}}
    status |= {"image": "", "imageID": "", "ready": False}
    body = {
        "metadata": {"name": "p", "namespace": "shop"},
        "status": {"containerStatuses": [status]},
    }
    return msgspec.convert(body, Pod, strict=False)


def node(ready: str) -> Node:
    condition = {"type": "Ready", "status": ready, "message": "no heartbeat"}
    return msgspec.convert(
        {"metadata": {"name": "n1"}, "status": {"conditions": [condition]}}, Node
    )


def endpoints(*ready: bool) -> EndpointSlice:
    body: dict[str, Any] = {
        "metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "api"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": r}} for r in ready],
    }
    return msgspec.convert(body, EndpointSlice)


def test_pods_that_do_not_run() -> None:
    (crash,) = objects.of_pods([pod("CrashLoopBackOff")])
    assert (crash.key.name, crash.summary) == ("PodCrashLooping", "pod shop/p ended 4 times")
    assert crash.hint == "weft logs p -n shop --previous"
    (image,) = objects.of_pods([pod("ImagePullBackOff")])
    assert (image.key.name, image.hold_seconds) == ("PodNotStarting", 60.0)
    assert not objects.of_pods([pod("ContainerCreating")])


def test_nodes_that_are_silent_or_refuse() -> None:
    (down,) = objects.of_nodes([node("Unknown")], {})
    assert (down.key.name, down.severity, down.evidence) == (
        "NodeNotReady", "critical", "no heartbeat",
    )  # fmt: skip
    (refused,) = objects.of_nodes([node("True")], {"n1": "listener x: bad"})
    assert (refused.key.name, refused.evidence) == ("ConfigurationRefused", "listener x: bad")
    assert not objects.of_nodes([node("True")], {})


def test_a_called_service_needs_a_ready_endpoint() -> None:
    called = {("shop", "api"): Counts(7)}
    (found,) = objects.of_endpoints(called, [endpoints(False), endpoints()])
    assert (found.key.name, found.severity) == ("NoReadyEndpoints", "critical")
    assert not objects.of_endpoints(called, [endpoints(False), endpoints(True)])
    assert not objects.of_endpoints({}, [endpoints(False)]), "nobody calls it"
    body = {"metadata": {"name": "api", "namespace": "shop", "annotations": SLEEPS}}
    asleep = objects.sleeping([msgspec.convert(body, Service), Service()])
    assert asleep == {("shop", "api")}
    assert not objects.of_endpoints(called, [endpoints()], asleep), "its calls are held"
