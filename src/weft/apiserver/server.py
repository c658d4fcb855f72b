"""The HTTP side: connections, identities, routes, errors. Everything else is decided elsewhere."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from weft.api.errors import ApiError
from weft.apiserver import access, discovery, failures, negotiation, openapi, request
from weft.apiserver.access import ANONYMOUS, Attributes, Authorizer, Tokens, User
from weft.apiserver.catalog import Catalog
from weft.apiserver.fairness import Fairness
from weft.apiserver.handlers import BEGUN, Handlers
from weft.apiserver.metrics import Metrics
from weft.store.interface import StoreError

log = logging.getLogger("weft.apiserver")
BODY_BYTES_MAX = 3 * 1024 * 1024
"""As kube-apiserver's limit for resource requests."""
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
STREAMS = ("log", "exec", "attach", "portforward", "proxy")
"""Subresources whose answers may take as long as they like."""
KUBERNETES_VERSION = "1.33.0"
"""The release whose API is served."""

Page = Callable[[], Awaitable[tuple[str, bytes]]]
Question = Callable[[Mapping[str, str]], Awaitable[tuple[str, bytes]]]
"""A page whose answer depends on the query."""
"""Makes a document: its media type and body."""


def version_document(weft_version: str) -> dict[str, str]:
    """GET /version. Clients read major and minor as numbers."""
    major, minor, _ = KUBERNETES_VERSION.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{KUBERNETES_VERSION}+weft-{weft_version}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": "linux/amd64",
    }


class Server:
    """Handles every request of one API server."""

    def __init__(
        self,
        handlers: Handlers,
        *,
        tokens: Tokens,
        authorizer: Authorizer,
        metrics: Metrics,
        weft_version: str,
        fairness: Fairness | None = None,
    ) -> None:
        self._handlers = handlers
        self._tokens = tokens
        self._authorizer = authorizer
        self._metrics = metrics
        self._version = orjson.dumps(version_document(weft_version))
        self.fairness = fairness or Fairness()
        self.ready = False
        self.questions: dict[str, Question] = {}
        self.pages: dict[str, Page] = {}
        self.actions: dict[str, Page] = {}
        """Documents of other parts of the program, by path; for masters like every such path."""

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; a bug is a 500 with a log line, never a half write."""
        self._metrics.inflight += 1
        code = 500
        try:
            response = await self._answer(http)
            code = response.status
            return response
        except ApiError as error:
            code = error.code
            return _failed(http, error)
        except StoreError as error:
            log.error("store failed path=%s error=%s", http.path, error)
            code = 503
            return _failed(http, failures.store_failed(error))
        except ConnectionError:
            raise
        except Exception as error:
            log.exception("request failed method=%s path=%s", http.method, http.path)
            return _failed(http, failures.internal(repr(error)))
        finally:
            self._metrics.inflight -= 1
            self._metrics.count(http.method, code)

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        user = self._authenticate(http)
        path = http.path.rstrip("/") or "/"
        target = request.parse_target(path, self._handlers.catalog)
        if target is None:
            if path not in PUBLIC_PATHS and not path.startswith(("/livez/", "/readyz/")):
                self._authorize(user, Attributes(http.method.lower(), path=path), None)
            served = {"GET": self.pages, "POST": self.actions}.get(http.method, {})
            if path in served:
                media, body = await served[path]()
                return json_response(body, media)
            if http.method == "GET" and path in self.questions:
                media, body = await self.questions[path](http.query)
                return json_response(body, media)
            return self._document(http, path)
        verb = request.verb_of(http.method, target, http.query)
        kind = target.kind
        wanted = Attributes(
            verb,
            group=kind.group,
            version=target.version,
            resource=kind.plural,
            subresource=target.subresource,
            namespace=target.namespace,
            name=target.name,
        )
        self._authorize(user, wanted, target)
        body = await read_body(http) if http.method not in ("GET", "HEAD") else b""
        if verb == "watch" or target.subresource in STREAMS:
            async with self.fairness.seat(user):
                pass  # a stream waits for its turn to begin, and then holds no seat
            return await self._handlers.handle(http, target, verb, body, user)
        async with self.fairness.seat(user):
            return await self._handlers.handle(http, target, verb, body, user)

    def _authenticate(self, http: web.BaseRequest) -> User:
        header = http.headers.get("Authorization", "")
        if header:
            scheme, _, token = header.partition(" ")
            user = access.user_of_token(self._tokens, token.strip())
            if scheme.lower() != "bearer" or user is None:
                raise failures.unauthorized()
            return user
        connection = http.transport.get_extra_info("ssl_object") if http.transport else None
        certificate = connection.getpeercert() if connection is not None else None
        found = access.user_of_certificate(certificate) if certificate else None
        if found is None and http.path.rstrip("/") not in PUBLIC_PATHS:
            raise failures.unauthorized()
        return found or ANONYMOUS

    def _authorize(self, user: User, wanted: Attributes, target: request.Target | None) -> None:
        reason = self._authorizer.refuses(user, wanted)
        if not reason:
            return
        text = access.forbidden_text(user, wanted, reason)
        if target is None:
            raise ApiError(403, "Forbidden", f"forbidden: {text}")
        raise failures.forbidden(target.kind, target.name, text)

    def _document(self, http: web.BaseRequest, path: str) -> web.StreamResponse:
        """GETs that are not about resources."""
        if http.method not in ("GET", "HEAD"):
            raise (
                failures.no_such_path() if http.method == "POST" else failures.method_not_allowed()
            )
        if path == "/version":
            return json_response(self._version)
        if path.startswith(("/healthz", "/livez")):
            return web.Response(text="ok")
        if path.startswith("/readyz"):
            return web.Response(text="ok" if self.ready else "starting",
                                status=200 if self.ready else 500)  # fmt: skip
        if path == "/metrics":
            text = self._metrics.render(
                self._handlers.store_revision, self._handlers.watches_open, self.fairness.rejected
            )
            return web.Response(text=text, content_type="text/plain", charset="utf-8")
        if path.startswith("/openapi/"):
            return self._openapi_document(http, path)
        return self._discovery(http, path)

    def _discovery(self, http: web.BaseRequest, path: str) -> web.StreamResponse:
        parts = [p for p in path.split("/") if p]
        catalog = self._handlers.catalog
        body: bytes | None = None
        match parts:
            case []:
                body = discovery.paths(catalog)
            case ["api"] | ["apis"]:
                return _group_discovery(http, catalog, core=parts == ["api"])
            case ["api", version]:
                body = discovery.resource_list(catalog, "", version)
            case ["apis", group]:
                body = discovery.group(catalog, group)
            case ["apis", group, version]:
                body = discovery.resource_list(catalog, group, version)
        if body is None:
            raise failures.no_such_path()
        return json_response(body)

    def _openapi_document(self, http: web.BaseRequest, path: str) -> web.StreamResponse:
        found = openapi.document(self._handlers.catalog, path, http.query.get("hash", ""))
        if found is None:
            raise failures.no_such_path()
        if path == "/openapi/v2" and "protobuf" not in http.headers.get("Accept", ""):
            raise failures.not_acceptable((found.content_type,))
        headers = {"Etag": f'"{found.etag}"', "Vary": "Accept"}
        if found.immutable:
            # kubectl keeps a document only with both of these and a Date.
            headers["Cache-Control"] = "public, max-age=31536000"
        if http.headers.get("If-None-Match", "") == headers["Etag"]:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=found.body, headers={"Content-Type": found.content_type, **headers}
        )


def _group_discovery(http: web.BaseRequest, catalog: Catalog, *, core: bool) -> web.StreamResponse:
    wanted = negotiation.accept(http.headers.get("Accept", ""), ("discovery",))
    if wanted.shape == "discovery":
        version: discovery.AggregatedVersion = "v2" if wanted.version == "v2" else "v2beta1"
        media = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        return json_response(discovery.aggregated(catalog, core, version), media)
    return json_response(discovery.api_versions() if core else discovery.group_list(catalog))


async def read_body(http: web.BaseRequest) -> bytes:
    """The whole body. Raises ApiError 413."""
    if (http.content_length or 0) > BODY_BYTES_MAX:
        raise failures.too_large(BODY_BYTES_MAX)
    pieces: list[bytes] = []
    size = 0
    async for piece in http.content.iter_any():
        size += len(piece)
        if size > BODY_BYTES_MAX:
            raise failures.too_large(BODY_BYTES_MAX)
        pieces.append(piece)
    return b"".join(pieces)


def json_response(
    body: bytes, media: str = negotiation.JSON, *, status: int = 200, **headers: str
) -> web.Response:
    """A JSON answer; clients may not cache it unless said otherwise."""
    base = {"Content-Type": media, "Cache-Control": "no-cache, private"}
    return web.Response(body=body, status=status, headers=base | headers)


def _failed(http: web.BaseRequest, error: ApiError) -> web.Response:
    """The answer to a request that failed; one whose answer has begun is cut off instead."""
    if not http.get(BEGUN):
        return failure(error)
    if http.transport is not None:
        http.transport.abort()
    raise ConnectionResetError("the answer had begun") from error


def failure(error: ApiError) -> web.Response:
    """A Status answer."""
    headers: Mapping[str, Any] = {}
    if seconds := error.details.get("retryAfterSeconds"):
        headers = {"Retry-After": str(seconds)}
    return json_response(orjson.dumps(error.status()), status=error.code, **headers)
