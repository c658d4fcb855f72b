"""Requests about resources: from HTTP to a verb, and its result back in the form asked for."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from msgspec import structs
from msgspec.structs import replace

from weft.api import registry
from weft.api.errors import ApiError
from weft.api.k8s.policy_v1 import PodDisruptionBudget
from weft.api.kinds import MEASURED, QUESTION
from weft.apiserver import (
    codec,
    custom,
    evictions,
    failures,
    logs,
    negotiation,
    patches,
    request,
    rules,
    streams,
    subresources,
    tables,
    verbs,
)
from weft.apiserver.access import WEFT, User
from weft.apiserver.api_services import api_services
from weft.apiserver.catalog import Catalog
from weft.apiserver.logs import LogSource
from weft.apiserver.managed_fields import manager_name
from weft.apiserver.negotiation import Wanted
from weft.apiserver.reading import Page
from weft.apiserver.request import Target, Verb, WriteOptions
from weft.apiserver.resources import Resources, Written
from weft.apiserver.reviews import Reviews
from weft.apiserver.selection import compile_selection
from weft.apiserver.service_tokens import ServiceTokens
from weft.apiserver.streaming import Streaming
from weft.apiserver.usage import UsageSource, metrics_of
from weft.apiserver.watching import Change, Watches, frame
from weft.lib.aio import Tasks
from weft.lib.timefmt import rfc3339

log = logging.getLogger("weft.apiserver")
BEGUN = web.RequestKey("begun", bool)
"""Marks a request whose answer is being streamed."""
WATCH_BUFFER_BYTES_MAX = 64 * 1024
"""What may wait in a watcher's connection before the next event waits for it."""
WATCH_WRITE_SECONDS_MAX = 30.0
"""A watcher that takes nothing for so long is cut off."""


BUDGET_ATTEMPTS_MAX = 20
"""How often an eviction is decided anew when its budget changed meanwhile."""
LIST_PIECE_ITEMS = 500
"""Items of a long list that are made and sent at once, so that others get their turn."""


class Handlers:
    """One verb, one method. `log_source` may be set later; without one logs are 503."""

    def __init__(
        self,
        resources: Resources,
        watches: Watches,
        clock: Callable[[], float],
        reviews: Reviews,
        tokens: ServiceTokens,
    ) -> None:
        self.reviews = reviews
        self.tokens = tokens
        self.resources = resources
        self.watches = watches
        self.log_source: LogSource | None = None
        self.usage_source: UsageSource | None = None
        self.streaming = Streaming(resources)
        self._clock = clock
        self._since = rfc3339(clock())
        self._writes = Tasks()
        self.check_token: Callable[[User, str, str, Any], None] = lambda *_: None
        """Raises ApiError when a user may not have a token that it asks for."""

    @property
    def catalog(self) -> Catalog:
        """The kinds that are served now."""
        return self.resources.definitions.catalog

    @property
    def store_revision(self) -> int:
        return self.resources.store.revision

    @property
    def watches_open(self) -> int:
        return self.watches.open

    async def handle(
        self, http: web.BaseRequest, target: Target, verb: Verb, body: bytes, user: User
    ) -> web.StreamResponse:
        """Answer a request about a resource. Raises ApiError."""
        if verb == "get" and target.subresource == "log":
            return await self._log(http, target)
        if target.subresource in streams.SUBRESOURCES and verb in ("get", "create"):
            asked = streams.options_object(target.subresource, http.query, _all(http, "command"))
            await self.resources.ask("CONNECT", target, asked, user)
            return await self.streaming.answer(http, target)
        if verb == "get" and target.subresource in ("binding", "eviction", "finalize", "token"):
            raise failures.method_not_allowed()
        wanted = negotiation.accept(http.headers.get("Accept", ""))
        if target.kind.verbs == MEASURED:
            return await self._measured(http, target, wanted)
        match verb:
            case "get":
                done = Written(await self.resources.get(target))
            case "list":
                return await self._list(http, target, wanted)
            case "watch":
                return await self._watch(http, target, wanted)
            case _:
                # A client that goes away ends its reads and watches, but never a write half way.
                write = self._write(http, target, verb, body, user)
                done = await self._writes.finish(write, "api-write")
        return self._object(http.query, target, done, wanted)

    async def _write(
        self, http: web.BaseRequest, target: Target, verb: Verb, body: bytes, user: User
    ) -> Written:
        content_type = http.headers.get("Content-Type", "")
        query = http.query
        if verb in ("delete", "deletecollection"):
            parsed = negotiation.parse_body(body, content_type) if body.strip() else {}
            if not isinstance(parsed, dict):
                raise failures.bad_request("DeleteOptions must be a JSON object")
            options = request.delete_options(query, parsed)
            if verb == "delete":
                return await self.resources.delete(target, options, user)
            selection = request.list_options(query)
            return await self.resources.delete_collection(target, selection, options, user)
        writing = request.write_options(query)
        if verb == "patch":
            kind = patches.patch_type(target.kind, content_type)
            if kind == "apply":
                patch = negotiation.parse_apply(body)
                return await self.resources.patch(target, kind, patch, writing, user)
            patch = negotiation.parse_json(body)
            writing = _with_manager(http, writing)
            return await self.resources.patch(target, kind, patch, writing, user)
        obj = negotiation.parse_body(body, content_type, target.kind.kind)
        if target.kind.verbs == QUESTION:
            return await self._question(target, obj, writing, user)
        writing = _with_manager(http, writing)
        if target.subresource == "eviction":
            return await self._evict(target, obj, writing, user)
        if target.subresource == "token":
            said: tuple[str, ...] = ()
            if isinstance(obj, dict):
                dry = writing.dry_run
                obj, said = await self.resources.ask("CREATE", target, obj, user, dry_run=dry)
            self.check_token(user, target.namespace, target.name, obj)
            made = await self.tokens.request(target, obj, dry_run=writing.dry_run)
            return Written(codec.dumps(made), 201, said)
        if target.subresource == "binding":
            return await self.resources.bind(target, obj, writing, user)
        if verb == "create":
            return await self.resources.create(target, obj, writing, user)
        return await self.resources.update(target, obj, writing, user)

    async def _evict(
        self, target: Target, obj: Any, writing: request.WriteOptions, user: User
    ) -> Written:
        """Delete the pod as the Eviction's deleteOptions say. Raises ApiError 400, 404, 409."""
        if not isinstance(obj, dict) or (obj.get("kind") or "Eviction") != "Eviction":
            raise failures.bad_request("expected an Eviction of policy/v1")
        metadata, deletion = obj.get("metadata") or {}, obj.get("deleteOptions") or {}
        if not (isinstance(metadata, dict) and isinstance(deletion, dict)):
            raise failures.bad_request("Eviction: metadata and deleteOptions must be objects")
        if (metadata.get("name") or target.name) != target.name:
            raise failures.bad_request("name in URL does not match name in Eviction object")
        options = request.delete_options({}, deletion)
        options = structs.replace(options, dry_run=options.dry_run or writing.dry_run)
        pod = structs.replace(target, subresource="")
        dry = options.dry_run
        _, said = await self.resources.ask("CREATE", target, obj, user, dry_run=dry)
        await self._take_from_budget(pod, dry)
        if not dry:
            told = evictions.disrupted(self._clock())
            status = structs.replace(pod, subresource="status")
            await self.resources.patch(status, "strategic", told, WriteOptions(), WEFT)
        await self.resources.delete(pod, options, user)
        return Written(codec.dumps(subresources.CREATED), 201, said)

    async def _take_from_budget(self, target: Target, dry_run: bool) -> None:
        """Raises ApiError 429 when a PodDisruptionBudget does not allow the eviction."""
        kind = registry.kind_for(PodDisruptionBudget)
        for _ in range(BUDGET_ATTEMPTS_MAX):
            pod = codec.to_object((await self.resources.entry(target)).value)
            page = await self.resources.list(
                Target(kind, kind.version, target.namespace), request.ListOptions()
            )
            budgets = [codec.to_object(e.value, e.mod_revision) for e in page.entries]
            taken = evictions.decide(pod, budgets, self._clock()).budget
            if taken is None or dry_run:
                return
            name = taken["metadata"]["name"]
            at = Target(kind, kind.version, target.namespace, name, "status")
            try:
                await self.resources.update(at, taken, WriteOptions(), WEFT)
            except ApiError as error:
                if error.code != 409:
                    raise
            else:
                return
        raise evictions.refused("The disruption budget changes too often.")

    async def _question(
        self, target: Target, body: Any, options: request.WriteOptions, user: User
    ) -> Written:
        """Answered, and never stored."""
        obj = verbs.identify(target, body)
        obj, said = rules.decode(target.kind, target.version, obj, options.field_validation)
        answer = await self.reviews.create(target, obj, user, self._clock())
        return Written(codec.dumps(answer), 201, said)

    def _object(
        self, query: Mapping[str, str], target: Target, done: Written, wanted: Wanted
    ) -> web.Response:
        """One object (or Status) in the wanted form."""
        body = done.body
        shown = wanted.shape if target.subresource in ("", "status", "scale") else "object"
        if shown != "object" and not body.startswith(b'{"kind":"Status"'):
            served = codec.loads(body)
            metadata = {"resourceVersion": served["metadata"].get("resourceVersion", "")}
            if shown == "table":
                now, include = self._clock(), include_object(query)
                if target.subresource == "scale":
                    body = tables.scale_table(body, now, include, metadata=metadata)
                else:
                    what = (target.kind, target.version, [body], now, include)
                    body = tables.table(*what, metadata=metadata)
            else:
                body = orjson.dumps(tables.partial(served))
        warnings = (*_deprecation(target), *done.warnings)
        return _response(body, wanted, done.code, warnings)

    async def _list(
        self, http: web.BaseRequest, target: Target, wanted: Wanted
    ) -> web.StreamResponse:
        page = await self.resources.list(target, request.list_options(http.query))
        kind, version = target.kind, target.version
        if len(page.entries) > LIST_PIECE_ITEMS and wanted == negotiation.PLAIN:
            return await _send_long_list(http, target, page)
        items = [codec.served_entry(kind, version, e) for e in page.entries]
        metadata = codec.list_metadata(page.revision, page.continue_token, page.remaining)
        if wanted.shape == "table":
            include = include_object(http.query)
            body = tables.table(kind, version, items, self._clock(), include, metadata=metadata)
        elif wanted.shape == "partial":
            body = tables.partial_list(items, metadata)
        else:
            body = codec.to_list(kind, version, items, metadata)
        return _response(body, wanted, 200, _deprecation(target))

    async def _measured(
        self, http: web.BaseRequest, target: Target, wanted: Wanted
    ) -> web.Response:
        """What is made when it is asked for. Raises ApiError 404 for what is not there, 503."""
        kind, options = target.kind, request.list_options(http.query)
        if target.name:
            options = request.ListOptions(field_selector=f"metadata.name={target.name}")
        if kind.group == "metrics.k8s.io":
            revision, found = await self._usage(target, options)
        else:
            revision = self.store_revision
            wants = (options.label_selector, options.field_selector)
            chosen = compile_selection(kind, target.version, *wants)
            every = api_services(self.catalog, self._since)
            found = [each for each in every if chosen.takes(each)]
        if target.name and not found:
            raise failures.missing(kind, target.name)
        items = [codec.dumps(each) for each in found]
        if target.name:
            return self._object(http.query, target, Written(items[0]), wanted)
        metadata = codec.list_metadata(revision)
        if wanted.shape == "table":
            include = include_object(http.query)
            body = tables.table(
                kind, target.version, items, self._clock(), include, metadata=metadata
            )
        else:
            body = codec.to_list(kind, target.version, items, metadata)
        return _response(body, wanted, 200, ())

    async def _usage(
        self, target: Target, options: request.ListOptions
    ) -> tuple[int, list[dict[str, Any]]]:
        """What pods or nodes use."""
        if self.usage_source is None:
            raise failures.not_served("nobody measures what pods use")
        kind = verbs.known_kind(target.kind.plural)
        stored = structs.replace(target, kind=kind, version="v1", name="")
        page = await self.resources.list(stored, structs.replace(options, limit=0))
        objects = [codec.to_object(e.value) for e in page.entries]
        found = metrics_of(target.kind, objects, await self.usage_source.read())
        return page.revision, found

    # ------------------------------------------------------------ streams

    async def _watch(
        self, http: web.BaseRequest, target: Target, wanted: Wanted
    ) -> web.StreamResponse:
        options = request.list_options(http.query)
        include = include_object(http.query) if wanted.shape == "table" else "None"
        lines = _Lines(target, wanted, include, self._clock)
        stream = self.watches.stream(target, options)
        response = web.StreamResponse(
            headers={"Content-Type": negotiation.JSON, "Cache-Control": "no-cache, private"}
        )
        response.enable_chunked_encoding()
        send = await _frames(http, response)
        try:
            async for changes in stream:
                await send(lines.encode(changes))
        except ApiError as error:
            await response.write(codec.event("ERROR", orjson.dumps(error.status())))
        except TimeoutError:
            log.warning("slow watcher cut off path=%s peer=%s", http.path, http.remote)
            if http.transport is not None:
                http.transport.abort()
        finally:
            await stream.aclose()
        return response

    async def _log(self, http: web.BaseRequest, target: Target) -> web.StreamResponse:
        options = logs.parse_options(http.query, self._clock())
        pod = codec.to_object((await self.resources.entry(target)).value)
        container = logs.choose_container(pod, options.container)
        node = (pod.get("spec") or {}).get("nodeName") or ""
        if not node:
            return web.Response(text="", content_type="text/plain")
        logs.check_started(pod, container, options.previous)
        if self.log_source is None:
            raise failures.unavailable("no node delivers logs")
        pieces = self.log_source.read(
            node,
            target.namespace,
            target.name,
            pod["metadata"]["uid"],
            logs.with_container(options, container),
        )
        return await _send_log(http, pieces, options.limit_bytes)


def _deprecation(target: Target) -> tuple[str, ...]:
    """What every answer about a deprecated version of a custom kind says."""
    if target.kind.definition is None:
        return ()
    warning = custom.version_of(target.kind, target.version).warning
    return (warning,) if warning else ()


def _all(http: web.BaseRequest, name: str) -> list[str]:
    return [str(value) for value in http.query.getall(name, [])]


def _with_manager(http: web.BaseRequest, writing: WriteOptions) -> WriteOptions:
    """Clients that do not name a field manager are known by their User-Agent."""
    agent = http.headers.get("User-Agent", "")
    return replace(writing, field_manager=manager_name(writing.field_manager, agent))


async def _send_long_list(http: web.BaseRequest, target: Target, page: Page) -> web.StreamResponse:
    """In pieces, so that a list of 100,000 objects does not stop everything else."""
    kind, version = target.kind, target.version
    metadata = codec.list_metadata(page.revision, page.continue_token, page.remaining)
    response = web.StreamResponse(
        headers={"Content-Type": negotiation.JSON, "Cache-Control": "no-cache, private"}
    )
    response.enable_chunked_encoding()
    await begin(http, response)
    before = codec.list_start(kind, version, metadata)
    for start in range(0, len(page.entries), LIST_PIECE_ITEMS):
        entries = page.entries[start : start + LIST_PIECE_ITEMS]
        items = b",".join([codec.served_entry(kind, version, e) for e in entries])
        await response.write(before + items)
        await asyncio.sleep(0)
        before = b","
    await response.write(codec.LIST_END)
    return response


async def begin(http: web.BaseRequest, response: web.StreamResponse) -> None:
    """Send the head of a streamed answer; an error after it can only cut the connection."""
    http[BEGUN] = True
    await response.prepare(http)


async def _frames(
    http: web.BaseRequest, response: web.StreamResponse
) -> Callable[[bytes], Awaitable[None]]:
    """Begin a chunked answer, and give what sends chunks that are framed already. Sending raises
    TimeoutError when the client takes nothing for too long."""
    http[BEGUN] = True
    writer = await response.prepare(http)
    transport = http.transport
    assert writer is not None

    async def send(chunks: bytes) -> None:
        if transport is None or transport.is_closing():
            raise ConnectionResetError("Cannot write to closing transport")
        transport.write(chunks)
        if transport.get_write_buffer_size() > WATCH_BUFFER_BYTES_MAX:
            async with asyncio.timeout(WATCH_WRITE_SECONDS_MAX):
                await writer.drain()

    return send


async def _send_log(
    http: web.BaseRequest, pieces: AsyncIterator[bytes], limit: int | None
) -> web.StreamResponse:
    """The first piece decides between an error and a log."""
    piece: bytes | None = await anext(pieces, b"")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await begin(http, response)
    left = limit
    try:
        while piece is not None:
            if left is not None:
                piece = piece[:left]
                left -= len(piece)
            if piece:
                await response.write(piece)
            if left == 0:
                break
            piece = await anext(pieces, None)
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
    return response


class _Lines:
    """A watch's changes as lines in the wanted form."""

    def __init__(
        self,
        target: Target,
        wanted: Wanted,
        include: tables.IncludeObject,
        clock: Callable[[], float],
    ) -> None:
        self._target = target
        self._shape = wanted.shape
        self._include = include
        self._clock = clock
        self._headers = True

    def encode(self, changes: Sequence[Change]) -> bytes:
        """As chunks; that of a single event is shared by all who watch it."""
        if self._shape == "object":
            if len(changes) == 1:
                return changes[0].frame
            return b"".join([change.frame for change in changes])
        return frame(b"".join([self._shaped(change) for change in changes]))

    def _shaped(self, change: Change) -> bytes:
        kind = self._target.kind
        if self._shape == "partial":
            body = orjson.dumps(tables.partial(codec.loads(change.object)))
            return codec.event(change.type, body)
        items = [] if change.type == "BOOKMARK" else [change.object]
        metadata = codec.loads(change.object)["metadata"]
        kept: dict[str, Any] = {"resourceVersion": metadata.get("resourceVersion", "")}
        if "annotations" in metadata and change.type == "BOOKMARK":
            kept["annotations"] = metadata["annotations"]
        body = tables.table(
            *(kind, self._target.version, items, self._clock(), self._include),
            metadata=kept,
            headers=self._headers,
        )
        self._headers = self._headers and not items
        return codec.event(change.type, body)


def include_object(query: Mapping[str, str]) -> tables.IncludeObject:
    """How much of the objects a Table carries. Raises ApiError 400."""
    value = query.get("includeObject", "") or "Metadata"
    if value not in ("None", "Metadata", "Object"):
        raise failures.bad_request(f'includeObject: Unsupported value: "{value}"')
    return value  # type: ignore[return-value]


def _response(
    body: bytes, wanted: Wanted, status: int, warnings: Sequence[str] = ()
) -> web.Response:
    media = wanted.media_type
    if media == negotiation.YAML:
        body = negotiation.to_yaml(body)
    response = web.Response(
        body=body,
        status=status,
        headers={"Content-Type": media, "Cache-Control": "no-cache, private"},
    )
    for warning in warnings:
        response.headers.add("Warning", warning_header(warning))
    return response


def warning_header(text: str) -> str:
    """An RFC 7234 warning, as client-go and kubectl show them."""
    quoted = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'
