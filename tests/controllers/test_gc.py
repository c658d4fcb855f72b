"""Garbage collection: background, foreground, orphans, and what is never deleted on a guess."""

from typing import Any

import pytest
from msgspec import Struct

from tests.controllers.simulate import START, World, kubelet, make
from weft.api.k8s.apps_v1 import Deployment, ReplicaSet
from weft.api.k8s.core_v1 import ConfigMap, Namespace, Secret
from weft.api.k8s.pod_v1 import Pod
from weft.api.registry import kind_for
from weft.api.snapshot import meta
from weft.controllers import gc
from weft.runtime.plan import NOTHING, Key


def world(seed: int = 0) -> World:
    return World([gc.CONTROLLER], seed)


def reference(owner: Struct, **changes: Any) -> dict[str, Any]:
    kind = kind_for(type(owner))
    found = meta(owner)
    fields = {"apiVersion": kind.api_version, "kind": kind.kind, "name": found.name}
    return {**fields, "uid": found.uid, "controller": True, "blockOwnerDeletion": True, **changes}


def chain(w: World) -> tuple[Deployment, ReplicaSet, Pod]:
    """A Deployment owning a ReplicaSet owning a pod."""
    top = w.put(make(Deployment, {}, name="web"))
    middle = w.put(make(ReplicaSet, {}, name="web-1", ownerReferences=[reference(top)]))
    pod = w.put(
        make(Pod, {"spec": {"nodeName": "n"}}, name="p", ownerReferences=[reference(middle)])
    )
    w.pass_time(10)
    w.settle(kubelet)
    return top, middle, pod


def test_background_deletes_dependents_after_the_owner() -> None:
    w = world()
    chain(w)
    assert len(w.objects) == 3
    w.delete(Deployment, "web")
    assert w.get(Deployment, "web") is None
    w.settle(kubelet)
    assert w.objects == {}


def test_foreground_keeps_the_owner_until_its_dependents_are_gone() -> None:
    w = world()
    chain(w)
    order: list[int] = []
    w.check = lambda world: order.append(len(world.objects))
    w.delete(Deployment, "web", propagation="Foreground")
    w.settle()
    # The pod ends in its own time; until then everything above it stays.
    assert w.need(Deployment, "web").metadata.finalizers == ("foregroundDeletion",)
    assert w.need(ReplicaSet, "web-1").metadata.deletion_timestamp
    assert w.need(Pod, "p").metadata.deletion_timestamp
    w.settle(kubelet)
    assert w.objects == {}


def test_foreground_does_not_wait_for_dependents_that_do_not_block() -> None:
    w = world()
    owner = w.put(make(ConfigMap, {}, name="owner"))
    loose = reference(owner, blockOwnerDeletion=False)
    w.put(make(Secret, {}, name="loose", ownerReferences=[loose]))
    w.pass_time(10)
    w.delete(ConfigMap, "owner", propagation="Foreground")
    w.settle()
    assert w.objects == {}


def test_orphan_leaves_dependents_without_the_reference() -> None:
    w = world()
    chain(w)
    w.delete(Deployment, "web", propagation="Orphan")
    w.settle(kubelet)
    assert w.get(Deployment, "web") is None
    assert w.need(ReplicaSet, "web-1").metadata.owner_references == ()
    assert w.get(Pod, "p") is not None


def test_an_object_with_another_owner_stays_and_loses_only_the_reference() -> None:
    w = world()
    first = w.put(make(ConfigMap, {}, name="first"))
    second = w.put(make(ConfigMap, {}, name="second"))
    owners = [reference(first), reference(second, controller=False)]
    w.put(make(Secret, {}, name="shared", ownerReferences=owners))
    w.pass_time(10)
    w.delete(ConfigMap, "first", propagation="Foreground")
    w.settle()
    assert w.get(ConfigMap, "first") is None
    (left,) = w.need(Secret, "shared").metadata.owner_references
    assert left.name == "second"


def test_dependents_by_plain_references_are_collected_too() -> None:
    w = world()
    owner = w.put(make(ConfigMap, {}, name="owner"))
    plain = reference(owner, controller=None)
    w.put(make(Secret, {}, name="s", ownerReferences=[plain]))
    w.pass_time(10)
    w.delete(ConfigMap, "owner")
    w.settle()
    assert w.objects == {}


def test_an_owner_recreated_under_its_name_is_another_owner() -> None:
    w = world()
    owner = w.put(make(ConfigMap, {}, name="owner"))
    w.put(make(Secret, {}, name="s", ownerReferences=[reference(owner)]))
    w.pass_time(10)
    w.delete(ConfigMap, "owner")
    w.put(make(ConfigMap, {}, name="owner"))
    w.settle()
    assert w.get(Secret, "s") is None


def test_owners_of_unknown_kinds_count_as_present() -> None:
    w = world()
    foreign = {"apiVersion": "example.com/v1", "kind": "Thing", "name": "t", "uid": "t-1"}
    w.put(make(Secret, {}, name="s", ownerReferences=[foreign]))
    w.pass_time(100)
    w.settle()
    assert w.get(Secret, "s") is not None


def test_a_young_object_waits_for_news_of_its_owner() -> None:
    w = world()
    absent = {"apiVersion": "v1", "kind": "ConfigMap", "name": "later", "uid": "later-1"}
    made = w.put(make(Secret, {}, name="s", ownerReferences=[absent]))
    plan = gc.plan(w.snapshot(), gc.key_for(made), START)
    assert plan.actions == ()
    assert plan.requeue_after == gc.SETTLING_SECONDS
    w.settle()
    w.put(make(ConfigMap, {}, name="later", uid="later-1"))
    w.pass_time(10)
    w.settle()
    assert w.get(Secret, "s") is not None


def test_cluster_scoped_objects_own_namespaced_ones() -> None:
    w = world()
    owner = w.put(make(Namespace, {}, name="ns"))
    w.put(make(Secret, {}, name="s", ownerReferences=[reference(owner)]))
    w.pass_time(10)
    w.settle()
    assert w.get(Secret, "s") is not None


@pytest.mark.parametrize("name", ["", "nonsense", "pods./gone", "things.example.com/x"])
def test_keys_of_nothing_are_harmless(name: str) -> None:
    assert gc.plan(world().snapshot(), Key("default", name), START) == NOTHING


def test_a_pod_in_good_order_wakes_nobody() -> None:
    w = world()
    _, _, pod = chain(w)
    assert gc.to_keys(pod, w.snapshot()) == ()


@pytest.mark.parametrize("seed", range(25))
def test_no_orphan_is_left_behind(seed: int) -> None:
    """Random forests, random deletions with random policies: what remains has its owner."""
    w = world(seed)
    pick = w.random
    made: list[Struct] = []
    for i in range(12):
        owners = [o for o in made if pick.random() < 0.3][:2]
        references = [
            reference(o, controller=n == 0, blockOwnerDeletion=pick.random() < 0.7)
            for n, o in enumerate(owners)
        ]
        cls: Any = pick.choice([ConfigMap, Secret, ReplicaSet])
        made.append(w.put(make(cls, {}, name=f"o{i}", ownerReferences=references)))
    w.pass_time(10)
    w.settle()
    assert len(w.objects) == 12
    for obj in pick.sample(made, 4):
        if w.get(type(obj), meta(obj).name) is not None:
            policy = pick.choice([None, "Background", "Foreground"])
            w.delete(type(obj), meta(obj).name, propagation=policy)
        for _ in range(pick.randint(0, 5)):
            if w.queue:
                w.step()
    w.settle()
    alive = {meta(o).uid for o in w.objects.values()}
    for obj in w.objects.values():
        assert not meta(obj).deletion_timestamp
        assert all(o.uid in alive for o in meta(obj).owner_references)
