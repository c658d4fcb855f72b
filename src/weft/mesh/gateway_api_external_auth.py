"""The filter `externalAuth` of HTTPRoutes: a server is asked about every request of a rule.

Source: Gateway API, GEP-1494.
"""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from msgspec import json
from msgspec.structs import replace

from weft.api.gateway import v1 as gw
from weft.mesh.gateway_api_refs import Backend
from weft.mesh.model import Authorizer, CheckedBody, RouteTable, StringMatch

TIMEOUT_SECONDS = 10.0
"""The specification names none."""
DIGEST_LENGTH = 8
KEPT_OUT = (
    ":", "connection", "content-", "host", "keep-", "proxy-", "te", "trailer", "transfer-",
    "upgrade",
)  # fmt: skip
"""Headers of a server's answer that never become the request's where all are wanted: Host, and
those that are about the answer itself, which would break the request's body. What ends with a dash
or colon stands for all that begins so."""


def read_external_auth(
    wanted: gw.HTTPExternalAuthFilter, found: Backend
) -> tuple[Authorizer | None, str]:
    """The authorizer, or what cannot be done. `found` is the back end that it names, resolved."""
    grpc = wanted.protocol == "GRPC"
    if not wanted.protocol:
        return None, "externalAuth.protocol is missing: HTTP or GRPC"
    http = wanted.http or gw.HTTPAuthConfig()
    path = http.path.rstrip("/")
    if path and not path.startswith("/"):
        return None, f"externalAuth.http.path `{path}` does not start with `/`"
    allowed = (wanted.grpc or gw.GRPCAuthConfig()).allowed_headers if grpc else http.allowed_headers
    size = wanted.forward_body.max_size if wanted.forward_body else 0
    made = Authorizer(
        name="",
        grpc=grpc,
        host=found.service,
        port=wanted.backend_ref.port or 0,
        destination=found.destination,
        timeout=TIMEOUT_SECONDS,
        body=CheckedBody(size) if size else None,
        path_prefix="" if grpc else path,
        request_headers=_exact(allowed),
        upstream_headers=() if grpc else _exact(http.allowed_response_headers) or ALL_BUT_OWN,
        by_routes=True,
    )
    # The same server asked in the same way is one filter, whatever routes name it.
    digest = sha256(json.encode(made)).hexdigest()[:DIGEST_LENGTH]
    return replace(made, name=f"route:{found.destination}:{digest}"), ""


def asked_by_routes(tables: Iterable[RouteTable]) -> tuple[Authorizer, ...]:
    """All that routes ask, by name."""
    found = {
        each.name: each
        for table in tables
        for host in table.virtual_hosts
        for route in host.routes
        for each in route.asks
    }
    return tuple(found[name] for name in sorted(found))


def _exact(names: Iterable[str]) -> tuple[StringMatch, ...]:
    lower = sorted({name.lower() for name in names})
    return tuple(StringMatch("exact", name) for name in lower)


def _none_of(words: Iterable[str]) -> Iterator[StringMatch]:
    """Every text but these words. RE2 has no look-ahead, and Envoy takes small expressions only: so
    there is one for each place at which a text may end or go on differently."""
    known = tuple(words)
    starts = sorted({word[:length] for word in known for length in range(len(word) + 1)})
    for start in starts:
        if start.endswith(("-", ":")) and start in known:
            continue
        longer = {word[len(start)] for word in known if word != start and word.startswith(start)}
        letters = "".join(sorted(longer - {"-"})) + ("\\-" if "-" in longer else "")
        other = f"[^{letters}].*" if letters else ".+"
        yield StringMatch("regex", f"{start}{other}" if start in known else f"{start}({other})?")


ALL_BUT_OWN = tuple(_none_of(KEPT_OUT))
