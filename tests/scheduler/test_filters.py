"""Static filters: which nodes a pod may run on at all."""

from typing import Any

import msgspec
import pytest

from tests.scheduler.objects import node, pod
from weft.api.k8s.core_v1 import Taint
from weft.api.k8s.pod_v1 import Toleration
from weft.scheduler import filters

SSD = {"disk": "ssd", "cores": "8"}


@pytest.mark.parametrize(
    ("spec", "fits"),
    [
        ({}, True),
        ({"nodeSelector": {"disk": "ssd"}}, True),
        ({"nodeSelector": {"disk": "ssd", "zone": "a"}}, False),
        ({"nodeSelector": {"disk": "hdd"}}, False),
    ],
)
def test_node_selector(spec: dict[str, Any], fits: bool) -> None:
    reason = filters.refusal(pod(**spec).spec, node(labels=SSD))
    assert reason == ("" if fits else filters.REASON_AFFINITY)


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": list(terms)}
    name = "requiredDuringSchedulingIgnoredDuringExecution"
    return {"affinity": {"nodeAffinity": {name: selector}}}


def test_one_term_is_enough_and_an_empty_one_matches_nothing() -> None:
    ssd = {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}
    zone = {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    here = node(labels=SSD)
    assert filters.refusal(pod(**required(zone, ssd)).spec, here) == ""
    assert filters.refusal(pod(**required(named)).spec, here) == ""
    assert filters.refusal(pod(**required(zone)).spec, here) == filters.REASON_AFFINITY
    assert filters.refusal(pod(**required({})).spec, here) == filters.REASON_AFFINITY


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        ({"key": "gpu", "operator": "Equal", "value": "yes"}, True),
        ({"key": "gpu", "value": "yes", "effect": "NoSchedule"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"value": "yes"}, False),
    ],
)
def test_tolerations(toleration: dict[str, str], covers: bool) -> None:
    taint = Taint(key="gpu", value="yes", effect="NoSchedule")
    found = msgspec.convert(toleration, Toleration)
    assert filters.tolerates([found], taint) is covers


def test_an_untolerated_taint_is_named() -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoExecute"}
    reason = filters.refusal(pod().spec, node(taints=[taint]))
    assert reason == "node(s) had untolerated taint {gpu: yes}"
    hint = {"key": "gpu", "effect": "PreferNoSchedule"}
    assert filters.refusal(pod().spec, node(taints=[hint])) == ""


def test_cordoned_and_silent_nodes() -> None:
    cordoned, silent = node(unschedulable=True), node(ready=False)
    assert filters.refusal(pod().spec, cordoned) == filters.REASON_UNSCHEDULABLE
    assert filters.refusal(pod().spec, silent) == filters.REASON_NOT_READY
    anywhere = pod(tolerations=[{"operator": "Exists"}]).spec
    assert filters.refusal(anywhere, cordoned) == ""
    assert filters.refusal(anywhere, silent) == ""


@pytest.mark.parametrize(
    ("wanted", "taken", "clash"),
    [
        (("0.0.0.0", "TCP", 80), ("10.0.0.1", "TCP", 80), True),
        (("10.0.0.1", "TCP", 80), ("10.0.0.2", "TCP", 80), False),
        (("0.0.0.0", "TCP", 80), ("0.0.0.0", "UDP", 80), False),
        (("0.0.0.0", "TCP", 80), ("0.0.0.0", "TCP", 81), False),
    ],
)
def test_host_ports(wanted: tuple[str, str, int], taken: tuple[str, str, int], clash: bool) -> None:
    free = filters.Free({"pods": 10}, {"pods": 1}, {taken})
    lacks = filters.shortages({}, frozenset({wanted}), free)
    assert (filters.REASON_PORTS in lacks) is clash


def test_only_pods_that_ask_for_nothing_stay_away_from_a_node_short_of_memory() -> None:
    taint = {"key": "node.kubernetes.io/memory-pressure", "effect": "NoSchedule"}
    short = node(taints=[taint])
    assert "memory-pressure" in filters.refusal(pod().spec, short)
    assert "memory-pressure" in filters.refusal(pod(cpu="0").spec, short)
    assert filters.refusal(pod(memory="1Mi").spec, short) == ""
    assert filters.placement(pod().spec) != filters.placement(pod(memory="1Mi").spec)
    taint["key"] = "node.kubernetes.io/pid-pressure"
    assert "pid-pressure" in filters.refusal(pod(memory="1Mi").spec, node(taints=[taint]))
