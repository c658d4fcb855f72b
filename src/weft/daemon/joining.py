"""How a machine becomes a node: by a token it learns whom to trust and gets a certificate of its
own; with that it comes back without the token."""

import asyncio
import base64
import contextlib
import json
import logging
import os
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct, structs

from weft.api.errors import ApiError
from weft.api.registry import by_resource
from weft.api.wellknown import REASON_NODE_REMOVED
from weft.lib import join_token
from weft.lib.aio import now
from weft.lib.files import PRIVATE_DIRECTORY_MODE, replace_file
from weft.lib.instance import Settings
from weft.pki import identity, node_requests
from weft.pki.ca import signed_by
from weft.runtime.http_client import HttpClient
from weft.runtime.kubeconfig import Connection
from weft.xds.bootstrap import client_secret, trust_secret

log = logging.getLogger("weft.nodes")

CA_PATH = "/cacerts"
SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SIGNED_SECONDS_MAX = 30.0
POLL_SECONDS = 0.1
CA_SECONDS_MAX = 10.0
CA_BYTES_MAX = 256 * 1024
RENEW_LOOK_SECONDS_MAX = 60.0
RENEW_LOOK_SECONDS_MIN = 1.0
"""Between two looks whether the certificate is due: clocks are set and machines sleep, so it is
not enough to wait until then."""
RENEW_LOOK_FRACTION = 0.02
"""Of the certificate's life."""
END = "-----END CERTIFICATE-----"
Say = Callable[[str], None]


class CannotJoin(Exception):
    """The machine cannot become a node of that control plane: says why and what to do."""


class Credentials(Struct, frozen=True):
    """Where a node keeps what it shows and whom it trusts."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.crt"

    @property
    def certificate(self) -> Path:
        return self.directory / "client.crt"

    @property
    def key(self) -> Path:
        return self.directory / "client.key"

    @property
    def secret(self) -> Path:
        """What Envoy reads."""
        return self.directory / "sds.json"

    @property
    def trust_secret(self) -> Path:
        """Whom Envoy trusts to be the control plane."""
        return self.directory / "sds-ca.json"

    @property
    def facts(self) -> Path:
        return self.directory / "cluster.json"

    def forget(self) -> None:
        """All of a cluster that this machine is no part of any more."""
        for path in (
            self.secret,
            self.trust_secret,
            self.certificate,
            self.key,
            self.ca,
            self.facts,
        ):
            path.unlink(missing_ok=True)

    def store(self, certificate: str, key: str) -> None:
        """The key first, the file that Envoy watches last."""
        replace_file(self.key, key.encode())
        replace_file(self.certificate, certificate.encode())
        secret = client_secret(str(self.certificate), str(self.key))
        replace_file(self.secret, json.dumps(secret).encode())

    def trust(self, ca: str) -> None:
        """Believe a server whose certificate comes from these roots."""
        replace_file(self.ca, ca.encode())
        replace_file(self.trust_secret, json.dumps(trust_secret(ca)).encode())

    def from_the_signing_root(self) -> bool:
        """Whether the certificate comes from the first root that is trusted, which signs now."""
        try:
            shown = ssl.PEM_cert_to_DER_cert(_first(self.certificate.read_text()))
            return signed_by(shown, _first(self.ca.read_text()))
        except (OSError, ValueError):
            return False

    def valid(self, node: str) -> bool:
        """Whether there is a certificate that can be shown now."""
        try:
            certificate, key = self.certificate.read_bytes(), self.key.read_bytes()
            covers = node_requests.validity_of(certificate).covers(now())
        except (OSError, ValueError):
            return False
        return covers and self.ca.exists() and node_requests.is_for(certificate, key, node)

    def connection(self, server: str) -> Connection:
        return Connection(
            server=server,
            ca=self.ca.read_text(),
            client_certificate=self.certificate.read_text(),
            client_key=self.key.read_text(),
        )


class ClusterFacts(Struct, frozen=True, rename="camel"):
    """What the control plane tells its nodes about the cluster."""

    xds_port: int
    trust_domain: str
    server_name: str
    service_cidr: str = ""


def _first(pem: str) -> str:
    """The first certificate of a chain."""
    text, end, _ = pem.partition(END)
    return text + end


def credentials(settings: Settings) -> Credentials:
    directory = Path(settings.data_dir) / "node-pki"
    directory.mkdir(mode=PRIVATE_DIRECTORY_MODE, parents=True, exist_ok=True)
    return Credentials(directory)


async def join(settings: Settings, say: Say) -> Credentials:
    """The node's credentials, got with the token when there are none. Raises CannotJoin."""
    found = credentials(settings)
    token_file = Path(settings.join_token_file)
    if found.valid(settings.node_name):
        return found
    try:
        token = join_token.parse(token_file.read_text())
    except (OSError, ValueError) as error:
        why = "has no valid certificate, and no join token was given"
        if isinstance(error, ValueError):
            why = f"got a bad join token: {error}"
        raise CannotJoin(
            f"this machine {why}; `weft token create` on the server prints one [WEFT2680]"
        ) from error
    ca = await fetch_ca(settings.join)
    if not token.trusts(ca):
        raise CannotJoin(
            f"the server at {settings.join} is not the one that the token was made for: its CA has"
            " another hash; check the address, or make a new token there [WEFT2681]"
        )
    found.trust(ca)
    client = HttpClient(Connection(server=settings.join, ca=ca, token=token.word))
    try:
        certificate, key = await request_certificate(client, settings.node_name)
    except ApiError as error:
        hint = "the token may have expired: make a new one" if error.code == 401 else error.reason
        raise CannotJoin(f"{settings.join} gives no certificate: {error.message} ({hint})"
                         " [WEFT2682]") from error  # fmt: skip
    finally:
        await client.close()
    found.store(certificate, key)
    token_file.unlink(missing_ok=True)
    say(f"joined {settings.join} as node {settings.node_name}")
    return found


async def fetch_ca(server: str) -> str:
    """The server's CA, from whoever answers there: to be checked against the token's hash."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    timeout = aiohttp.ClientTimeout(total=CA_SECONDS_MAX)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(server + CA_PATH, ssl=context) as answer,
        ):
            body = await answer.content.read(CA_BYTES_MAX)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise CannotJoin(f"cannot reach {server}: {error or 'no answer'} [WEFT2684]") from error
    return body.decode(errors="replace")


async def request_certificate(client: HttpClient, node: str) -> tuple[str, str]:
    """A certificate for this node, and its key. Raises ApiError."""
    kind = by_resource("certificates.k8s.io", "v1", "certificatesigningrequests")
    assert kind is not None
    key, request = await asyncio.to_thread(node_requests.request, node)
    name = f"node-csr-{secrets.token_hex(8)}"
    body: dict[str, Any] = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(request.encode()).decode(),
            "signerName": SIGNER,
            "usages": ["digital signature", "client auth"],
        },
    }
    await client.create(kind, body)
    try:
        async with asyncio.timeout(SIGNED_SECONDS_MAX):
            while True:
                status = msgspec.json.decode(await client.get(kind, name)).get("status") or {}
                if found := status.get("certificate"):
                    return base64.b64decode(found).decode(), key
                for condition in status.get("conditions") or ():
                    if condition.get("type") in ("Denied", "Failed"):
                        text = condition.get("message") or condition["type"]
                        raise ApiError(403, "Forbidden", f"request {name}: {text}")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        text = f"nobody approved request {name} within {SIGNED_SECONDS_MAX:.0f} s"
        raise ApiError(504, "Timeout", text) from error


def is_removed(error: Exception) -> bool:
    """Whether the server says that this node was removed."""
    return isinstance(error, ApiError) and error.reason == REASON_NODE_REMOVED


async def cluster_facts(client: HttpClient, found: Credentials, path: str) -> ClusterFacts:
    """What the server says, else what it said last. Raises ApiError when it never did, or when the
    node was removed."""
    try:
        body = await client.read(path)
        facts = msgspec.json.decode(body, type=ClusterFacts)
        replace_file(found.facts, body)
        return facts
    except (ApiError, msgspec.MsgspecError) as error:
        if is_removed(error):
            raise
        try:
            return msgspec.json.decode(found.facts.read_bytes(), type=ClusterFacts)
        except (OSError, msgspec.MsgspecError):
            pass
        raise


async def other_roots(client: HttpClient, found: Credentials) -> str | None:
    """Trust whom the server, which is trusted already, says to trust: whom, when that is new."""
    try:
        told = (await client.read(CA_PATH)).decode(errors="replace")
        if told == found.ca.read_text() or END not in told:
            return None
        client.trust(told)
        found.trust(told)
    except (ApiError, OSError, ValueError) as error:
        log.warning("roots of the server not known error=%s", error)
        return None
    log.info("roots of the server changed roots=%d", told.count(END))
    return told


async def keep_renewed(
    client: HttpClient,
    found: Credentials,
    node: str,
    on_roots: Callable[[str], None],
    look: asyncio.Event,
) -> None:
    """Have the certificate replaced long before it ends, or when another root signs; until
    cancelled. `on_roots` is told whom to trust when that changes. `look` ends a pause."""
    spread = int.from_bytes(os.urandom(2)) / 65536
    while True:
        wait = RENEW_LOOK_SECONDS_MIN
        try:
            if (roots := await other_roots(client, found)) is not None:
                on_roots(roots)
            valid = node_requests.validity_of(found.certificate.read_bytes())
            wait = look_again_after(valid)
            if identity.is_due(valid, now(), spread) or not found.from_the_signing_root():
                certificate, key = await request_certificate(client, node)
                found.store(certificate, key)
                client.show(found.certificate, found.key)
                log.info("certificate renewed node=%s", node)
        except (ApiError, OSError, ValueError) as error:
            log.warning("certificate not renewed node=%s error=%s", node, error)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await look.wait()
        look.clear()


def look_again_after(valid: identity.Validity) -> float:
    """Seconds between two looks at a certificate: often enough for one that is short-lived."""
    part = (valid.not_after - valid.not_before) * RENEW_LOOK_FRACTION
    return min(RENEW_LOOK_SECONDS_MAX, max(RENEW_LOOK_SECONDS_MIN, part))


def as_node(settings: Settings, facts: ClusterFacts) -> Settings:
    """The settings of a node of that cluster."""
    return structs.replace(
        settings, trust_domain=facts.trust_domain, service_cidr=facts.service_cidr
    )
