"""What a controller is: a pure plan function and what makes it run."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from weft.api.snapshot import Snapshot
from weft.runtime.plan import Key, Plan

ToKeys = Callable[[Struct, Snapshot], Iterable[Key]]
PlanFunction = Callable[[Snapshot, Key, float], Plan]


class Watch(Struct, frozen=True):
    """Another class whose changes may concern the controller.

    `to_keys` is called with the value before and with the value after a change (a deleted object:
    with its last value), and with the snapshot after it. So an object whose labels moved it from
    one owner to another wakes both. A class that is only read may map to no keys at all.
    """

    cls: type[Struct]
    to_keys: ToKeys


class Controller(Struct, frozen=True):
    """One controller. Keys name objects of `primary`; each of its changes wakes its own key, or
    what `primary_keys` makes of it (the scheduler plans all pods under one key).

    `plan` is level-based: it may run at any time, twice, and for objects that no longer exist. It
    is never run for a key before the snapshot shows what the previous plan of that key wrote.
    """

    name: str
    primary: type[Struct]
    plan: PlanFunction
    watches: tuple[Watch, ...] = ()
    primary_keys: ToKeys | None = None
    observed: tuple[type[Struct], ...] = ()
    """Classes of which `plan` asks the snapshot since when an object is as it is."""

    @property
    def classes(self) -> tuple[type[Struct], ...]:
        """Every class the snapshot must hold before the first plan."""
        return (self.primary, *(w.cls for w in self.watches))
