"""Gateways of the Gateway API: which of their listeners can be opened, and why others cannot.

Each Gateway has addresses of its own, so listeners of different Gateways never conflict.
"""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_certificates import Certificates, Holder
from weft.mesh.gateway_api_objects import ROUTE_KINDS, Listener
from weft.mesh.names import intersection

_TERMINATE = ("TLSRoute", "TCPRoute")
KINDS_BY_PROTOCOL = {
    "HTTP": ("HTTPRoute", "GRPCRoute"),
    "HTTPS": ("HTTPRoute", "GRPCRoute"),
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
    "UDP": ("UDPRoute",),
}
LAYERS = {"HTTP": "http", "HTTPS": "tls", "TLS": "tls", "TCP": "tcp", "UDP": "udp"}
PROTOCOL_CONFLICT, HOSTNAME_CONFLICT = "ProtocolConflict", "HostnameConflict"


def judged(
    gateway: gw.Gateway, sets: Sequence[gw.ListenerSet], certificates: Certificates
) -> tuple[Listener, ...]:
    """The listeners of a Gateway, then those of its ListenerSets. Of its own, all that cannot be
    told apart conflict; a ListenerSet's yields to what stands before it."""
    own = [_listener(gateway, spec, None, certificates) for spec in gateway.spec.listeners]
    made = [replace(each, conflict=_conflict(each, _others(each, own))) for each in own]
    for each in sets:
        for spec in each.spec.listeners:
            listener = _listener(gateway, spec, each, certificates)
            # What conflicts itself takes no place, but the Gateway's own always go first.
            before = [x for x in made if x.set is None or not x.conflict]
            made.append(replace(listener, conflict=_conflict(listener, before)))
    return tuple(replace(each, overlaps=_overlaps(each, made)) for each in made)


def _listener(
    gateway: gw.Gateway,
    spec: gw.Listener,
    listener_set: gw.ListenerSet | None,
    certificates: Certificates,
) -> Listener:
    made = Listener(gateway, spec, set=listener_set)
    if spec.protocol not in KINDS_BY_PROTOCOL:
        text = f"protocols are {', '.join(KINDS_BY_PROTOCOL)}"
        return replace(made, refused="UnsupportedProtocol", refused_message=text)
    made = _with_kinds(made)
    if not _terminates(spec):
        return made
    owner = Holder("ListenerSet" if listener_set else "Gateway", made.owner.metadata.namespace)
    found = certificates.of_listener(owner, spec.tls or gw.ListenerTLSConfig())
    made = replace(made, tls=found.tls)
    if found.reason:
        made = replace(made, unresolved=found.reason, unresolved_message=found.message)
    return _with_clients(made, certificates) if spec.protocol == "HTTPS" else made


def _with_kinds(made: Listener) -> Listener:
    spec = made.spec
    possible = KINDS_BY_PROTOCOL[spec.protocol]
    if spec.protocol == "TLS" and _terminates(spec):
        possible = _TERMINATE
    wanted = [(k.group, k.kind) for k in spec.allowed_routes.kinds]
    kinds = tuple(k for g, k in dict.fromkeys(wanted) if g == gw.GROUP and k in possible)
    made = replace(made, kinds=kinds if wanted else possible)
    if len(kinds) < len(set(wanted)):
        text = f"protocol {spec.protocol} takes {' and '.join(possible)}"
        made = replace(made, unresolved=ROUTE_KINDS, unresolved_message=text)
    return made


def _with_clients(made: Listener, certificates: Certificates) -> Listener:
    """The certificates that clients show, as the Gateway says for the listener's port."""
    validation = client_validation(made.gateway, made.port)
    if validation is None:
        return made
    found = certificates.of_clients(made.gateway, validation)
    if found.reason:
        made = replace(made, unresolved=found.reason, unresolved_message=found.message)
    if found.clients is None:
        text = f"no authority to check clients' certificates with: {found.message}"
        return replace(made, tls=None, refused="NoValidCACertificate", refused_message=text)
    tls = made.tls
    return made if tls is None else replace(made, tls=replace(tls, clients=found.clients))


def client_validation(gateway: gw.Gateway, port: int) -> gw.FrontendTLSValidation | None:
    """What the Gateway says about clients' certificates at a port: its own word, else the
    default's."""
    frontend = gateway.spec.tls.frontend if gateway.spec.tls else None
    if frontend is None:
        return None
    own = next((each.tls for each in frontend.per_port if each.port == port), frontend.default)
    return own.validation


def _terminates(spec: gw.Listener) -> bool:
    passed = spec.tls is not None and spec.tls.mode == "Passthrough"
    return spec.protocol == "HTTPS" or (spec.protocol == "TLS" and not passed)


def _others(listener: Listener, listeners: Iterable[Listener]) -> list[Listener]:
    return [each for each in listeners if each.spec is not listener.spec]


def _conflict(listener: Listener, others: Iterable[Listener]) -> str:
    """Why the listener cannot be told apart from another; empty when it can."""
    if listener.refused:
        return ""
    for other in others:
        if (other.port, other.transport) != (listener.port, listener.transport) or other.refused:
            continue
        mine, theirs = listener.spec.protocol, other.spec.protocol
        if LAYERS[mine] != LAYERS[theirs]:
            return PROTOCOL_CONFLICT
        if other.host == listener.host or mine in ("TCP", "UDP"):
            return HOSTNAME_CONFLICT if mine == theirs else PROTOCOL_CONFLICT
    return ""


def _overlaps(listener: Listener, others: Iterable[Listener]) -> str:
    """A client may use a connection for all names that its certificate has, so listeners of TLS
    that share names are worth a word."""
    if not _terminates(listener.spec) or listener.refused or listener.conflict:
        return ""
    for other in others:
        same = other.spec is listener.spec or other.port != listener.port
        if same or not _terminates(other.spec) or other.refused or other.conflict:
            continue
        if intersection(listener.host, other.host) is not None:
            return other.spec.name
    return ""
