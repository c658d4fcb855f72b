"""Machines that register themselves."""

from weft.api import objects
from weft.api.istio.networking_v1 import ReadinessProbe, WorkloadEntry, WorkloadGroup
from weft.mesh.workload_groups import (
    ANNOTATION_GROUP,
    ANNOTATION_HEALTH_CHECKS,
    Health,
    entry_name,
    is_healthy,
    probed,
    registered_entry,
    with_health,
)

GROUP = objects.decode(
    WorkloadGroup,
    {
        "metadata": {"name": "db", "namespace": "data", "uid": "u"},
        "spec": {
            "metadata": {"labels": {"app": "db", "tier": "x"}, "annotations": {"a": "b"}},
            "template": {"ports": {"tcp": 5432}, "weight": 3, "labels": {"version": "v1"}},
            "probe": {"tcpSocket": {"port": 5432}},
        },
    },
)


def entry(annotations: dict[str, str] | None = None, healthy: str = "") -> WorkloadEntry:
    conditions = [{"type": "Healthy", "status": healthy}] if healthy else []
    body = {
        "metadata": {"name": "a", "annotations": annotations or {}},
        "status": {"conditions": conditions},
    }
    return objects.decode(WorkloadEntry, body)


def test_an_entry_has_what_the_template_says_and_what_the_machine_says() -> None:
    made = registered_entry(GROUP, "db-1", "192.0.2.1", {"version": "v2"}, {"http": 80})
    assert made["metadata"]["labels"] == {"app": "db", "tier": "x", "version": "v2"}
    assert made["metadata"]["annotations"] == {
        "a": "b", ANNOTATION_GROUP: "db", ANNOTATION_HEALTH_CHECKS: "true",
    }  # fmt: skip
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert made["spec"]["ports"] == {"tcp": 5432, "http": 80}
    assert (made["spec"]["weight"], made["spec"]["address"]) == (3, "192.0.2.1")
    assert entry_name("db", "fd00::1") == "db-fd00--1"


def test_an_entry_with_checks_is_not_healthy_before_they_say_so() -> None:
    assert is_healthy(entry())
    assert not is_healthy(entry({ANNOTATION_HEALTH_CHECKS: "true"}))
    assert is_healthy(entry({ANNOTATION_HEALTH_CHECKS: "true"}, "True"))
    assert not is_healthy(entry(healthy="False"))


def test_thresholds() -> None:
    probe = ReadinessProbe(success_threshold=2, failure_threshold=2)
    seen, health = [], Health()
    for failure in ("", "", "no", "", "no", "no", "", ""):
        health = probed(health, failure, probe)
        seen.append(health.healthy)
    assert seen == [None, True, True, True, True, False, False, True]
    assert probed(Health(), "no", probe).message == "no"


def test_a_condition_is_written_when_it_says_something_new_beside_those_of_others() -> None:
    other = {"type": "Programmed", "status": "True"}
    assert with_health({}, Health(), "t") is None
    made = with_health({"conditions": [other]}, Health(False, 0, 3, "refused"), "t")
    assert made is not None
    assert made[0] == other
    assert (made[1]["status"], made[1]["message"]) == ("False", "refused")
    assert with_health({"conditions": made}, Health(False, 0, 4, "refused"), "u") is None
