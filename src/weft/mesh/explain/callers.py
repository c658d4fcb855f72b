"""Who makes the request: a workload of the mesh, or somebody outside at a port of a Gateway."""

from collections.abc import Iterable

from msgspec import Struct

from weft.mesh.explain.request import Request
from weft.mesh.model import GatewayListener, MeshModel, Workload
from weft.mesh.names import nearest

WORKLOAD_KINDS = {
    "deploy": "Deployment", "deployment": "Deployment", "deployments": "Deployment",
    "rs": "ReplicaSet", "replicaset": "ReplicaSet", "sts": "StatefulSet",
    "statefulset": "StatefulSet", "ds": "DaemonSet", "daemonset": "DaemonSet", "job": "Job",
    "jobs": "Job", "cronjob": "CronJob", "pod": "Pod", "po": "Pod", "pods": "Pod",
}  # fmt: skip
GATEWAY_KINDS = ("gateway", "gateways", "gw", "gtw")
NAMES_SHOWN_MAX = 8


class Origin(Struct, frozen=True):
    """What the proxy knows of who calls."""

    workload: Workload | None = None
    """None for callers from outside."""
    principal: str = ""
    """SPIFFE ID; empty when it has no identity."""
    address: str = ""
    """Empty when it is not known."""
    node: str = ""
    """Whose proxy takes the call; empty when any may."""


class NoCaller(Struct, frozen=True):
    """Nobody is named so: what is wrong, and what to type."""

    message: str
    hint: str = ""


class Pods(Struct, frozen=True):
    """The pods of a workload. All are treated alike but for where they are."""

    workloads: tuple[Workload, ...]


class Outside(Struct, frozen=True):
    """A port of a Gateway."""

    listener: GatewayListener
    gateway: str = ""
    """`namespace/name`, when one was named, or the port belongs to one alone."""


def find_caller(
    model: MeshModel, text: str, namespace: str, request: Request
) -> Pods | Outside | NoCaller:
    """Reads `deploy/NAME`, `pod/NAME`, `gateway/NAME` or `gateway:PORT`."""
    kind, slash, name = text.partition("/")
    udp = request.scheme == "udp"
    gateways = tuple(g for g in model.gateways if (g.protocol == "udp") == udp)
    if text.startswith("gateway:"):
        return _outside(gateways, "", text.partition(":")[2], request.port)
    if not slash or not name:
        return NoCaller(
            f"`{text}` names no caller",
            "write `--from deploy/NAME`, `--from pod/NAME`, `--from gateway/NAME`, "
            "`--from external` or `--gateway PORT`",
        )
    if kind.lower() in GATEWAY_KINDS:
        return _at_gateway(gateways, name, namespace, request.port)
    known = WORKLOAD_KINDS.get(kind.lower())
    if known is None:
        near = nearest(kind.lower(), (*WORKLOAD_KINDS, *GATEWAY_KINDS))
        hint = f"did you mean `{near}/{name}`?" if near else "write `deploy/NAME` or `pod/NAME`"
        return NoCaller(f"`{kind}` is no kind of caller", hint)
    return _pods(model.workloads, known, name, namespace)


def _pods(workloads: tuple[Workload, ...], kind: str, name: str, namespace: str) -> Pods | NoCaller:
    def called(workload: Workload) -> str:
        return workload.name if kind == "Pod" else workload.workload

    found = tuple(w for w in workloads if called(w) == name and w.namespace == namespace)
    if found:
        return Pods(found)
    message = f"no pod of {kind} `{name}` runs in namespace `{namespace}`"
    if kind == "Pod":
        message = f"no pod `{name}` runs in namespace `{namespace}`"
    elsewhere = sorted({w.namespace for w in workloads if called(w) == name})
    if elsewhere:
        return NoCaller(message, f"there is one in `{elsewhere[0]}`: add `-n {elsewhere[0]}`")
    prefix = "pod" if kind == "Pod" else "deploy"
    names = sorted({called(w) for w in workloads if w.namespace == namespace})
    return NoCaller(message, _suggestion(name, names, prefix, namespace))


def _suggestion(name: str, names: list[str], prefix: str, namespace: str) -> str:
    if near := nearest(name, names):
        return f"did you mean `{prefix}/{near}`?"
    if not names:
        return f"nothing runs in namespace `{namespace}`; another one is named by `-n`"
    shown = ", ".join(f"`{prefix}/{n}`" for n in names[:NAMES_SHOWN_MAX])
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return f"there are {shown}{more}"


def _at_gateway(
    gateways: tuple[GatewayListener, ...], name: str, namespace: str, wanted_port: int
) -> Outside | NoCaller:
    full = name if "/" in name else f"{namespace}/{name}"
    own = tuple(g for g in gateways if any(s.name.startswith(f"{full}/") for s in g.servers))
    if own:
        return _outside(own, full, "", wanted_port)
    names = sorted({s.name.rpartition("/")[0] for g in gateways for s in g.servers})
    near = nearest(full, names)
    shown = ", ".join(f"`{n}`" for n in names) or "none"
    hint = f"did you mean `gateway/{near}`?" if near else f"Gateways that serve: {shown}"
    return NoCaller(f"no Gateway `{full}` serves a port", hint)


def _outside(
    gateways: Iterable[GatewayListener], name: str, text: str, wanted_port: int
) -> Outside | NoCaller:
    known = sorted(gateways, key=lambda g: (g.port, g.binding))
    shown = ", ".join(dict.fromkeys(str(g.port) for g in known)) or "none"
    address, _, text = text.rpartition(":")
    if address:
        known = [g for g in known if g.bind == address.strip("[]")]
    if text and not text.isdigit():
        return NoCaller(f"`{text}` is no port", f"ports of Gateways: {shown}")
    port = int(text) if text else wanted_port
    found = [g for g in known if g.port == port]
    found = [g for g in found if not g.egress] or found
    if not found and not text and len(known) == 1:
        found = known
    if not found:
        return NoCaller(f"no Gateway in force has port {port}", f"ports of Gateways: {shown}")
    # Servers that name an address are meant where it is named.
    found = [g for g in found if not g.bind] or found
    if len(found) > 1:
        names = " or ".join(f"`--from {_called(g)}`" for g in found)
        return NoCaller(f"several Gateways have port {port}", f"say which: {names}")
    return Outside(found[0], name or found[0].gateway)


def _called(listener: GatewayListener) -> str:
    if not listener.bind:
        return f"gateway/{owner(listener)}"
    address = f"[{listener.bind}]" if ":" in listener.bind else listener.bind
    return f"gateway:{address}:{listener.port}"


def owner(listener: GatewayListener) -> str:
    """A Gateway that has the port; of those that share it the first. Empty when all its servers are
    closed."""
    first = listener.servers[0].name if listener.servers else ""
    return listener.gateway or first.rpartition("/")[0]
