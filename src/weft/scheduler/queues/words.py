"""Why a workload waits, and what would let it run, in a sentence."""

from collections.abc import Iterable

from weft.scheduler.queues.model import Amounts, Queue, Reservation, Workload

_MEBI, _GIBI = 1 << 20, 1 << 30


def amount(name: str, much: int) -> str:
    """`1500m cpu`, `2Gi memory`, `4 pods`, `1 cpu of flavor spot`."""
    name, _, flavor = name.partition("@")
    if flavor:
        return f"{amount(name, much)} of flavor {flavor}"
    if name == "cpu":
        return f"{much // 1000} cpu" if much % 1000 == 0 else f"{much}m cpu"
    if name.endswith(("memory", "storage")):
        if much % _GIBI == 0 and much:
            return f"{much // _GIBI}Gi {name}"
        return f"{-(-much // _MEBI)}Mi {name}"
    return "1 pod" if (name, much) == ("pods", 1) else f"{much} {name}"


def amounts(found: Amounts) -> str:
    return " and ".join(amount(name, much) for name, much in sorted(found.items()))


def turn(queue: Queue, head: Workload) -> str:
    return f"waits for its turn in {queue.title}, after {head.name}"


def never(queue: Queue, most: Amounts, needs: Amounts) -> str:
    wanted = amounts({name: needs[name] for name in most})
    return (
        f"never runs: it needs {wanted}, and {queue.title} can have {amounts(most)} at most."
        " It would run with smaller requests, or a larger quota or more nodes"
    )


def too_much(name: str, flavor: str, needed: int, most: int) -> str:
    """Of a flavor that can never be enough."""
    wanted, limit = amount(name, needed), amount(name, most)
    return f"insufficient quota for {wanted} of flavor {flavor}: {limit} at most"


def never_as(reasons: Iterable[str]) -> str:
    return f"never runs as it is: {'; '.join(reasons)}"


def head(queue: Queue, found: Reservation, ends: Iterable[str], now: float) -> str:
    """Of who is next. `ends`: what has to end first, as far as that is known."""
    names = list(ends)
    if queue.passing == "Anybody":
        text = f"insufficient unused quota in {queue.title}: {amounts(found.lacking)} more needed"
    else:
        text = f"is next in {queue.title} and lacks {amounts(found.lacking)}"
    if names:
        text += f"; runs when {_listed(names)} {'ends' if len(names) == 1 else 'end'}"
    if found.at is not None:
        text += f", in about {_time(max(found.at - now, 0))}"
    return text


def unplaced(queue: Queue, why: str) -> str:
    return f"is next in {queue.title}, whose quota has room; no nodes have: {why}"


def makes_room(queue: Queue, victims: Iterable[str]) -> str:
    names = list(victims)
    return f"is next in {queue.title}; {_listed(names)} {'make' if names[1:] else 'makes'} room"


_LISTED_MAX = 3


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_LISTED_MAX])
    more = len(names) - _LISTED_MAX
    return f"{shown} and {more} more" if more > 0 else shown


def _time(seconds: float) -> str:
    """Rounded, so that the sentence does not change with every look."""
    if seconds < 120:
        return f"{-(-int(seconds) // 30) * 30} s"
    if seconds < 7200:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"
