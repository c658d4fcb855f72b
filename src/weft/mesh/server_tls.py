"""What a Gateway's TLS asks of clients: their certificates, TLS versions, ciphers."""

from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model.tls import ClientCertificates, GatewayTls, TlsVersion
from weft.mesh.secrets import Place, Secrets

VERSIONS: dict[str, TlsVersion] = {
    "TLSV1_0": "1.0",
    "TLSV1_1": "1.1",
    "TLSV1_2": "1.2",
    "TLSV1_3": "1.3",
}
CIPHERS = frozenset(
    {
        "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-RSA-AES256-SHA", "AES128-GCM-SHA256", "AES256-GCM-SHA384", "AES128-SHA",
        "AES256-SHA",
    }
)  # fmt: skip
"""Those that the proxy knows: one that it does not would close the whole port."""


def mutual_in_mesh(tls: istio.ServerTLSSettings) -> GatewayTls:
    """Both sides show certificates of the mesh; clients one of these names, if there are any."""
    return GatewayTls(
        mesh=True, clients=ClientCertificates(subject_alt_names=tls.subject_alt_names)
    )


def with_demands(
    place: Place,
    tls: istio.ServerTLSSettings,
    made: GatewayTls,
    secrets: Secrets,
    report: Findings,
) -> GatewayTls | None:
    """The TLS that is written at a place with what it asks of clients; None closes the server,
    which would let in whom it shall not."""
    gateway, path = place.obj, place.path
    ciphers = []
    for index, name in enumerate(tls.cipher_suites):
        if name in CIPHERS:
            ciphers.append(name)
            continue
        hint = f.suggest(name, CIPHERS, "ciphers")
        problem = f"`{name}` is no cipher suite"
        where = f"{path}.cipherSuites[{index}]"
        report.add(f.VALUE_INVALID, gateway, where, hint, problem=problem, part="cipher")
    made = replace(
        made,
        version_min=VERSIONS.get(tls.min_protocol_version, ""),
        version_max=VERSIONS.get(tls.max_protocol_version, ""),
        ciphers=tuple(ciphers),
    )
    if tls.mode not in ("MUTUAL", "OPTIONAL_MUTUAL"):
        return made
    clients = ClientCertificates(
        required=tls.mode == "MUTUAL",
        subject_alt_names=tls.subject_alt_names,
        spki_hashes=tls.verify_certificate_spki,
        certificate_hashes=tls.verify_certificate_hash,
        ca_file=tls.ca_certificates or next((c.ca_certificates for c in tls.tls_certificates), ""),
        crl_file=tls.ca_crl,
    )
    first = next(iter(tls.credential_names), "")
    name = tls.ca_cert_credential_name or tls.credential_name or first
    if name and not clients.ca_file:
        field = "caCertCredentialName" if tls.ca_cert_credential_name else "credentialName"
        text, reference = secrets.authorities(name, replace(place, path=f"{path}.{field}"))
        clients = replace(clients, ca_pem=text, ca_secret=reference)
    elif not clients.ca_file:
        report.add(f.AUTHORITIES_MISSING, gateway, path, mode=tls.mode)
    return replace(made, clients=clients) if clients.ca_file or clients.ca_pem else None
