"""A webhook server with TLS, as people write one, and configurations that name it."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.apiserver.serving import Pair, certificate, write

Decide = Callable[[dict[str, Any]], Any]
"""From an AdmissionReview's request to the response without uid, or bytes to send as they are."""


def named(name: str, issuer: Pair) -> Pair:
    """A server certificate for a DNS name and 127.0.0.1."""
    base, key = certificate(name, issuer=issuer)
    names = x509.SubjectAlternativeName(
        [x509.DNSName(name), *base.extensions.get_extension_for_class(
            x509.SubjectAlternativeName).value]
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(base.subject)
        .issuer_name(issuer[0].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(base.not_valid_before_utc)
        .not_valid_after(base.not_valid_after_utc)
        .add_extension(names, critical=False)
    )
    return builder.sign(issuer[1], hashes.SHA256()), key


def pem(pair: Pair) -> str:
    return base64.b64encode(pair[0].public_bytes(serialization.Encoding.PEM)).decode()


class Webhook:
    """A server whose answers a test sets."""

    def __init__(self, bundle: str) -> None:
        self.bundle = bundle
        self.port = 0
        self.seen: list[dict[str, Any]] = []
        self.decide: dict[str, Decide] = {}
        self.delay = 0.0
        self.open = asyncio.Event()
        """Nothing is answered until it is set."""
        self.open.set()
        self.running = 0
        self.at_once = 0

    async def answer(self, http: web.Request) -> web.Response:
        review = json.loads(await http.read())
        request = review["request"]
        self.seen.append(request | {"path": http.path})
        self.running += 1
        self.at_once = max(self.at_once, self.running)
        try:
            await asyncio.sleep(self.delay)
            await self.open.wait()
        finally:
            self.running -= 1
        made = self.decide.get(http.path, lambda _: {"allowed": True})(request)
        if isinstance(made, bytes):
            return web.Response(body=made)
        review = {k: review[k] for k in ("apiVersion", "kind")}
        return web.json_response(review | {"response": {"uid": request["uid"]} | made})

    def hook(self, name: str, *rules: Any, path: str = "/", **more: Any) -> dict[str, Any]:
        """A webhook called by URL."""
        url = f"https://127.0.0.1:{self.port}{path}"
        return {
            "name": f"{name}.example.com",
            "clientConfig": {"url": url, "caBundle": self.bundle},
            "rules": list(rules),
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
        } | more


@asynccontextmanager
async def serving(home: Path, name: str = "hook.default.svc") -> AsyncIterator[Webhook]:
    authority = certificate("webhook-ca")
    cert, key = write(home / "webhook", named(name, authority))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    found = Webhook(pem(authority))
    app = web.Application()
    app.router.add_post("/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    found.port = int(runner.addresses[0][1])
    try:
        yield found
    finally:
        await runner.cleanup()


def rule(group: str, plural: str, *operations: str) -> dict[str, Any]:
    return {
        "apiGroups": [group], "apiVersions": ["*"], "resources": [plural],
        "operations": list(operations or ("CREATE", "UPDATE")),
    }  # fmt: skip


def patch(*operations: Any) -> dict[str, Any]:
    text = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": text}


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}
