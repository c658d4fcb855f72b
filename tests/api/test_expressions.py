"""Conditions of metrics, as Argo Rollouts documents them."""

import math
from typing import Any

import pytest

from weft.api.argo.expressions import STEPS_MAX, ExpressionError, evaluate, holds


@pytest.mark.parametrize(
    ("text", "result", "wanted"),
    [
        ("result >= 0.95", 0.97, True),
        ("result[0] >= 0.95", [0.9], False),
        ("len(result) == 0 || result[0] < 5", [], True),
        ("result == 'true'", "true", True),
        ('result.ok and result.n in [1, 2]', {"ok": True, "n": 2}, True),
        ("result.successPercent > 0.9 && not (result.errors > 3)", {"successPercent": 1,
                                                                   "errors": 3}, True),
        ("all(result, # < 0.1)", [0.01, 0.02], True),
        ("any(result, {# > 1})", [0.5], False),
        ("len(filter(result, .code >= 500)) == 1", [{"code": 500}, {"code": 200}], True),
        ("isNaN(result) || isInf(result)", math.nan, True),
        ("default(result, 0) < 1", None, True),
        ("default(result[0], 0) == 0", [], True),
        ("isNil(result.x)", {}, True),
        ("asFloat(result) == 1.5", "1.5", True),
        ("asInt(result) % 2 == 1", "3", True),
        ("result matches '^v[0-9]+$'", "v12", True),
        ("result not in ['a', 'b']", "c", True),
        ("result contains 'x' ? true : false", "axb", True),
        ("-result < 0 and 2 ** 3 == 8 and result / 0 > 1000", 4, True),
        ("result in 1..3", 3, True),
        ("(result.a ?? 7) == 7 && result?.b == nil", {}, True),
        ("sum(map(result, # * 2)) == 6", [1, 2], True),
        ("max(result[1:]) == 5 && count(result, # > 3) == 2", [9, 5], True),
    ],
)  # fmt: skip
def test_conditions(text: str, result: Any, wanted: bool) -> None:
    assert holds(text, result) is wanted


@pytest.mark.parametrize(
    ("text", "result", "part"),
    [
        ("result >", 1, "the end"),
        ("result[3] > 1", [1], "index 3 of 1"),
        ("result > 'a'", 1, "both must be numbers"),
        ("result + 1", 1, "not true or false"),
        ("reslt > 1", 1, "no `reslt`"),
        ("exec('x')", 1, "no function `exec`"),
        ("result.__class__ == 1", 1, "`__class__` of a number"),
        ("(" * 100 + "1" + ")" * 100, 1, "deeper"),
        (f"len(0..{STEPS_MAX + 1}) > 0", 1, "steps"),
        ("1 " * 3000, 1, "characters"),
        ("result & 1", 1, "not understood"),
    ],
)
def test_what_is_wrong_is_said(text: str, result: Any, part: str) -> None:
    with pytest.raises(ExpressionError, match=part):
        holds(text, result)


def test_values() -> None:
    assert evaluate("result.a[0].b", {"result": {"a": [{"b": 3}]}}) == 3
