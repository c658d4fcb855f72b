"""Every finding of the analysis: a manifest that provokes it, and its like that does not.

A case is a text with one `@wrong@` in it; the sound manifest has the other value in its place.
"""

import datetime
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from tests.golden_support import loaded
from tests.mesh.analysis_cases import CASES, TO_WEB, WEB, Case, rules, tls_gateway
from tests.mesh.cluster import snapshot
from weft.api.diagnostics import Diagnostic
from weft.mesh import analysis
from weft.mesh.analysis import analyze, catalogue
from weft.mesh.analysis.istio_codes import EQUIVALENT
from weft.mesh.build import DEFAULTS, build
from weft.mesh.findings import Finding

DOCS = Path(__file__).parents[2] / "docs/diagnostics.md"
MESSAGES_OF_ISTIO = 68
FINDINGS = {v.code: v for v in vars(catalogue).values() if isinstance(v, Finding)}


def found(text: str) -> list[Diagnostic]:
    return list(analyze(snapshot(loaded(text)), DEFAULTS))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.code}-{c.name}")
def test_the_mistake_is_found_and_its_like_is_not(case: Case) -> None:
    wrong = [d for d in found(case.text.replace("@", case.wrong)) if d.code == case.code]
    assert [(d.kind, d.name, d.path) for d in wrong] == [(case.kind, case.object, case.path)]
    assert case.says in f"{wrong[0].message} | {wrong[0].hint}"
    assert "{" not in wrong[0].message.replace("{destination", "")
    sound = [d for d in found(case.text.replace("@", case.sound)) if d.code == case.code]
    assert sound == []


def test_ports_that_the_mesh_does_not_carry_are_told() -> None:
    text = WEB.replace("port: 5432}]", "port: 5432, protocol: SCTP}]", 1)
    (told,) = (d for d in found(text) if d.code == "WEFT2380")
    assert (told.name, told.path) == ("web", "spec.ports[1]")
    assert "SCTP port 5432" in told.message


def test_claims_of_tokens_choose_no_route() -> None:
    """Whether or not somebody reads tokens; nor does their absence."""
    claims = "@request.auth.claims.role", "@request.auth.claims[role]"
    text = WEB + rules(
        f"{{match: [{{headers: {{'{claims[0]}': {{exact: admin}}}}}}], route: {TO_WEB}}}, "
        f"{{match: [{{withoutHeaders: {{'{claims[1]}': {{exact: admin}}}}}}], route: {TO_WEB}}}"
    )
    reading = """---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: all}
spec: {jwtRules: [{issuer: issuer.example, jwks: '{"keys": []}'}]}
"""
    for documents in (text, text.rstrip().removesuffix("---") + reading):
        told = [d for d in found(documents) if d.code == "WEFT2353"]
        assert sorted(d.path for d in told) == [
            f"spec.http[0].match[0].headers[{claims[0]}]",
            f"spec.http[1].match[0].withoutHeaders[{claims[1]}]",
        ]
        assert all("AuthorizationPolicy" in d.hint for d in told)
        model = build(snapshot(loaded(documents))).model
        named = [r.name for t in model.route_tables for h in t.virtual_hosts for r in h.routes]
        assert named
        assert not [name for name in named if name.startswith("default/web/http")]


def test_a_key_that_is_not_the_certificates() -> None:
    def secret(certificate: str, key: str) -> dict[str, Any]:
        meta = {"name": "own", "namespace": "default"}
        data = {"tls.crt": certificate, "tls.key": key}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data}

    gateway = yaml.safe_load(tls_gateway("edge", 443, "a.example.com", "own").strip("-\n"))
    certificate, key = self_signed("a.example.com")
    _, other = self_signed("a.example.com")
    for pair, expected in (
        ((certificate, key), []),
        ((certificate, other), ["is not the key of"]),
        (("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", key), ["no certificate"]),
        (
            (certificate, "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----"),
            ["no private"],
        ),
    ):
        told = analyze(snapshot([secret(*pair), gateway]), DEFAULTS)
        told = [d for d in told if d.code == catalogue.CERTIFICATE_UNUSABLE.code]
        assert len(told) == len(expected)
        assert all(part in d.message for part, d in zip(expected, told, strict=True))
        assert all(d.path == "spec.servers[0].tls.credentialName" for d in told)


def self_signed(name: str) -> tuple[str, str]:
    """A certificate and its key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    form = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM).decode(), key.private_bytes(*form).decode()


def test_every_finding_of_the_catalogue_has_a_case() -> None:
    elsewhere = {catalogue.STANDS_TWICE.code, catalogue.CERTIFICATE_UNUSABLE.code}
    assert {c.code for c in CASES} == FINDINGS.keys() - elsewhere


def test_codes_are_in_the_ranges_of_the_analysis() -> None:
    assert all(re.fullmatch(r"WEFT2([123][567]|4[5-8]|5[0-4]|62|78)\d", code) for code in FINDINGS)


def test_every_check_is_in_a_file_that_says_what_it_is_about() -> None:
    for path in Path(analysis.__file__).parent.glob("*.py"):
        assert path.read_text().startswith('"""'), path
    assert len(analysis.CHECKS) == len(set(analysis.CHECKS))


def test_every_message_of_istio_is_in_the_docs_with_the_codes_that_say_the_same() -> None:
    rows = re.findall(r"^\| (IST\d{4}) \w+ \| ?([^|]*?) ?\| ([^|]+) \|$", DOCS.read_text(), re.M)
    told = {istio: _codes(codes) for istio, codes, _ in rows if codes.strip()}
    assert told == {istio: set(codes) for istio, codes in EQUIVALENT.items()}
    assert len(rows) == MESSAGES_OF_ISTIO
    assert [istio for istio, _, _ in rows] == sorted({istio for istio, _, _ in rows})


def _codes(text: str) -> set[str]:
    """Codes of a cell, `A to B` in full."""
    ranges = re.findall(r"WEFT(\d{4}) to WEFT(\d{4})", text)
    between = {f"WEFT{n:04}" for a, b in ranges for n in range(int(a), int(b) + 1)}
    return set(re.findall(r"WEFT\d{4}", text)) | between
