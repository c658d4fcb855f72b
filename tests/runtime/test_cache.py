from hypothesis import given
from hypothesis import strategies as st

from tests.runtime.support import config, pod
from weft.api.k8s.core_v1 import ConfigMap
from weft.api.k8s.meta_v1 import ObjectMeta, OwnerReference
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import NOT_OBSERVED, ObjectSnapshot, Observed, meta
from weft.runtime.cache import Cache


def at(namespace: str, name: str, owner: str = "", value: str = "") -> ConfigMap:
    owners = (OwnerReference(uid=owner, controller=True),) if owner else ()
    metadata = ObjectMeta(namespace=namespace, name=name, owner_references=owners)
    return ConfigMap(metadata=metadata, data={"v": value} if value else {})


def test_an_equal_value_is_no_change() -> None:
    cache = Cache([ConfigMap])
    assert cache.put(config("a", x="1")) == (None, config("a", x="1"))
    assert cache.put(config("a", x="1")) is None
    assert cache.put(config("a", x="2")) == (config("a", x="1"), config("a", x="2"))
    assert cache.remove(ConfigMap, ("default", "a")) == (config("a", x="2"), None)
    assert cache.remove(ConfigMap, ("default", "a")) is None


def test_since_when_an_object_is_as_it_is() -> None:
    now = 100.0
    cache = Cache([ConfigMap, Pod], clock=lambda: now)
    cache.observe(ConfigMap)
    cache.put(config("a", x="1"))
    now = 107.0
    cache.replace(ConfigMap, [config("a", x="1")])
    assert cache.observed(ConfigMap, "a", "default") == Observed(7.0, changed=False)
    cache.put(config("a", x="2"))
    now = 108.0
    assert cache.observed(ConfigMap, "a", "default") == Observed(1.0, changed=True)
    cache.remove(ConfigMap, ("default", "a"))
    assert cache.observed(ConfigMap, "a", "default") == NOT_OBSERVED
    cache.put(config("a", x="3"))
    assert not cache.observed(ConfigMap, "a", "default").changed
    cache.put(pod("p"))
    assert cache.observed(Pod, "p", "default") == NOT_OBSERVED


def test_a_new_list_tells_what_changed_and_what_went() -> None:
    cache = Cache([ConfigMap])
    for name in "abcd":
        cache.put(config(name))
    changes = cache.replace(
        ConfigMap, [config("a"), config("b", x="1"), config("n")], frozenset({("default", "d")})
    )
    assert [(b and b.metadata.name, a and a.metadata.name) for b, a in changes] == [  # type: ignore[attr-defined]
        ("b", "b"),
        (None, "n"),
        ("c", None),
    ]
    assert [o.metadata.name for o in cache.list(ConfigMap)] == ["a", "b", "d", "n"]


def test_a_class_that_is_not_kept_is_empty() -> None:
    cache = Cache([ConfigMap])
    assert cache.get(Pod, "a", "default") is None
    assert list(cache.list(Pod)) == list(cache.owned(Pod, "u")) == []
    assert not cache.holds(Pod)
    cache.add_class(Pod)
    cache.put(pod("a"))
    assert cache.get(Pod, "a", "default") == pod("a")


def test_revisions_only_grow() -> None:
    cache = Cache([ConfigMap])
    cache.advance(ConfigMap, 7)
    cache.advance(ConfigMap, 5)
    assert cache.revision(ConfigMap) == 7


names = st.sampled_from("ab")
objects = st.builds(at, names, names, st.sampled_from(["", "u1", "u2"]), st.sampled_from("12"))


@given(st.lists(st.one_of(objects, st.tuples(names, names)), max_size=30))
def test_the_cache_answers_like_a_snapshot_built_from_scratch(
    steps: list[ConfigMap | tuple[str, str]],
) -> None:
    cache = Cache([ConfigMap])
    model: dict[tuple[str, str], ConfigMap] = {}
    for step in steps:
        if isinstance(step, tuple):
            cache.remove(ConfigMap, step)
            model.pop(step, None)
        else:
            cache.put(step)
            model[meta(step).namespace, meta(step).name] = step
        fresh = ObjectSnapshot(model.values())
        for namespace in (None, "a", "b", "c"):
            assert list(cache.list(ConfigMap, namespace)) == list(fresh.list(ConfigMap, namespace))
        for uid in ("u1", "u2"):
            found = cache.owned(ConfigMap, uid)
            assert [o.metadata.name for o in found] == sorted(o.metadata.name for o in found)
            assert sorted(map(repr, found)) == sorted(map(repr, fresh.owned(ConfigMap, uid)))
        assert cache.get(ConfigMap, "a", "a") == model.get(("a", "a"))
