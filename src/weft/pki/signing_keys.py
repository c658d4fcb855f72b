"""The keys that sign service account tokens, in one file: the first signs, the others are still
believed, so that a new one can come without breaking anybody."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from weft.lib.files import PRIVATE_DIRECTORY_MODE, replace_file
from weft.pki.ca import CaError
from weft.pki.jws import KeyRing

FILE = "service-account.key"
KEYS_MAX = 4
"""Kept at most: tokens signed with an older key are void."""
_END = "-----END PRIVATE KEY-----\n"


def load_or_create(directory: Path) -> KeyRing:
    """The keys of this directory (0700), the first made there when there is none (0600). Raises
    CaError."""
    path = directory / FILE
    try:
        directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
        if not path.exists():
            replace_file(path, _new_key().encode())
        return KeyRing(_read(path.read_text(encoding="ascii")))
    except OSError as error:
        raise CaError(f"cannot use {path}: {error}") from error
    except (ValueError, TypeError) as error:
        text = "remove it to have a new one made (every token must then be issued again)"
        raise CaError(f"{path} is damaged ({error}): {text}") from error


def new_ring() -> KeyRing:
    """Keys in memory."""
    return KeyRing([ec.generate_private_key(ec.SECP256R1())])


def rotate(directory: Path) -> None:
    """Put a new key first. Raises OSError."""
    path = directory / FILE
    old = path.read_text(encoding="ascii") if path.exists() else ""
    kept = [part + _END for part in old.split(_END) if part.strip()][: KEYS_MAX - 1]
    replace_file(path, "".join([_new_key(), *kept]).encode())


def forget(directory: Path) -> None:
    """Believe only what the first key signs. Raises OSError."""
    path = directory / FILE
    parts = path.read_text(encoding="ascii").split(_END)
    replace_file(path, (parts[0] + _END).encode())


def _new_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _read(text: str) -> list[ec.EllipticCurvePrivateKey]:
    keys = []
    for part in text.split(_END):
        if not part.strip():
            continue
        key = serialization.load_pem_private_key((part + _END).encode(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError("a key is no EC key")
        keys.append(key)
    if not keys:
        raise ValueError("it has no key")
    return keys
