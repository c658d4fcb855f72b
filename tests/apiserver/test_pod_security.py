"""The Pod Security Standards: each rule in Kubernetes' words."""

from typing import Any

import pytest

from weft.apiserver.pod_security import (
    BASELINE,
    LEVELS,
    PREFIX,
    PRIVILEGED,
    RESTRICTED,
    Standard,
    matters,
    policy_of,
    violations,
)

GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def spec(container: Any = None, pod: Any = None, **more: Any) -> dict[str, Any]:
    inside = {"name": "a", "image": "i", "securityContext": GOOD | (container or {})}
    return {"containers": [inside], "securityContext": pod or {}} | more


def said(level: str, asked: dict[str, Any], annotations: Any = None) -> str:
    return ", ".join(map(str, violations(level, {"annotations": annotations}, asked)))


UNCONFINED = {"type": "Unconfined"}
BASELINE_CASES = [
    (spec(pod={"appArmorProfile": UNCONFINED}, container={"appArmorProfile": UNCONFINED}),
     'forbidden AppArmor profile (pod and container "a" must not set AppArmor profile type to '
     '"Unconfined")'),
    (spec(hostNetwork=True, hostPID=True, hostIPC=True),
     "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)"),
    (spec(initContainers=[{"name": "b", "securityContext": GOOD, "ports": [{"hostPort": 9}]}]),
     'hostPort (container "b" uses hostPort 9)'),
    (spec({"privileged": True}),
     'privileged (container "a" must not set securityContext.privileged=true)'),
    (spec({"procMount": "Unmasked"}),
     'procMount (container "a" must not set securityContext.procMount to "Unmasked")'),
    (spec(pod={"seLinuxOptions": {"type": "x", "user": "u"}},
          container={"seLinuxOptions": {"role": "r"}}),
     'seLinuxOptions (pod and container "a" set forbidden securityContext.seLinuxOptions: '
     'type "x"; user may not be set; role may not be set)'),
    (spec({"seccompProfile": UNCONFINED}),
     'seccompProfile (container "a" must not set securityContext.seccompProfile.type to '
     '"Unconfined")'),
    (spec(pod={"sysctls": [{"name": "net.ipv4.tcp_syncookies"}, {"name": "kernel.msgmax"}]}),
     "forbidden sysctls (kernel.msgmax)"),
    (spec(pod={"windowsOptions": {"hostProcess": True}}),
     "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)"),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "text"), BASELINE_CASES)
def test_what_baseline_refuses_restricted_refuses_in_the_same_words(
    asked: dict[str, Any], text: str
) -> None:
    assert said(BASELINE, asked) == text
    assert said(RESTRICTED, asked) == text
    assert not said(PRIVILEGED, asked)


@pytest.mark.parametrize(
    ("asked", "baseline", "restricted"),
    [
        (spec({"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN", "CHOWN"]}}),
         'non-default capabilities (container "a" must not include "SYS_ADMIN" in '
         "securityContext.capabilities.add)",
         'unrestricted capabilities (container "a" must not include "CHOWN", "SYS_ADMIN" in '
         "securityContext.capabilities.add)"),
        (spec(volumes=[{"name": "v", "hostPath": {"path": "/"}}, {"name": "t", "emptyDir": {}}]),
         'hostPath volumes (volume "v")',
         'restricted volume types (volume "v" uses restricted volume type "hostPath")'),
        (spec(volumes=[{"name": "v", "nfs": {}}, {"name": "w", "iscsi": {}}]), "",
         'restricted volume types (volumes "v", "w" use restricted volume types "iscsi", "nfs")'),
        (spec({"runAsUser": 0}), "", 'runAsUser=0 (container "a" must not set runAsUser=0)'),
        (spec({"runAsNonRoot": False}), "",
         'runAsNonRoot != true (container "a" must not set securityContext.runAsNonRoot=false)'),
    ],
)  # fmt: skip
def test_where_restricted_is_stricter(
    asked: dict[str, Any], baseline: str, restricted: str
) -> None:
    assert said(BASELINE, asked) == baseline
    assert said(RESTRICTED, asked) == restricted


def test_a_pod_that_says_nothing() -> None:
    asked = {"containers": [{"name": "a"}, {"name": "b"}]}
    assert not said(BASELINE, asked)
    assert said(RESTRICTED, asked) == (
        'allowPrivilegeEscalation != false (containers "a", "b" must set '
        "securityContext.allowPrivilegeEscalation=false), "
        'unrestricted capabilities (containers "a", "b" must set '
        'securityContext.capabilities.drop=["ALL"]), '
        'runAsNonRoot != true (pod or containers "a", "b" must set '
        "securityContext.runAsNonRoot=true), "
        'seccompProfile (pod or containers "a", "b" must set '
        'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    )


def test_a_careful_pod_passes_everything() -> None:
    assert [said(level, spec()) for level in LEVELS] == ["", "", ""]


def test_annotations_of_apparmor_count() -> None:
    key = "container.apparmor.security.beta.kubernetes.io/a"
    assert not said(BASELINE, spec(), {key: "localhost/x"})
    assert said(BASELINE, spec(), {key: "unconfined"}).startswith(
        "forbidden AppArmor profile (annotation must not set"
    )


def test_labels() -> None:
    found = policy_of({PREFIX + "enforce": "baseline", PREFIX + "enforce-version": "v1.30"})
    assert found.enforce == found.warn == Standard("baseline", "v1.30")
    assert found.audit == Standard()
    assert not found.errors
    found = policy_of({PREFIX + "enforce": "strict", PREFIX + "warn": "loud"})
    assert (found.enforce.level, found.warn.level) == (RESTRICTED, PRIVILEGED)
    assert [e[:2] for e in found.errors] == [
        (PREFIX + "enforce", "strict"), (PREFIX + "warn", "loud"),
    ]  # fmt: skip
    assert policy_of({PREFIX + "warn-version": "v1.030"}).errors[0][2] == (
        'must be "latest" or "v1.x"'
    )


def test_only_images_and_containers_matter() -> None:
    pod = {"metadata": {}, "spec": spec()}
    more = pod["spec"] | {"ephemeralContainers": [{"name": "d", "image": "i"}]}
    assert matters({"spec": more}, pod)
    assert not matters(pod | {"metadata": {"labels": {"a": "b"}}}, pod)
