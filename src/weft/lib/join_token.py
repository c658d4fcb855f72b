"""The token with which a machine joins: who it may trust, and the word that lets it in. Pure.

Form (k3s'): `K10<sha256 of the CA's PEM, hex>::<id>.<secret>`; the second half is a bootstrap token
of Kubernetes.
"""

import hashlib
import hmac
import re

from msgspec import Struct

_FORM = re.compile(r"K10([0-9a-f]{64})::([a-z0-9]{6}\.[a-z0-9]{16})")


class JoinToken(Struct, frozen=True):
    """What a token says."""

    ca_hash: str
    word: str
    """The bootstrap token, `<id>.<secret>`."""

    def trusts(self, ca: str) -> bool:
        """Whether this is the CA that the token was made for."""
        return hmac.compare_digest(ca_hash(ca), self.ca_hash)


def ca_hash(ca: str) -> str:
    """Of the PEM text of the first certificate: later roots may be added to a bundle."""
    end = "-----END CERTIFICATE-----"
    first = ca.partition(end)[0].strip() + f"\n{end}\n"
    return hashlib.sha256(first.encode()).hexdigest()


def parse(text: str) -> JoinToken:
    """Raises ValueError, which does not repeat the token."""
    found = _FORM.fullmatch(text.strip())
    if found is None:
        raise ValueError(
            "a join token looks like K10<64 hex digits>::<6 characters>.<16 characters>"
        )
    return JoinToken(found[1], found[2])


def render(ca: str, word: str) -> str:
    return f"K10{ca_hash(ca)}::{word}"
