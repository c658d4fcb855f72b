"""The mesh's authority on disk: own roots, and files of others."""

import datetime
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from weft.pki import mesh_ca
from weft.pki.ca import Authority, CaError
from weft.pki.identity import parse
from weft.pki.mesh_ca import OwnRoots, PluggedIn
from weft.pki.rotation import Lives

NOW = 1_800_000_000.0
LIVES = Lives(root=1000.0, intermediate=100.0, workload=20.0, overlap=0.0)
WEB = parse("spiffe://td/ns/default/sa/web")


def own(directory: Path) -> OwnRoots:
    return OwnRoots(directory, "td", LIVES)


def leaf_of(pem: str) -> tuple[x509.Certificate, ...]:
    return tuple(x509.load_pem_x509_certificates(pem.encode()))


def test_the_key_of_the_root_is_for_its_owner_alone(tmp_path: Path) -> None:
    ca = own(tmp_path / "mesh")
    assert ca.advance(NOW, frozenset())
    file = tmp_path / "mesh" / mesh_ca.ROOTS_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    certificate = ca.authority(NOW).workload(WEB, NOW, 20.0).certificate
    assert "PRIVATE" not in certificate
    leaf, intermediate = leaf_of(certificate)
    (root,) = leaf_of(ca.bundle)
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(root)


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    ca = own(tmp_path)
    ca.advance(NOW, frozenset())
    ca.rotate(hurry=False)
    ca.advance(NOW + 1, frozenset())
    assert [r.state for r in ca.roots.roots] == ["signing", "next"]
    again = own(tmp_path)
    assert (again.roots, again.bundle) == (ca.roots, ca.bundle)
    assert len(leaf_of(again.bundle)) == 2
    again.advance(NOW + 2, {r.name for r in again.roots.roots})
    assert [r.state for r in again.roots.roots] == ["retiring", "signing"]
    again.advance(NOW + 30, frozenset())
    assert [r.state for r in own(tmp_path).roots.roots] == ["signing"]


def test_intermediates_are_renewed(tmp_path: Path) -> None:
    ca = own(tmp_path)
    ca.advance(NOW, frozenset())
    first = ca.authority(NOW).name
    assert ca.authority(NOW + 30).name == first
    assert ca.authority(NOW + 60).name != first
    assert ca.next_at(NOW) < NOW + 120


def test_a_damaged_file_is_no_reason_to_start_anew(tmp_path: Path) -> None:
    own(tmp_path).advance(NOW, frozenset())
    (tmp_path / mesh_ca.ROOTS_FILE).write_text("{")
    with pytest.raises(CaError, match="restore it"):
        own(tmp_path)


def plug(directory: Path, root: Authority, signer: Authority, bundle: str = "") -> None:
    """Files as of Istio's `cacerts`."""
    directory.mkdir(exist_ok=True)
    leaf = signer.workload(WEB, NOW, 20.0).certificate
    chain = leaf[leaf.index("-----BEGIN", 10) :]
    certificate = chain[: chain.index("-----END") + len("-----END CERTIFICATE-----\n")]
    (directory / mesh_ca.CERTIFICATE_FILE).write_text(certificate)
    (directory / mesh_ca.KEY_FILE).write_text(signer.key_pem)
    (directory / mesh_ca.CHAIN_FILE).write_text(chain)
    (directory / mesh_ca.BUNDLE_FILE).write_text(bundle or root.roots)


def test_an_authority_of_others(tmp_path: Path) -> None:
    root = Authority.create("td", NOW)
    plug(tmp_path / "ca", root, root.intermediate("theirs", NOW))
    ca = PluggedIn(tmp_path / "ca", NOW)
    leaf, intermediate = leaf_of(ca.authority(NOW).workload(WEB, NOW, 20.0).certificate)
    leaf.verify_directly_issued_by(intermediate)
    intermediate.verify_directly_issued_by(leaf_of(ca.bundle)[0])
    assert not ca.advance(NOW, frozenset())
    with pytest.raises(CaError, match=r"root-cert\.pem"):
        ca.rotate(hurry=False)


def test_new_files_are_taken_and_bad_ones_are_not(tmp_path: Path) -> None:
    root, after = Authority.create("td", NOW), Authority.create("td", NOW)
    plug(tmp_path, root, root.intermediate("one", NOW))
    ca = PluggedIn(tmp_path, NOW)
    before = ca.authority(NOW).name
    plug(tmp_path, root, after.intermediate("two", NOW))  # its root is not in the bundle
    assert ca.advance(NOW, frozenset())
    assert "no chain" in ca.problem
    assert ca.authority(NOW).name == before
    plug(tmp_path, root, after.intermediate("two", NOW), root.roots + after.roots)
    assert ca.advance(NOW, frozenset())
    assert not ca.problem
    assert ca.authority(NOW).name != before
    assert len(leaf_of(ca.bundle)) == 2


def test_keys_of_other_kinds_sign_too(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "theirs")])
    at = datetime.datetime.fromtimestamp(NOW, tz=datetime.UTC)
    day = datetime.timedelta(days=1)
    root = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(at - day)
        .not_valid_after(at + day)
        .add_extension(x509.BasicConstraints(True, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = root.public_bytes(serialization.Encoding.PEM)
    for file in (mesh_ca.CERTIFICATE_FILE, mesh_ca.BUNDLE_FILE):
        (tmp_path / file).write_bytes(pem)
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (tmp_path / mesh_ca.KEY_FILE).write_bytes(encoded)
    (leaf,) = leaf_of(PluggedIn(tmp_path, NOW).authority(NOW).workload(WEB, NOW, 20.0).certificate)
    leaf.verify_directly_issued_by(root)


@pytest.mark.parametrize("file", [mesh_ca.KEY_FILE, mesh_ca.BUNDLE_FILE])
def test_what_is_missing_is_named(tmp_path: Path, file: str) -> None:
    root = Authority.create("td", NOW)
    plug(tmp_path, root, root.intermediate("x", NOW))
    (tmp_path / file).unlink()
    with pytest.raises(CaError, match=file):
        PluggedIn(tmp_path, NOW)


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    root = Authority.create("td", NOW)
    plug(tmp_path, root, root.intermediate("x", NOW))
    (tmp_path / mesh_ca.KEY_FILE).write_text(root.key_pem)
    with pytest.raises(CaError, match="not the key"):
        PluggedIn(tmp_path, NOW)
