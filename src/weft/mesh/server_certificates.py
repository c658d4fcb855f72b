"""Certificates of servers that end TLS, at Gateways and at workloads' own proxies: from Secrets, or
from files of the machine."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.api.k8s.core_v1 import Secret
from weft.api.snapshot import Snapshot
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model.tls import CertificatePair, GatewayTls
from weft.mesh.secrets import (
    CERTIFICATE_KEYS,
    KEY_KEYS,
    Place,
    Secrets,
    pem,
    places,
    plain_name,
    reference,
)
from weft.mesh.server_tls import with_demands


class Certificates(Struct, frozen=True):
    """Where certificates come from."""

    snapshot: Snapshot
    missing_files: frozenset[str]
    report: Findings


def referenced_files(snapshot: Snapshot) -> frozenset[str]:
    """Certificate and key files that Gateways and Sidecars name. Whoever can look tells `build`
    which of them are missing: a proxy refuses a whole port for one absent file."""
    found: set[str] = set()
    for tls in _all_settings(snapshot):
        if not tls.credential_name:
            found.update(file for pair in _files(tls) for file in pair)
        found.update((tls.ca_certificates, tls.ca_crl))
        found.update(each.ca_certificates for each in tls.tls_certificates)
    return frozenset(found - {""})


def _all_settings(snapshot: Snapshot) -> Iterator[istio.ServerTLSSettings]:
    for gateway in snapshot.list(istio.Gateway):
        yield from (s.tls for s in gateway.spec.servers if s.tls is not None)
    for sidecar in snapshot.list(istio.Sidecar):
        yield from (i.tls for i in sidecar.spec.ingress if i.tls is not None)


def server_tls(
    place: Place, tls: istio.ServerTLSSettings, certificates: Certificates
) -> GatewayTls | None:
    """What a server shows and asks for; None, which is reported, closes it."""
    names = tuple(dict.fromkeys(filter(None, (tls.credential_name, *tls.credential_names))))
    made = (
        _from_secrets(place, names, certificates)
        if names
        else _from_files(place, tls, certificates)
    )
    if made is None:
        return None
    secrets = Secrets(certificates.snapshot.list(Secret), certificates.report)
    made = with_demands(place, tls, made, secrets, certificates.report)
    files = (made.clients.ca_file, made.clients.crl_file) if made and made.clients else ()
    return None if _missing(place, files, certificates) else made


def _from_files(
    place: Place, tls: istio.ServerTLSSettings, certificates: Certificates
) -> GatewayTls | None:
    pairs = _files(tls)
    if not pairs or any(not (certificate and key) for certificate, key in pairs):
        certificates.report.add(f.CERTIFICATE_MISSING, place.obj, place.path)
        return None
    if _missing(place, tuple(file for pair in pairs for file in pair), certificates):
        return None
    (certificate, key), *more = pairs
    return GatewayTls(certificate_file=certificate, key_file=key, more_files=tuple(more))


def _missing(place: Place, files: tuple[str, ...], certificates: Certificates) -> bool:
    """Whether a file is absent, which is reported."""
    missing = [file for file in files if file in certificates.missing_files]
    for file in missing:
        certificates.report.add(f.FILE_MISSING, place.obj, place.path, file=file)
    return bool(missing)


def _files(tls: istio.ServerTLSSettings) -> tuple[tuple[str, str], ...]:
    """(certificate, key) of each pair."""
    own = (tls.server_certificate, tls.private_key)
    listed = ((each.server_certificate, each.private_key) for each in tls.tls_certificates)
    return tuple(pair for pair in (own, *listed) if pair != ("", ""))


def _from_secrets(
    place: Place, names: tuple[str, ...], certificates: Certificates
) -> GatewayTls | None:
    found = []
    for name in names:
        pair = _pair(place, name, certificates)
        if pair is None:
            return None
        found.append(pair)
    first, *more = found
    made = GatewayTls(first.certificate_pem, first.key_pem, secret=first.secret)
    return replace(made, more=tuple(more))


def _pair(place: Place, name: str, certificates: Certificates) -> CertificatePair | None:
    snapshot, report = certificates.snapshot, certificates.report
    where = f"{place.path}.credentialName"
    namespaces = places(name, place.namespace)
    plain = plain_name(name)
    looked = (snapshot.get(Secret, plain, namespace) for namespace in namespaces)
    secret = next((s for s in looked if s is not None), None)
    if not namespaces:
        report.add(f.CREDENTIAL_ELSEWHERE, place.obj, where, secret=name)
        return None
    if secret is None:
        known = [s.metadata.name for ns in namespaces for s in snapshot.list(Secret, ns)]
        report.add(
            f.SECRET_UNKNOWN,
            place.obj,
            where,
            f.suggest(plain, known, "Secrets there"),
            secret=plain,
            namespaces=" or ".join(f"`{n}`" for n in namespaces),
        )
        return None
    values = []
    for keys in (CERTIFICATE_KEYS, KEY_KEYS):
        value = pem(secret, keys)
        if value is None:
            report.add(f.SECRET_INCOMPLETE, place.obj, where, secret=plain, missing=f"`{keys[0]}`")
            return None
        values.append(value)
    return CertificatePair(values[0], values[1], reference(secret))
