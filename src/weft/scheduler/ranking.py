"""The nodes that may take pods of one declaration, best first, for the time of one cycle."""

from collections import Counter
from collections.abc import Iterator, Mapping
from heapq import heapify, heappop, heappush, heapreplace

from msgspec import Struct

from weft.scheduler import constraints as neighbourhood
from weft.scheduler import filters, scores
from weft.scheduler.constraints import Constraints
from weft.scheduler.filters import Free
from weft.scheduler.profiles import SPREADING, Profile
from weft.scheduler.resources import PODS, Amounts
from weft.scheduler.topology import Topology

MESSAGE_NO_NODES = "no nodes available to schedule pods"
_FOR_GOOD = (neighbourhood.REASON_ANTI_AFFINITY, neighbourhood.REASON_REPELLED)
"""Within a cycle pods only come, so a node that these keep away from stays out."""

Entry = tuple[float, int, str]


class Eligible(Struct):
    """The nodes that pods of one static declaration may run on."""

    preference: Mapping[str, float]
    """Node -> how much the pods like it, whatever is free."""
    refused: Counter[str]
    """Why, and how many, other nodes are out of the question."""


class Wanted(Struct, frozen=True):
    """What every pod of the ranking takes of a node."""

    needs: Amounts
    ports: frozenset[filters.Port]
    profile: Profile = SPREADING

    @property
    def scored(self) -> tuple[int, int]:
        return scores.scored(self.needs)


def occupy(free: Free, wanted: Wanted, scored: tuple[int, int]) -> None:
    """A pod is on the node from now on."""
    used = free.used
    used[PODS] += 1
    for name, need in wanted.needs.items():
        used[name] = used.get(name, 0) + need
    free.scored_cpu += scored[0]
    free.scored_memory += scored[1]
    free.ports.update(wanted.ports)


class Ranking:
    """For pods that ask nothing of other pods.

    Placing a pod never raises a node's score (`scores.room`), so a node is ranked anew only when
    its old rank brings it to the top. Where profiles pack, a node that pods of another declaration
    filled meanwhile keeps its lower rank until then: a choice that is less than best, never wrong.
    A node without room leaves for good: within a cycle nothing is freed.
    """

    def __init__(self, free: Mapping[str, Free], eligible: Eligible, wanted: Wanted) -> None:
        self._free = free
        self.eligible = eligible
        self.wanted = wanted
        self._scored = wanted.scored
        self._heap = [self._entry(name) for name in eligible.preference]
        heapify(self._heap)
        self._complaint = ""
        self._reasons_found: Counter[str] | None = None
        self.hint: str | None = None
        """What would help; None until somebody asks."""

    def take(self) -> str:
        """Place one pod: the node it goes to, or "" when no node has room."""
        while self._heap:
            _, pods, name = self._heap[0]
            free = self._free[name]
            if pods != free.used[PODS]:
                heapreplace(self._heap, self._entry(name))
            elif filters.shortages(self.wanted.needs, self.wanted.ports, free):
                heappop(self._heap)
            else:
                occupy(free, self.wanted, self._scored)
                return name
        return ""

    def complaint(self) -> str:
        """Why no node takes the pod: how many nodes refuse it, by reason; and what it lacks."""
        if not self._complaint:
            self._complaint = self._explain()
        return self._complaint

    def _explain(self) -> str:
        if not self._free:
            return MESSAGE_NO_NODES
        parts = sorted(f"{count} {reason}" for reason, count in self.reasons().items())
        return f"0/{len(self._free)} nodes are available: {', '.join(parts)}."

    def reasons(self) -> Counter[str]:
        """Why nodes do not take the pod, and how many for each."""
        if self._reasons_found is None:
            found = Counter(self.eligible.refused)
            for name in self.eligible.preference:
                found.update(self._reasons(name))
            self._reasons_found = found
        return self._reasons_found

    def _reasons(self, name: str) -> Iterator[str]:
        yield from filters.shortages(self.wanted.needs, self.wanted.ports, self._free[name])

    def _entry(self, name: str) -> Entry:
        """Sorts best first; the pod count breaks ties and tells whether the entry is current."""
        free = self._free[name]
        profile = self.wanted.profile
        if profile is SPREADING:
            score = scores.room(self._scored, free)
        else:
            score = scores.packed(self.wanted.needs, self._scored, free, profile)
        score += self.eligible.preference[name]
        return -score, free.used[PODS], name


class _Group(Struct):
    """Nodes that are alike to the pods' neighbourhood: of one zone, say."""

    node: str
    """One of them."""
    heap: list[Entry]


class Grouped(Ranking):
    """For pods that ask something of other pods: nodes are judged in groups of one value of each
    label that matters, and only the best of each group is looked at."""

    def __init__(
        self,
        free: Mapping[str, Free],
        eligible: Eligible,
        wanted: Wanted,
        asked: Constraints,
        topology: Topology,
    ) -> None:
        self._asked = asked
        self._topology = topology
        self._keys = asked.group_keys
        super().__init__(free, eligible, wanted)
        groups: dict[tuple[str | None, ...], _Group] = {}
        for entry in self._heap:
            name = entry[2]
            key = tuple(topology.domain(name, k) for k in self._keys)
            groups.setdefault(key, _Group(name, [])).heap.append(entry)
        for group in groups.values():
            heapify(group.heap)
        self._groups = list(groups.values())
        every = {t.key for t, _ in (*asked.near, *asked.away, *asked.repelled)}
        every |= {s.term.key for s in asked.spread}
        self._node_keys = tuple(every - set(self._keys))

    def take(self) -> str:
        asked, topology, keys = self._asked, self._topology, self._keys
        open_groups = [
            (neighbourhood.liking(asked, g.node, topology, keys), g)
            for g in self._groups
            if g.heap and not neighbourhood.refusal(asked, g.node, topology, keys)
        ]
        if not open_groups:
            return ""
        low, high = min(o[0] for o in open_groups), max(o[0] for o in open_groups)
        scale = neighbourhood.WEIGHT * scores.SCORE_MAX / (high - low) if high > low else 0.0
        best, chosen = 0.0, ""
        for liking, group in open_groups:
            top = self._top(group)
            if top is not None:
                score = -top[0] + scale * (liking - low)
                if not chosen or score > best:
                    best, chosen = score, top[2]
        if chosen:
            occupy(self._free[chosen], self.wanted, self._scored)
        return chosen

    def _top(self, group: _Group) -> Entry | None:
        """The best node of a group that takes a pod right now. Nodes that will not for the
        moment keep their place."""
        heap = group.heap
        aside: list[Entry] = []
        found = None
        while heap and found is None:
            top = heap[0]
            free = self._free[top[2]]
            if top[1] != free.used[PODS]:
                heapreplace(heap, self._entry(top[2]))
            elif filters.shortages(self.wanted.needs, self.wanted.ports, free):
                heappop(heap)
            elif reason := self._refusal(top[2]):
                heappop(heap)
                if reason not in _FOR_GOOD:
                    aside.append(top)
            else:
                found = top
        for entry in aside:
            heappush(heap, entry)
        return found

    def _refusal(self, name: str) -> str:
        if not self._node_keys:
            return ""
        return neighbourhood.refusal(self._asked, name, self._topology, self._node_keys)

    def _reasons(self, name: str) -> Iterator[str]:
        yield from super()._reasons(name)
        if reason := neighbourhood.refusal(self._asked, name, self._topology, None):
            yield reason

    def _entry(self, name: str) -> Entry:
        score, pods, _ = super()._entry(name)
        off = neighbourhood.penalty(self._asked, name, self._topology, self._keys)
        return score + off, pods, name
