"""BackendTLSPolicies: which Services Gateways speak TLS to, and what certificates these show."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_certificates import Certificates, Found, Holder
from weft.mesh.gateway_api_objects import Derived, age_key
from weft.mesh.gateway_api_refs import Backend
from weft.mesh.model import CertificatePair, UpstreamTls
from weft.mesh.names import service_host

Target = tuple[str, str]
"""(host of a Service, name of its port or "" for all)."""


class Via(Struct, frozen=True):
    """A Gateway on the way to back ends: what it shows them."""

    gateway: str = ""
    """Empty for Gateways that show nothing, which are all alike."""
    certificate: CertificatePair | None = None


NOTHING_SHOWN = Via()


class JudgedPolicy(Struct, frozen=True):
    """A policy, and how it fares; reasons are words of the specification."""

    policy: gw.BackendTLSPolicy
    targets: tuple[Target, ...] = ()
    """Services, or ports of theirs, that it names."""
    tls: UpstreamTls | None = None
    """None: connections must fail."""
    refused: str = ""
    refused_message: str = ""
    unresolved: str = ""
    unresolved_message: str = ""

    @property
    def source(self) -> str:
        meta = self.policy.metadata
        return f"BackendTLSPolicy {meta.namespace}/{meta.name}"


class BackendTls:
    """All policies, by what they are about."""

    def __init__(self, policies: Iterable[gw.BackendTLSPolicy], certificates: Certificates) -> None:
        self.judged: list[JudgedPolicy] = []
        self._by_target: dict[Target, JudgedPolicy] = {}
        for policy in sorted(policies, key=age_key):
            judged = _judged(policy, certificates)
            lost = [t for t in judged.targets if t in self._by_target]
            for target in judged.targets:
                self._by_target.setdefault(target, judged)
            if lost:
                winner = self._by_target[lost[0]].source
                text = f"{winner} is about the same Service and came first"
                judged = replace(judged, refused="Conflicted", refused_message=text)
            self.judged.append(judged)

    def applied(self, backend: Backend, via: Via, streams: bool) -> Backend:
        """The back end as a Gateway reaches it. `streams`: connections go there as bytes."""
        policy = self._by_target.get((backend.service, backend.port_name))
        policy = policy or self._by_target.get((backend.service, ""))
        if policy is None or not backend.destination:
            return backend
        if policy.tls is None:
            text = f"{policy.source}: {policy.refused_message or policy.unresolved_message}"
            return replace(backend, destination="", message=text)
        tls, name = policy.tls, f"{backend.destination}@tls.{policy.source.split()[1]}"
        if via.certificate is not None:
            pair = via.certificate
            tls = replace(
                tls, mode="mutual", certificate_pem=pair.certificate_pem, key_pem=pair.key_pem,
                secret=pair.secret,
            )  # fmt: skip
            name = f"{name}@{via.gateway}"
        name = f"{name}@tcp" if streams else name
        derived = Derived(name, ((backend.destination, 1),), tls, policy.source, streams)
        return replace(backend, destination=name, derived=derived)


def backend_certificate(gateway: gw.Gateway, certificates: Certificates) -> CertificatePair | Found:
    """What the Gateway shows to back ends; Found() without a reason when it shows nothing."""
    tls = gateway.spec.tls.backend if gateway.spec.tls else None
    if tls is None or tls.client_certificate_ref is None:
        return Found()
    holder = Holder("Gateway", gateway.metadata.namespace)
    found = certificates.pair(holder, tls.client_certificate_ref)
    if isinstance(found, Found) and found.reason == "InvalidCertificateRef":
        return replace(found, reason="InvalidClientCertificateRef")
    return found


def _targets(policy: gw.BackendTLSPolicy) -> list[Target]:
    return [
        (service_host(ref.name, policy.metadata.namespace), ref.section_name)
        for ref in policy.spec.target_refs
        if ref.group == "" and ref.kind == "Service"
    ]


def _judged(policy: gw.BackendTLSPolicy, certificates: Certificates) -> JudgedPolicy:
    wanted = policy.spec.validation
    made = JudgedPolicy(policy, tuple(dict.fromkeys(_targets(policy))))
    names = tuple(
        name.hostname if name.type == "Hostname" else name.uri for name in wanted.subject_alt_names
    )
    tls = UpstreamTls(
        mode="simple", sni=wanted.hostname, subject_alt_names=names or (wanted.hostname,)
    )
    if wanted.well_known_ca_certificates == "System":
        return replace(made, tls=tls)
    holder = Holder("BackendTLSPolicy", policy.metadata.namespace)
    found = certificates.authorities(holder, wanted.ca_certificate_refs, "InvalidKind")
    if found.reason:
        made = replace(made, unresolved=found.reason, unresolved_message=found.message)
    if not found.pem:
        text = found.message or "no authority is named"
        return replace(made, refused="NoValidCACertificate", refused_message=text)
    return replace(made, tls=replace(tls, ca_pem=found.pem, ca_secret=found.name))
