"""Reads of the store: one object, and lists at one revision, by pages and selectors."""

from msgspec import Struct

from weft.apiserver import codec, failures, keys, subresources
from weft.apiserver.request import (
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

    entries: tuple[Entry, ...]
    revision: int
    continue_token: str = ""
    remaining: int = 0


class Reading:
    """The verbs that change nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def entry(self, target: Target) -> Entry:
        """The stored object. Raises ApiError 404."""
        found = await self.store.get(keys.key(target.kind, target.name, target.namespace))
        if found is None:
            raise failures.missing(target.kind, target.name)
        return found

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
                return self._page(found.entries, found, options.limit)
            return await self._filtered(prefix, selection, options.limit, after, revision)
        except Compacted as error:
            if options.continue_token:
                raise failures.gone(failures.EXPIRED_CONTINUE) from error
            raise failures.gone(too_old(revision, error.oldest)) from error

    def _list_start(self, options: ListOptions, prefix: str) -> tuple[int, str]:
        if options.continue_token:
            if options.resource_version not in ("", "0"):
                raise failures.bad_request(
                    "specifying resource version is not allowed when using continue"
                )
            token = parse_continue(options.continue_token, prefix)
            return token.revision, token.after
        asked = parse_revision(options.resource_version)
        if asked > self.store.revision:
            raise failures.timeout_future(asked, self.store.revision)
        return (asked if options.resource_version_match == "Exact" else 0), ""

    async def _list_one(self, target: Target, selection: Selection) -> Page:
        found = await self.store.get(keys.key(target.kind, selection.name, target.namespace))
        matching = (found,) if found and selection.matches(found.key, found.value) else ()
        return Page(matching, self.store.revision)

    async def _filtered(
        self, prefix: str, selection: Selection, limit: int, after: str, revision: int
    ) -> Page:
        entries: list[Entry] = []
        while True:
            size = LIST_SLICE_ENTRIES if limit else 0
            found = await self.store.range(prefix, limit=size, after=after, revision=revision)
            for entry in found.entries:
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
