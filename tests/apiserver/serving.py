"""A real server with TLS on a free port, and what its clients need."""

import base64
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from weft.apiserver.access import AUTHENTICATED, MASTERS, User
from weft.apiserver.app import ApiServer, Settings
from weft.store.interface import Put, Txn
from weft.store.memory import MemoryStore

TOKEN = "secret-token"
GUEST_TOKEN = "guest-token"
Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def certificate(name: str, organizations: tuple[str, ...] = (), issuer: Pair | None = None) -> Pair:
    """A certificate for 127.0.0.1; without an issuer one that is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    attributes += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, o) for o in organizations]
    subject = x509.Name(attributes)
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251
    day = datetime.timedelta(days=1)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def write(path: Path, pair: Pair) -> tuple[str, str]:
    """PEM files of a certificate and its key."""
    pem, key = path.with_suffix(".pem"), path.with_suffix(".key")
    pem.write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        pair[1].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return str(pem), str(key)


class Running:
    """A server, its kubeconfig, and an HTTP session with the admin's token."""

    def __init__(self, server: ApiServer, store: MemoryStore, home: Path) -> None:
        self.server = server
        self.store = store
        self.home = home
        self.url = f"https://127.0.0.1:{server.port}"
        self.kubeconfig = home / "kubeconfig"
        authority = base64.b64encode((home / "ca.pem").read_bytes()).decode()
        self.kubeconfig.write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: t\n"
            f'clusters: [{{name: t, cluster: {{server: "{self.url}", '
            f"certificate-authority-data: {authority}}}}}]\n"
            f"users: [{{name: t, user: {{token: {TOKEN}}}}}]\n"
            "contexts: [{name: t, context: {cluster: t, user: t}}]\n"
        )
        self.trust = ssl.create_default_context(cafile=str(home / "ca.pem"))
        self.session = aiohttp.ClientSession(
            self.url,
            connector=aiohttp.TCPConnector(ssl=self.trust),
            headers={"Authorization": f"Bearer {TOKEN}"},
        )

    async def json(self, method: str, path: str, **how: Any) -> tuple[int, Any]:
        async with self.session.request(method, path, **how) as response:
            return response.status, await response.json()


@cache
def _certificates() -> tuple[Pair, Pair]:
    """Of the authority and of a client."""
    authority = certificate("ca")
    return authority, certificate("bob", (MASTERS,), authority)


_FIRST: list[Put] = []
"""What the first server of this process made when it started: the others, as after a restart, find
it there, which takes a quarter of the time."""


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Running]:
    """Start, and stop everything in the end."""
    authority, client = _certificates()
    ca, ca_key = write(home / "ca", authority)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, ca_key)
    context.load_verify_locations(ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    write(home / "client", client)
    tokens = {
        TOKEN: User("admin", (MASTERS, AUTHENTICATED)),
        GUEST_TOKEN: User("guest", (AUTHENTICATED,)),
    }
    store = MemoryStore()
    if _FIRST:
        await store.apply(Txn(tuple(_FIRST)))
    server = ApiServer(store, Settings(tokens=tokens))
    await server.start("127.0.0.1", 0, context)
    if not _FIRST:
        _FIRST.extend(Put(entry.key, entry.value) for entry in (await store.range("/")).entries)
    found = Running(server, store, home)
    try:
        yield found
    finally:
        await found.session.close()
        await server.close()
        await store.close()
