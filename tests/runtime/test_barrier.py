from tests.runtime.support import config, pod
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.pod_v1 import Pod
from weft.runtime.barrier import Bound, Leaving, Present, Seen, is_met
from weft.runtime.cache import Cache


def test_a_revision_is_seen_once_the_class_got_there() -> None:
    cache = Cache([ConfigMap])
    cache.advance(ConfigMap, 6)
    assert is_met(Seen(ConfigMap, 6), cache)
    assert not is_met(Seen(ConfigMap, 7), cache)


def test_what_the_cache_does_not_hold_is_not_waited_for() -> None:
    assert is_met(Seen(Pod, 7), Cache([ConfigMap]))
    assert is_met(Bound("default", "a"), Cache([ConfigMap]))


def test_an_object_that_exists_already_must_show_up() -> None:
    cache = Cache([ConfigMap])
    expectation = Present(ConfigMap, "default", "a")
    assert not is_met(expectation, cache)
    cache.put(config("a"))
    assert is_met(expectation, cache)


def test_a_deletion_is_seen_when_gone_marked_or_replaced() -> None:
    cache = Cache([Pod])
    expectation = Leaving(Pod, "default", "a", "u1")
    assert is_met(expectation, cache)
    cache.put(pod("a", uid="u1"))
    assert not is_met(expectation, cache)
    cache.put(pod("a", uid="u1", leaving=True))
    assert is_met(expectation, cache)
    cache.put(pod("a", uid="u2"))
    assert is_met(expectation, cache)


def test_a_binding_is_seen_when_the_pod_names_a_node_or_is_gone() -> None:
    cache = Cache([Pod])
    expectation = Bound("default", "a")
    assert is_met(expectation, cache)
    cache.put(pod("a"))
    assert not is_met(expectation, cache)
    cache.put(pod("a", node="n1"))
    assert is_met(expectation, cache)
