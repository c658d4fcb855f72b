"""When the mesh's roots, intermediates and certificates are renewed. Pure: the clock is given.

Roots overlap. A new one is first trusted everywhere; then it signs, and every certificate is made
anew at once; the old one is trusted until nothing that it signed can be in use any more. So at
every moment each side of a connection trusts whoever the other one's certificate comes from.
"""

from collections.abc import Set
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from weft.pki import identity
from weft.pki.identity import Validity

ROOT_RENEW_FRACTION = 0.8
"""Of a root's life, after which the next one is made."""
ALARM_FRACTION = 0.1
"""Of a life: with less left than this somebody is told."""
SETTLE_FRACTION = 0.1
"""Of a workload certificate's life: how long after its end an old root is still trusted."""
CONNECTION_FRACTION = 0.25
"""Of a workload certificate's life that a connection may last: certificates are renewed when at
least 0.4 of it is left, so no connection outlives the certificates it began with."""


OVERLAP_SECONDS_DEFAULT = 3600.0


class Lives(Struct, frozen=True):
    """Seconds that certificates live."""

    root: float = identity.ROOT_SECONDS_DEFAULT
    intermediate: float = identity.INTERMEDIATE_SECONDS_DEFAULT
    workload: float = identity.WORKLOAD_SECONDS_DEFAULT
    overlap: float = OVERLAP_SECONDS_DEFAULT
    """How long a new root is trusted, at the least, before it signs: who takes the roots from the
    ConfigMap needs time to do so."""

    @property
    def connection(self) -> float:
        """How long a connection between nodes may last."""
        return self.workload * CONNECTION_FRACTION


def lives_of(root: float, workload: float) -> Lives:
    """All lives, in proportion to these."""
    return Lives(
        root=root,
        intermediate=min(identity.INTERMEDIATE_SECONDS_DEFAULT, root / 4),
        workload=workload,
        overlap=min(OVERLAP_SECONDS_DEFAULT, root / 40),
    )


RootState = Literal["next", "signing", "retiring"]


class Root(Struct, frozen=True):
    """What the schedule knows of a root."""

    name: str
    validity: Validity
    since: float
    """When it was made and began to be trusted."""
    signs_since: float | None = None
    replaced_at: float | None = None
    """When it stopped signing."""

    @property
    def state(self) -> RootState:
        if self.replaced_at is not None:
            return "retiring"
        return "next" if self.signs_since is None else "signing"


class Roots(Struct, frozen=True):
    """All roots that are trusted, the oldest first, and whether a person wants a new one."""

    roots: tuple[Root, ...] = ()
    asked: bool = False
    hurry: bool = False
    """It shall sign as soon as every proxy trusts it."""

    @property
    def signing(self) -> Root | None:
        return next((r for r in reversed(self.roots) if r.state == "signing"), None)

    @property
    def next(self) -> Root | None:
        return next((r for r in reversed(self.roots) if r.state == "next"), None)


class MakeRoot(Struct, frozen=True):
    """Make a root of this life and trust it."""

    seconds: float


class SignWith(Struct, frozen=True):
    """From now on this root signs."""

    name: str


class Retire(Struct, frozen=True):
    """Trust this root no longer."""

    name: str


Action = MakeRoot | SignWith | Retire


def step(roots: Roots, now: float, lives: Lives, trusted: Set[str]) -> Action | None:
    """What to do next about the roots; None for nothing. `trusted`: the roots that every proxy
    that is connected has acknowledged."""
    signing, following = roots.signing, roots.next
    if following is not None:
        # A proxy that says nothing for the life of its certificates has none that hold.
        waited = now >= following.since + max(lives.workload, lives.overlap)
        early = not roots.hurry and now < following.since + lives.overlap
        if signing is None or (following.name in trusted and not early) or waited:
            return SignWith(following.name)
    elif signing is None or roots.asked or now >= _renew_root_at(signing):
        return MakeRoot(lives.root)
    for root in roots.roots:
        if root.replaced_at is not None and now >= _retire_at(root, lives):
            return Retire(root.name)
    return None


def _renew_root_at(root: Root) -> float:
    life = root.validity.not_after - root.validity.not_before
    return root.validity.not_before + life * ROOT_RENEW_FRACTION


def _retire_at(root: Root, lives: Lives) -> float:
    assert root.replaced_at is not None
    return root.replaced_at + lives.workload * (1 + SETTLE_FRACTION)


def next_at(roots: Roots, lives: Lives) -> float:
    """When `step` is to be asked again, if nothing else happens."""
    times = [_retire_at(r, lives) for r in roots.roots if r.replaced_at is not None]
    if roots.next is not None:
        times.append(roots.next.since + lives.overlap)
        times.append(roots.next.since + max(lives.workload, lives.overlap))
    elif roots.signing is not None:
        times.append(_renew_root_at(roots.signing))
    return min(times, default=0.0)


def made(roots: Roots, root: Root) -> Roots:
    return replace(roots, roots=(*roots.roots, root), asked=False)


def signs(roots: Roots, name: str, now: float) -> Roots:
    def changed(root: Root) -> Root:
        if root.name == name:
            return replace(root, signs_since=now)
        return replace(root, replaced_at=now) if root.state == "signing" else root

    return replace(roots, roots=tuple(map(changed, roots.roots)), hurry=False)


def retired(roots: Roots, name: str) -> Roots:
    return replace(roots, roots=tuple(r for r in roots.roots if r.name != name))


class Alarm(Struct, frozen=True):
    """An authority that ends soon, or has ended, and is not followed by another."""

    what: str
    ends: float
    ended: bool


def alarms(authorities: dict[str, Validity], now: float) -> tuple[Alarm, ...]:
    """What of these (name -> validity) needs somebody's attention."""
    found = []
    for name, valid in authorities.items():
        life = valid.not_after - valid.not_before
        if now >= valid.not_after - life * ALARM_FRACTION:
            found.append(Alarm(name, valid.not_after, now >= valid.not_after))
    return tuple(found)
