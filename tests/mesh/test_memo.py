"""Reuse between builds: never a stale result, and nothing kept that is not asked for."""

from weft.mesh.memo import Memo


def test_equal_inputs_reuse_and_other_inputs_do_not() -> None:
    calls: list[int] = []

    def double(value: int) -> tuple[int, ...]:
        calls.append(value)
        return (value * 2,)

    memo = Memo()
    first = memo("k", double, 1)
    memo.end()
    assert memo("k", double, 1) is first
    memo.end()
    assert memo("k", double, 2) == (4,)
    assert calls == [1, 2]
    memo.end()
    memo.end()
    memo("k", double, 2)
    assert calls == [1, 2, 2]


def test_an_equal_result_is_the_same_value() -> None:
    memo = Memo()
    first = memo("k", sorted, (2, 1))
    memo.end()
    assert memo("k", sorted, (1, 2)) is first
    kept = memo.keep("v", tuple(range(2)))
    memo.end()
    assert memo.keep("v", tuple(range(2))) is kept


def test_rows_are_computed_when_they_are_new_or_changed() -> None:
    calls: list[str] = []

    def joined(name: list[str], number: int, suffix: str) -> tuple[str, ...]:
        calls.append(name[0])
        return (f"{name[0]}{number}{suffix}",)

    a, b, c = ["a"], ["b"], ["c"]
    memo = Memo()
    first = memo.mapped("k", joined, [(a, 1), (b, 1)], "!")
    memo.end()
    assert memo.mapped("k", joined, [(a, 1), (b, 1)], "!") is first
    memo.end()
    assert calls == ["a", "b"]
    inserted = memo.mapped("k", joined, [(c, 1), (a, 1), (b, 2)], "!")
    memo.end()
    assert inserted == (("c1!",), ("a1!",), ("b2!",))
    assert inserted[1] is first[0]
    assert calls == ["a", "b", "c", "b"]
    assert memo.mapped("k", joined, [(b, 2)], "!") == (("b2!",),)
    memo.end()
    assert memo.mapped("k", joined, [(b, 2)], "?") == (("b2?",),)
    memo.end()
    assert calls == ["a", "b", "c", "b", "b"]
    assert memo.mapped("k", joined, (), "?") == ()


def test_rows_with_equal_results_give_the_same_tuple() -> None:
    def length(text: str) -> tuple[int, ...]:
        return (len(text), 1000)

    memo = Memo()
    first = memo.mapped("k", length, [("one",), ("three",)])
    memo.end()
    assert memo.mapped("k", length, [("two",), ("three",)]) is first


def test_rows_that_changed_in_place_of_their_first_value_are_seen() -> None:
    """Identity only finds the earlier row; whether it holds is decided by comparing."""

    def total(numbers: list[int]) -> int:
        return sum(numbers)

    numbers = [1, 2]
    memo = Memo()
    assert memo.mapped("k", total, [([1, 2],), (numbers,)]) == (3, 3)
    memo.end()
    assert memo.mapped("k", total, [(numbers,), (numbers,), ([5],)]) == (3, 3, 5)
