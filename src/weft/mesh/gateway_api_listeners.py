"""Gateways of the Gateway API: which of their listeners can be opened, and why others cannot."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import Secret
from weft.mesh.gateway_api_objects import Listener, age_key
from weft.mesh.gateway_api_refs import References
from weft.mesh.istio_gateways import CERTIFICATE_KEYS, pem
from weft.mesh.model import GatewayTls

KINDS_BY_PROTOCOL = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
}
LAYERS = {"HTTP": "http", "HTTPS": "tls", "TLS": "tls", "TCP": "tcp"}
PORT_UNAVAILABLE = "PortUnavailable"


class _Certificate(Struct, frozen=True):
    tls: GatewayTls | None = None
    reason: str = ""
    message: str = ""


def judged(
    gateways: Iterable[gw.Gateway],
    secrets: Iterable[Secret],
    references: References,
    taken: Mapping[int, str],
) -> tuple[Listener, ...]:
    """All listeners of our Gateways. `taken` are ports that Istio Gateways have, with what they
    carry (http, tls or tcp); of two Gateways that cannot share a port the older has it."""
    by_name = {(s.metadata.namespace, s.metadata.name): s for s in secrets}
    made: list[Listener] = []
    layers = dict(taken)
    claimed: set[tuple[int, str]] = {(p, "") for p, layer in taken.items() if layer == "tcp"}
    for gateway in sorted(gateways, key=age_key):
        own = [_listener(gateway, each, by_name, references) for each in gateway.spec.listeners]
        own = [replace(each, conflict=_conflict(each, own)) for each in own]
        own = [
            replace(each, refused=each.refused or _port_refused(each, layers, claimed))
            for each in own
        ]
        made += own
        for each in own:
            if each.serves:
                layers.setdefault(each.port, LAYERS[each.spec.protocol])
                claimed.add(_claim(each))
    return tuple(made)


def _listener(
    gateway: gw.Gateway,
    spec: gw.Listener,
    secrets: Mapping[tuple[str, str], Secret],
    references: References,
) -> Listener:
    if spec.protocol not in KINDS_BY_PROTOCOL:
        return Listener(gateway, spec, refused="UnsupportedProtocol")
    possible = KINDS_BY_PROTOCOL[spec.protocol]
    wanted = [(k.group, k.kind) for k in spec.allowed_routes.kinds]
    kinds = tuple(k for g, k in dict.fromkeys(wanted) if g == gw.GROUP and k in possible)
    made = Listener(gateway, spec, kinds=kinds if wanted else possible)
    if len(kinds) < len(set(wanted)):
        text = f"protocol {spec.protocol} takes {' and '.join(possible)}"
        made = replace(made, unresolved="InvalidRouteKinds", unresolved_message=text)
    if spec.protocol == "HTTPS" or (spec.protocol == "TLS" and _terminates(spec)):
        found = _certificate(gateway, spec.tls or gw.GatewayTLSConfig(), secrets, references)
        made = replace(made, tls=found.tls)
        if found.reason:
            made = replace(made, unresolved=found.reason, unresolved_message=found.message)
    return made


def _terminates(spec: gw.Listener) -> bool:
    return spec.tls is None or spec.tls.mode != "Passthrough"


def _certificate(
    gateway: gw.Gateway,
    tls: gw.GatewayTLSConfig,
    secrets: Mapping[tuple[str, str], Secret],
    references: References,
) -> _Certificate:
    """The first certificate; any that cannot be had is reported."""
    own = gateway.metadata.namespace
    found: list[GatewayTls] = []
    for ref in tls.certificate_refs:
        namespace = ref.namespace or own
        if ref.group or ref.kind != "Secret":
            text = f"certificates are Secrets, not {ref.kind} of `{ref.group}`"
            return _Certificate(None, "InvalidCertificateRef", text)
        target = ("", "Secret", namespace, ref.name)
        if not references.permitted((gw.GROUP, "Gateway", own), target):
            text = f"no ReferenceGrant in namespace `{namespace}` permits Secret `{ref.name}`"
            return _Certificate(None, "RefNotPermitted", text)
        secret = secrets.get((namespace, ref.name))
        values = [pem(secret, keys) if secret else None for keys in CERTIFICATE_KEYS]
        if values[0] is None or values[1] is None:
            what = "has no valid certificate and key" if secret else "does not exist"
            text = f"Secret `{namespace}/{ref.name}` {what}"
            return _Certificate(None, "InvalidCertificateRef", text)
        name = f"kubernetes://{namespace}/{ref.name}"
        found.append(GatewayTls(certificate_pem=values[0], key_pem=values[1], secret=name))
    if not found:
        return _Certificate(None, "InvalidCertificateRef", "no certificate is named")
    return _Certificate(found[0])


def _conflict(listener: Listener, others: Sequence[Listener]) -> str:
    """Listeners of one Gateway that cannot be told apart: none of them is served."""
    if listener.refused:
        return ""
    for other in others:
        if other.spec is listener.spec or other.port != listener.port or other.refused:
            continue
        if LAYERS[other.spec.protocol] != LAYERS[listener.spec.protocol]:
            return "ProtocolConflict"
        if other.host == listener.host or listener.spec.protocol == "TCP":
            return "HostnameConflict"
    return ""


def _port_refused(
    listener: Listener, layers: Mapping[int, str], claimed: set[tuple[int, str]]
) -> str:
    layer = LAYERS[listener.spec.protocol]
    if layers.get(listener.port, layer) != layer or _claim(listener) in claimed:
        return PORT_UNAVAILABLE
    return ""


def _claim(listener: Listener) -> tuple[int, str]:
    """What only one listener of a node can have; plain HTTP is shared."""
    layer = LAYERS[listener.spec.protocol]
    name = {"tcp": "", "tls": listener.host}.get(layer, f"http {listener.name}")
    return listener.port, name
