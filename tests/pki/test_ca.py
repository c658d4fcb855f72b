import asyncio
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import verification

from weft.lib.aio import now
from weft.pki import identity
from weft.pki.ca import Authority, CaError, Credential
from weft.pki.identity import workload_id

DOMAIN = "cluster.local"


def leaf(credential: Credential) -> x509.Certificate:
    return x509.load_pem_x509_certificates(credential.certificate.encode())[0]


def write(directory: Path, name: str, credential: Credential) -> Path:
    path = directory / name
    path.write_text(credential.certificate + credential.key)
    return path


async def handshake(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> dict[str, object]:
    """Connect for real; gives the client's certificate as the server sees it."""
    seen: asyncio.Future[dict[str, object]] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(dict(writer.get_extra_info("peercert") or {}))
        writer.write(b"x")
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server)
    async with listening, asyncio.timeout(10):
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=host
        )
        assert await reader.read(1) == b"x"
        writer.close()
        return await seen


async def test_real_tls_between_server_and_user(tmp_path: Path) -> None:
    root = Authority.create(DOMAIN, now())
    issuer = root.intermediate("control plane", now())
    names = identity.api_server_names(["10.96.0.1"])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(write(tmp_path, "server", issuer.server(names, now())))
    server.load_verify_locations(cadata=root.roots)
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cadata=root.roots)
    user = issuer.client("alice", ["dev", "system:masters"], now())
    client.load_cert_chain(write(tmp_path, "client", user))
    for host in ("127.0.0.1", "localhost", "kubernetes.default.svc", "10.96.0.1"):
        seen = await handshake(server, client, host)
        subject = [pair for group in seen["subject"] for pair in group]  # type: ignore[attr-defined]
        assert ("commonName", "alice") in subject
        assert [v for k, v in subject if k == "organizationName"] == ["dev", "system:masters"]
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(server, client, "example.org")


async def test_another_root_is_not_trusted(tmp_path: Path) -> None:
    mine, other = Authority.create(DOMAIN, now()), Authority.create(DOMAIN, now())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(write(tmp_path, "server", other.server(["localhost"], now())))
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(server, ssl.create_default_context(cadata=mine.roots), "localhost")


def test_a_workload_certificate_is_an_svid() -> None:
    at = now()
    issuer = Authority.create(DOMAIN, at).intermediate("control plane", at)
    credential = issuer.workload(workload_id(DOMAIN, "shop", "cart"), at, seconds=3600)
    certificate = leaf(credential)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.critical
    assert names.value.get_values_for_type(x509.UniformResourceIdentifier) == [
        "spiffe://cluster.local/ns/shop/sa/cart"
    ]
    assert not list(certificate.subject)
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert not basic.ca
    assert certificate.not_valid_after_utc.timestamp() == int(at + 3600)
    assert credential.certificate.count("BEGIN CERTIFICATE") == 2
    assert not identity.is_due(credential.validity, at)


def test_the_chain_verifies_up_to_the_root() -> None:
    at = now()
    root = Authority.create(DOMAIN, at)
    credential = root.intermediate("control plane", at).server(["api.example.org"], at)
    chain = x509.load_pem_x509_certificates(credential.certificate.encode())
    store = verification.Store(x509.load_pem_x509_certificates(root.roots.encode()))
    verifier = verification.PolicyBuilder().store(store)
    verified = verifier.build_server_verifier(x509.DNSName("api.example.org")).verify(
        chain[0], chain[1:]
    )
    assert len(verified) == 3


def test_an_intermediate_cannot_make_another() -> None:
    root = Authority.create(DOMAIN, now())
    below = leaf_of_intermediate(root.intermediate("one", now()))
    basic = below.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)


def leaf_of_intermediate(authority: Authority) -> x509.Certificate:
    credential = authority.client("any", [], now())
    return x509.load_pem_x509_certificates(credential.certificate.encode())[1]


def test_what_is_issued_ends_with_its_issuer() -> None:
    at = now()
    issuer = Authority.create(DOMAIN, at).intermediate("short", at, seconds=600)
    assert issuer.server(["localhost"], at).validity.not_after == issuer.validity.not_after


def test_the_root_is_kept(tmp_path: Path) -> None:
    directory = tmp_path / "pki"
    first = Authority.load_or_create(directory, DOMAIN, now())
    again = Authority.load_or_create(directory, DOMAIN, now())
    assert first.roots == again.roots
    assert (directory / "ca.key").stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o777 == 0o700
    store = verification.Store(x509.load_pem_x509_certificates(first.roots.encode()))
    issued = leaf(again.server(["localhost"], now()))
    verifier = verification.PolicyBuilder().store(store)
    verifier.build_server_verifier(x509.DNSName("localhost")).verify(issued, [])


def test_an_unusable_root_is_explained(tmp_path: Path) -> None:
    at = now()
    Authority.load_or_create(tmp_path, DOMAIN, at)
    with pytest.raises(CaError, match=r"`cluster\.local`, not `other\.org`"):
        Authority.load_or_create(tmp_path, "other.org", at)
    with pytest.raises(CaError, match="check the clock"):
        Authority.load_or_create(tmp_path, DOMAIN, at + 2 * identity.ROOT_SECONDS_DEFAULT)
    other = tmp_path / "other"
    Authority.load_or_create(other, DOMAIN, at)
    (tmp_path / "ca.key").write_bytes((other / "ca.key").read_bytes())
    with pytest.raises(CaError, match="is not the key"):
        Authority.load_or_create(tmp_path, DOMAIN, at)
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(CaError, match="damaged"):
        Authority.load_or_create(tmp_path, DOMAIN, at)
    (tmp_path / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    (tmp_path / "ca.key").unlink()
    with pytest.raises(CaError, match=str(tmp_path)):
        Authority.load_or_create(tmp_path, DOMAIN, at)


def test_a_crash_before_the_certificate_was_written_is_healed(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("half of a key")
    root = Authority.load_or_create(tmp_path, DOMAIN, now())
    assert Authority.load_or_create(tmp_path, DOMAIN, now()).roots == root.roots


def test_more_roots_in_the_file_are_trusted_too(tmp_path: Path) -> None:
    first = Authority.load_or_create(tmp_path, DOMAIN, now())
    later = Authority.create(DOMAIN, now())
    (tmp_path / "ca.crt").write_text(first.roots + later.roots)
    again = Authority.load_or_create(tmp_path, DOMAIN, now())
    assert again.roots == first.roots + later.roots
    assert again.validity == first.validity


async def test_a_new_root_before_the_old_one_signs_and_both_are_trusted(tmp_path: Path) -> None:
    old = Authority.load_or_create(tmp_path, DOMAIN, now())
    user = old.client("alice", ["dev"], now())
    new = Authority.create(DOMAIN, now())
    (tmp_path / "ca.crt").write_text(new.roots + old.roots)
    (tmp_path / "ca.key").write_text(new.key_pem)
    both = Authority.load_or_create(tmp_path, DOMAIN, now())
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(write(tmp_path, "server", both.server(["localhost"], now())))
    server.load_verify_locations(cadata=both.roots)
    server.verify_mode = ssl.CERT_REQUIRED
    for roots, credential in ((both.roots, user), (new.roots, both.client("b", [], now()))):
        client = ssl.create_default_context(cadata=roots)
        client.load_cert_chain(write(tmp_path, "client", credential))
        await handshake(server, client, "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(server, ssl.create_default_context(cadata=old.roots), "localhost")
