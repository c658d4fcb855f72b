"""What is wrong by what the objects say: pods that do not run, nodes, missing endpoints."""

from collections.abc import Collection, Iterable, Mapping

from weft.api.k8s.core_v1 import Node, Service
from weft.api.k8s.discovery_v1 import EndpointSlice
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import meta
from weft.api.wellknown import ANNOTATION_SERVICE_SLEEP
from weft.telemetry.alerting.alerts import AlertKey, Finding
from weft.telemetry.alerting.history import ServiceName
from weft.telemetry.traffic import Counts

CRASHES, NOT_STARTING = "PodCrashLooping", "PodNotStarting"
NODE_DOWN, NO_ENDPOINTS = "NodeNotReady", "NoReadyEndpoints"
REFUSED = "ConfigurationRefused"
SERVICE_NAME = "kubernetes.io/service-name"
CRASH_LOOP = "CrashLoopBackOff"
NOT_STARTING_REASONS = frozenset(
    ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
     "CreateContainerConfigError", "CreateContainerError", "RunContainerError")
)  # fmt: skip
NOT_STARTING_HOLD_SECONDS = 60.0
NODE_HOLD_SECONDS = 10.0
ENDPOINTS_HOLD_SECONDS = 5.0


def of_pods(pods: Iterable[Pod]) -> list[Finding]:
    found = []
    for pod in pods:
        status = pod.status
        for container in (*status.init_container_statuses, *status.container_statuses):
            waiting = container.state.waiting if container.state else None
            if waiting is None or not waiting.reason:
                continue
            where = f"container {container.name}: {waiting.message or waiting.reason}"
            if waiting.reason == CRASH_LOOP:
                times = container.restart_count or 0
                found.append(_pod(pod, CRASHES, f"ended {times} times", where, 0.0))
            elif waiting.reason in NOT_STARTING_REASONS:
                text = f"does not start: {waiting.reason}"
                found.append(_pod(pod, NOT_STARTING, text, where, NOT_STARTING_HOLD_SECONDS))
            else:
                continue
            break
    return found


def _pod(pod: Pod, name: str, text: str, evidence: str, hold: float) -> Finding:
    namespace, pod_name = meta(pod).namespace, meta(pod).name
    return Finding(
        AlertKey(name, namespace, "Pod", pod_name),
        "warning",
        f"pod {namespace}/{pod_name} {text}",
        evidence,
        hold_seconds=hold,
        hint=f"weft logs {pod_name} -n {namespace} --previous"
        if name == CRASHES
        else f"weft describe pod {pod_name} -n {namespace}",
    )


def of_nodes(nodes: Iterable[Node], refused: Mapping[str, str]) -> list[Finding]:
    """`refused`: by node, what its proxy says to configuration that it does not take."""
    found = []
    for node in nodes:
        name = meta(node).name
        ready = next((c for c in node.status.conditions if c.type == "Ready"), None)
        if ready is None or ready.status != "True":
            text = ready.message if ready is not None else ""
            found.append(
                Finding(
                    *(AlertKey(NODE_DOWN, "", "Node", name), "critical"),
                    *(f"node {name} is not ready", text or "it has not reported"),
                    hold_seconds=NODE_HOLD_SECONDS,
                    hint=f"weft describe node {name}",
                )
            )
        if name in refused:
            found.append(
                Finding(
                    *(AlertKey(REFUSED, "", "Node", name), "warning"),
                    f"the proxy of node {name} refuses configuration; what was there stays",
                    refused[name],
                    hold_seconds=NODE_HOLD_SECONDS,
                    hint="weft status",
                )
            )
    return found


def sleeping(services: Iterable[Service]) -> frozenset[ServiceName]:
    """Services that are scaled to zero, or about to be: their calls are held and wake them."""
    return frozenset(
        (meta(service).namespace, meta(service).name)
        for service in services
        if meta(service).annotations.get(ANNOTATION_SERVICE_SLEEP)
    )


def of_endpoints(
    called: Mapping[ServiceName, Counts],
    slices: Iterable[EndpointSlice],
    asleep: Collection[ServiceName] = (),
) -> list[Finding]:
    """Services that are called and have endpoints, none of them ready."""
    ready: dict[ServiceName, int] = {}
    for one in slices:
        service = (meta(one).labels or {}).get(SERVICE_NAME)
        if not service:
            continue
        name = (meta(one).namespace, service)
        if name in called and name not in asleep:
            count = sum(1 for e in one.endpoints if e.conditions and e.conditions.ready)
            ready[name] = ready.get(name, 0) + count
    return [
        Finding(
            AlertKey(NO_ENDPOINTS, namespace, "Service", service),
            "critical",
            f"{namespace}/{service} is called and no pod of it is ready",
            f"{called[namespace, service].requests:.0f} requests in the last minute",
            hold_seconds=ENDPOINTS_HOLD_SECONDS,
            hint=f"weft get pods -n {namespace}",
        )
        for (namespace, service), count in sorted(ready.items())
        if not count
    ]
