"""Certificates of workloads and the authorities behind them, as SDS secrets.

A certificate is served under two names. The clusters' certificate selector subscribes to the first
one when a workload calls; listeners name the second in their configuration. One name for both makes
Envoy wait for an answer that has come already.
"""

from collections.abc import Mapping

from msgspec import Struct

from weft.xds.resource import Resource
from weft.xds.tls import secret_resource

TRUST_BUNDLE = "trust-bundle"
_SERVER = "server|"


class Svid(Struct, frozen=True):
    """A certificate with its chain, and its key; PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Svid(...)"


def server_secret(principal: str) -> str:
    """The name for listeners; that for callers is the principal itself."""
    return f"{_SERVER}{principal}"


def callers_secret(entrance: str) -> str:
    """The name of whom a port takes connections of bytes from."""
    return f"callers|{entrance}"


def svid_secrets(svids: Mapping[str, Svid], bundle: str) -> list[Resource]:
    """What a node's proxy gets: the certificates of its own workloads, and whom it may trust."""
    made = [secret_resource(TRUST_BUNDLE, bundle, "")]
    for principal, svid in sorted(svids.items()):
        for name in (principal, server_secret(principal)):
            made.append(secret_resource(name, svid.certificate, svid.key))
    return made
