"""A small OpenID provider for end-to-end tests: code flow with PKCE, refresh tokens, RS256.

Everybody who comes is ann. A code is good once, for the challenge and the address it was made for.
"""

import asyncio
import base64
import hashlib
import json
import os
import secrets
import signal
import time
from collections import Counter
from typing import Any
from urllib.parse import urlencode

from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

ISSUER, CLIENT, SECRET = "http://oidc.example", "shop", "s3cret"
EXPIRES = int(os.environ.get("EXPIRES", "3600"))
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CODES: dict[str, tuple[str, str]] = {}
REFRESH: set[str] = set()
GRANTS: Counter[str] = Counter()


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(**claims: Any) -> str:
    body = {"iss": ISSUER, "sub": "ann", "aud": CLIENT, "exp": int(time.time()) + EXPIRES} | claims
    parts = ({"alg": "RS256", "kid": "one", "typ": "JWT"}, body)
    text = ".".join(encoded(json.dumps(part).encode()) for part in parts)
    signature = KEY.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{encoded(signature)}"


async def authorize(request: web.Request) -> web.Response:
    asked = request.query
    if asked["client_id"] != CLIENT or asked.get("code_challenge_method") != "S256":
        return web.Response(status=400, text="no such client, or no PKCE")
    code = secrets.token_urlsafe(16)
    CODES[code] = (asked["code_challenge"], asked["redirect_uri"])
    back = {"code": code, "state": asked["state"]}
    raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(back)}")


async def token(request: web.Request) -> web.Response:
    form = await request.post()
    if (form.get("client_id"), form.get("client_secret")) != (CLIENT, SECRET):
        return web.json_response({"error": "invalid_client"}, status=401)
    if form["grant_type"] == "authorization_code":
        challenge, address = CODES.pop(str(form["code"]), ("", ""))
        verifier = str(form.get("code_verifier", ""))
        fits = challenge == encoded(hashlib.sha256(verifier.encode()).digest())
        if not challenge or not fits or form.get("redirect_uri") != address:
            return web.json_response({"error": "invalid_grant"}, status=400)
    elif form.get("refresh_token") not in REFRESH:
        return web.json_response({"error": "invalid_grant"}, status=400)
    GRANTS[str(form["grant_type"])] += 1
    fresh = secrets.token_urlsafe(16)
    REFRESH.add(fresh)
    return web.json_response(
        {
            "access_token": signed(number=sum(GRANTS.values())),
            "id_token": signed(),
            "refresh_token": fresh,
            "token_type": "Bearer",
            "expires_in": EXPIRES,
        }
    )


async def keys(_: web.Request) -> web.Response:
    numbers = KEY.public_key().public_numbers()
    size = (numbers.n.bit_length() + 7) // 8
    key = {"kty": "RSA", "kid": "one", "alg": "RS256", "use": "sig", "e": "AQAB",
           "n": encoded(numbers.n.to_bytes(size))}  # fmt: skip
    return web.json_response({"keys": [key]})


async def grants(_: web.Request) -> web.Response:
    return web.json_response(GRANTS)


async def main() -> None:
    app = web.Application()
    app.add_routes(
        [
            web.get("/authorize", authorize),
            web.post("/token", token),
            web.get("/keys", keys),
            web.get("/grants", grants),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, None, 8080).start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
