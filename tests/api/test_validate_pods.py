"""Rules of pods, their containers, and workloads."""

import copy
from typing import Any

import pytest

from tests.api.test_structure import DEPLOYMENT, POD, kind_of
from weft.api import registry
from weft.api.defaults import default
from weft.api.prepare import prepare_create
from weft.api.validation import check_manifest, validate_update


def pod_errors(container: dict[str, Any] | None = None, **spec: Any) -> list[tuple[str, str]]:
    """(path, message without path) of a pod with a change to its container or spec."""
    body = copy.deepcopy(POD)
    body["spec"]["containers"][0] |= container or {}
    body["spec"] |= spec
    return [(e.path, e.body) for e in check_manifest(kind_of(POD), body)]


C = "spec.containers[0]"


@pytest.mark.parametrize(
    ("container", "path", "body"),
    [
        ({"name": "C_1"}, f"{C}.name", "a lowercase RFC 1123 label must consist"),
        ({"image": ""}, f"{C}.image", "Required value"),
        ({"image": " i"}, f"{C}.image", "leading or trailing whitespace"),
        ({"ports": [{"containerPort": 0}]}, f"{C}.ports[0].containerPort", "Required value"),
        ({"ports": [{"containerPort": 99999}]}, f"{C}.ports[0].containerPort",
         "Invalid value: 99999: must be between 1 and 65535, inclusive"),
        ({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
         f"{C}.ports[1].name", 'Duplicate value: "a"'),
        ({"ports": [{"containerPort": 1, "name": "12"}]}, f"{C}.ports[0].name",
         "must contain at least one letter"),
        ({"env": [{"name": "a=b"}]}, f"{C}.env[0].name", "environment variable name"),
        ({"env": [{"name": "A", "valueFrom": {}}]}, f"{C}.env[0].valueFrom", "must specify one of"),
        ({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "a"}}}]},
         f"{C}.env[0].valueFrom", "may not be specified when `value` is not empty"),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.nam"}}}]},
         f"{C}.env[0].valueFrom.fieldRef.fieldPath", "field label not supported"),
        ({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "a b"}}}]},
         f"{C}.env[0].valueFrom.configMapKeyRef.key", "a valid config key"),
        ({"envFrom": [{}]}, f"{C}.envFrom[0]", "must specify one of"),
        ({"volumeMounts": [{"name": "w", "mountPath": "/v"}]}, f"{C}.volumeMounts[0].name",
         'Not found: "w"'),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "v", "mountPath": "/v"}]},
         f"{C}.volumeMounts[1].mountPath", "must be unique"),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "../x"}]},
         f"{C}.volumeMounts[0].subPath", "must not contain '..'"),
        ({"livenessProbe": {}}, f"{C}.livenessProbe", "must specify a handler type"),
        ({"livenessProbe": {"httpGet": {"port": 80}, "exec": {"command": ["x"]}}},
         f"{C}.livenessProbe.httpGet", "may not specify more than 1 handler type"),
        ({"livenessProbe": {"httpGet": {"port": 0}}}, f"{C}.livenessProbe.httpGet.port",
         "must be between 1 and 65535"),
        ({"livenessProbe": {"tcpSocket": {"port": 80}, "successThreshold": 2}},
         f"{C}.livenessProbe.successThreshold", "must be 1"),
        ({"readinessProbe": {"exec": {"command": []}}}, f"{C}.readinessProbe.exec.command",
         "Required value"),
        ({"readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": -1}},
         f"{C}.readinessProbe.periodSeconds", "must be greater than or equal to 0"),
        ({"resources": {"limits": {"cpu": "1x"}}}, f"{C}.resources.limits.cpu", "quantities must"),
        ({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}},
         f"{C}.resources.requests", "must be less than or equal to cpu limit of 1"),
        ({"restartPolicy": "Always"}, f"{C}.restartPolicy", "Forbidden"),
        ({"lifecycle": {"preStop": {}}}, f"{C}.lifecycle.preStop", "must specify a handler type"),
    ],
)  # fmt: skip
def test_container(container: dict[str, Any], path: str, body: str) -> None:
    found = pod_errors(container)
    assert [p for p, _ in found] == [path]
    assert body in found[0][1]


SIDE = {"name": "s", "image": "i:1"}


@pytest.mark.parametrize(
    ("spec", "path", "body"),
    [
        ({"containers": []}, "spec.containers", "Required value"),
        ({"initContainers": [{"name": "c", "image": "i"}]}, "spec.containers[0].name",
         'Duplicate value: "c"'),
        ({"initContainers": [{**SIDE, "livenessProbe": {"tcpSocket": {"port": 1}}}]},
         "spec.initContainers[0].livenessProbe", "without restartPolicy=Always"),
        ({"volumes": [{"name": "v"}, {"name": "v"}]}, "spec.volumes[1].name", "Duplicate value"),
        ({"volumes": [{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]},
         "spec.volumes[0].secret", "may not specify more than 1 volume type"),
        ({"volumes": [{"name": "v", "configMap": {}}]}, "spec.volumes[0].configMap.name",
         "Required value"),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s", "defaultMode": 9999}}]},
         "spec.volumes[0].secret.defaultMode", "0777 (octal)"),
        ({"volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k",
         "path": "/a"}]}}]}, "spec.volumes[0].configMap.items[0].path", "relative path"),
        ({"terminationGracePeriodSeconds": -1}, "spec.terminationGracePeriodSeconds",
         "greater than or equal to 0"),
        ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds", "must be between 1"),
        ({"hostname": "a.b"}, "spec.hostname", "RFC 1123 label"),
        ({"nodeSelector": {"a b": "c"}}, "spec.nodeSelector", "name part must consist"),
        ({"tolerations": [{"value": "x"}]}, "spec.tolerations[0].operator", "must be Exists"),
        ({"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]},
         "spec.tolerations[0].operator", "value must be empty"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "spec.tolerations[0].effect",
         "must be 'NoExecute'"),
        ({"dnsPolicy": "None"}, "spec.dnsConfig.nameservers", "at least one DNS nameserver"),
        ({"hostAliases": [{"ip": "x"}]}, "spec.hostAliases[0].ip", "valid IP address"),
    ],
)  # fmt: skip
def test_pod(spec: dict[str, Any], path: str, body: str) -> None:
    found = pod_errors(None, **spec)
    assert [p for p, _ in found] == [path]
    assert body in found[0][1]


def test_sidecars_may_have_probes() -> None:
    sidecar = {**SIDE, "restartPolicy": "Always", "startupProbe": {"tcpSocket": {"port": 1}}}
    assert pod_errors(None, initContainers=[sidecar]) == []


def test_hint_for_a_mount_without_volume() -> None:
    body = copy.deepcopy(POD)
    body["spec"]["containers"][0]["volumeMounts"] = [{"name": "vv", "mountPath": "/v"}]
    (found,) = check_manifest(kind_of(POD), body)
    assert found.suggestion == "did you mean the volume `v`?"


def test_names_and_labels() -> None:
    body = {**POD, "metadata": {"name": "P_", "labels": {"a/b/c": "x", "d": "-"}}}
    paths = [(e.path, e.value) for e in check_manifest(kind_of(POD), body)]
    assert paths[0] == ("metadata.name", "P_")
    assert ("metadata.labels", "a/b/c") in paths
    (found,) = check_manifest(kind_of(POD), {**POD, "metadata": {}})
    assert found.message == "metadata.name: Required value: name or generateName is required"
    assert check_manifest(kind_of(POD), {**POD, "metadata": {"generateName": "p-"}}) == []


# ------------------------------------------------------------------ workloads


def workload_errors(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(e.path, e.body) for e in check_manifest(kind_of(body), body)]


def deployment(**spec: Any) -> dict[str, Any]:
    return {**DEPLOYMENT, "spec": {**copy.deepcopy(DEPLOYMENT["spec"]), **spec}}


@pytest.mark.parametrize(
    ("spec", "path", "body"),
    [
        ({"replicas": -1}, "spec.replicas", "Invalid value: -1: must be greater than or equal"),
        ({"selector": None}, "spec.selector", "Required value"),
        ({"selector": {}}, "spec.selector", "Required value"),
        ({"selector": {"matchLabels": {"app": "y"}}}, "spec.template.metadata.labels",
         "`selector` does not match template `labels`"),
        ({"selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}},
         "spec.selector.matchExpressions[0].values", "must be specified when"),
        ({"strategy": {"type": "Recreate", "rollingUpdate": {}}}, "spec.strategy.rollingUpdate",
         "may not be specified when strategy `type` is 'Recreate'"),
        ({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}},
         "spec.strategy.rollingUpdate.maxUnavailable", "may not be 0 when `maxSurge` is 0"),
        ({"strategy": {"rollingUpdate": {"maxSurge": "1"}}}, "spec.strategy.rollingUpdate.maxSurge",
         "a valid percent string"),
        ({"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
         "spec.strategy.rollingUpdate.maxUnavailable", "must not be greater than 100%"),
        ({"minReadySeconds": 700}, "spec.progressDeadlineSeconds", "greater than minReadySeconds"),
    ],
)  # fmt: skip
def test_deployment(spec: dict[str, Any], path: str, body: str) -> None:
    found = workload_errors(deployment(**spec))
    assert [p for p, _ in found] == [path]
    assert body in found[0][1]


def test_deployments_restart_always() -> None:
    body = deployment()
    body["spec"]["template"]["spec"] = {**POD["spec"], "restartPolicy": "Never"}
    assert workload_errors(body) == [
        (
            "spec.template.spec.restartPolicy",
            'Unsupported value: "Never": supported values: "Always"',
        )
    ]


def test_hint_for_a_selector_that_misses() -> None:
    body = deployment(selector={"matchLabels": {"app": "x", "tier": "web"}})
    (found,) = check_manifest(kind_of(body), body)
    assert found.suggestion == "add `tier: web` to the labels of the pod template"


def job(**spec: Any) -> dict[str, Any]:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i:1"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j"},
        "spec": {"template": {"spec": pod}, **spec},
    }


def test_jobs() -> None:
    assert workload_errors(job()) == []
    body = job(template={"spec": {"containers": [{"name": "c", "image": "i:1"}]}})
    assert workload_errors(body) == [
        (
            "spec.template.spec.restartPolicy",
            'Required value: valid values: "OnFailure", "Never"',
        )
    ]
    assert workload_errors(job(backoffLimit=-1))[0][0] == "spec.backoffLimit"
    assert workload_errors(job(completionMode="Indexed", parallelism=2))[0] == (
        "spec.completions",
        "Required value: when completion mode is Indexed",
    )


def stored(body: dict[str, Any]) -> dict[str, Any]:
    kind = registry.kind_of(body)
    assert kind is not None
    return prepare_create(kind, default(kind, copy.deepcopy(body)), "u")


def test_job_updates() -> None:
    old = stored(job())
    new = copy.deepcopy(old)
    new["spec"] |= {"parallelism": 5, "suspend": True}
    assert validate_update(kind_of(old), new, old) == []
    new["spec"]["template"]["spec"]["containers"][0]["image"] = "i:2"
    new["spec"]["completions"] = 9
    assert [e.path for e in validate_update(kind_of(old), new, old)] == [
        "spec.template",
        "spec.completions",
    ]


def test_pod_updates() -> None:
    old = stored(POD)
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "i:2"
    new["spec"]["activeDeadlineSeconds"] = 5
    new["spec"]["tolerations"].append({"key": "z", "operator": "Exists"})
    assert validate_update(kind_of(old), new, old) == []
    new["spec"]["tolerations"].pop(0)
    assert [e.path for e in validate_update(kind_of(old), new, old)] == ["spec.tolerations"]
    new["spec"]["nodeName"] = "n2"
    (found,) = validate_update(kind_of(old), new, old)
    assert found.message.startswith("spec: Forbidden: pod updates may not change fields other than")
    new["spec"]["containers"].append({"name": "d", "image": "i"})
    (found,) = validate_update(kind_of(old), new, old)
    assert "may not add or remove containers" in found.message
