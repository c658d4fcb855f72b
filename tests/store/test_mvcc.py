"""The key space against the plainest model there is: a full copy per revision."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.store import mvcc
from weft.store.interface import Compacted, Conflict, Delete, Entry, Event, Expect, Put, Range, Txn
from weft.store.mvcc import Mvcc, Staged


class Model:
    """A copy of everything at every revision, and all events."""

    def __init__(self) -> None:
        self.states: dict[int, dict[str, Entry]] = {1: {}}
        self.events: list[Event] = []
        self.oldest = 1

    @property
    def revision(self) -> int:
        return max(self.states)

    def apply(self, txn: Txn) -> None:
        now = self.states[self.revision]
        for expect in txn.expect:
            entry = now.get(expect.key)
            if (entry.mod_revision if entry else 0) != expect.mod_revision:
                raise Conflict(expect.key, 0)
        revision, after, events = self.revision + 1, dict(now), []
        for op in txn.ops:
            old = now.get(op.key)
            created = old.create_revision if old else revision
            previous = old.value if old else None
            if isinstance(op, Put):
                after[op.key] = Entry(op.key, op.value, created, revision)
                events.append(Event("put", op.key, op.value, revision, created, previous))
            elif old is not None:
                del after[op.key]
                events.append(Event("delete", op.key, old.value, revision, created, previous))
        if events:
            self.states[revision] = after
            self.events += events

    def range(self, prefix: str, after: str, limit: int, revision: int) -> Range:
        state = self.states[revision or self.revision]
        found = [e for k, e in sorted(state.items()) if k.startswith(prefix) and k > after]
        taken = found[: limit or None]
        return Range(tuple(taken), revision or self.revision, len(found) - len(taken))


names = st.sampled_from(["/a/1", "/a/2", "/a/22", "/b/1", "/b/2", "/c"])
ops = st.one_of(st.builds(Put, names, st.binary(max_size=2)), st.builds(Delete, names))
txns = st.lists(ops, max_size=3, unique_by=lambda op: op.key).map(tuple)
steps = st.lists(
    st.one_of(
        txns.map(Txn),
        st.builds(lambda o, k, r: Txn(o, (Expect(k, r),)), txns, names, st.integers(0, 8)),
        st.builds(lambda o, k: Txn(o, (Expect(k, -1),)), txns, names),
        st.integers(0, 15),
    ),
    max_size=20,
)
reads = st.tuples(
    st.sampled_from(["", "/a/", "/a/2", "/b/", "/x"]),
    st.sampled_from(["", "/a/1", "/a/22", "/b/", "/z"]),
    st.integers(0, 3),
    st.integers(0, 15),
)


@examples(300)
@given(steps, st.lists(reads, min_size=1, max_size=5))
def test_it_answers_like_full_copies_would(
    plan: list[Txn | int], questions: list[tuple[str, str, int, int]]
) -> None:
    space, model = Mvcc(), Model()
    for step in plan:
        if isinstance(step, int):
            space.compact(step)
            model.oldest = max(model.oldest, min(step, model.revision))
            continue
        step = _with_true_expectation(step, model)
        try:
            model.apply(step)
        except Conflict:
            with pytest.raises(Conflict):
                space.apply(step)
        else:
            space.apply(step)
        assert (space.revision, space.oldest_revision) == (model.revision, model.oldest)
    for prefix, after, limit, revision in questions:
        at = min(revision, model.revision)
        if 0 < at < model.oldest:
            with pytest.raises(Compacted) as caught:
                space.range(prefix, limit=limit, after=after, revision=at)
            assert caught.value.oldest == model.oldest
            with pytest.raises(Compacted):
                space.history(prefix, at)
            continue
        found = space.range(prefix, limit=limit, after=after, revision=at)
        assert found == model.range(prefix, after, limit, at)
        if at:
            wanted = [e for e in model.events if e.revision >= at and e.key.startswith(prefix)]
            assert list(space.history(prefix, at)) == wanted


def _with_true_expectation(txn: Txn, model: Model) -> Txn:
    """Expectations of -1 stand for the key's true revision."""
    state = model.states[model.revision]
    return Txn(
        txn.ops,
        tuple(
            Expect(e.key, state[e.key].mod_revision if e.key in state else 0)
            if e.mod_revision < 0
            else e
            for e in txn.expect
        ),
    )


@examples(200)
@given(st.lists(st.one_of(txns, st.sampled_from(["commit", "rollback"])), max_size=20))
def test_staging_is_applying_delayed_and_rolling_back_leaves_no_trace(
    plan: list[tuple[Put | Delete, ...] | str],
) -> None:
    space, plain = Mvcc(), Mvcc()
    waiting: list[tuple[Txn, Staged]] = []
    for step in plan:
        if step == "commit" and waiting:
            txn, staged = waiting.pop(0)
            assert space.commit(staged) == plain.apply(txn)
        elif step == "rollback":
            space.rollback()
            waiting.clear()
        elif isinstance(step, tuple):
            waiting.append((Txn(step), space.stage(Txn(step))))
        assert space.range("") == plain.range("")
        assert space.history("", 1) == plain.history("", 1)
    for txn, staged in waiting:
        assert space.commit(staged) == plain.apply(txn)
    assert space.range("") == plain.range("")


def test_a_staged_write_counts_for_the_next_but_is_not_visible() -> None:
    space = Mvcc()
    first = space.stage(Txn((Put("/a", b"1"),), (Expect("/a", 0),)))
    with pytest.raises(Conflict):
        space.stage(Txn((Put("/a", b"2"),), (Expect("/a", 0),)))
    assert space.pending_revision("/a") == first.revision
    assert space.get("/a") is None
    assert space.revision == 1
    space.commit(first)
    assert space.pending_revision("/a") == 0
    assert space.get("/a") is not None


@pytest.mark.slow
@given(st.lists(st.one_of(txns, st.integers(0, 15)), max_size=25))
def test_compaction_names_exactly_the_versions_nothing_needs(
    plan: list[tuple[Put | Delete, ...] | int],
) -> None:
    """A log from which the named versions are removed restores the same key space."""
    space = Mvcc()
    log: dict[tuple[int, str], tuple[bytes | None, int]] = {}
    for step in plan:
        if isinstance(step, int):
            for version in space.compact(step):
                del log[version.revision, version.key]
        else:
            for event in space.apply(Txn(step)):
                value = None if event.type == "delete" else event.value
                log[event.revision, event.key] = (value, event.create_revision)
    restored = Mvcc()
    restored.revision = restored.oldest_revision = space.oldest_revision
    for (revision, key), (value, created) in sorted(log.items()):
        restored.restore(key, value, created, revision)
    assert restored.range("") == space.range("")
    oldest = space.oldest_revision
    by_key = lambda event: (event.revision, event.key)  # noqa: E731
    assert sorted(restored.history("", oldest), key=by_key) == sorted(
        space.history("", oldest), key=by_key
    )
    for revision in range(oldest, space.revision + 1):
        assert restored.range("", revision=revision) == space.range("", revision=revision)
    needed = {(e.mod_revision, e.key) for e in space.range("", revision=oldest).entries}
    needed |= {(e.revision, e.key) for e in space.history("", oldest)}
    before = {key for key in log if key not in needed}
    assert len(before) <= sum(e.revision == oldest for e in space.history("", oldest))


def test_history_is_bounded_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mvcc, "HISTORY_EVENTS_MAX", 100)
    space = Mvcc()
    for n in range(100):
        space.apply(Txn((Put("/a", b"%d" % n),)))
    assert space.compaction_due() == 0
    space.apply(Txn((Put("/a", b""),)))
    due = space.compaction_due()
    space.compact(due)
    assert len(space.history("", due)) == 90
    assert space.compaction_due() == 0


def test_history_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mvcc, "HISTORY_BYTES_MAX", 1000)
    space = Mvcc()
    for n in range(12):
        space.apply(Txn((Put(f"/{n % 2}", b"x" * 100),)))
    assert space.compaction_due() == 0
    space.apply(Txn((Put("/0", b"x" * 100),)))
    due = space.compaction_due()
    space.compact(due)
    kept = space.history("", due)
    assert sum(len(e.previous or b"") for e in kept) <= 900
    assert kept
    space.apply(Txn((Put("/0", b"x" * 5000),)))
    space.apply(Txn((Put("/0", b""),)))
    assert space.compaction_due() == space.revision
