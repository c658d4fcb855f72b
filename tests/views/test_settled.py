"""When `weft apply --wait` is done with an object, and what it says until then."""

from typing import Any

import pytest

from weft.views.settled import settled

ISTIO = "networking.istio.io"


def mesh(status: str, reason: str, seen: int = 2) -> dict[str, Any]:
    condition = {"type": "Programmed", "status": status, "reason": reason,
                 "message": f"because {reason}", "observedGeneration": seen}  # fmt: skip
    return {"metadata": {"generation": 2}, "status": {"conditions": [condition]}}


@pytest.mark.parametrize(
    ("obj", "done", "failed"),
    [
        (mesh("True", "Programmed"), True, False),
        (mesh("True", "Programmed", seen=1), False, False),
        (mesh("False", "Pending"), False, False),
        (mesh("False", "Rejected"), False, True),
        ({"metadata": {"generation": 1}}, False, False),
    ],
)
def test_mesh_objects_are_done_when_this_generation_is_in_force(
    obj: dict[str, Any], done: bool, failed: bool
) -> None:
    found = settled(ISTIO, "VirtualService", obj)
    assert found is not None
    assert (found.done, found.failed) == (done, failed)


def deployment(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {"generation": 2},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 2, **status},
    }


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (deployment(observedGeneration=1), "its controller has not looked at it yet"),
        (deployment(updatedReplicas=1, replicas=2), "1 of 2 pods are of the new version"),
        (deployment(updatedReplicas=2, replicas=3), "1 pods of the old version still run"),
        (deployment(updatedReplicas=2, replicas=2, availableReplicas=1), "1 of 2 pods are ready"),
        (deployment(updatedReplicas=2, replicas=2, availableReplicas=2), "rolled out"),
    ],
)
def test_deployments(obj: dict[str, Any], text: str) -> None:
    found = settled("apps", "Deployment", obj)
    assert found is not None
    assert found.text == text
    assert found.done == (text == "rolled out")


def test_routes_wait_for_all_their_parents() -> None:
    accepted = {"type": "Accepted", "status": "True", "observedGeneration": 1}
    resolved = {**accepted, "type": "ResolvedRefs"}
    text = "acknowledged by all 2 nodes"
    programmed = {**accepted, "type": "Programmed", "message": text}
    obj: dict[str, Any] = {
        "metadata": {"generation": 1},
        "spec": {"parentRefs": [{"name": "a"}, {"name": "b"}]},
        "status": {"parents": [{"conditions": [accepted, resolved, programmed]}]},
    }
    found = settled("gateway.networking.k8s.io", "HTTPRoute", obj)
    assert found is not None
    assert found.text == "accepted by 1 of 2 parents"
    obj["status"]["parents"] *= 2
    found = settled("gateway.networking.k8s.io", "HTTPRoute", obj)
    assert found is not None
    assert (found.done, found.text) == (True, f"accepted, {text}")


@pytest.mark.parametrize(
    ("reason", "text", "failed"),
    [
        ("Pending", "acknowledged by 1 of 2 nodes; not by b", False),
        ("Rejected", "the proxy of node a refused it", True),
    ],
)
def test_routes_are_done_when_all_nodes_have_them(reason: str, text: str, failed: bool) -> None:
    conditions = [
        {"type": t, "status": "True", "observedGeneration": 3} for t in ("Accepted", "ResolvedRefs")
    ]
    pending = {**conditions[0], "type": "Programmed", "status": "False"}
    conditions.append({**pending, "reason": reason, "message": text})
    obj = {
        "metadata": {"generation": 3},
        "spec": {"parentRefs": [{"name": "a"}]},
        "status": {"parents": [{"conditions": conditions}]},
    }
    found = settled("gateway.networking.k8s.io", "TCPRoute", obj)
    assert found is not None
    assert (found.done, found.text, found.failed) == (False, text, failed)


@pytest.mark.parametrize("kind", ["Accepted", "ResolvedRefs"])
def test_routes_fail_that_are_refused_or_lead_nowhere(kind: str) -> None:
    conditions = [
        {"type": t, "status": "True", "observedGeneration": 3} for t in ("Accepted", "ResolvedRefs")
    ]
    said = {"status": "False", "reason": "BackendNotFound", "message": "no Service `x`"}
    conditions = [{**c, **(said if c["type"] == kind else {})} for c in conditions]
    obj = {
        "metadata": {"generation": 3},
        "spec": {"parentRefs": [{"name": "a"}]},
        "status": {"parents": [{"conditions": conditions}]},
    }
    found = settled("gateway.networking.k8s.io", "GRPCRoute", obj)
    assert found is not None
    assert (found.done, found.failed) == (False, True)
    assert found.text == "BackendNotFound: no Service `x`"
    obj["metadata"] = {"generation": 4}
    found = settled("gateway.networking.k8s.io", "GRPCRoute", obj)
    assert found is not None
    assert (found.done, found.failed) == (False, False)


def test_what_is_not_accepted_fails_although_proxies_have_it() -> None:
    obj = mesh("True", "Programmed")
    refused = {"type": "Accepted", "status": "False", "message": "no Service is named `x`"}
    obj["status"]["conditions"].append(refused)
    found = settled(ISTIO, "VirtualService", obj)
    assert found is not None
    assert (found.done, found.failed) == (False, True)
    assert found.text == "no Service is named `x`"


def test_nothing_is_awaited_of_other_kinds() -> None:
    assert settled("", "ConfigMap", {}) is None
