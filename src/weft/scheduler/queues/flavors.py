"""Which flavor of each resource a workload gets. Pure.

Source of the preferences: Kueue ("FlavorFungibility").
"""

from collections.abc import Callable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from weft.scheduler.queues import words
from weft.scheduler.queues.model import Amounts, Fungibility, Group, Queue, Workload, charge
from weft.scheduler.queues.preemption import Victims
from weft.scheduler.queues.quotas import Ledger

Simulation = Callable[[Queue, Workload, Amounts], Victims]
"""Who would have to end."""
_WAITS, _PREEMPTS, _RECLAIMS, _FITS = range(4)


class _Choice(Struct, frozen=True):
    flavor: str
    mode: int
    borrows: bool


def with_flavors(
    queue: Queue, workload: Workload, ledger: Ledger, simulate: Simulation
) -> Workload:
    """The workload as it would be admitted: with flavors, and with fewer pods when less is enough
    and all find no room, not even by preemption."""
    if not queue.groups:
        return workload
    whole, mode = _assigned(queue, workload, ledger, simulate)
    if mode != _WAITS or workload.count_min is None:
        return whole
    least, most = workload.count_min, workload.count - 1
    found = whole
    while least <= most:
        middle = (least + most) // 2
        fewer, mode = _assigned(queue, scaled(workload, middle), ledger, simulate)
        if mode == _FITS:
            found, least = fewer, middle + 1
        else:
            most = middle - 1
    return found


def scaled(workload: Workload, count: int) -> Workload:
    """With so many pods."""
    if count == workload.count:
        return workload
    needs = {name: much // workload.count * count for name, much in workload.needs.items()}
    return replace(workload, needs=needs, count=count)


def obstacles(queue: Queue, workload: Workload, ledger: Ledger) -> list[str]:
    """Why it can never run as it is; none when it may."""
    covered = {name for group in queue.groups for name in group.resources}
    found = [
        f"resource {name} unavailable in {queue.title}"
        for name, need in sorted(workload.needs.items())
        if need and name not in covered
    ]
    least = scaled(workload, workload.count_min or workload.count)
    for group in queue.groups:
        if _wanted(group, least):
            reasons = [_never(queue, least, group, flavor, ledger) for flavor in group.flavors]
            if all(reasons):
                found += reasons
    return found


def _never(queue: Queue, workload: Workload, group: Group, flavor: str, ledger: Ledger) -> str:
    if why := workload.barred.get(flavor):
        return why
    for name, need in _wanted(group, workload).items():
        most = ledger.most(queue, charge(name, flavor)) or 0
        if need > most:
            return words.too_much(name, flavor, need, max(most, 0))
    return ""


def _wanted(group: Group, workload: Workload) -> dict[str, int]:
    return {name: need for name in group.resources if (need := workload.needs.get(name, 0))}


def _assigned(
    queue: Queue, workload: Workload, ledger: Ledger, simulate: Simulation
) -> tuple[Workload, int]:
    """With the best flavor of each group, and how well the worst of them fits."""
    flavors: dict[str, str] = {}
    worst = _FITS
    for group in queue.groups:
        wanted = _wanted(group, workload)
        if not wanted:
            continue
        best = _best(queue.fungibility, _choices(queue, workload, group, ledger, simulate))
        if best is None:
            return workload, _WAITS
        flavors |= dict.fromkeys(wanted, best.flavor)
        worst = min(worst, best.mode)
    return replace(workload, flavors=flavors), worst


def _choices(
    queue: Queue,
    workload: Workload,
    group: Group,
    ledger: Ledger,
    simulate: Simulation,
) -> Iterator[_Choice]:
    wanted = _wanted(group, workload)
    for flavor in group.flavors:
        if _never(queue, workload, group, flavor, ledger):
            continue
        charges = {charge(name, flavor): need for name, need in wanted.items()}
        if not ledger.lacking(queue, charges):
            yield _Choice(flavor, _FITS, not ledger.is_own(queue, charges))
            continue
        found, after = simulate(queue, workload, charges), ledger.copy()
        for victim, _ in found:
            after.remove(victim)
        own = any(why == "InClusterQueue" for _, why in found)
        mode = _WAITS if not found else _PREEMPTS if own else _RECLAIMS
        yield _Choice(flavor, mode, not after.is_own(queue, charges))


def _best(rules: Fungibility, choices: Iterator[_Choice]) -> _Choice | None:
    best: _Choice | None = None
    for choice in choices:
        if not _try_next(rules, choice):
            return choice
        if best is None or _rank(rules, choice) > _rank(rules, best):
            best = choice
    return best


def _try_next(rules: Fungibility, choice: _Choice) -> bool:
    if choice.mode == _WAITS:
        return True
    if choice.mode != _FITS and rules.before_preempting:
        return True
    return choice.borrows and rules.before_borrowing


def _rank(rules: Fungibility, choice: _Choice) -> tuple[int, int, int]:
    possible, own = int(choice.mode != _WAITS), int(not choice.borrows)
    if rules.borrowing_is_better:
        return possible, choice.mode, own
    return possible, own, choice.mode
