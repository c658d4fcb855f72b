"""The HTTP side: connections, identities, routes, errors. Everything else is decided elsewhere."""

import logging
import ssl
from asyncio import BaseTransport
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from weft.api.errors import ApiError
from weft.apiserver import (
    access,
    audit,
    discovery,
    failures,
    health,
    impersonation,
    negotiation,
    openapi,
    request,
)
from weft.apiserver.access import ANONYMOUS, Attributes, Authorizer, User
from weft.apiserver.audit import Stage, Trail
from weft.apiserver.audit_log import AUDIT_ID, AuditLog
from weft.apiserver.authentication import Authenticator
from weft.apiserver.bodies import Bodies
from weft.apiserver.catalog import Catalog
from weft.apiserver.fairness import Fairness
from weft.apiserver.handlers import BEGUN, Handlers
from weft.apiserver.metrics import Metrics
from weft.apiserver.removed_nodes import RemovedNodes
from weft.lib.aio import ticks
from weft.pki.identity import Validity
from weft.store.interface import StoreError
from weft.telemetry.exposition import openmetrics

log = logging.getLogger("weft.apiserver")
OPENMETRICS = "application/openmetrics-text"
PUBLIC_PATHS = ("/healthz", "/livez", "/readyz", "/version")
STREAMS = ("log", "exec", "attach", "portforward", "proxy")
"""Subresources whose answers may take as long as they like."""
KUBERNETES_VERSION = "1.33.0"
"""The release whose API is served."""

Page = Callable[[], Awaitable[tuple[str, bytes]]]
"""Makes a document: its media type and body."""
Question = Callable[[Mapping[str, str]], Awaitable[tuple[str, bytes]]]
"""A page whose answer depends on the query."""
PersonalQuestion = Callable[[User, Mapping[str, str]], Awaitable[tuple[str, bytes]]]
"""A question whose answer also depends on who asks. ApiError."""
Upgrade = Callable[[web.BaseRequest, User], Awaitable[web.StreamResponse]]
Upload = Callable[[bytes, User], Awaitable[tuple[str, bytes]]]
"""Takes a connection over."""
Tree = Callable[[str, Mapping[str, str]], Awaitable[tuple[str, bytes]]]
"""Makes the documents below a path, of which it gets the rest. ApiError."""


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


def shown_certificate(transport: BaseTransport | None) -> bytes | None:
    """The certificate (DER) that a client showed; TLS has verified it."""
    connection = transport.get_extra_info("ssl_object") if transport is not None else None
    return connection.getpeercert(binary_form=True) if connection is not None else None


class Server:
    """Handles every request of one API server."""

    def __init__(
        self,
        handlers: Handlers,
        *,
        tokens: Authenticator,
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
        self.bodies = Bodies()
        self.removed: RemovedNodes | None = None
        self._certified: dict[int, tuple[web.BaseRequest, str]] = {}
        """Requests under way, watches and links among them, by whose certificate."""
        self.ready = False
        self.questions: dict[str, Question] = {}
        self.personal_questions: dict[str, PersonalQuestion] = {}
        self.audit: AuditLog | None = None
        self.pages: dict[str, Page] = {}
        self.trees: dict[str, Tree] = {}
        self.more_metrics: list[Callable[[], str]] = []
        """Documents of other parts of the program, by path; for whom a role's nonResourceURLs
        allow it, like every such path."""
        self.actions: dict[str, Page] = {}
        self.open_pages: dict[str, Page] = {}
        """For everybody, without a credential."""
        self.upgrades: dict[str, Upgrade] = {}
        self.uploads: dict[str, Upload] = {}
        self.believes_certificate: Callable[[bytes], bool] = lambda _: True
        """Whether a client's certificate (DER), which TLS has verified, still counts."""

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; a bug is a 500 with a log line, never a half write."""
        self._metrics.inflight += 1
        code, began, seconds = 500, ticks(), None
        trail = self.audit.begin(http) if self.audit is not None else None
        try:
            response = await self._answered(http, trail)
            code = response.status
            if isinstance(response, web.Response):  # not a stream
                seconds = ticks() - began
            return response
        finally:
            self._metrics.inflight -= 1
            self._certified.pop(id(http), None)
            self._metrics.count(http.method, code, seconds)

    async def _answered(self, http: web.BaseRequest, trail: Trail | None) -> web.StreamResponse:
        """Also failures are answers, and are audited as such."""
        stage: Stage = "ResponseComplete"
        code, answer = 499, None  # the client went away
        try:
            try:
                response = await self._answer(http, trail)
            except ApiError as error:
                response = _failed(http, error)
            except StoreError as error:
                log.error("store failed path=%s error=%s", http.path, error)
                response = _failed(http, failures.store_failed(error))
            except ConnectionError:
                raise
            except RecursionError:
                log.warning("nested too deeply method=%s path=%s", http.method, http.path)
                response = _failed(http, failures.bad_request("the body is nested too deeply"))
            except Exception as error:
                stage = "Panic"
                log.exception("request failed method=%s path=%s", http.method, http.path)
                response = _failed(http, failures.internal(repr(error)))
            code = response.status
            _indent(http, response)
            if trail is not None and isinstance(response, web.Response):
                answer = response.body if isinstance(response.body, bytes) else None
                response.headers[AUDIT_ID] = trail.audit_id
            return response
        finally:
            if trail is not None and self.audit is not None:
                self.audit.tell(trail, stage, code, answer)

    def _known(
        self, trail: Trail | None, user: User | None, acting_as: User | None, wanted: Attributes
    ) -> None:
        """Who asks for what: the audit log begins here."""
        if trail is not None and self.audit is not None and trail.wanted is None:
            trail.user, trail.wanted = user, wanted
            trail.acting_as = acting_as if acting_as is not user else None
            self.audit.judge(trail)

    async def _answer(self, http: web.BaseRequest, trail: Trail | None) -> web.StreamResponse:
        path = http.path.rstrip("/") or "/"
        target = request.parse_target(path, self._handlers.catalog)
        wanted = Attributes(http.method.lower(), path=path)
        no_verb: ApiError | None = None
        if target is not None:
            try:
                verb = request.verb_of(http.method, target, http.query)
                wanted = request.attributes(target, verb, http.query)
            except ApiError as error:
                no_verb = error
        if path in self.open_pages and http.method == "GET":
            media, body = await self.open_pages[path]()
            return json_response(body, media)
        try:
            real = await self._authenticate(http)
        except ApiError:
            self._known(trail, None, None, wanted)
            raise
        user = self._acting_as(http, real, wanted, trail)
        self._known(trail, real, user, wanted)
        if no_verb is not None:
            raise no_verb
        if target is None:
            if path not in PUBLIC_PATHS and not path.startswith(("/livez/", "/readyz/")):
                self._authorize(user, wanted, None, trail)
            return await self._other(http, path, user)
        self._authorize(user, wanted, target, trail)
        body = await self.bodies.read(http, user) if http.method not in ("GET", "HEAD") else b""
        if trail is not None and self.audit is not None:
            trail.body, trail.notes = body, audit.take_notes()
            if verb == "watch" or target.subresource in STREAMS:
                self.audit.tell(trail, "ResponseStarted", 200)
        if verb == "watch" or target.subresource in STREAMS:
            async with self.fairness.seat(user):
                pass  # a stream waits for its turn to begin, and then holds no seat
            return await self._handlers.handle(http, target, verb, body, user)
        async with self.fairness.seat(user):
            return await self._handlers.handle(http, target, verb, body, user)

    async def _other(self, http: web.BaseRequest, path: str, user: User) -> web.StreamResponse:
        """What is not about resources: documents and actions of other parts of the program."""
        served = {"GET": self.pages, "POST": self.actions}.get(http.method, {})
        if path in served:
            media, body = await served[path]()
            return json_response(body, media)
        if http.method == "POST" and path in self.uploads:
            media, body = await self.uploads[path](await self.bodies.read(http, user), user)
            return json_response(body, media)
        if http.method == "GET" and path in self.upgrades:
            return await self.upgrades[path](http, user)
        if http.method == "GET" and path in self.questions:
            media, body = await self.questions[path](http.query)
            return json_response(body, media)
        if http.method == "GET" and path in self.personal_questions:
            media, body = await self.personal_questions[path](user, http.query)
            return json_response(body, media)
        for root, tree in self.trees.items() if http.method == "GET" else ():
            if path.startswith(root):
                media, body = await tree(path[len(root) :], http.query)
                return json_response(body, media)
        return self._document(http, path)

    async def _authenticate(self, http: web.BaseRequest) -> User:
        header = http.headers.get("Authorization", "")
        if header:
            scheme, _, token = header.partition(" ")
            identity = None
            if scheme.lower() == "bearer":
                identity = await self._tokens.identify(token.strip(), ())
            if identity is None:
                raise failures.unauthorized()
            return identity.user
        connection = http.transport.get_extra_info("ssl_object") if http.transport else None
        certificate = connection.getpeercert() if connection is not None else None
        shown = shown_certificate(http.transport)
        if shown is not None and not self.believes_certificate(shown):
            certificate = None
        found = access.user_of_certificate(certificate) if certificate else None
        if found is None and http.path.rstrip("/") not in PUBLIC_PATHS:
            raise failures.unauthorized()
        if found is not None and certificate:
            if self.removed is not None:
                ends = (certificate[field] for field in ("notBefore", "notAfter"))
                self.removed.check(found, Validity(*map(ssl.cert_time_to_seconds, ends)))
            self._certified[id(http)] = http, found.name
        return found or ANONYMOUS

    def cut(self, name: str) -> None:
        """End every request under way of who showed a certificate of this name."""
        for http, user in tuple(self._certified.values()):
            if user == name and http.transport is not None:
                http.transport.abort()

    def _acting_as(
        self, http: web.BaseRequest, user: User, wanted: Attributes, trail: Trail | None
    ) -> User:
        """Somebody else, when the headers say so and `user` may. Raises ApiError."""

        def may(other: Attributes) -> None:
            decision = self._authorizer.decide(user, other)
            if not decision.allowed:
                self._known(trail, user, None, wanted)
                text = access.forbidden_text(user, other, decision.reason)
                raise impersonation.refusal(user, other, text)

        return impersonation.impersonated(http.headers.items(), may) or user

    def _authorize(
        self, user: User, wanted: Attributes, target: request.Target | None, trail: Trail | None
    ) -> None:
        decision = self._authorizer.decide(user, wanted)
        if trail is not None:
            trail.decision = decision
        if decision.allowed:
            return
        text = access.forbidden_text(user, wanted, decision.reason)
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
        excluded = http.query.getall("exclude", [])
        if found := health.answer(path, "verbose" in http.query, excluded, self.ready):
            return web.Response(text=found[1], status=found[0])
        if path == "/metrics":
            return self._metrics_page(http)
        if path.startswith("/openapi/"):
            return self._openapi_document(http, path)
        return self._discovery(http, path)

    def _metrics_page(self, http: web.BaseRequest) -> web.Response:
        """In OpenMetrics' form for those who ask for it, as Prometheus does."""
        text = self._metrics.render(
            self._handlers.store_revision, self._handlers.watches_open, self.fairness.rejected
        ) + "".join(page() for page in self.more_metrics)
        if OPENMETRICS in http.headers.get("Accept", ""):
            media = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
            return web.Response(body=openmetrics(text).encode(), headers={"Content-Type": media})
        media = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=text.encode(), headers={"Content-Type": media})

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
        protobuf = "protobuf" in http.headers.get("Accept", "")
        asked = http.query.get("hash", "")
        found = openapi.document(self._handlers.catalog, path, asked, protobuf=protobuf)
        if found is None:
            raise failures.no_such_path()
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


def json_response(
    body: bytes, media: str = negotiation.JSON, *, status: int = 200, **headers: str
) -> web.Response:
    """A JSON answer; clients may not cache it unless said otherwise."""
    base = {"Content-Type": media, "Cache-Control": "no-cache, private"}
    return web.Response(body=body, status=status, headers=base | headers)


def _indent(http: web.BaseRequest, response: web.StreamResponse) -> None:
    """JSON for people, unless it is streamed."""
    if not isinstance(response, web.Response) or not isinstance(response.body, bytes):
        return
    agent = http.headers.get("User-Agent", "")
    if response.content_type == negotiation.JSON and negotiation.is_for_people(
        http.query.get("pretty", ""), agent
    ):
        response.body = negotiation.indented(response.body)


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
