"""Writes of weft's own parts, in process: authorized and audited like everybody's. Pure but for
whom it asks."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from weft.api.errors import ApiError
from weft.apiserver import access, codec, failures, request
from weft.apiserver.access import Attributes, Authorizer, User
from weft.apiserver.audit import Stage, Trail, take_notes
from weft.apiserver.request import Target, Verb

Body = Mapping[str, Any] | Sequence[Any] | None
Look = Callable[[Target, Body], Awaitable[None]]
_METHODS = {"create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
_BODY_LEVELS = ("Request", "RequestResponse")


class Done(Protocol):
    """What came of it (`resources.Written`)."""

    @property
    def body(self) -> bytes: ...
    @property
    def code(self) -> int: ...


class Audit(Protocol):
    """Who keeps the audit log (`audit_log.AuditLog`)."""

    def begin_own(self, uri: str, method: str) -> Trail: ...
    def judge(self, trail: Trail) -> None: ...
    def tell(
        self, trail: Trail, stage: Stage, code: int = 0, answer: bytes | None = None
    ) -> None: ...


class PartGate:
    """Asked about each write of a part."""

    def __init__(
        self, authorizer: Authorizer, audit: Callable[[], Audit | None], look: Look | None = None
    ) -> None:
        """`audit` gives the log that is kept now, if any; `look` is awaited before each decision,
        to know what it needs."""
        self._look = look
        self._authorizer = authorizer
        self._audit = audit

    async def write(
        self,
        user: User,
        verb: Verb,
        target: Target,
        body: Body,
        work: Callable[[], Awaitable[Done]],
    ) -> bytes:
        """Do it, if `user` may. Raises ApiError."""
        wanted = request.attributes(target, verb, {})
        if self._look is not None:
            await self._look(target, body)
        audit = self._audit()
        if audit is None:
            self._authorize(user, wanted, target, None)
            return (await work()).body
        trail = audit.begin_own(_uri(target), _METHODS[verb])
        trail.user, trail.wanted = user, wanted
        audit.judge(trail)
        if body is not None and trail.verdict and trail.verdict.level in _BODY_LEVELS:
            trail.body = _dumped(body)
        code, answer = 500, None
        try:
            self._authorize(user, wanted, target, trail)
            trail.notes = take_notes()
            done = await work()
            code, answer = done.code, done.body
            return done.body
        except ApiError as error:
            code, answer = error.code, codec.dumps(error.status())
            raise
        finally:
            audit.tell(trail, "ResponseComplete", code, answer)

    def _authorize(
        self, user: User, wanted: Attributes, target: Target, trail: Trail | None
    ) -> None:
        decision = self._authorizer.decide(user, wanted)
        if trail is not None:
            trail.decision = decision
        if not decision.allowed:
            text = access.forbidden_text(user, wanted, decision.reason)
            raise failures.forbidden(target.kind, target.name, text)


def _dumped(body: Mapping[str, Any] | Sequence[Any]) -> bytes:
    return codec.dumps(body) if isinstance(body, Mapping) else b""


def _uri(target: Target) -> str:
    """The path that the same request over HTTP would have."""
    kind = target.kind
    root = f"/apis/{kind.group}" if kind.group else "/api"
    where = ("namespaces", target.namespace) if target.namespace else ()
    parts = (*where, kind.plural, target.name, target.subresource)
    return "/".join((root, target.version, *(p for p in parts if p)))
