"""Asks admission webhooks about writes: mutating ones in turn, validating ones side by side.

Configurations are read from the store for each write, so they are in force with the answer to
their creation; what was compiled of one is kept by its revision.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from weft.api.cel.syntax import CelError
from weft.apiserver import admission_matching as matching
from weft.apiserver import audit, codec, failures, keys, webhook_review
from weft.apiserver.access import Review, Verdict
from weft.apiserver.admission_policies import Evaluation
from weft.apiserver.policy_admission import Surroundings, admission_kind
from weft.apiserver.webhook_client import CallFailed, WebhookClient
from weft.apiserver.webhook_review import Answer, BadAnswer, Hook, Phase
from weft.store.interface import Store

log = logging.getLogger("weft.apiserver")
KEPT_MAX = 1000
WRITE_SECONDS_MAX = 60.0
"""How long all mutating, or all validating webhooks of one write may take together."""
_NOTHING = Verdict()


class _Asked(Struct, frozen=True):
    """A webhook that a write concerns, and the version to put it in."""

    hook: Hook
    version: str


class WebhookAdmission:
    """access.Admission of one phase. `new_uid` gives fresh uids."""

    def __init__(
        self,
        phase: Phase,
        store: Store,
        client: WebhookClient,
        surroundings: Surroundings,
        new_uid: Any,
    ) -> None:
        self._phase: Phase = phase
        self._store = store
        self._client = client
        self._surroundings = surroundings
        self._new_uid = new_uid
        self._kind = admission_kind(f"{phase}webhookconfigurations")
        self._known: dict[tuple[str, int], tuple[Hook, ...]] = {}

    async def review(self, asked: Review) -> Verdict:
        """As Admission.review. Raises ApiError for a denial, and 500 for a webhook that cannot be
        asked and must be."""
        if matching.exempt(asked):
            return _NOTHING
        hooks = await self._hooks()
        if not hooks:
            return _NOTHING
        namespace = await self._surroundings.namespace(asked)
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                if self._phase == "mutating":
                    return await self._mutate(hooks, asked, namespace)
                return await self._validate(hooks, asked, namespace)
        except TimeoutError:
            raise failures.internal(
                f"admission webhooks took more than {WRITE_SECONDS_MAX:g} s together"
            ) from None

    async def _hooks(self) -> list[Hook]:
        """In the order in which they are asked: by the names of their configurations."""
        found: list[Hook] = []
        for entry in (await self._store.range(keys.prefix(self._kind))).entries:
            key = (entry.key, entry.mod_revision)
            if key not in self._known:
                if len(self._known) >= KEPT_MAX:
                    self._known.clear()
                self._known[key] = webhook_review.hooks(codec.to_object(entry.value))
            found += self._known[key]
        return found

    async def _concerned(self, hook: Hook, asked: Review, namespace: Any) -> _Asked | None:
        """Raises ApiError 403 when its conditions fail and it must not be skipped."""
        found = webhook_review.wanted(hook, asked, namespace)
        if found is None:
            return None
        if hook.conditions:
            values = await self._surroundings.values(asked, namespace, found.version)
            try:
                if not Evaluation(values, {}).all_hold(hook.conditions):
                    return None
            except CelError as error:
                if hook.ignores_failures:
                    return None
                raise failures.forbidden(asked.kind, asked.name, str(error)) from error
        return _Asked(hook, found.version)

    # ------------------------------------------------------------ mutating

    async def _mutate(self, hooks: Sequence[Hook], asked: Review, namespace: Any) -> Verdict:
        """One after the other; those that want it once more when others changed the object after
        them."""
        first = asked.new
        warnings: list[str] = []
        seen: dict[int, Mapping[str, Any] | None] = {}
        for round_ in (0, 1):
            for index, hook in enumerate(hooks):
                if round_ and (not hook.reinvoked or index not in seen):
                    continue
                if round_ and seen[index] == asked.new:
                    continue
                concerned = await self._concerned(hook, asked, namespace)
                if concerned is None:
                    continue
                answer = await self._answer(concerned, asked)
                changed = False
                if answer is not None:
                    warnings += answer.warnings
                    before = asked.new
                    asked = await self._changed(concerned, asked, answer)
                    changed = asked.new != before
                seen[index] = asked.new
                for key, text in webhook_review.mutation_notes(hook, round_, index, changed):
                    audit.note(key, text)
            if len(seen) < 2:
                break  # nobody changed anything after another
        obj = asked.new if asked.new is not first else None
        return Verdict(obj, tuple(warnings))

    async def _changed(self, concerned: _Asked, asked: Review, answer: Answer) -> Review:
        hook = concerned.hook
        if answer.patch is None or asked.new is None:
            return asked
        try:
            made = await self._patched(asked, answer.patch, concerned.version)
        except BadAnswer as error:
            if hook.ignores_failures:
                log.warning("webhook ignored name=%s error=%s", hook.name, error)
                return asked
            raise webhook_review.uncallable(hook, str(error)) from error
        return replace(asked, new=made) if made != asked.new else asked

    async def _patched(self, asked: Review, patch: Sequence[Any], version: str) -> dict[str, Any]:
        """In the words of the request's version; the patch is in those of `version`."""
        converter = self._surroundings.converter
        there = await converter.asked(replace(asked, old=None), version)
        assert there.new is not None
        made = webhook_review.patched(there.new, patch, asked, version)
        if there.new is asked.new:
            return made
        back = replace(asked, new=made, old=None, version=version)
        found = (await converter.asked(back, asked.version or asked.kind.version)).new
        assert found is not None
        return found

    # ------------------------------------------------------------ validating

    async def _validate(self, hooks: Sequence[Hook], asked: Review, namespace: Any) -> Verdict:
        """All at once; the first refusal in their order is told."""
        found = [await self._concerned(hook, asked, namespace) for hook in hooks]
        concerned = [c for c in found if c is not None]
        answers = await asyncio.gather(
            *(self._answer(c, asked) for c in concerned), return_exceptions=True
        )
        warnings: list[str] = []
        refused: BaseException | None = None
        for answer in answers:
            if isinstance(answer, BaseException):
                refused = refused or answer
            elif answer is not None:
                warnings += answer.warnings
        if refused is not None:
            raise refused
        return Verdict(warnings=tuple(warnings))

    # ------------------------------------------------------------ both

    async def _answer(self, concerned: _Asked, asked: Review) -> Answer | None:
        """None: it failed, and may. Raises ApiError."""
        hook, uid = concerned.hook, str(self._new_uid())
        shown = await self._surroundings.converter.asked(asked, concerned.version)
        body = webhook_review.body(shown, concerned.version, uid)
        try:
            raw = await self._client.call(hook.client, body, hook.timeout_seconds)
            answer = webhook_review.answer(raw, uid, self._phase)
        except (CallFailed, BadAnswer) as error:
            called = isinstance(error, BadAnswer)
            why = str(error) if called else f"failed to call webhook: {error}"
            if not hook.ignores_failures:
                raise webhook_review.uncallable(hook, why) from error
            log.warning("webhook ignored name=%s error=%s", hook.name, error)
            audit.note(f"failed-open.{self._phase}.webhook.admission.k8s.io/{hook.name}", why)
            return None
        for key, text in answer.notes.items():
            audit.note(f"{hook.name}/{key}", text)
        if not answer.allowed:
            raise webhook_review.denial(hook, answer.status)
        return answer
