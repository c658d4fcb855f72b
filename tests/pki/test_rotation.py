"""The schedule of roots: overlap, order, alarms; and a life of a mesh in fast motion."""

from weft.pki import rotation
from weft.pki.identity import RENEW_FRACTION, RENEW_JITTER_FRACTION, Validity
from weft.pki.rotation import Lives, MakeRoot, Retire, Root, Roots, SignWith

LIVES = Lives(root=1000.0, intermediate=100.0, workload=50.0, overlap=0.0)
NOBODY: frozenset[str] = frozenset()


def root(name: str, since: float, life: float = 1000.0) -> Root:
    return Root(name, Validity(since, since + life), since)


def one() -> Roots:
    return rotation.signs(rotation.made(Roots(), root("a", 0.0)), "a", 0.0)


def test_the_first_root_signs_at_once() -> None:
    assert rotation.step(Roots(), 0.0, LIVES, NOBODY) == MakeRoot(1000.0)
    made = rotation.made(Roots(), root("a", 0.0))
    assert rotation.step(made, 0.0, LIVES, NOBODY) == SignWith("a")
    assert rotation.step(one(), 1.0, LIVES, NOBODY) is None


def test_the_next_is_made_before_the_last_ends() -> None:
    assert rotation.next_at(one(), LIVES) == 800.0
    assert rotation.step(one(), 799.0, LIVES, NOBODY) is None
    assert rotation.step(one(), 800.0, LIVES, NOBODY) == MakeRoot(1000.0)


def test_a_person_may_ask_for_it() -> None:
    asked = Roots(one().roots, asked=True)
    assert rotation.step(asked, 10.0, LIVES, NOBODY) == MakeRoot(1000.0)
    assert not rotation.made(asked, root("b", 10.0)).asked


def test_it_signs_when_everybody_trusts_it() -> None:
    both = rotation.made(one(), root("b", 800.0))
    assert rotation.step(both, 801.0, LIVES, frozenset({"a"})) is None
    assert rotation.step(both, 801.0, LIVES, frozenset({"a", "b"})) == SignWith("b")


def test_a_silent_proxy_does_not_stop_it_for_ever() -> None:
    both = rotation.made(one(), root("b", 800.0))
    assert rotation.step(both, 849.0, LIVES, NOBODY) is None
    assert rotation.step(both, 850.0, LIVES, NOBODY) == SignWith("b")


def test_the_old_one_is_trusted_while_its_certificates_live() -> None:
    both = rotation.signs(rotation.made(one(), root("b", 800.0)), "b", 801.0)
    assert [r.state for r in both.roots] == ["retiring", "signing"]
    assert rotation.step(both, 850.0, LIVES, NOBODY) is None
    assert rotation.step(both, 857.0, LIVES, NOBODY) == Retire("a")
    assert [r.name for r in rotation.retired(both, "a").roots] == ["b"]


def test_who_reads_the_roots_elsewhere_gets_time() -> None:
    lives = Lives(root=1000.0, workload=50.0, overlap=20.0)
    both, all_ = rotation.made(one(), root("b", 800.0)), frozenset({"a", "b"})
    assert rotation.next_at(both, lives) == 820.0
    assert rotation.step(both, 819.0, lives, all_) is None
    assert rotation.step(both, 820.0, lives, all_) == SignWith("b")
    hurried = Roots(both.roots, hurry=True)
    assert rotation.step(hurried, 801.0, lives, all_) == SignWith("b")
    assert not rotation.signs(hurried, "b", 801.0).hurry


def test_a_second_order_waits_for_the_first() -> None:
    both = Roots(rotation.made(one(), root("b", 10.0)).roots, asked=True)
    assert rotation.step(both, 11.0, LIVES, NOBODY) is None


def test_in_fast_motion_there_is_always_a_valid_root_that_all_trust() -> None:
    roots, now, number = Roots(), 0.0, 0
    switched: list[float] = []
    while now < 10_000.0:
        trusted = frozenset(r.name for r in roots.roots if now >= r.since + 3.0)
        action = rotation.step(roots, now, LIVES, trusted)
        if isinstance(action, MakeRoot):
            number += 1
            roots = rotation.made(roots, root(str(number), now, action.seconds))
        elif isinstance(action, SignWith):
            assert not switched or action.name in trusted
            roots = rotation.signs(roots, action.name, now)
            switched.append(now)
        elif isinstance(action, Retire):
            gone = next(r for r in roots.roots if r.name == action.name)
            assert gone.replaced_at is not None
            assert now >= gone.replaced_at + LIVES.workload
            roots = rotation.retired(roots, action.name)
        else:
            now += 1.0
            signing = roots.signing
            assert signing is not None
            assert signing.validity.covers(now + LIVES.workload)
    assert len(switched) > 10
    assert len(roots.roots) <= 3


def test_alarms() -> None:
    authorities = {"root": Validity(0.0, 100.0), "young": Validity(80.0, 200.0)}
    assert rotation.alarms(authorities, 50.0) == ()
    (alarm,) = rotation.alarms(authorities, 95.0)
    assert (alarm.what, alarm.ended) == ("root", False)
    assert rotation.alarms(authorities, 101.0)[0].ended


def test_no_connection_outlives_its_certificates() -> None:
    """A certificate is renewed with so much left; then connections begin with the next."""
    assert rotation.CONNECTION_FRACTION < 1 - RENEW_FRACTION - RENEW_JITTER_FRACTION
