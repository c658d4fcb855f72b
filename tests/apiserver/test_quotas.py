"""What objects count, and which quotas they concern."""

from decimal import Decimal
from typing import Any

import pytest

from tests.apiserver.support import kind, pod, service
from weft.apiserver import quotas
from weft.apiserver.quotas import Exceeded


def sized(requests: Any = None, limits: Any = None, **spec: Any) -> dict[str, Any]:
    made = pod(**spec)
    resources = {"requests": requests or {}, "limits": limits or {}}
    made["spec"]["containers"][0]["resources"] = resources
    return made


def quota(hard: Any, used: Any = None, **spec: Any) -> dict[str, Any]:
    found = {"metadata": {"name": "q"}, "spec": {"hard": hard} | spec}
    amounts = {name: Decimal(str((used or {}).get(name, 0))) for name in hard}
    return quotas.counted(found, amounts)


def test_pods_count_what_their_containers_ask_for() -> None:
    made = sized({"cpu": "500m", "memory": "1Gi", "example.com/gpu": "2"}, {"cpu": "1"})
    made["spec"]["initContainers"] = [
        {"name": "side", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
        {"name": "init", "resources": {"requests": {"cpu": "2"}}},
    ]
    found = quotas.usage(kind("pods"), made)
    assert found["requests.cpu"] == found["cpu"] == Decimal("2.1")
    assert found["limits.cpu"] == 1
    assert found["requests.memory"] == 2**30
    assert found["requests.example.com/gpu"] == 2
    assert "limits.memory" not in found
    assert found["pods"] == found["count/pods"] == 1


def test_pods_that_ended_are_only_objects() -> None:
    made = sized({"cpu": "1"}) | {"status": {"phase": "Succeeded"}}
    assert quotas.usage(kind("pods"), made) == {"count/pods": 1}


def test_services_count_their_doors() -> None:
    ports = [{"port": 1}, {"port": 2}]
    plain = quotas.usage(kind("services"), service())
    assert plain == {
        "count/services": 1, "services": 1, "services.nodeports": 0, "services.loadbalancers": 0,
    }  # fmt: skip
    node = quotas.usage(kind("services"), service(type="NodePort", ports=ports))
    assert node["services.nodeports"] == 2
    balanced = service(type="LoadBalancer", ports=ports, allocateLoadBalancerNodePorts=False)
    found = quotas.usage(kind("services"), balanced)
    assert (found["services.loadbalancers"], found["services.nodeports"]) == (1, 0)


@pytest.mark.parametrize(
    ("scope", "made", "within"),
    [
        ({"scopes": ["BestEffort"]}, pod(), True),
        ({"scopes": ["BestEffort"]}, sized({"cpu": "1"}), False),
        ({"scopes": ["NotBestEffort"]}, sized({"cpu": "1"}), True),
        ({"scopes": ["Terminating"]}, pod(activeDeadlineSeconds=5), True),
        ({"scopes": ["Terminating"]}, pod(), False),
        ({"scopes": ["NotTerminating", "BestEffort"]}, pod(), True),
        ({"scopes": ["PriorityClass"]}, pod(), False),
    ],
)
def test_scopes(scope: Any, made: Any, within: bool) -> None:
    assert quotas.concerns(quota({"pods": "1"}, **scope), kind("pods"), made) is within
    assert not quotas.concerns(quota({"pods": "1"}, **scope), kind("services"), service())


@pytest.mark.parametrize(
    ("operator", "values", "chosen"),
    [
        ("In", ["high"], {"high"}),
        ("NotIn", ["high"], {"low", ""}),
        ("Exists", [], {"high", "low"}),
        ("DoesNotExist", [], {""}),
    ],
)
def test_priority_classes_as_scopes(operator: str, values: list[str], chosen: set[str]) -> None:
    term = {"scopeName": "PriorityClass", "operator": operator, "values": values}
    bound = quota({"pods": "1"}, scopeSelector={"matchExpressions": [term]})
    within = {
        name
        for name in ("high", "low", "")
        if quotas.concerns(bound, kind("pods"), pod(priorityClassName=name))
    }
    assert within == chosen


def test_what_is_over_is_told_as_kubernetes_tells_it() -> None:
    bound = quota({"pods": "10", "requests.cpu": "1", "limits.memory": "1Gi"},
                  {"requests.cpu": "0.75", "limits.memory": 900 * 2**20})  # fmt: skip
    made = sized({"cpu": "500m"}, {"memory": "200Mi"})
    with pytest.raises(Exceeded) as caught:
        quotas.charged(bound, kind("pods"), made, None)
    assert str(caught.value) == (
        "exceeded quota: q, requested: limits.memory=200Mi,requests.cpu=500m, "
        "used: limits.memory=900Mi,requests.cpu=750m, limited: limits.memory=1Gi,requests.cpu=1"
    )
    with pytest.raises(
        Exceeded, match=r"must specify limits\.memory for: c; requests\.cpu for: c$"
    ):
        quotas.charged(bound, kind("pods"), pod(), None)


def test_a_change_is_charged_for_its_difference() -> None:
    bound = quota({"services.nodeports": "2"}, {"services.nodeports": 2})
    two = service(type="NodePort", ports=[{"port": 1}, {"port": 2}])
    one = service(type="NodePort", ports=[{"port": 1}])
    after = quotas.charged(bound, kind("services"), one, two)
    assert after is not None
    assert after["status"]["used"] == {"services.nodeports": "1"}
    three = service(type="NodePort", ports=[{"port": n} for n in (1, 2, 3)])
    with pytest.raises(Exceeded, match=r"requested: services\.nodeports=1, used: "):
        quotas.charged(bound, kind("services"), three, two)
    assert quotas.charged(bound, kind("services"), two, two) is None


def test_storage() -> None:
    claims = kind("pods").__class__("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
    claim = {"spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}}}
    assert quotas.usage(claims, claim) == {
        "count/persistentvolumeclaims": 1,
        "persistentvolumeclaims": 1,
        "requests.storage": 2**30,
        "fast.storageclass.storage.k8s.io/requests.storage": 2**30,
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": 1,
    }
    assert quotas.counted_by(["requests.storage"], claims)
    assert not quotas.counted_by(["requests.storage"], kind("pods"))
