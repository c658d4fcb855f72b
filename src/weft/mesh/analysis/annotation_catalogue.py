"""Annotations of Istio and of weft: whom they belong to, and what weft makes of them.

Names and kinds after Istio's published list of annotations.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from weft.api import wellknown
from weft.api.argo.expressions import ExpressionError, compiled
from weft.lib.durations import parse_duration
from weft.mesh.names import nearest
from weft.mesh.values import is_network

Status = Literal["honoured", "idle", "deprecated"]
POD, SERVICE, ENTRY, ANY = ("Pod",), ("Service",), ("WorkloadEntry",), ("*",)
SUPPRESS = "weft.dev/analyze-suppress"
"""Codes, separated by commas, that are not to be reported about the object; `*` is all."""
SUPPRESS_ISTIO = "galley.istio.io/analyze-suppress"
"""The same with Istio's codes."""
_NO_SIDECAR = "there are no sidecars: the node's proxy serves all pods"


class Annotation(Struct, frozen=True):
    """What is known about an annotation."""

    kinds: tuple[str, ...]
    """Kinds that it belongs to; `*` is any. On a pod template it counts as a pod's."""
    status: Status = "idle"
    reason: str = _NO_SIDECAR
    """Why it has no effect."""
    problem: Callable[[str], str] = lambda _: ""
    """What is wrong with a value, or ""."""


def _boolean(value: str) -> str:
    return "" if value.lower() in ("true", "false") else "must be `true` or `false`"


def _number(value: str) -> str:
    return "" if value.isascii() and value.isdigit() else "must be a number"


def _ports(value: str) -> str:
    parts = [part.strip() for part in value.split(",") if part.strip() not in ("", "*")]
    wrong = [p for p in parts if not (p.isascii() and p.isdigit() and 0 < int(p) < 65536)]
    return f"`{wrong[0]}` is no port" if wrong else ""


def _ranges(value: str) -> str:
    parts = [part.strip() for part in value.split(",") if part.strip() not in ("", "*")]
    wrong = [part for part in parts if not is_network(part)]
    return f"`{wrong[0]}` is no address range" if wrong else ""


def _duration(value: str) -> str:
    try:
        parse_duration(value)
    except ValueError as error:
        return str(error)
    return ""


def _export_to(value: str) -> str:
    parts = [part.strip() for part in value.split(",")]
    wrong = [p for p in parts if p not in ("*", ".", "~") and not p.replace("-", "").isalnum()]
    return f"`{wrong[0]}` is neither `*`, `.`, `~` nor a namespace" if wrong else ""


def _interception(value: str) -> str:
    return "" if value in ("REDIRECT", "TPROXY", "NONE") else "must be REDIRECT, TPROXY or NONE"


_IDLE_ON_PODS = (
    "inject.istio.io/templates", "prometheus.istio.io/merge-metrics", "proxy.istio.io/config",
    "proxy.istio.io/overrides", "sidecar.istio.io/agentLogLevel",
    "sidecar.istio.io/bootstrapOverride", "sidecar.istio.io/componentLogLevel",
    "sidecar.istio.io/extraStatTags", "sidecar.istio.io/logLevel", "sidecar.istio.io/nativeSidecar",
    "sidecar.istio.io/proxyCPU", "sidecar.istio.io/proxyCPULimit", "sidecar.istio.io/proxyImage",
    "sidecar.istio.io/proxyImageType", "sidecar.istio.io/proxyMemory",
    "sidecar.istio.io/proxyMemoryLimit", "sidecar.istio.io/statsCompression",
    "sidecar.istio.io/statsEvictionInterval", "sidecar.istio.io/statsHistogramBuckets",
    "sidecar.istio.io/status", "sidecar.istio.io/userVolume", "sidecar.istio.io/userVolumeMount",
    "traffic.sidecar.istio.io/kubevirtInterfaces", "istio.io/rev",
    "istio.io/reroute-virtual-interfaces", "ambient.istio.io/redirection",
    "ambient.istio.io/bypass-inbound-capture", "ambient.istio.io/dns-capture",
)  # fmt: skip
_DEPRECATED_ON_PODS = (
    "alpha.istio.io/identity", "sidecar.istio.io/controlPlaneAuthPolicy",
    "sidecar.istio.io/discoveryAddress", "sidecar.istio.io/statsInclusionPrefixes",
    "sidecar.istio.io/statsInclusionRegexps", "sidecar.istio.io/statsInclusionSuffixes",
    "sidecar.istio.io/enableCoreDump",
)  # fmt: skip
_DEPRECATED_ON_SERVICES = (
    "alpha.istio.io/canonical-serviceaccounts", "alpha.istio.io/kubernetes-serviceaccounts",
)  # fmt: skip
_OF_ENTRIES = (
    "istio.io/autoRegistrationGroup", "istio.io/workloadController", "istio.io/connectedAt",
    "istio.io/disconnectedAt",
)  # fmt: skip


def _of_weft() -> dict[str, Annotation]:
    """Weft's own: whom they belong to is in the names of the constants."""
    own = {k: v for k, v in vars(wellknown).items() if k.startswith("ANNOTATION_")}
    kinds = {"POD": POD, "NODE": ("Node",), "GATEWAY": ("Gateway",)}
    return {
        name: Annotation(kinds.get(constant.split("_")[1], ANY), "honoured")
        for constant, name in own.items()
        if name.startswith("weft.dev/")
    }


SLEEP_SECONDS_MIN = 6.0
"""What `weft.dev/scale-to-zero-after` means at least: proxies report every 5 s whom they called."""
START_AFTER = ("deployment", "statefulset", "service", "job", "pod")
"""Kinds that pods can start after, by all names that are read."""
_SHORT = ("deploy", "sts", "svc", "po", *(f"{kind}s" for kind in START_AFTER))
_SLEEPERS = ("Deployment", "StatefulSet", "HorizontalPodAutoscaler")


def _sleep(value: str) -> str:
    if problem := _duration(value):
        return problem
    short = parse_duration(value) < SLEEP_SECONDS_MIN
    return f"`{value}` counts as {SLEEP_SECONDS_MIN:.0f}s, which is the least" if short else ""


def _start_after(value: str) -> str:
    for part in value.replace(",", " ").split():
        kind, slash, name = part.lower().partition("/")
        if slash and kind not in (*START_AFTER, *_SHORT):
            near = nearest(kind, START_AFTER)
            hint = f"did you mean `{near}/{name}`?" if near else "use " + ", ".join(START_AFTER)
            return f"`{part}` is of no kind that pods start after: {hint}"
        if slash and not name:
            return f"`{part}` lacks a name"
    return "" if value.strip() else "it names nothing"


def _judge(value: str) -> str:
    if value in ("true", "false"):
        return ""
    try:
        compiled(value)
    except ExpressionError as error:
        return f"it is neither `true` nor a condition such as `result.errorPercent < 1`: {error}"
    return ""


_VALUES = {
    wellknown.ANNOTATION_AUTO_ROLLBACK: Annotation(("Deployment",), "honoured", problem=_boolean),
    wellknown.ANNOTATION_ROLL_ON_CONFIG: Annotation(("Deployment",), "honoured", problem=_boolean),
    wellknown.ANNOTATION_JUDGE: Annotation(("Rollout",), "honoured", problem=_judge),
    wellknown.ANNOTATION_PREDICT_SECONDS: Annotation(
        ("HorizontalPodAutoscaler",), "honoured", problem=_number
    ),
    wellknown.ANNOTATION_SCALE_TO_ZERO_AFTER: Annotation(_SLEEPERS, "honoured", problem=_sleep),
    wellknown.ANNOTATION_HOLD_TIMEOUT: Annotation(_SLEEPERS, "honoured", problem=_duration),
    wellknown.ANNOTATION_START_AFTER: Annotation(POD, "honoured", problem=_start_after),
    wellknown.ANNOTATION_DURATION: Annotation(ANY, "honoured", problem=_duration),
}
"""Those of weft's own that people write."""
KNOWN: dict[str, Annotation] = {
    **{name: Annotation(POD) for name in _IDLE_ON_PODS},
    **{name: Annotation(POD, "deprecated") for name in _DEPRECATED_ON_PODS},
    **{name: Annotation(SERVICE, "deprecated") for name in _DEPRECATED_ON_SERVICES},
    **{name: Annotation(ENTRY, reason="it is Istio's own note") for name in _OF_ENTRIES},
    **_of_weft(),
    **_VALUES,
    wellknown.ANNOTATION_EXPORT_TO: Annotation(SERVICE, "honoured", problem=_export_to),
    SUPPRESS: Annotation(ANY, "honoured"),
    SUPPRESS_ISTIO: Annotation(ANY, "honoured"),
    "sidecar.istio.io/inject": Annotation(POD, problem=_boolean),
    "sidecar.istio.io/rewriteAppHTTPProbers": Annotation(POD, problem=_boolean),
    "sidecar.istio.io/interceptionMode": Annotation(POD, problem=_interception),
    "status.sidecar.istio.io/port": Annotation(POD, problem=_number),
    "readiness.status.sidecar.istio.io/applicationPorts": Annotation(POD, problem=_ports),
    "readiness.status.sidecar.istio.io/failureThreshold": Annotation(POD, problem=_number),
    "readiness.status.sidecar.istio.io/initialDelaySeconds": Annotation(POD, problem=_number),
    "readiness.status.sidecar.istio.io/periodSeconds": Annotation(POD, problem=_number),
    **{
        f"traffic.sidecar.istio.io/{name}": Annotation(
            POD, reason="all TCP of a pod goes through the proxy", problem=check
        )
        for name, check in (
            ("excludeInboundPorts", _ports),
            ("excludeInterfaces", lambda _: ""),
            ("excludeOutboundIPRanges", _ranges),
            ("excludeOutboundPorts", _ports),
            ("includeInboundPorts", _ports),
            ("includeOutboundIPRanges", _ranges),
            ("includeOutboundPorts", _ports),
        )
    },
    "proxy.istio.io/drainDuration": Annotation(POD, problem=_duration),
    "istio.io/dry-run": Annotation(
        ("AuthorizationPolicy",), reason="rules are enforced or left out", problem=_boolean
    ),
    "networking.istio.io/address-type": Annotation(
        ("Gateway",), reason="a Gateway has the addresses of its nodes"
    ),
    "networking.istio.io/service-type": Annotation(
        ("Gateway",), reason="weft opens the ports of Gateways itself, without a Service"
    ),
    "networking.istio.io/traffic-distribution": Annotation(
        ("Service", "ServiceEntry"), reason="say it in a DestinationRule's `localityLbSetting`"
    ),
    "gateway.istio.io/controller-version": Annotation(ANY, reason="it is Istio's own note"),
    "install.operator.istio.io/chart-owner": Annotation(ANY, reason="it is Istio's own note"),
    "install.operator.istio.io/owner-generation": Annotation(ANY, reason="it is Istio's own note"),
    "install.operator.istio.io/version": Annotation(ANY, reason="it is Istio's own note"),
}
