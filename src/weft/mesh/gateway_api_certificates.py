"""Certificates and authorities that Gateway API objects name, in Secrets and ConfigMaps."""

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from weft.api.gateway import v1 as gw
from weft.api.k8s.core_v1 import ConfigMap, Secret
from weft.mesh.gateway_api_refs import References
from weft.mesh.model import CertificatePair, ClientCertificates, GatewayTls
from weft.mesh.secrets import AUTHORITY_KEYS, CERTIFICATE_KEYS, KEY_KEYS, pem

AUTHORITIES = "ca.crt"
INSECURE = "AllowInsecureFallback"
DER_SEQUENCE = 0x30
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*)-----END \1-----")


class Holder(Struct, frozen=True):
    """Who names a certificate."""

    kind: str
    namespace: str


class Reference(Protocol):
    """What references to authorities have in common."""

    @property
    def group(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def name(self) -> str: ...


class Found(Struct, frozen=True):
    """A certificate, or why there is none; `reason` is a word of the specification."""

    tls: GatewayTls | None = None
    reason: str = ""
    message: str = ""


class FoundClients(Struct, frozen=True):
    """What clients must show; None when no authority is usable."""

    clients: ClientCertificates | None = None
    reason: str = ""
    message: str = ""


class FoundAuthorities(Struct, frozen=True):
    """Authorities as PEM; `reason` also when only some of them are missing."""

    pem: str = ""
    name: str = ""
    """Under which they are served by SDS."""
    reason: str = ""
    message: str = ""


class Certificates:
    """Looks up what is named, and checks that it may be and that it is what it should be."""

    def __init__(
        self,
        secrets: Iterable[Secret],
        config_maps: Iterable[ConfigMap],
        references: References,
    ) -> None:
        self._secrets = {(s.metadata.namespace, s.metadata.name): s for s in secrets}
        self._maps = {(m.metadata.namespace, m.metadata.name): m for m in config_maps}
        self._references = references

    def of_listener(self, holder: Holder, tls: gw.ListenerTLSConfig) -> Found:
        """All certificates of a listener that can be had; the first that cannot is reported."""
        pairs: list[CertificatePair] = []
        problem = Found()
        for ref in tls.certificate_refs:
            pair = self.pair(holder, ref)
            if isinstance(pair, CertificatePair):
                pairs.append(pair)
            elif not problem.reason:
                problem = pair
        if not tls.certificate_refs:
            return Found(None, "InvalidCertificateRef", "no certificate is named")
        if not pairs:
            return problem
        first, *more = pairs
        made = GatewayTls(
            certificate_pem=first.certificate_pem,
            key_pem=first.key_pem,
            secret=first.secret,
            more=tuple(more),
        )
        return Found(made, problem.reason, problem.message)

    def pair(self, holder: Holder, ref: gw.SecretObjectReference) -> CertificatePair | Found:
        """The certificate and key in a Secret."""
        namespace = ref.namespace or holder.namespace
        if ref.group or ref.kind != "Secret":
            text = f"certificates are Secrets, not {ref.kind} of `{ref.group}`"
            return Found(None, "InvalidCertificateRef", text)
        source = (gw.GROUP, holder.kind, holder.namespace)
        if not self._references.permitted(source, ("", "Secret", namespace, ref.name)):
            text = f"no ReferenceGrant in namespace `{namespace}` permits Secret `{ref.name}`"
            return Found(None, "RefNotPermitted", text)
        secret = self._secrets.get((namespace, ref.name))
        certificate = pem(secret, CERTIFICATE_KEYS) if secret else None
        key = pem(secret, KEY_KEYS) if secret else None
        if not certificate or not key or not (sound(certificate) and sound(key)):
            what = "has no valid certificate and key" if secret else "does not exist"
            text = f"Secret `{namespace}/{ref.name}` {what}"
            return Found(None, "InvalidCertificateRef", text)
        return CertificatePair(certificate, key, f"kubernetes://{namespace}/{ref.name}")

    def of_clients(self, gateway: gw.Gateway, validation: gw.FrontendTLSValidation) -> FoundClients:
        """What clients must show; good authorities count, the first bad one is reported."""
        found = self.authorities(
            Holder("Gateway", gateway.metadata.namespace),
            validation.ca_certificate_refs,
            "InvalidCACertificateKind",
        )
        if not found.pem:
            return FoundClients(None, found.reason, found.message)
        insecure = validation.mode == INSECURE
        clients = ClientCertificates(
            required=not insecure, untrusted=insecure, ca_pem=found.pem, ca_secret=found.name
        )
        return FoundClients(clients, found.reason, found.message)

    def authorities(
        self,
        holder: Holder,
        refs: Sequence[gw.ObjectReference | gw.LocalObjectReference],
        bad_kind: str,
    ) -> FoundAuthorities:
        """The authorities of all references that can be followed, one after the other."""
        texts: list[str] = []
        names: list[str] = []
        reason, message = "", ""
        for ref in refs:
            namespace = getattr(ref, "namespace", "") or holder.namespace
            text, why, what = self._authority(holder, ref, namespace, bad_kind)
            if text:
                texts.append(text)
                names.append(f"{namespace}/{ref.name}")
            elif not reason:
                reason, message = why, what
        name = f"authorities://{','.join(names)}" if names else ""
        return FoundAuthorities("\n".join(texts), name, reason, message)

    def _authority(
        self, holder: Holder, ref: Reference, namespace: str, bad_kind: str
    ) -> tuple[str, str, str]:
        """(PEM, reason, message)."""
        if ref.group or ref.kind not in ("ConfigMap", "Secret"):
            text = f"authorities are ConfigMaps or Secrets, not {ref.kind} of `{ref.group}`"
            return "", bad_kind, text
        source, target = (gw.GROUP, holder.kind, holder.namespace), ("", ref.kind, namespace)
        if not self._references.permitted(source, (*target, ref.name)):
            text = f"no ReferenceGrant in namespace `{namespace}` permits {ref.kind} `{ref.name}`"
            return "", "RefNotPermitted", text
        place = (namespace, ref.name)
        if ref.kind == "ConfigMap":
            found = self._maps.get(place)
            content = found.data.get(AUTHORITIES, "") if found else ""
        else:
            secret = self._secrets.get(place)
            content = (pem(secret, AUTHORITY_KEYS) or "") if secret else ""
        if sound(content):
            return content, "", ""
        exists = place in (self._maps if ref.kind == "ConfigMap" else self._secrets)
        what = f"has no certificates under `{AUTHORITIES}`" if exists else "does not exist"
        text = f"{ref.kind} `{namespace}/{ref.name}` {what}"
        return "", "InvalidCACertificateRef", text


def sound(text: str) -> bool:
    """Whether a text holds PEM blocks, all of which look like DER inside: a proxy refuses a
    certificate that is none, and with it everything that names it."""
    blocks = [body for kind, body in _BLOCK.findall(text) if kind != "EC PARAMETERS"]
    return bool(blocks) and all(_der(body) for body in blocks)


def _der(body: str) -> bool:
    try:
        return base64.b64decode("".join(body.split()), validate=True)[:1] == bytes([DER_SEQUENCE])
    except binascii.Error:
        return False
