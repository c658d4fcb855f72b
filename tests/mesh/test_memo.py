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
