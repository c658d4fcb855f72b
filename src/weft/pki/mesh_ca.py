"""The mesh's authority on disk: roots that overlap, or an authority that others made.

Keys of roots are in one file of this user alone (0600, in a directory 0700); those of intermediates
and workloads are in memory only.
"""

from collections.abc import Set
from pathlib import Path
from typing import Protocol

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from msgspec import Struct

from weft.lib.files import PRIVATE_DIRECTORY_MODE, replace_file
from weft.pki import identity, rotation
from weft.pki.ca import Authority, CaError, SigningKey, name_of, validity_of
from weft.pki.identity import Validity
from weft.pki.rotation import Lives, MakeRoot, Retire, Root, Roots, SignWith

ROOTS_FILE = "roots.json"
ROOTS_MAX = 8
"""Trusted at one time; further ones are made when an older one has retired."""
CERTIFICATE_FILE, KEY_FILE = "ca-cert.pem", "ca-key.pem"
CHAIN_FILE, BUNDLE_FILE = "cert-chain.pem", "root-cert.pem"
"""As in Istio's Secret `cacerts`."""


class AuthorityView(Struct, frozen=True):
    """What people are told about an authority."""

    name: str
    state: str
    validity: Validity


class MeshAuthority(Protocol):
    """Who signs identities of the mesh."""

    source: str
    """`own` or the directory with the files."""

    @property
    def bundle(self) -> str:
        """PEM of all roots to trust."""

    def authority(self, now: float) -> Authority:
        """Who signs at present."""

    def advance(self, now: float, trusted: Set[str]) -> bool:
        """Do what is due; whether anything changed. Raises CaError."""

    def rotate(self, *, hurry: bool) -> None:
        """A person wants a new root. Raises CaError where that is not ours to make."""

    def next_at(self, now: float) -> float:
        """When `advance` is to be called at the latest."""

    def views(self) -> tuple[AuthorityView, ...]: ...


class _Stored(Struct, frozen=True):
    root: Root
    certificate: str
    key: str


class _File(Struct, frozen=True):
    roots: tuple[_Stored, ...] = ()
    asked: bool = False
    hurry: bool = False


class OwnRoots:
    """Roots that weft makes."""

    source = "own"

    def __init__(self, directory: Path, trust_domain: str, lives: Lives) -> None:
        """Reads what is there. Raises CaError."""
        self._path = directory / ROOTS_FILE
        self._trust_domain = trust_domain
        self._lives = lives
        self._signers: dict[str, Authority] = {}
        self._intermediate: Authority | None = None
        self._under = ""
        try:
            directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
            found = _File()
            if self._path.exists():
                found = msgspec.json.decode(self._path.read_bytes(), type=_File)
            self.roots = Roots(tuple(s.root for s in found.roots), found.asked, found.hurry)
            for stored in found.roots:
                self._signers[stored.root.name] = _authority(stored.certificate, stored.key)
        except OSError as error:
            raise CaError(f"cannot use the mesh's CA in {directory}: {error}") from error
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise CaError(
                f"{self._path} is damaged ({error}): restore it, or move it away to start with a "
                "new root (every identity is then issued again)"
            ) from error

    @property
    def bundle(self) -> str:
        return "".join(self._signers[root.name].roots for root in self.roots.roots)

    def authority(self, now: float) -> Authority:
        signing = self.roots.signing
        assert signing is not None, "advance comes first"
        current = self._intermediate
        if current is None or self._under != signing.name or identity.is_due(current.validity, now):
            root = self._signers[signing.name]
            current = root.intermediate("weft", now, self._lives.intermediate)
            self._intermediate, self._under = current, signing.name
        return current

    def advance(self, now: float, trusted: Set[str]) -> bool:
        changed = False
        while (action := rotation.step(self.roots, now, self._lives, trusted)) is not None:
            if isinstance(action, MakeRoot) and len(self.roots.roots) >= ROOTS_MAX:
                break
            self._do(action, now)
            changed = True
        return changed

    def _do(self, action: rotation.Action, now: float) -> None:
        if isinstance(action, MakeRoot):
            made = Authority.create(self._trust_domain, now, action.seconds)
            self._signers[made.name] = made
            self.roots = rotation.made(self.roots, Root(made.name, made.validity, now))
        elif isinstance(action, SignWith):
            self.roots = rotation.signs(self.roots, action.name, now)
        elif isinstance(action, Retire):
            self.roots = rotation.retired(self.roots, action.name)
            del self._signers[action.name]
        self._save()

    def rotate(self, *, hurry: bool) -> None:
        asked = self.roots.next is None
        self.roots = msgspec.structs.replace(self.roots, asked=asked, hurry=hurry)
        self._save()

    def next_at(self, now: float) -> float:
        due = rotation.next_at(self.roots, self._lives)
        if self._intermediate is not None:
            due = min(due, identity.renew_at(self._intermediate.validity))
        return due

    def views(self) -> tuple[AuthorityView, ...]:
        found = [AuthorityView(r.name, r.state, r.validity) for r in self.roots.roots]
        if self._intermediate is not None:
            inner = self._intermediate
            found.append(AuthorityView(inner.name, "intermediate", inner.validity))
        return tuple(found)

    def _save(self) -> None:
        stored = tuple(
            _Stored(r, self._signers[r.name].roots, self._signers[r.name].key_pem)
            for r in self.roots.roots
        )
        try:
            written = _File(stored, self.roots.asked, self.roots.hurry)
            replace_file(self._path, msgspec.json.encode(written))
        except OSError as error:
            raise CaError(f"cannot write {self._path}: {error}") from error


class PluggedIn:
    """An authority that others made, from files as Istio takes them. They are read again when they
    change; files that do not fit together leave the last ones in force."""

    def __init__(self, directory: Path, now: float) -> None:
        """Raises CaError."""
        self._directory = directory
        self.source = str(directory)
        self._read_at: tuple[int, ...] = ()
        self._authority = self._load(now)
        self.problem = ""
        """Why the files of now are not in force."""

    @property
    def bundle(self) -> str:
        return self._authority.roots

    def authority(self, now: float) -> Authority:
        return self._authority

    def advance(self, now: float, trusted: Set[str]) -> bool:
        if self._times() == self._read_at:
            return False
        try:
            self._authority = self._load(now)
        except CaError as error:
            changed = self.problem != str(error)
            self.problem = str(error)
            return changed
        self.problem = ""
        return True

    def rotate(self, *, hurry: bool) -> None:
        raise CaError(
            f"the mesh's authority comes from {self._directory}: put the new one there, with the "
            f"old and the new root in {BUNDLE_FILE}, and weft takes it"
        )

    def next_at(self, now: float) -> float:
        return now + FILES_LOOK_SECONDS

    def views(self) -> tuple[AuthorityView, ...]:
        mine = AuthorityView(self._authority.name, "signing", self._authority.validity)
        roots = x509.load_pem_x509_certificates(self._authority.roots.encode())
        return (
            *(AuthorityView(name_of(r), "root", validity_of(r)) for r in roots),
            mine,
        )

    def _times(self) -> tuple[int, ...]:
        names = (CERTIFICATE_FILE, KEY_FILE, CHAIN_FILE, BUNDLE_FILE)
        found = []
        for name in names:
            try:
                found.append((self._directory / name).stat().st_mtime_ns)
            except OSError:
                found.append(0)
        return tuple(found)

    def _load(self, now: float) -> Authority:
        self._read_at = self._times()
        here = self._directory
        try:
            certificate = (here / CERTIFICATE_FILE).read_text(encoding="ascii")
            key = (here / KEY_FILE).read_text(encoding="ascii")
            bundle = (here / BUNDLE_FILE).read_text(encoding="ascii")
            chain_file = here / CHAIN_FILE
            chain = chain_file.read_text(encoding="ascii") if chain_file.exists() else ""
            return _plugged(certificate, key, chain, bundle, now)
        except OSError as error:
            raise CaError(f"cannot read the authority in {here}: {error}") from error
        except (ValueError, TypeError) as error:
            raise CaError(f"the authority in {here} cannot be used: {error}") from error


FILES_LOOK_SECONDS = 2.0
"""How often the files of an authority are looked at."""


def _authority(certificate: str, key: str) -> Authority:
    found = x509.load_pem_x509_certificate(certificate.encode())
    return Authority(found, _key(key), roots=certificate)


def _key(text: str) -> SigningKey:
    found = serialization.load_pem_private_key(text.encode(), None)
    if not isinstance(found, SigningKey):
        raise TypeError("the key is neither EC nor RSA nor Ed25519")
    return found


def _plugged(certificate: str, key: str, chain: str, bundle: str, now: float) -> Authority:
    """Raises ValueError or TypeError with what does not fit."""
    signer = x509.load_pem_x509_certificates(certificate.encode())[0]
    private = _key(key)
    if private.public_key() != signer.public_key():
        raise ValueError(f"{KEY_FILE} is not the key of {CERTIFICATE_FILE}")
    constraints = signer.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca:
        raise ValueError(f"{CERTIFICATE_FILE} is no authority's certificate")
    roots = x509.load_pem_x509_certificates(bundle.encode())
    above = x509.load_pem_x509_certificates(chain.encode()) if chain.strip() else []
    path = [signer, *(c for c in above if c != signer and c not in roots)]
    if signer not in roots:
        _check_path(path, roots)
    for each in (*path, *(r for r in roots if r == signer)):
        if not validity_of(each).covers(now):
            raise ValueError(f"{each.subject.rfc4514_string()} is not valid now")
    pems = [c.public_bytes(serialization.Encoding.PEM).decode() for c in path if c not in roots]
    return Authority(signer, private, roots=bundle, chain="".join(pems))


def _check_path(path: list[x509.Certificate], roots: list[x509.Certificate]) -> None:
    for lower, upper in zip(path, [*path[1:], None], strict=True):
        issuers = [upper] if upper is not None else roots
        if not any(_issued(lower, issuer) for issuer in issuers):
            raise ValueError(f"no chain from {CERTIFICATE_FILE} to {BUNDLE_FILE}")


def _issued(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except Exception:  # a wrong signature, name or kind of key
        return False
    return True
