"""Which requests of browsers are let in, and what every answer forbids the browser. Pure."""

from collections.abc import Mapping

KEY_HEADER = "X-Weft-Key"
KEY_PROTOCOL = "weft.key."
"""How a page's WebSocket carries the key: as one more subprotocol."""
API_PREFIXES = ("/api/", "/apis/", "/weft/v1/", "/openapi/")
API_PATHS = ("/api", "/apis", "/version")
HIDDEN_PREFIXES = ("/weft/v1/node/",)
SAFE_METHODS = ("GET", "HEAD")


def headers(nonce: str = "") -> dict[str, str]:
    """Of every answer. `nonce` permits the page's style sheets that the terminal makes."""
    styles = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    policy = (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        f"style-src {styles}; font-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def hosts(port: int) -> tuple[str, ...]:
    """Names by which a browser on this machine knows the dashboard. Another one would be somebody
    else's name that was made to point here (DNS rebinding)."""
    return (f"127.0.0.1:{port}", f"localhost:{port}")


def refusal(method: str, head: Mapping[str, str], port: int) -> str:
    """Why a request is not let in, whoever sent it; "" when it is."""
    host = head.get("Host", "")
    if host not in hosts(port):
        return f"the dashboard is at http://127.0.0.1:{port}/"
    changes = method not in SAFE_METHODS or head.get("Upgrade", "").lower() == "websocket"
    origin = head.get("Origin", "")
    if origin and origin != f"http://{host}":
        return "another page sent this request"
    if changes and not origin and "Authorization" not in head:
        return "a request that changes something must say which page sent it (Origin)"
    if head.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return "another page sent this request"
    return ""


def is_api(path: str) -> bool:
    """Whether a path is the API server's, and stays so: clients resolve segments of dots."""
    plain = path.lower().replace("%2e", ".")
    if path.startswith(HIDDEN_PREFIXES) or not {".", ".."}.isdisjoint(plain.split("/")):
        return False
    return path in API_PATHS or path.startswith(API_PREFIXES)


def key_of(head: Mapping[str, str]) -> str:
    """The key that a request shows; "" without one."""
    if found := head.get(KEY_HEADER, ""):
        return found
    for word in head.get("Sec-WebSocket-Protocol", "").split(","):
        if word.strip().startswith(KEY_PROTOCOL):
            return word.strip().removeprefix(KEY_PROTOCOL)
    return ""
