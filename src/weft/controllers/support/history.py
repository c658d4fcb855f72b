"""ControllerRevisions: the past templates of StatefulSets and DaemonSets.

`kubectl rollout history|undo` read them: a revision's data is a strategic merge patch of the owner
that puts its template back. Source: Kubernetes' controller history.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from weft.api.k8s.apps_v1 import ControllerRevision
from weft.api.k8s.core_v1 import PodTemplateSpec
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import meta
from weft.controllers.support.ownership import owner_reference
from weft.controllers.support.patches import object_patch, plain
from weft.runtime.plan import Action, Create, Delete

HISTORY_LIMIT_DEFAULT = 10
LABEL_HASH = "controller-revision-hash"
"""Label of pods: the revision they were made from."""
_COPIED = ("kubernetes.io/change-cause",)
# Letters and digits that spell no words and are not mistaken for each other.
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_HASH_LENGTH = 10


class History(Struct, frozen=True):
    """An owner's revisions, oldest first, its present one among them, and how to write them."""

    revisions: tuple[ControllerRevision, ...]
    update: ControllerRevision
    """The one of the present template."""
    actions: tuple[Action, ...] = ()
    collided: bool = False
    """Another object has the name; the owner's collision count has to grow."""

    def find(self, name: str) -> ControllerRevision | None:
        return next((r for r in self.revisions if r.metadata.name == name), None)


def data_of(template: PodTemplateSpec) -> Mapping[str, Any]:
    """What puts the template back; applied as a whole, not merged."""
    body = _tidy(plain(template))
    return {"spec": {"template": {**body, "$patch": "replace"}}}


def template_of(revision: ControllerRevision) -> PodTemplateSpec | None:
    """The template that a revision keeps; None when its data is something else."""
    data = revision.data
    spec = data.get("spec") if isinstance(data, Mapping) else None
    body = spec.get("template") if isinstance(spec, Mapping) else None
    if not isinstance(body, Mapping):
        return None
    try:
        return msgspec.convert({k: v for k, v in body.items() if k != "$patch"}, PodTemplateSpec)
    except msgspec.ValidationError:
        return None


def hash_of(data: Mapping[str, Any], collisions: int) -> str:
    """A name-safe hash; `collisions` varies it when a name is taken."""
    text = msgspec.json.encode((data, collisions), order="sorted")
    rest = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    letters = []
    for _ in range(_HASH_LENGTH):
        rest, digit = divmod(rest, len(_ALPHABET))
        letters.append(_ALPHABET[digit])
    return "".join(letters)


def follow(
    owner: Struct,
    template: PodTemplateSpec,
    owned: Sequence[ControllerRevision],
    collisions: int,
    taken: Collection[str],
) -> History:
    """The history with the present template in it: found, moved to the end, or new.

    `taken` are names of revisions of others."""
    revisions = sorted(owned, key=_order)
    data = data_of(template)
    newest = revisions[-1].revision or 0 if revisions else 0
    same = [r for r in revisions if _same(r, data)]
    if same and same[-1] is revisions[-1]:
        return History(tuple(revisions), same[-1])
    if same:
        moved = replace(same[-1], revision=newest + 1)
        rest = [r for r in revisions if r is not same[-1]]
        return History((*rest, moved), moved, object_patch(same[-1], moved))
    made = _made(owner, template, data, newest + 1, collisions)
    if made.metadata.name in taken:
        return History(tuple(revisions), made, collided=True)
    return History((*revisions, made), made, (Create(made),))


def expired(history: History, limit: int | None, live: Collection[str]) -> tuple[Action, ...]:
    """Deletes the oldest revisions beyond the limit; `live` names are in use and do not count."""
    kept = HISTORY_LIMIT_DEFAULT if limit is None else limit
    unused = [r for r in history.revisions if r.metadata.name not in live and r.metadata.uid]
    surplus = unused[: max(0, len(unused) - kept)]
    return tuple(
        Delete(ControllerRevision, r.metadata.namespace, r.metadata.name, r.metadata.uid)
        for r in surplus
    )


def _made(
    owner: Struct, template: PodTemplateSpec, data: Mapping[str, Any], number: int, collisions: int
) -> ControllerRevision:
    digest = hash_of(data, collisions)
    found = meta(owner)
    return ControllerRevision(
        api_version="apps/v1",
        kind="ControllerRevision",
        metadata=ObjectMeta(
            name=f"{found.name}-{digest}",
            namespace=found.namespace,
            labels=dict(template.metadata.labels) | {LABEL_HASH: digest},
            annotations={k: v for k, v in found.annotations.items() if k in _COPIED},
            owner_references=(owner_reference(owner),),
        ),
        data=data,
        revision=number,
    )


def _order(revision: ControllerRevision) -> tuple[int, str, str]:
    found = revision.metadata
    return revision.revision or 0, found.creation_timestamp, found.name


def _same(revision: ControllerRevision, data: Mapping[str, Any]) -> bool:
    if revision.data == data:
        return True
    template = template_of(revision)
    return template is not None and data_of(template) == data


def _tidy(value: Any) -> Any:
    """Without what says nothing, so that equal templates give equal data."""
    if isinstance(value, Mapping):
        return {k: _tidy(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_tidy(v) for v in value]
    return value
