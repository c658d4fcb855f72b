"""CEL: the language, its libraries, what Kubernetes adds, errors, bounds."""

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weft.api.cel.program import compile_expression
from weft.api.cel.syntax import CelError

pytest.importorskip("re2")


def run(source: str, self_: Any = None, old: Any = None) -> Any:
    program = compile_expression(source, ("self", "oldSelf"))
    return program.evaluate({"self": self_, "oldSelf": old})


TRUE = [
    # literals and operators
    ("1 + 2 * 3 == 7 && -7 / 2 == -3 && -7 % 3 == -1 && 7u / 2u == 3u", None),
    ("0x1F == 31 && 1e3 == 1000.0 && .5 == 0.5 && !(1 == 2)", None),
    (r"""'a\n\x41\u00e9' == "a\nA\u00e9" && r'\d' == '\\d' && '''x'y''' == "x'y" """, None),
    ("b'\\xff' != b'a' && b'ab' + b'c' == b'abc' && 'é' == 'é'", None),
    ("1 == 1.0 && 1u == 1 && 1 < 1.5 && dyn(1) != dyn('1') && true != dyn(1)", None),
    ("[1, 'a', null] == [1, 'a', null] && {'a': 1} == {'a': 1} && [] + [1] == [1]", None),
    ("true ? 1 == 1 : 1 / 0 == 1", None),
    ("// a comment\n 'a' in ['a'] && !('b' in {'a': 1})", None),
    ("(1 / 0 == 1 || true) && !(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)", None),
    # fields, has, optionals
    ("has(self.a) && !has(self.b) && self.a.b[0] == 1 && self['a'] == self.a", {"a": {"b": [1]}}),
    ("self.?a.?b.orValue(2) == 2 && !self.?x.hasValue() && self[?'a'].hasValue()", {"a": {}}),
    ("[?self.?a, ?self.?b] == [1] && {?'k': self.?b} == {}", {"a": 1}),
    ("optional.of(1).optMap(x, x + 1).value() == 2 && optional.none().or(optional.of(3)) == "
     "optional.of(3)", None),
    ("self.`a-b` == 1", {"a-b": 1}),
    # macros
    ("self.all(x, x > 0) && self.exists(x, x == 2) && self.exists_one(x, x == 2)", [1, 2, 3]),
    ("self.filter(x, x > 1).map(x, x * 2) == [4, 6] && self.map(x, x > 1, x) == [2, 3]", [1, 2, 3]),
    ("self.all(k, k.startsWith('a'))", {"ab": 1}),
    ("self.all(i, v, v == i + 1) && self.exists(i, v, i == 0)", [1, 2]),
    ("self.all(k, v, k == v) && self.transformMap(k, v, v + '!') == {'a': 'a!'}", {"a": "a"}),
    ("self.transformList(i, v, i > 0, v) == [5]", [4, 5]),
    ("cel.bind(x, size(self), x * x == 4)", "ab"),
    ("self.all(a, self.all(b, a == b || a != b))", [1, 2]),
    # strings
    ("'Hello'.lowerAscii() == 'hello' && 'a,b'.split(',') == ['a', 'b'] && ['a'].join('-') == 'a'",
     None),
    ("'abc'.substring(1) == 'bc' && 'abc'.charAt(2) == 'c' && 'abcb'.lastIndexOf('b') == 3", None),
    ("'aXbX'.replace('X', '-', 1) == 'a-bX' && ' a '.trim() == 'a' && 'abc'.reverse() == 'cba'",
     None),
    ("'%s %d %.2f %x %%'.format(['a', 3, 1.5, 255]) == 'a 3 1.50 ff %'", None),
    ("'%s'.format([[1, 'a', {'k': true}]]) == '[1, a, {k: true}]'", None),
    ("'abc123'.matches('[0-9]+') && 'a1b22'.find('[0-9]+') == '1'"
     " && 'a1b22'.findAll('[0-9]+') == ['1', '22']", None),
    # conversions and types
    ("int('3') == 3 && double(1) == 1.0 && string(1.5) == '1.5' && uint(3) == 3u", None),
    ("type(1) == int && type('a') == string && type(self) == list && type(type(1)) == type", [1]),
    ("bool('true') && string(b'ab') == 'ab' && bytes('ab') == b'ab'", None),
    ("duration('1h') > duration('59m') && duration('90s').getMinutes() == 1", None),
    ("timestamp('2026-01-02T03:04:05Z') + duration('1s') == timestamp('2026-01-02T03:04:06Z')",
     None),
    ("timestamp('2026-01-02T03:04:05Z').getFullYear() == 2026"
     " && timestamp('2026-01-02T03:04:05Z').getHours('+02:00') == 5", None),
    # lists, sets, math
    ("self.isSorted() && self.sum() == 6 && self.min() == 1 && self.max() == 3", [1, 2, 3]),
    ("self.indexOf(2) == 1 && self.slice(0, 1) == [1] && [[1], [2]].flatten() == [1, 2]", [1, 2]),
    ("sets.contains(self, [1]) && sets.intersects(self, [9, 2]) && !sets.equivalent(self, [1])",
     [1, 2]),
    ("[3, 1].sort() == [1, 3] && [1, 1].distinct() == [1] && lists.range(2) == [0, 1]", None),
    ("math.greatest(1, 3, 2) == 3 && math.abs(-1) == 1 && math.ceil(1.2) == 2.0", None),
    # Kubernetes
    ("quantity('1Gi').isGreaterThan(quantity('1000M')) && isQuantity('1.5') && !isQuantity('x')",
     None),
    ("quantity('100m').add(quantity('0.9')).compareTo(quantity('1')) == 0"
     " && quantity('50k') == quantity('50000') && quantity('2').asInteger() == 2", None),
    ("url('https://u@a.b:80/x?q=1').getHost() == 'a.b:80' && url('https://[::1]:80').getHostname()"
     " == '::1' && isURL('/a') && !isURL('a b')", None),
    ("url('https://a/?k=1&k=2').getQuery() == {'k': ['1', '2']}", None),
    ("ip('127.0.0.1').isLoopback() && ip('::1').family() == 6 && !isIP('1.2.3') &&"
     " ip.isCanonical('::1')", None),
    ("cidr('10.0.0.0/8').containsIP('10.1.1.1') && cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')"
     " && cidr('10.1.1.1/8').masked() == cidr('10.0.0.0/8') && cidr('::/0').prefixLength() == 0",
     None),
    ("!format.dns1123Label().validate('a-b').hasValue()"
     " && format.dns1123Label().validate('A').value().size() == 1"
     " && format.named('uuid').hasValue()", None),
    ("semver('1.2.3-a').isLessThan(semver('1.2.3')) && semver('2.0.0').major() == 2", None),
]  # fmt: skip


@pytest.mark.parametrize(("source", "value"), TRUE, ids=[s for s, _ in TRUE])
def test_true(source: str, value: Any) -> None:
    assert run(source, value) is True


ERRORS = [
    ("self.nope", {"a": 1}, "no such key: nope"),
    ("self[5]", [1], "index out of bounds: 5"),
    ("1 + 'a'", None, r"no such overload: _\+_\(int, string\)"),
    ("1 + 1.0", None, "no such overload"),
    ("1 / 0", None, "divide by zero"),
    ("9223372036854775807 + 1", None, "integer overflow"),
    ("1 && true", None, "no such overload: _&&_"),
    ("'a' < 1", None, "no such overload: _<_"),
    ("'a'.matches('(')", None, "invalid regular expression"),
    ("int('x')", None, "type conversion error"),
    ("timestamp('yesterday')", None, "parsing time"),
    ("duration('1 day')", None, "invalid duration"),
    ("optional.none().value()", None, "optional.none"),
    ("1.all(x, true)", None, "cannot be range of a comprehension"),
    ("{'a': 1, 'a': 2}", None, "duplicate map key"),
]


@pytest.mark.parametrize(("source", "value", "text"), ERRORS, ids=[s for s, _, _ in ERRORS])
def test_evaluations_that_fail(source: str, value: Any, text: str) -> None:
    with pytest.raises(CelError, match=text):
        run(source, value)


REFUSED = [
    ("1 +", "unexpected 'the end'"),
    ("(1", r"expecting '\)'"),
    ("a", "undeclared reference to 'a'"),
    ("nope(1)", "undeclared reference to 'nope'"),
    ("self.nope(1)", "undeclared reference to 'nope'"),
    ("'a'.startsWith()", "no matching overload for 'startsWith'"),
    ("has(self)", "invalid argument to has"),
    ("self.all(1, true)", "must be a simple name"),
    ("for", "reserved word"),
    ("1 $ 2", "token recognition error at character 3"),
    ("'a", "token recognition error"),
    ("99999999999999999999", "out of range"),
    ("(" * 200 + "1" + ")" * 200, "nested more than 100 deep"),
    ("1" + "+1" * 9000, "more than 16384 characters"),
]


@pytest.mark.parametrize(("source", "text"), REFUSED, ids=[s[:20] for s, _ in REFUSED])
def test_expressions_that_are_refused(source: str, text: str) -> None:
    with pytest.raises(CelError, match=text):
        compile_expression(source, ("self",))


@pytest.mark.parametrize(
    "source",
    [
        "self.all(a, self.all(b, self.all(c, self.all(d, true))))",
        "cel.bind(a, 'x'.replace('', 'yyyyyyyyyy'), cel.bind(b, a.replace('y', a + a + a + a), "
        "b.replace('y', b).size() > 0))",
        "lists.range(100000000).size() > 0",
        "cel.bind(a, lists.range(100000), cel.bind(b, a + a + a + a + a + a + a + a + a + a + a, "
        "b.size() > 0))",
    ],
)
def test_no_expression_runs_for_long(source: str) -> None:
    started = time.monotonic()
    with pytest.raises(CelError, match="cancelled"):
        run(source, list(range(300)))
    assert time.monotonic() - started < 10


@given(st.text(alphabet="self.ab()[]{}?:'\"0123 +-*/%!<>=&|,`\\rb", max_size=40))
def test_any_text_is_a_program_or_an_error(source: str) -> None:
    with contextlib.suppress(CelError):
        run(source, {"a": [1], "b": "x"})


@pytest.mark.parametrize(
    "source",
    [
        "[1][1e308 * 10.0] == 1",
        "{1: 2}[1e308 * 10.0] == 2",
        "{1: 2}[double('nan')] == 2",
        f"isSemver('{'9' * 5000}.1.1')",
        "quantity('1e999999').isInteger()",
    ],
)
def test_numbers_without_end_are_answered(source: str) -> None:
    with contextlib.suppress(CelError):
        assert isinstance(run(source), bool)
