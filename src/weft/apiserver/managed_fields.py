"""metadata.managedFields: who set which field, and what that means for writes. Pure.

Source: the documentation of server-side apply (field management, conflicts, transferring
ownership). Objects that only weft itself has written carry no managedFields, and stay cheap;
tracking begins with the first write of somebody else.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct, structs

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.schema import Schema
from weft.apiserver import last_applied, structured_merge
from weft.apiserver.field_paths import Place, places, present, show, tree_of
from weft.apiserver.structured_merge import compare, field_set, tree_of_all, with_named_fields
from weft.lib.timefmt import rfc3339

FIELDS_TYPE = "FieldsV1"
APPLY, UPDATE = "Apply", "Update"
BEFORE_FIRST_APPLY = "before-first-apply"
ANCIENT_CHANGES = "ancient-changes"
UPDATE_ENTRIES_MAX = 10
"""Managers by update that an object keeps; the oldest ones beyond are told as one."""
MANAGER_CHARACTERS_MAX = 128
_META_NEVER = (
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation",
    "managedFields", "name", "namespace", "resourceVersion", "selfLink", "uid",
)  # fmt: skip
_EXPECTED = ("uid", "resourceVersion")
_NEVER_OWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {("f:metadata", f"f:{name}") for name in _META_NEVER}
)


Part = Literal["all", "main", "status", "scale"]


class Writer(Struct, frozen=True):
    """Who writes: the name a client gave itself, through which version and subresource."""

    manager: str
    api_version: str
    now: float
    """Seconds since the epoch."""
    subresource: str = ""
    part: Part = "all"
    """Of the object: what this request can change."""


class Entry(Struct, frozen=True):
    """One manager's fields, as managedFields holds them."""

    manager: str
    operation: str
    api_version: str
    fields: Mapping[str, Any]
    time: str = ""
    subresource: str = ""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Appliers are one manager through all versions."""
        version = "" if self.operation == APPLY else self.api_version
        return self.manager, self.operation, version, self.subresource

    def to_json(self) -> dict[str, Any]:
        found = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": FIELDS_TYPE,
            "fieldsV1": self.fields,
            "subresource": self.subresource,
        }
        return {name: value for name, value in found.items() if value != ""}


Entries = dict[tuple[str, str, str, str], Entry]


def part_of(kind: Kind, subresource: str) -> Part:
    """What a write to a (sub)resource can change."""
    if subresource in ("status", "approval"):
        return "status"
    if subresource == "scale":
        return "scale"
    return "main" if "status" in kind.subresources else "all"


def manager_name(field_manager: str, user_agent: str) -> str:
    """Who a client says it is; without a word of its own the first part of its User-Agent."""
    name = field_manager or user_agent.partition("/")[0]
    plain = "".join(c for c in name if c.isprintable())
    return plain[:MANAGER_CHARACTERS_MAX] or "unknown"


# ------------------------------------------------------------------ reading and writing


def read(listed: Any) -> Entries:
    """The entries of metadata.managedFields. Raises ValueError when they are not well-formed."""
    if not isinstance(listed, Sequence) or isinstance(listed, str):
        raise ValueError("managedFields must be a list")
    found: Entries = {}
    for item in listed:
        entry = _entry(item)
        found[entry.key] = entry
    return found


def _entry(item: Any) -> Entry:
    if not isinstance(item, Mapping):
        raise ValueError("an entry of managedFields must be an object")
    if item.get("operation") not in (APPLY, UPDATE):
        raise ValueError(f"operation: invalid value {item.get('operation')!r}")
    if item.get("fieldsType") != FIELDS_TYPE:
        raise ValueError(f"fieldsType: invalid value {item.get('fieldsType')!r}")
    tree = item.get("fieldsV1") or {}
    if not isinstance(tree, Mapping):
        raise ValueError("fieldsV1 must be an object")
    places(tree)
    texts = [item.get(n) or "" for n in ("manager", "apiVersion", "time", "subresource")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("manager, apiVersion, time and subresource must be strings")
    manager, version, time, subresource = texts
    return Entry(manager, item["operation"], version, tree, time, subresource)


def _stored(listed: Any) -> Entries:
    """Entries that this server wrote itself: not checked again."""
    found: Entries = {}
    for item in listed or ():
        entry = Entry(
            item.get("manager", ""), item["operation"], item.get("apiVersion", ""),
            item.get("fieldsV1") or {}, item.get("time", ""), item.get("subresource", ""),
        )  # fmt: skip
        found[entry.key] = entry
    return found


def _of_request(old: Mapping[str, Any], new: Mapping[str, Any], subresource: str) -> Entries:
    """What a write starts from. Clients may write managedFields themselves; those that leave
    them out, because they know nothing of them, change nothing. `[{}]` forgets them all."""
    before = old["metadata"].get("managedFields")
    asked = new["metadata"].get("managedFields")
    if subresource or not asked or asked == before:
        return _stored(before)
    if asked == [{}]:
        return {}
    try:
        return read(asked)
    except ValueError:
        return _stored(before)


def _listed(entries: Entries) -> list[dict[str, Any]]:
    ordered = sorted(
        entries.values(),
        key=lambda e: (e.operation, e.time, e.manager, e.api_version, e.subresource),
    )
    return [entry.to_json() for entry in ordered]


def _put(obj: dict[str, Any], entries: Entries) -> dict[str, Any]:
    """The object with these entries, none when nobody owns anything."""
    kept = {key: entry for key, entry in entries.items() if entry.fields}
    metadata = {k: v for k, v in obj["metadata"].items() if k != "managedFields"}
    if kept:
        metadata["managedFields"] = _listed(_without_ancient(kept))
    return obj | {"metadata": metadata}


def _without_ancient(entries: Entries) -> Entries:
    updates = sorted(
        (e for e in entries.values() if e.operation == UPDATE), key=lambda e: (e.time, e.manager)
    )
    spare = updates[: max(0, len(updates) - UPDATE_ENTRIES_MAX)]
    if not spare:
        return entries
    spare = updates[: len(spare) + 1]
    kept = {key: entry for key, entry in entries.items() if entry not in spare}
    owned = set().union(*(places(e.fields) for e in spare))
    last = spare[-1]
    ancient = Entry(ANCIENT_CHANGES, UPDATE, last.api_version, tree_of(owned), last.time)
    kept[ancient.key] = ancient
    return kept


# ------------------------------------------------------------------ writes that are no apply


def track(
    schema: Schema,
    old: Mapping[str, Any] | None,
    new: dict[str, Any],
    writer: Writer,
    *,
    begin: bool,
) -> dict[str, Any]:
    """The new state with the fields that `writer` changed made its own. `old` is None for a
    creation. Without `begin` an object that has no managedFields gets none."""
    if old is None:
        return _created(schema, new, writer)
    entries = _of_request(old, new, writer.subresource)
    if not entries and not begin:
        return _put(new, {})
    difference = compare(schema, _bare(old), _bare(new))
    gained = _ownable(difference.added | difference.modified, writer.part)
    if not gained and not difference.removed:
        return _put(new, entries)
    mine = Entry(writer.manager, UPDATE, writer.api_version, {}, "", writer.subresource)
    changed = {
        key: _lose(entry, gained | difference.removed)
        for key, entry in entries.items()
        if key != mine.key
    }
    before = entries.get(mine.key, mine)
    changed[mine.key] = _gain(before, gained, difference.removed, rfc3339(writer.now))
    return _put(new, changed)


def _created(schema: Schema, new: dict[str, Any], writer: Writer) -> dict[str, Any]:
    tree = tree_of_all(schema, _settable(_bare(new), writer.part))
    entry = Entry(writer.manager, UPDATE, writer.api_version, tree, rfc3339(writer.now))
    return _put(new, {entry.key: entry})


def _bare(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Without the metadata that nobody owns, so that it is not compared either."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in _META_NEVER}
    rest = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
    return rest | ({"metadata": metadata} if metadata else {})


def _ownable(found: Iterable[Place], part: Part) -> set[Place]:
    """Of /status the status alone; of the main resource all but that."""
    kept = {place for place in found if place not in _NEVER_OWNED}
    match part:
        case "status":
            return {p for p in kept if p[0] == "f:status"}
        case "scale":
            return {p for p in kept if p == ("f:spec", "f:replicas")}
        case "main":
            return {p for p in kept if p[0] != "f:status"}
    return kept


def _settable(config: Mapping[str, Any], part: Part) -> dict[str, Any]:
    """What of an applied configuration counts."""
    if part == "status":
        return {k: v for k, v in config.items() if k == "status"}
    return {k: v for k, v in config.items() if k != "status" or part == "all"}


def _lose(entry: Entry, lost: Iterable[Place]) -> Entry:
    gone = present(entry.fields, lost)
    if not gone:
        return entry
    return structs.replace(entry, fields=tree_of(places(entry.fields) - gone))


def _gain(entry: Entry, gained: set[Place], removed: set[Place], time: str) -> Entry:
    fresh = gained - present(entry.fields, gained)
    gone = present(entry.fields, removed)
    if not fresh and not gone:
        return entry if entry.time else structs.replace(entry, time=time)
    return structs.replace(entry, fields=tree_of((places(entry.fields) - gone) | fresh), time=time)


# ------------------------------------------------------------------ apply


class Applied(Struct, frozen=True):
    """The outcome of an apply, before defaults: the object, and who then owns what."""

    obj: dict[str, Any]
    entries: Entries


def apply(
    schema: Schema,
    live: Mapping[str, Any] | None,
    config: Mapping[str, Any],
    writer: Writer,
    *,
    force: bool,
) -> Applied:
    """Merge an applied configuration into the live object (None: there is none yet).

    Raises ApiError 409 with a cause for each field that somebody else owns and that would
    change, and MergeError when the configuration cannot be merged.
    """
    present_state = _bare(live) if live else {}
    entries = _stored(live["metadata"].get("managedFields")) if live else {}
    if live and not entries:
        entries = _before_first_apply(schema, present_state, writer)
    wanted = _settable(_bare(config), writer.part)
    mine = _ownable(field_set(schema, wanted), writer.part)
    key = (writer.manager, APPLY, "", writer.subresource)
    had = places(entries[key].fields) if key in entries else set()
    others = {k: e for k, e in entries.items() if k != key}
    merged = structured_merge.merge(schema, present_state, wanted)
    gone = _abandoned(schema, merged, had, mine, others.values())
    merged = structured_merge.remove(schema, merged, gone) if gone else merged
    difference = compare(schema, present_state, merged)
    taken = difference.added | difference.modified
    conflicts = {k: found for k, e in others.items() if (found := present(e.fields, taken))}
    if conflicts and not force:
        may = last_applied.taken_over(schema, live or {}, writer.manager, writer.api_version)
        if left := {k: rest for k, found in conflicts.items() if (rest := found - may)}:
            raise _conflict(left, others)
    others = {k: _lose(e, taken | difference.removed) for k, e in others.items()}
    before = entries.get(key)
    tree = tree_of(mine)
    same = before is not None and before.fields == tree
    time = before.time if before and same else rfc3339(writer.now)
    others[key] = Entry(writer.manager, APPLY, writer.api_version, tree, time, writer.subresource)
    obj = _with_meta(live or config, config, merged)
    if live:
        obj = last_applied.refreshed(obj, config, writer.manager, writer.api_version)
    return Applied(obj, others)


def own(obj: dict[str, Any], entries: Entries) -> dict[str, Any]:
    """The object after an apply, with its managedFields."""
    return _put(obj, entries)


def _with_meta(
    source: Mapping[str, Any], config: Mapping[str, Any], merged: Mapping[str, Any]
) -> dict[str, Any]:
    """The merged object with what names it; uid and resourceVersion as the client expects them."""
    kept = {k: v for k, v in source["metadata"].items() if k in _META_NEVER}
    kept |= {k: config["metadata"][k] for k in _EXPECTED if config["metadata"].get(k)}
    head = {k: source[k] for k in ("apiVersion", "kind") if k in source}
    return head | dict(merged) | {"metadata": kept | (merged.get("metadata") or {})}


def _before_first_apply(schema: Schema, live: Mapping[str, Any], writer: Writer) -> Entries:
    """What an object holds that nobody was seen to set."""
    found = _ownable(compare(schema, {}, live).added, "all")
    entry = Entry(
        BEFORE_FIRST_APPLY, UPDATE, writer.api_version, tree_of(found), rfc3339(writer.now)
    )
    return {entry.key: entry}


def _abandoned(
    schema: Schema,
    merged: Mapping[str, Any],
    had: set[Place],
    mine: set[Place],
    others: Iterable[Entry],
) -> set[Place]:
    """What the manager applied before, applies no longer, and nobody else owns."""
    if not had - mine:
        return set()
    owned = mine.union(*(places(entry.fields) for entry in others))
    dropped = with_named_fields(schema, had) - with_named_fields(schema, owned)
    there = with_named_fields(schema, compare(schema, {}, merged).added)
    return dropped & there


_Conflicts = Mapping[tuple[str, str, str, str], set[Place]]


def _conflict(conflicts: _Conflicts, entries: Entries) -> ApiError:
    """409 in the words that kubectl looks for."""
    told = [
        (_told(entries[key]), show(place))
        for key in sorted(conflicts, key=lambda k: _told(entries[k]))
        for place in sorted(conflicts[key])
    ]
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": where}
        for who, where in told
    ]
    if len(told) == 1:
        text = f"Apply failed with 1 conflict: conflict with {told[0][0]}: {told[0][1]}"
    else:
        lines: list[str] = []
        for at, (who, where) in enumerate(told):
            if at == 0 or told[at - 1][0] != who:
                lines.append(f"conflicts with {who}:")
            lines.append(f"- {where}")
        text = f"Apply failed with {len(told)} conflicts: " + "\n".join(lines)
    return ApiError(409, "Conflict", text, {"causes": causes})


def _told(entry: Entry) -> str:
    text = f'"{entry.manager}"'
    if entry.subresource:
        text += f' with subresource "{entry.subresource}"'
    return text + (f" using {entry.api_version}" if entry.operation == UPDATE else "")
