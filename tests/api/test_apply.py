"""Three-way merge: what apply adds, changes, removes and leaves alone."""

from weft.api.apply import LAST_APPLIED, apply_patch, with_last_applied


def deployment(**spec: object) -> dict[str, object]:
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def live(applied: dict[str, object], **server: object) -> dict[str, object]:
    sent = with_last_applied(applied)
    sent["spec"] = {**sent["spec"], **server}
    return sent


def test_same_again_is_no_change() -> None:
    wanted = deployment(replicas=2, template={"containers": [{"name": "a"}]})
    there = live(wanted, progressDeadlineSeconds=600)
    there["spec"]["template"]["containers"][0]["imagePullPolicy"] = "Always"
    assert apply_patch(there, wanted) == {}


def test_changed_and_added_fields_are_set() -> None:
    patch = apply_patch(live(deployment(replicas=2)), deployment(replicas=3, paused=True))
    assert patch["spec"] == {"replicas": 3, "paused": True}
    assert LAST_APPLIED in patch["metadata"]["annotations"]


def test_fields_no_longer_asked_for_are_removed() -> None:
    patch = apply_patch(live(deployment(replicas=2, paused=True)), deployment(replicas=2))
    assert patch["spec"] == {"paused": None}


def test_fields_of_others_are_left_alone() -> None:
    there = live(deployment(paused=True), replicas=5)
    assert "spec" not in apply_patch(there, deployment(paused=True))


def test_removed_list_items_go() -> None:
    there = live(deployment(hosts=["a", "b"]))
    assert apply_patch(there, deployment(hosts=["a"]))["spec"] == {"hosts": ["a"]}


def test_objects_never_applied_before_are_adopted() -> None:
    there = deployment(replicas=2)
    patch = apply_patch(there, deployment(replicas=2))
    assert set(patch) == {"metadata"}


def test_fields_removed_inside_list_items_go() -> None:
    """Routes have no names: what the user changed replaces what is there."""
    there = live(deployment(http=[{"fault": {"abort": 1}, "route": ["a"]}, {"route": ["b"]}]))
    patch = apply_patch(there, deployment(http=[{"route": ["a"]}, {"route": ["b"]}]))
    assert patch["spec"] == {"http": [{"route": ["a"]}, {"route": ["b"]}]}


def test_named_items_keep_defaults_and_lose_what_was_removed() -> None:
    before = deployment(containers=[{"name": "a", "probe": {"http": {"path": "/"}}, "tty": True}])
    there = live(before)
    there["spec"]["containers"][0]["policy"] = "Always"
    patch = apply_patch(there, deployment(containers=[{"name": "a", "probe": {"tcp": 80}}]))
    assert patch["spec"] == {
        "containers": [{"name": "a", "probe": {"tcp": 80}, "policy": "Always"}]
    }


def test_null_removes() -> None:
    assert apply_patch(live(deployment(replicas=2)), deployment(replicas=None))["spec"] == {
        "replicas": None
    }
