"""What queues may use, what they use, and what is left: by queue, by cohort, of the nodes.

Queues and cohorts are a tree. What a member has not lent is its own (`_kept`); all else is its
cohort's, which lends it to whoever asks first.
"""

from collections.abc import Iterable, Mapping

from weft.scheduler.queues.model import Amounts, Cohort, Queue, Workload

Member = Queue | Cohort


class Tree:
    """Who lends to whom. Does not change while a decision is made."""

    def __init__(self, queues: Mapping[str, Queue], cohorts: Mapping[str, Cohort]) -> None:
        """Cohorts are named by their members; objects of them are not needed."""
        self.queues = queues
        self._cohorts = dict(cohorts)
        self._children: dict[str, list[Member]] = {}
        members: list[Member] = [*queues.values(), *cohorts.values()]
        for member in members:
            if name := parent_of(member):
                self._cohorts.setdefault(name, Cohort(name))
                self._children.setdefault(name, []).append(member)
        self._totals: dict[tuple[int, str], int] = {}

    def parent(self, member: Member) -> Cohort | None:
        name = parent_of(member)
        return self._cohorts[name] if name else None

    def children(self, member: Member) -> Iterable[Member]:
        return self._children.get(member.name, ()) if isinstance(member, Cohort) else ()

    def path(self, queue: Queue) -> list[Member]:
        """From the queue up."""
        found: list[Member] = [queue]
        while (above := self.parent(found[-1])) is not None:
            found.append(above)
        return found

    def root(self, queue: Queue) -> str:
        """Queues of one root lend to one another."""
        top = self.path(queue)[-1]
        return top.name if isinstance(top, Cohort) else ""

    def inside(self, member: Member, queue: Queue) -> bool:
        """Whether the queue is the member, or somewhere in it."""
        return any(each is member for each in self.path(queue))

    def members(self, queue: Queue) -> tuple[Queue, ...]:
        """The queues that lend to one another, itself among them."""
        root = self.root(queue)
        if not root:
            return (queue,)
        return tuple(q for q in self.queues.values() if q.cohort and self.root(q) == root)

    def total(self, member: Member, name: str) -> int:
        """What it has with all that its members lend it."""
        key = (id(member), name)
        if key not in self._totals:
            total = member.quota.get(name, 0)
            for child in self.children(member):
                lent = self.total(child, name)
                total += min(lent, child.lending[name]) if name in child.lending else lent
            self._totals[key] = total
        return self._totals[key]

    def kept(self, member: Member, name: str) -> int:
        """What it lends to nobody."""
        if name not in member.lending:
            return 0
        return max(self.total(member, name) - member.lending[name], 0)


def parent_of(member: Member) -> str:
    return member.cohort if isinstance(member, Queue) else member.parent


class Ledger:
    """Counts what admitted workloads use. Changes while a decision is made."""

    def __init__(self, tree: Tree, admitted: Iterable[Workload], capacity: Amounts) -> None:
        """`capacity` is what the nodes have for workloads of queues."""
        self.tree = tree
        self._capacity = capacity
        self._used: dict[str, dict[str, int]] = {}
        self._all: dict[str, int] = {}
        for workload in admitted:
            self.add(workload)

    def copy(self) -> "Ledger":
        made = Ledger(self.tree, (), self._capacity)
        made._used = {name: dict(used) for name, used in self._used.items()}
        made._all = dict(self._all)
        return made

    def add(self, workload: Workload, sign: int = 1) -> None:
        used = self._used.setdefault(workload.queue, {})
        for name, much in workload.charges.items():
            used[name] = used.get(name, 0) + sign * much
        for name, much in workload.needs.items():
            self._all[name] = self._all.get(name, 0) + sign * much

    def remove(self, workload: Workload) -> None:
        self.add(workload, -1)

    def used(self, queue: str) -> Amounts:
        return self._used.get(queue, {})

    def room(self, queue: Queue, name: str) -> int | None:
        """How much more the queue may use; None: it is not limited."""
        limits = []
        if name in queue.quota:
            limits.append(self._left(queue, name))
        if name in self._capacity:
            limits.append(self._capacity[name] - self._all.get(name, 0))
        return min(limits, default=None)

    def _left(self, member: Member, name: str) -> int:
        used, total = self._usage(member, name), self.tree.total(member, name)
        above = self.tree.parent(member)
        if above is None:
            return total - used
        kept = self.tree.kept(member, name)
        of_cohort = self._left(above, name)
        if name in member.borrowing:
            lent = total - kept - max(used - kept, 0)
            of_cohort = min(of_cohort, lent + member.borrowing[name])
        return max(kept - used, 0) + of_cohort

    def _usage(self, member: Member, name: str) -> int:
        """What it uses; of cohorts, what its members use of what is lent."""
        if isinstance(member, Queue):
            return self.used(member.name).get(name, 0) if name in member.quota else 0
        return sum(
            max(self._usage(child, name) - self.tree.kept(child, name), 0)
            for child in self.tree.children(member)
        )

    def lacking(self, queue: Queue, charges: Amounts) -> dict[str, int]:
        """By how much each resource is too little; empty when there is room."""
        found = {}
        for name, need in charges.items():
            room = self.room(queue, name)
            if room is not None and need > 0 and need > room:
                found[name] = need - max(room, 0)
        return found

    def most(self, queue: Queue, name: str) -> int | None:
        """What the queue may use when nothing else runs."""
        return Ledger(self.tree, (), self._capacity).room(queue, name)

    def is_own(self, queue: Queue, charges: Amounts, of: Member | None = None) -> bool:
        """Whether the queue's own quota would be enough, or that of a cohort that it is in."""
        mine = self._used.setdefault(queue.name, {})
        for name, need in charges.items():
            if name not in queue.quota:
                continue
            mine[name] = mine.get(name, 0) + need
            used = self._usage(of or queue, name)
            mine[name] -= need
            if used > self.tree.total(of or queue, name):
                return False
        return True

    def is_below(self, queue: Queue, names: Iterable[str], of: Member) -> bool:
        """Whether the queue, or a cohort that it is in, uses less than its own of each of these."""
        known = [name for name in names if name in queue.quota]
        return all(self._usage(of, name) < self.tree.total(of, name) for name in known)

    def borrows(self, queue: Queue, names: Iterable[str]) -> bool:
        """Whether it uses more than its own of one of these."""
        mine = self.used(queue.name)
        return any(mine.get(n, 0) > queue.quota[n] for n in names if n in queue.quota)

    def share(self, queue: Queue) -> float:
        """Of the resource that it uses most of, how much, by its weight: who has least is next."""
        return self._dominant(self.used(queue.name), queue) / queue.weight

    def share_of(self, queue: Queue, used: Amounts) -> float:
        """The same of a part of its users."""
        return self._dominant(used, queue)

    def _dominant(self, used: Amounts, queue: Queue) -> float:
        shares = [0.0]
        for name, much in used.items():
            of = queue.quota.get(name) or self._capacity.get(name)
            if of:
                shares.append(much / of)
        return max(shares)
