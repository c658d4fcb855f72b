"""Reads of the store: one object, and lists at one revision, by pages and selectors."""

from collections.abc import Sequence

from msgspec import Struct, structs

from weft.apiserver import codec, failures, keys, subresources
from weft.apiserver.conversion_review import Converter, Unconverted
from weft.apiserver.request import (
    NEWEST,
    ListOptions,
    Target,
    continue_token,
    parse_continue,
    parse_revision,
)
from weft.apiserver.selection import Selection, compile_selection
from weft.store.interface import Compacted, Entry, Range, Store

LIST_SLICE_ENTRIES = 500
"""Entries read at once when a selector may drop many of them."""


class Page(Struct, frozen=True):
    """Entries of a list, all read at one revision."""

    entries: Sequence[Entry]
    revision: int
    continue_token: str = ""
    remaining: int = 0


class Reading:
    """The verbs that change nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.converter: Converter = Unconverted()

    async def entry(self, target: Target) -> Entry:
        """The stored object, in the words of the target's version. Raises ApiError 404, 500."""
        found = await self.store.get(keys.key(target.kind, target.name, target.namespace))
        if found is None:
            raise failures.missing(target.kind, target.name)
        return (await self._shown(target, (found,)))[0]

    async def _shown(self, target: Target, entries: Sequence[Entry]) -> Sequence[Entry]:
        if target.kind.definition is None:
            return entries
        return await self.converter.entries(target.kind, target.version, entries)

    async def get(self, target: Target) -> bytes:
        """The object, or its scale."""
        entry = await self.entry(target)
        if target.subresource == "scale":
            obj = codec.to_object(entry.value, entry.mod_revision)
            return codec.dumps(subresources.scale_of(target.kind, target.version, obj))
        return codec.served_entry(target.kind, target.version, entry)

    async def list(self, target: Target, options: ListOptions) -> Page:
        """One page, or all. Raises ApiError 400, 410 (expired), 504 (a future revision)."""
        selection = compile_selection(
            target.kind, target.version, options.label_selector, options.field_selector
        )
        prefix = keys.prefix(target.kind, target.namespace)
        revision, after = self._list_start(options, prefix)
        if selection.name and target.namespace and not revision:
            return await self._list_one(target, selection)
        try:
            if selection.everything:
                found = await self.store.range(
                    prefix, limit=options.limit, after=after, revision=revision
                )
                page = self._page(found.entries, found, options.limit)
                return structs.replace(page, entries=await self._shown(target, page.entries))
            return await self._filtered(target, selection, options.limit, after, revision)
        except Compacted as error:
            if options.continue_token:
                token = continue_token(NEWEST, after)
                raise failures.expired_pages(token) from error
            raise failures.gone(too_old(revision, error.oldest)) from error

    def _list_start(self, options: ListOptions, prefix: str) -> tuple[int, str]:
        if options.continue_token:
            if options.resource_version not in ("", "0"):
                raise failures.bad_request(
                    "specifying resource version is not allowed when using continue"
                )
            token = parse_continue(options.continue_token, prefix)
            return (0 if token.revision == NEWEST else token.revision), token.after
        asked = parse_revision(options.resource_version)
        if asked > self.store.revision:
            raise failures.timeout_future(asked, self.store.revision)
        match = options.resource_version_match
        exact = match == "Exact" or (options.limit > 0 and not match)
        return (asked if exact else 0), ""

    async def _list_one(self, target: Target, selection: Selection) -> Page:
        found = await self.store.get(keys.key(target.kind, selection.name, target.namespace))
        revision = self.store.revision
        entries = await self._shown(target, (found,) if found else ())
        matching = tuple(e for e in entries if selection.matches(e.key, e.value))
        return Page(matching, revision)

    async def _filtered(
        self, target: Target, selection: Selection, limit: int, after: str, revision: int
    ) -> Page:
        prefix = keys.prefix(target.kind, target.namespace)
        entries: list[Entry] = []
        while True:
            size = LIST_SLICE_ENTRIES if limit else 0
            found = await self.store.range(prefix, limit=size, after=after, revision=revision)
            for entry in await self._shown(target, found.entries):
                if limit and len(entries) == limit:
                    token = continue_token(found.revision, entries[-1].key)
                    return Page(tuple(entries), found.revision, token)
                if selection.matches(entry.key, entry.value):
                    entries.append(entry)
            if not found.remaining:
                return Page(tuple(entries), found.revision)
            after, revision = found.entries[-1].key, found.revision

    def _page(self, entries: tuple[Entry, ...], found: Range, limit: int) -> Page:
        if not limit or not found.remaining:
            return Page(entries, found.revision)
        token = continue_token(found.revision, entries[-1].key)
        return Page(entries, found.revision, token, found.remaining)


def too_old(asked: int, oldest: int) -> str:
    """Kubernetes' words for a revision that history does not reach."""
    return f"too old resource version: {asked} ({oldest})"
