"""The verbs on the store: reads a state, lets pure code decide, writes it or nothing.

Every write is one transaction that expects what it was decided from; when that has changed
meanwhile, the decision is made anew. So a request that fails writes nothing at all.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct, structs

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.api.wellknown import MANAGER
from weft.apiserver import (
    admission_status,
    apply_patch,
    certificate_requests,
    codec,
    failures,
    keys,
    managed_fields,
    patches,
    rules,
    subresources,
    verbs,
    views_of_kinds,
)
from weft.apiserver.access import Admission, Operation, Review, User
from weft.apiserver.address_claims import AddressClaims, removal
from weft.apiserver.addresses import Ranges
from weft.apiserver.admission_chain import AdmissionChain
from weft.apiserver.definitions import Definitions
from weft.apiserver.quota_ledger import Charges, QuotaLedger
from weft.apiserver.reading import Reading
from weft.apiserver.request import (
    DeleteOptions,
    ListOptions,
    Target,
    WriteOptions,
)
from weft.runtime.client import PatchType
from weft.store.interface import (
    Conflict,
    Delete,
    Expect,
    Put,
    Store,
    Txn,
)

WRITE_ATTEMPTS_MAX = 20
"""How often a write is decided anew before its client gets 409."""
SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and nothing that looks like something else (apimachinery's rand)."""

Change = Callable[[dict[str, Any]], dict[str, Any]]
Owned = Callable[[Mapping[str, Any] | None, dict[str, Any]], dict[str, Any]]
"""Gives the final new state (the old one is None for a creation) its managedFields."""


class Written(Struct, frozen=True):
    """The answer to a write: a served object (or Status), its HTTP code, warnings."""

    body: bytes
    code: int = 200
    warnings: tuple[str, ...] = ()


class Asking(Struct, frozen=True):
    """Who writes, and how."""

    user: User
    dry_run: bool = False
    through: str = ""
    """The subresource by which the object itself is changed (scale)."""
    posted: dict[str, Any] | None = None
    """What was posted to the subresource, where that is no state of the object (binding)."""
    applies: bool = False
    """A whole configuration is applied, by whatever tool."""


class Resources(Reading):
    """Every verb on every kind. `clock` gives seconds since the epoch, `random` a number below
    its argument."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float],
        random: Callable[[int], int],
        ranges: Ranges,
        admission: Sequence[Admission] = (),
    ) -> None:
        super().__init__(store)
        self.clock = clock
        self._random = random
        self.claims = AddressClaims(store, ranges, random)
        self.chain = AdmissionChain(admission)
        self.definitions = Definitions()
        self.quotas = QuotaLedger(store, self.definitions)

    @property
    def admission(self) -> list[Admission]:
        """weft's own hooks."""
        return self.chain.built_in

    # ------------------------------------------------------------ writing

    async def create(
        self,
        target: Target,
        body: Any,
        options: WriteOptions,
        user: User,
        *,
        owned: Owned | None = None,
    ) -> Written:
        """Raises ApiError 400, 403, 404 (namespace), 409, 422."""
        if target.kind.view_of:
            base, said = views_of_kinds.to_stored(target, body, options.field_validation)
            main = views_of_kinds.stored_target(target)
            return _as_view(target, await self.create(main, base, options, user), said)
        owned = owned or self._tracked(target, options)
        asking = Asking(user, options.dry_run)
        base = verbs.identify(target, body)
        kind = target.kind
        verbs.check_creatable(kind)
        base, fields = rules.decode(kind, target.version, base, options.field_validation)
        verbs.place(target, base)
        generated = not base["metadata"].get("name")
        for _ in range(WRITE_ATTEMPTS_MAX):
            guards = await self._namespace_guard(kind, target.namespace, base)
            obj = codec.copy(base)
            verbs.initialise(kind, obj, self._context(generated))
            obj = rules.default(kind, target.version, obj)
            obj, said = await self._admit("CREATE", target, obj, None, asking)
            obj = rules.prepare_create(kind, target.version, obj)
            rules.refuse_invalid(
                kind, obj["metadata"]["name"], rules.validate_create(kind, target.version, obj)
            )
            obj, told = self.definitions.settle(kind, obj, self.clock())
            obj = admission_status.settled(kind, obj, self.definitions.catalog)
            name = obj["metadata"]["name"]
            claims = await self.claims.of(kind, None, obj)
            obj = owned(None, obj)
            key = keys.key(kind, name, target.namespace)
            added = await self.chain.validate(self._review("CREATE", target, obj, None, asking))
            value, shown = await self.converter.stored(kind, target.version, obj)
            warnings = (*fields, *said, *told, *added)
            ops = (Put(key, value), *claims.ops, *self._companions(kind, name))
            expect = (Expect(key, 0), *guards, *claims.expect)
            try:
                async with self.quotas.turn(kind, target.namespace):
                    charges = await self.quotas.charge(kind, target.namespace, obj, None)
                    if options.dry_run:
                        if await self.store.get(key) is not None:
                            raise failures.already_exists(kind, name)
                        body = codec.to_served(kind, target.version, shown, 0)
                        return Written(body, 201, warnings)
                    ops, expect = (*ops, *charges.ops), (*expect, *charges.expect)
                    revision = await self._commit(kind, obj, ops, expect)
            except Conflict as error:
                if error.key == key and not generated:
                    raise failures.already_exists(kind, name) from error
                claims.refuse_taken(kind, obj, error)
                continue
            return Written(codec.to_served(kind, target.version, shown, revision), 201, warnings)
        raise failures.conflict(kind, base["metadata"].get("name", ""))

    async def _commit(
        self,
        kind: Kind,
        obj: Mapping[str, Any] | None,
        ops: Sequence[Put | Delete],
        expect: Sequence[Expect],
        old: Mapping[str, Any] | None = None,
    ) -> int:
        """One transaction; what it changes about the kinds that are served holds from then on."""
        revision = await self.store.apply(Txn(tuple(ops), tuple(expect)))
        self.definitions.written(kind, obj, obj or old)
        return revision

    def _context(self, with_suffix: bool = False) -> verbs.Context:
        bits = uuid.UUID(int=self._random(1 << 128), version=4)
        letters = range(verbs.SUFFIX_CHARACTERS if with_suffix else 0)
        suffix = "".join(SUFFIX_ALPHABET[self._random(len(SUFFIX_ALPHABET))] for _ in letters)
        return verbs.Context(self.clock(), str(bits), suffix)

    async def _namespace_guard(
        self, kind: Kind, namespace: str, obj: Mapping[str, Any]
    ) -> tuple[Expect, ...]:
        """Nothing is created in a namespace that does not exist, or ends meanwhile."""
        if not kind.namespaced:
            return ()
        namespaces = verbs.known_kind("namespaces")
        key = keys.key(namespaces, namespace)
        entry = await self.store.get(key)
        if entry is None:
            raise failures.missing(namespaces, namespace)
        if b'"deletionTimestamp"' in entry.value:
            found = codec.to_object(entry.value)
            if found["metadata"].get("deletionTimestamp"):
                name = obj["metadata"].get("name", "")
                raise failures.terminating(kind, name, namespace)
        return (Expect(key, entry.mod_revision),)

    def _companions(self, kind: Kind, name: str) -> tuple[Put, ...]:
        """Every namespace has a service account `default` from its first moment on."""
        if kind.plural != "namespaces":
            return ()
        account = verbs.known_kind("serviceaccounts")
        context = self._context()
        obj: dict[str, Any] = {"metadata": {"name": "default", "namespace": name}}
        verbs.initialise(account, obj, context)
        return (Put(keys.key(account, "default", name), codec.to_stored(account, obj)),)

    async def update(self, target: Target, body: Any, options: WriteOptions, user: User) -> Written:
        """PUT. Raises ApiError 400, 404, 409, 422."""
        if target.subresource == "scale":
            return await self._write_scale(target, lambda _: body, options, user)
        if target.kind.view_of:
            base, said = views_of_kinds.to_stored(target, body, options.field_validation)
            main = views_of_kinds.stored_target(target)
            return _as_view(target, await self.update(main, base, options, user), said)
        new = verbs.identify(target, body)
        conditional = verbs.expects_state(new["metadata"])

        def change(old: dict[str, Any]) -> dict[str, Any]:
            return codec.copy(new)

        return await self._rewrite(target, change, options, user, once=conditional)

    async def patch(
        self, target: Target, patch: PatchType, body: Any, options: WriteOptions, user: User
    ) -> Written:
        """PATCH; decided anew when the object changed meanwhile. Raises as `update`, and 415."""
        kind = target.kind
        if target.kind.view_of:
            return await self._patch_view(target, patch, body, options, user)
        if patch == "apply":
            return await self._apply(target, body, options, user)
        apply_patch.check_no_force(options)
        merge_rules = rules.patch_rules(kind)
        if target.subresource == "scale":
            return await self._write_scale(
                target, lambda s: patches.apply(patch, s, body, merge_rules), options, user
            )
        served = codec.api_version(kind, target.version)

        def change(old: dict[str, Any]) -> dict[str, Any]:
            shown = old | {"apiVersion": served}
            return verbs.identify(target, patches.apply(patch, shown, body, merge_rules))

        try:
            return await self._rewrite(target, change, options, user)
        except rules.WrongTypes as error:
            raise rules.misfit(kind, body, error) from error

    async def _patch_view(
        self, target: Target, patch: PatchType, body: Any, options: WriteOptions, user: User
    ) -> Written:
        """What a patch changes of a view, it changes of the stored object."""
        main = views_of_kinds.stored_target(target)
        if patch == "apply":
            config, _ = views_of_kinds.to_stored(
                target, apply_patch.configuration(target, body), "Strict"
            )
            return _as_view(target, await self._apply(main, config, options, user))
        apply_patch.check_no_force(options)
        said: tuple[str, ...] = ()

        def change(old: dict[str, Any]) -> dict[str, Any]:
            nonlocal said
            shown = views_of_kinds.shown(target, old)
            new = patches.apply(patch, shown, body, rules.patch_rules(target.kind))
            made, said = views_of_kinds.to_stored(target, new, options.field_validation)
            return made

        return _as_view(target, await self._rewrite(main, change, options, user), said)

    async def _apply(self, target: Target, body: Any, options: WriteOptions, user: User) -> Written:
        """Server-side apply: merge by ownership; an object that is not there yet is created."""
        kind = target.kind
        apply_patch.check_options(options)
        options = structs.replace(options, server_side=True)
        config = apply_patch.configuration(target, body)
        config, _ = rules.decode(kind, target.version, config, "Strict")
        writer = self._writer(target, options)
        entries: managed_fields.Entries = {}

        def change(old: Mapping[str, Any] | None) -> dict[str, Any]:
            nonlocal entries
            applied = rules.apply(kind, old, config, writer, force=options.force)
            entries = applied.entries
            return applied.obj

        def owned(_: Mapping[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
            return managed_fields.own(new, entries)

        main = Target(kind, target.version, target.namespace, target.name)
        for _ in range(WRITE_ATTEMPTS_MAX):
            try:
                scale = target.subresource == "scale"
                done = await self._rewrite(
                    main if scale else target, change, options, user, owned=owned
                )
                return _as_scale(target, done) if scale else done
            except ApiError as error:
                if error.reason != "NotFound" or target.subresource:
                    raise
            if refused := apply_patch.created_twice(target, config):
                raise refused
            try:
                first = change(None) | {"apiVersion": writer.api_version}
                return await self.create(main, first, options, user, owned=owned)
            except ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise failures.conflict(kind, target.name)

    def _writer(self, target: Target, options: WriteOptions) -> managed_fields.Writer:
        served = codec.api_version(target.kind, target.version)
        manager = options.field_manager or MANAGER
        part = managed_fields.part_of(target.kind, target.subresource)
        return managed_fields.Writer(manager, served, self.clock(), target.subresource, part)

    def _tracked(self, target: Target, options: WriteOptions) -> Owned:
        """Of every write but an apply: what it changed is its writer's own."""
        writer = self._writer(target, options)

        def owned(old: Mapping[str, Any] | None, new: dict[str, Any]) -> dict[str, Any]:
            return rules.track(target.kind, old, new, writer, begin=options.tracks)

        return owned

    async def _write_scale(
        self, target: Target, change: Change, options: WriteOptions, user: User
    ) -> Written:
        kind = target.kind

        def rewrite(old: dict[str, Any]) -> dict[str, Any]:
            scale = change(subresources.scale_of(kind, target.version, old))
            return subresources.with_scale(kind, target.version, old, scale)

        main = Target(kind, target.version, target.namespace, target.name)
        tracked = self._tracked(target, options)
        done = await self._rewrite(main, rewrite, options, user, owned=tracked, through="scale")
        return _as_scale(target, done)

    async def bind(self, target: Target, body: Any, options: WriteOptions, user: User) -> Written:
        """POST pods/NAME/binding. Raises ApiError 400, 404, 409."""

        def change(old: dict[str, Any]) -> dict[str, Any]:
            return subresources.bound(old, body, self.clock())

        posted = {**body, "apiVersion": "v1", "kind": "Binding"} if isinstance(body, dict) else None
        done = await self._rewrite(target, change, options, user, posted=posted)
        return Written(codec.dumps(subresources.CREATED), 201, done.warnings)

    async def _rewrite(
        self,
        target: Target,
        change: Change,
        options: WriteOptions,
        user: User,
        *,
        once: bool = False,
        owned: Owned | None = None,
        through: str = "",
        posted: dict[str, Any] | None = None,
    ) -> Written:
        """Read, change, write if still unchanged; again unless `once`."""
        kind = target.kind
        owned = owned or self._tracked(target, options)
        asking = Asking(user, options.dry_run, through, posted, options.applies)
        for _ in range(1 if once else WRITE_ATTEMPTS_MAX):
            entry = await self.entry(target)
            old = codec.to_object(entry.value, entry.mod_revision)
            new = change(codec.to_object(entry.value, entry.mod_revision))
            verbs.check_replacement(target, old, new)
            new, warnings = rules.decode(kind, target.version, new, options.field_validation)
            new, said = await self._decide_update(target, old, new, asking)
            claims = await self.claims.of(kind, old, new)
            if not target.subresource or kind.definition is not None:
                errors = rules.validate_update(kind, target.version, new, old)
                rules.refuse_invalid(kind, target.name, errors)
            new, told = self.definitions.settle(kind, new, self.clock())
            new = admission_status.settled(kind, new, self.definitions.catalog)
            new = owned(old, new)
            added = await self._validate(target, new, old, asking)
            warnings = (*warnings, *said, *told, *added)
            finished = verbs.is_finished(kind, new)
            if new == old and not finished:
                body = codec.served_entry(kind, target.version, entry)
                return Written(body, 200, warnings)
            charges = Charges()
            if target.subresource in ("", "resize"):
                charges = await self.quotas.charge(kind, target.namespace, new, old)
            value, shown = await self.converter.stored(kind, target.version, new)
            revision = entry.mod_revision
            if not options.dry_run:
                written = removal(kind, entry.key, old) if finished else None
                ops = written or (Put(entry.key, value), *claims.ops, *charges.ops)
                held = Expect(entry.key, entry.mod_revision)
                expect = (held, *claims.expect, *charges.expect)
                try:
                    revision = await self._commit(kind, None if finished else new, ops, expect, old)
                except Conflict as error:
                    claims.refuse_taken(kind, new, error)
                    continue
            return Written(codec.to_served(kind, target.version, shown, revision), 200, warnings)
        raise failures.conflict(kind, target.name)

    async def _decide_update(
        self,
        target: Target,
        old: dict[str, Any],
        new: dict[str, Any],
        asking: Asking,
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Each subresource changes its own part only, and the main resource all others."""
        kind = target.kind
        said: tuple[str, ...] = ()
        verbs.keep_identity(old, new)
        if kind.group == certificate_requests.GROUP and target.subresource:
            approves = target.subresource == "approval"
            part = (
                certificate_requests.with_approval
                if approves
                else (certificate_requests.with_status)
            )
            new = part(old, new, self.clock())
            new, said = await self._admit("UPDATE", target, new, old, asking)
        elif target.subresource == "status":
            new = rules.prepare_status_update(kind, new, old)
            asked = self._review("UPDATE", target, new, old, asking)
            changed, said = await self.chain.mutate(asked, rules.settler(target))
            if changed is not new:
                new = rules.prepare_status_update(kind, changed, old)
        elif target.subresource in subresources.POD_PARTS:
            wanted = rules.default(kind, target.version, new)
            new = subresources.with_part(target.subresource, old, wanted)
            new, said = await self._admit("UPDATE", target, new, old, asking)
            before = subresources.without_part(target.subresource, old, new)
            errors = rules.validate_update(kind, target.version, new, before)
            rules.refuse_invalid(kind, target.name, errors)
            new = rules.prepare_update(kind, target.version, new, old)
        elif target.subresource == "finalize":
            await self._refuse_custom_content(target.name)
            new = verbs.finalized(old, new)
        elif not target.subresource:
            new = rules.default(kind, target.version, new)
            new, said = await self._admit("UPDATE", target, new, old, asking)
            new = rules.prepare_update(kind, target.version, new, old)
        verbs.check_finalizers(kind, old, new)
        return new, said

    async def _refuse_custom_content(self, namespace: str) -> None:
        """A namespace stays while custom objects are in it. Raises ApiError 409."""
        for kind in self.definitions.catalog.customs.values():
            prefix = keys.prefix(kind, namespace)
            if kind.namespaced and (await self.store.range(prefix, limit=1)).entries:
                why = f"{kind.plural}.{kind.group} are still in it"
                raise failures.conflict(verbs.known_kind("namespaces"), namespace, why)

    async def delete(self, target: Target, options: DeleteOptions, user: User) -> Written:
        """Raises ApiError 403, 404, 409."""
        if target.kind.view_of:
            main = views_of_kinds.stored_target(target)
            return _as_view(target, await self.delete(main, options, user))
        kind = target.kind
        for _ in range(WRITE_ATTEMPTS_MAX):
            entry = await self.entry(target)
            old = codec.to_object(entry.value, entry.mod_revision)
            asking = Asking(user, options.dry_run)
            await self._admit("DELETE", target, None, old, asking)
            review = self._review("DELETE", target, None, old, asking)
            said = await self.chain.validate(review)
            decided = verbs.delete(kind, self.definitions.guarded(kind, old), options, self.clock())
            decided = self.definitions.ending(kind, decided, self.clock())
            value = shown = codec.to_stored(kind, decided.obj)
            if decided.action == "write":
                value, shown = await self.converter.stored(kind, target.version, decided.obj)
            revision = entry.mod_revision
            if decided.action != "none" and not options.dry_run:
                ops = removal(kind, entry.key, old)
                if decided.action == "write":
                    ops = (Put(entry.key, value),)
                kept = decided.obj if decided.action == "write" else None
                try:
                    expect = (Expect(entry.key, entry.mod_revision),)
                    revision = await self._commit(kind, kept, ops, expect, old)
                except Conflict:
                    continue
            if decided.action == "remove" and kind.plural not in _RETURNED_WHEN_DELETED:
                return Written(codec.dumps(subresources.success(kind, old)), 200, said)
            return Written(codec.to_served(kind, target.version, shown, revision), 200, said)
        raise failures.conflict(kind, target.name)

    async def delete_collection(
        self, target: Target, selection: ListOptions, options: DeleteOptions, user: User
    ) -> Written:
        """Delete what a list gives, one by one; gives that list."""
        page = await self.list(target, selection)
        for entry in page.entries:
            namespace, name = keys.names(target.kind, entry.key)
            one = Target(target.kind, target.version, namespace, name)
            try:
                await self.delete(one, options, user)
            except ApiError as error:
                if error.code != 404:
                    raise
        items = [codec.served_entry(target.kind, target.version, e) for e in page.entries]
        return Written(
            codec.to_list(target.kind, target.version, items, codec.list_metadata(page.revision))
        )

    # ------------------------------------------------------------ helpers of writes

    def _review(
        self,
        operation: Operation,
        target: Target,
        new: dict[str, Any] | None,
        old: dict[str, Any] | None,
        asking: Asking,
    ) -> Review:
        name = target.name or str(((new or old or {}).get("metadata") or {}).get("name") or "")
        return Review(
            operation, target.kind, target.namespace, name, new, old, asking.user,
            asking.through or target.subresource, asking.dry_run, target.version, asking.applies,
        )  # fmt: skip

    async def _admit(
        self,
        operation: Operation,
        target: Target,
        new: dict[str, Any] | None,
        old: dict[str, Any] | None,
        asking: Asking,
    ) -> tuple[Any, tuple[str, ...]]:
        return await self.chain.admit(
            self._review(operation, target, new, old, asking), rules.settler(target)
        )

    async def ask(
        self,
        operation: Operation,
        target: Target,
        posted: dict[str, Any],
        user: User,
        *,
        dry_run: bool = False,
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Admission of what is posted to a subresource and stored nowhere (evictions, tokens,
        streams): what to go on with, and warnings. Raises ApiError."""
        asked = self._review(operation, target, posted, None, Asking(user, dry_run))
        posted, said = await self.chain.mutate(asked, lambda obj: obj)
        return posted, (*said, *await self.chain.validate(structs.replace(asked, new=posted)))

    async def _validate(
        self,
        target: Target,
        new: dict[str, Any],
        old: dict[str, Any],
        asking: Asking,
    ) -> tuple[str, ...]:
        """Of an update: subresources that are objects of their own are put as such."""
        if not self.chain.validating:
            return ()
        operation: Operation = "UPDATE"
        before: dict[str, Any] | None = old
        if asking.through == "scale":
            kind, version = target.kind, target.version
            new = subresources.scale_of(kind, version, new)
            before = subresources.scale_of(kind, version, old)
        elif asking.posted is not None:
            operation, new, before = "CREATE", asking.posted, None
        return await self.chain.validate(self._review(operation, target, new, before, asking))


def _as_view(target: Target, done: Written, said: tuple[str, ...] = ()) -> Written:
    body = views_of_kinds.answer(target, done.body)
    return Written(body, done.code, (*said, *done.warnings))


def _as_scale(target: Target, done: Written) -> Written:
    scale = subresources.scale_of(target.kind, target.version, codec.loads(done.body))
    return Written(codec.dumps(scale), done.code, done.warnings)


_RETURNED_WHEN_DELETED = ("pods", "services", "serviceaccounts")
"""Kinds whose deletion answers with the object instead of a Status, as kube-apiserver's."""
