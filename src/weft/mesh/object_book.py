"""Which version of which object went into which build, and what proxies said of it. Pure state.

Builds are numbered. An object is in force on a node once the node's proxy has answered for the
build that read its present version.
"""

from collections.abc import Iterable

from msgspec import Struct, to_builtins

from weft.api.diagnostics import Diagnostic
from weft.api.istio.networking_v1 import Gateway
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.object_status import Rejection, consequence
from weft.mesh.quarantine import Held, Key, key

SUSPECTS_MAX = 32
"""Objects that are held back together until it is known which of them a proxy refuses; a refusal
with more possible causes is only reported."""


class Refusal(Struct, frozen=True):
    """A proxy refused a version of a resource."""

    resource: tuple[str, str, str]
    """(type, name, version)"""
    node: str
    error: str
    between: tuple[int, int]
    """The cause came after the first build, at the latest with the second."""


class ObjectBook:
    """The objects of some classes, as the mesh loop saw them."""

    def __init__(self, classes: Iterable[type[Struct]]) -> None:
        self.classes = frozenset(classes)
        self.numbers: dict[Key, tuple[Struct, int]] = {}
        """Each object, and the build that first read this version of it."""
        self.held: dict[Key, Held] = {}
        """What must not be built from as it is."""
        self.reported: dict[Key, tuple[tuple[str, str], Rejection]] = {}
        """What a proxy refuses and cannot be replaced: (type, name) of the resource, and why."""
        self.open: set[Key] = set()
        """Whose status has to be looked at."""
        self._fresh: dict[Key, Struct] = {}
        self._good: dict[Key, Struct] = {}
        self._suspects: list[Key] = []
        self._settled: set[tuple[str, str, str]] = set()
        self._last = 0
        self._held_for: dict[Key, tuple[int, tuple[str, str]]] = {}
        """The last build that still had the version which is held; (type, name) of the resource
        that it was held for."""

    def changed(self, before: Struct | None, after: Struct | None) -> None:
        """An object came, changed, or (None) went."""
        obj = after or before
        if obj is None or type(obj) not in self.classes:
            return
        its = key(obj)
        held = self.held.get(its)
        if held is not None and (after is None or not held.holds(after)):
            self.held.pop(its)
        self.reported.pop(its, None)
        if after is None:
            for known in (self.numbers, self._fresh, self._good, self._held_for):
                known.pop(its, None)
            self.open.discard(its)
        else:
            self._fresh[its] = after
            self.open.add(its)

    def built(self, number: int) -> None:
        """Build `number` begins; it reads all objects as they are."""
        self._last = number
        self.numbers.update({its: (obj, number) for its, obj in self._fresh.items()})
        self._fresh.clear()

    def number(self, its: Key) -> int | None:
        """The build that first read the object's present version; None while none has."""
        known = self.numbers.get(its)
        return None if known is None or its in self._fresh else known[1]

    def in_force(self, its: Key) -> None:
        """All proxies have the object as it is: what stays when a later version is refused."""
        if its not in self.held and its not in self._fresh and its in self.numbers:
            self._good[its] = self.numbers[its][0]

    def rejection(self, its: Key) -> Rejection | None:
        """Why the present version is not in force."""
        if its in self._suspects:
            return None
        held, reported = self.held.get(its), self.reported.get(its)
        if held is not None:
            return held.rejection
        return reported[1] if reported is not None else None

    def findings(self) -> tuple[Diagnostic, ...]:
        """What proxies refuse at present, for people."""
        report = Findings()
        for its, (obj, _) in self.numbers.items():
            found = self.rejection(its)
            if found is not None:
                report.add(
                    f.REFUSED_BY_PROXY, obj, "spec",
                    node=found.node, error=found.error, consequence=consequence(found),
                )  # fmt: skip
        return report.all()

    def refused(self, refusal: Refusal, sources: frozenset[str]) -> tuple[Key, ...]:
        """Find out which object caused it and hold that back; several at first when it can be any
        of them. `sources`: what the resource was made from, as far as known (`Kind ns/name`).
        Gives those that changed state."""
        if refusal.resource in self._settled:
            return ()
        after, last = refusal.between
        if self._explained(refusal, sources):
            self._settled.add(refusal.resource)
            return ()
        found = [
            its for its, (_, number) in self.numbers.items()
            if after < number <= last and its not in self.held
        ]  # fmt: skip
        found = [its for its in found if named(its) in sources] or found
        if not found or len(found) > SUSPECTS_MAX:
            return ()
        self._settled.add(refusal.resource)
        for its in found:
            self._hold(its, refusal)
        if len(found) > 1:
            self._suspects += [its for its in found if its in self.held]
        else:
            self._suspects = [its for its in self._suspects if its != found[0]]
        self.open.update(found)
        return tuple(found)

    def _explained(self, refusal: Refusal, sources: frozenset[str]) -> bool:
        """Whether something that was held back since is in what the proxy answers for only now.
        What else may be wrong shows without it."""
        after, last = refusal.between
        for its, (until, resource) in self._held_for.items():
            number = self.numbers[its][1] if its in self.held and its in self.numbers else 0
            concerned = resource == refusal.resource[:2] or named(its) in sources
            if concerned and after < number <= last <= until:
                return True
        return False

    def _hold(self, its: Key, refusal: Refusal) -> None:
        obj, _ = self.numbers[its]
        error = " ".join(refusal.error.split())
        instead = self._good.get(its)
        if its[0] is Gateway:
            # Its port may be taken at present: it must be offered again as it is.
            rejection = Rejection(refusal.node, error)
            self.reported[its] = (refusal.resource[:2], rejection)
            return
        spec = None if instead is None else to_builtins(instead.spec)  # type: ignore[attr-defined]
        self.held[its] = Held(obj, instead, Rejection(refusal.node, error, spec))
        self._held_for[its] = self._last, refusal.resource[:2]

    def resume(self, obj: Struct, instead: Struct | None, rejection: Rejection) -> None:
        """An object that an earlier run held back already."""
        self.held[key(obj)] = Held(obj, instead, rejection)

    def release(self) -> bool:
        """Let one of several suspects back in, to see whether it is the cause. False when none is
        left. To be called when proxies have answered for everything."""
        while self._suspects:
            its = self._suspects.pop(0)
            held = self.held.pop(its, None)
            if held is not None and its in self.numbers:
                self._fresh[its] = self.numbers[its][0]
                self.open.add(its)
                # With it, a resource may come out as it was when the proxy refused it.
                self._settled.clear()
                return True
        return False

    def still_refused(self, refused: frozenset[tuple[str, str]]) -> None:
        """Which resources (type, name) proxies refuse at present: other reports are outdated."""
        for its, (resource, _) in tuple(self.reported.items()):
            if resource not in refused:
                del self.reported[its]
                self.open.add(its)


def named(its: Key) -> str:
    """How the model names the object as a source."""
    cls, namespace, name = its
    return f"{cls.__name__} {namespace}/{name}"
