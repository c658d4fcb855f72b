"""Pods reach the API server by what Kubernetes promises: environment, CA, namespace, token."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_for
from weft.node.service_account import DIRECTORY

pytestmark = [pytest.mark.e2e, pytest.mark.root]

ASK = f"""
import os, ssl, urllib.error, urllib.request
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
trust = ssl.create_default_context(cafile="{DIRECTORY}/ca.crt")
request = urllib.request.Request(f"https://{{host}}:{{port}}/version")
try:
    answer = urllib.request.urlopen(request, context=trust, timeout=5)
except urllib.error.HTTPError as error:
    answer = error
print(answer.status in (200, 401, 403))
print(open("{DIRECTORY}/namespace").read())
print(sorted(name for name in os.listdir("{DIRECTORY}") if not name.startswith("..")))
print(os.access("{DIRECTORY}/ca.crt", os.W_OK) and not os.statvfs("{DIRECTORY}").f_flag & 1)
"""


def pod(name: str, script: str, **spec: Any) -> str:
    main = {"name": "main", "image": "python:1", "args": ["-c", script]}
    base = {"containers": [main], "restartPolicy": "Never"}
    meta = {"name": name}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": base | spec})


def output(weft: Instance, name: str) -> list[str]:
    def ended() -> bool:
        return weft.pod(name)["status"].get("phase") in ("Succeeded", "Failed")

    wait_for(ended, f"{name} ended")
    path = f"/api/v1/namespaces/default/pods/{name}/log"
    return wait_for(lambda: weft.api(path)[1].decode().splitlines(), f"log of {name}", 5)


def test_the_api_server_is_reached_and_trusted(weft: Instance) -> None:
    weft.image("python:1", Path("/tmp"), sys.executable)
    listing = f"import os; print(os.listdir('{DIRECTORY}'))"
    pods = [
        pod("asks", ASK),
        pod("does-not", listing, automountServiceAccountToken=False),
    ]  # fmt: skip
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(pods))
    assert output(weft, "asks") == ["True", "default", "['ca.crt', 'namespace', 'token']", "False"]
    assert output(weft, "does-not") == ["[]"]
    assert list(Path(DIRECTORY).iterdir()) == []


IN_CLUSTER = """
import json
from kubernetes import client, config
config.load_incluster_config()
core = client.CoreV1Api()
me = client.AuthenticationV1Api().create_self_subject_review(
    client.V1SelfSubjectReview()).status.user_info
print(me.username)
print("system:serviceaccounts:default" in me.groups)
print(me.extra["authentication.kubernetes.io/pod-name"])
print([c.metadata.name for c in core.list_namespaced_config_map("default").items
       if c.metadata.name == "seen"])
try:
    core.list_namespaced_secret("default")
except client.ApiException as error:
    print(error.status, json.loads(error.body)["message"])
"""

GRANT = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: seen}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads-maps}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: robot}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads-maps}
subjects: [{kind: ServiceAccount, name: robot}]
"""


def test_the_official_client_runs_inside_a_pod(weft: Instance) -> None:
    weft.image("python:1", Path("/tmp"), sys.executable)
    weft.weft("apply", "-f", "-", stdin=GRANT)
    weft.weft("apply", "-f", "-", stdin=pod("inside", IN_CLUSTER, serviceAccountName="robot"))
    assert output(weft, "inside") == [
        "system:serviceaccount:default:robot",
        "True",
        "['inside']",
        "['seen']",
        '403 secrets is forbidden: User "system:serviceaccount:default:robot" cannot list '
        'resource "secrets" in API group "" in the namespace "default"',
    ]


PROJECTED = {
    "name": "vault",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"audience": "vault", "expirationSeconds": 600, "path": "t"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "r"}]}},
        ]
    },
}


def test_a_projected_token_is_for_its_audience_and_ends_with_its_pod(weft: Instance) -> None:
    weft.image("python:1", Path("/tmp"), sys.executable)
    main = {
        "name": "main", "image": "python:1",
        "args": ["-uc", "assert 'BEGIN' in open('/vault/r').read(); print(open('/vault/t').read());"
                 "import time; time.sleep(600)"],
        "volumeMounts": [{"name": "vault", "mountPath": "/vault"}],
    }  # fmt: skip
    spec = {"containers": [main], "volumes": [PROJECTED], "terminationGracePeriodSeconds": 0}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "holder"}, "spec": spec}
    weft.weft("apply", "-f", "-", stdin=json.dumps(made))
    log = "/api/v1/namespaces/default/pods/holder/log"
    token = wait_for(
        lambda: weft.api(log)[1].decode().strip() if weft.api(log)[0] == 200 else "", "a token"
    )

    def review(*audiences: str) -> Any:
        body = {
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
            "spec": {"token": token, "audiences": list(audiences)},
        }  # fmt: skip
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        return json.loads(weft.api(path, "POST", body)[1])["status"]

    assert review("vault", "other")["audiences"] == ["vault"]
    assert review()["user"] == {}
    weft.weft("delete", "pod", "holder")
    wait_for(lambda: not review("vault").get("authenticated"), "the token is void")
