"""The rest of kubectl's verbs."""

import asyncio
import base64
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.apiserver.serving import Running
from tests.apiserver.test_app_kubectl import MANIFEST, SOME, Kubectl, binaries

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]


@pytest.fixture(params=SOME, ids=lambda p: Path(p).name)
def kubectl(request: pytest.FixtureRequest, live: Running) -> Kubectl:
    return Kubectl(request.param, live)


async def test_set_expose_run_and_what_is_not_served(kubectl: Kubectl) -> None:
    await kubectl.apply()
    await kubectl("set", "resources", "deploy/web", "--limits=cpu=200m,memory=64Mi")
    await kubectl("set", "serviceaccount", "deploy/web", "default")
    await kubectl("set", "selector", "svc", "web", "app=other")
    found = json.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    pod = found["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"] == {"cpu": "200m", "memory": "64Mi"}
    assert pod["serviceAccountName"] == "default"
    selector = await kubectl("get", "svc", "web", "-o", "jsonpath={.spec.selector}")
    assert json.loads(selector) == {"app": "other"}
    await kubectl("run", "one", "--image=app:1", "--env=A=b", "--labels=x=y", "--port=80",
                  "--restart=Never")  # fmt: skip
    assert "service/one exposed" in await kubectl("expose", "pod", "one", "--port=80")
    err = await kubectl.fails("top", "nodes")
    assert "nobody measures what pods use" in err


async def test_nodes(kubectl: Kubectl, live: Running) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
    await kubectl("create", "-f", "-", stdin=json.dumps(node))
    assert "cordoned" in await kubectl("cordon", "n1")
    assert await kubectl("get", "node", "n1", "-o", "jsonpath={.spec.unschedulable}") == "true"
    assert "uncordoned" in await kubectl("uncordon", "n1")
    assert "tainted" in await kubectl("taint", "node", "n1", "a=b:NoSchedule")
    assert "untainted" in await kubectl("taint", "node", "n1", "a-")
    assert "Name:               n1" in await kubectl("describe", "node", "n1")
    assert "drained" in await kubectl("drain", "n1", "--timeout=5s")
    assert "labeled" in await kubectl("label", "node", "n1", "node-role.kubernetes.io/worker=")
    assert "worker" in await kubectl("get", "nodes")


async def test_cluster_information(kubectl: Kubectl) -> None:
    assert "control plane" in await kubectl("cluster-info")
    assert "Client Version" in await kubectl("version")
    names = (await kubectl("api-resources", "--namespaced=false", "-o", "name")).split()
    assert {"nodes", "namespaces", "customresourcedefinitions.apiextensions.k8s.io"} <= set(names)
    assert "apps/v1" in (await kubectl("api-versions")).split()
    groups = json.loads(await kubectl("get", "--raw", "/apis"))
    assert groups["kind"] == "APIGroupList"
    assert "KIND:       Pod" in await kubectl("explain", "pod")
    assert "__complete" in await kubectl("completion", "bash")
    await kubectl.apply()
    completed = await kubectl("__complete", "get", "deploy", "w")
    assert "web" in completed.split()


async def test_events(kubectl: Kubectl) -> None:
    await kubectl.apply()
    uid = await kubectl("get", "deploy", "web", "-o", "jsonpath={.metadata.uid}")
    event = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e1"}, "type": "Warning",
        "reason": "Odd", "message": "something is odd", "count": 2,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z",
        "involvedObject": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web",
                           "namespace": "default", "uid": uid},
    }  # fmt: skip
    await kubectl("create", "-f", "-", stdin=json.dumps(event))
    assert "something is odd" in await kubectl("events")
    assert "something is odd" in await kubectl("events", "--for=deployment/web", "--types=Warning")
    assert "something is odd" in await kubectl("get", "events")
    assert "something is odd" in await kubectl("describe", "deploy", "web")


async def test_kustomize_prune_replace_and_wait(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [all.yaml]\nnamePrefix: dev-\nlabels: [{pairs: {env: dev}}]\n"
        "configMapGenerator: [{name: settings, literals: [a=b]}]\n"
    )
    (tmp_path / "all.yaml").write_text(MANIFEST)
    out = await kubectl("apply", "-k", str(tmp_path))
    assert "deployment.apps/dev-web created" in out
    assert "configmap/dev-settings-" in out
    assert "deleted" in await kubectl("delete", "-k", str(tmp_path))

    one = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one, labels: {p: q}}\n"
    two = one.replace("one", "two")
    prune = ("--prune", "-l", "p=q", "--prune-allowlist=core/v1/ConfigMap")
    await kubectl("apply", "-f", "-", *prune, stdin=f"{one}---\n{two}")
    pruned = await kubectl("apply", "-f", "-", *prune, stdin=one)
    assert "configmap/two pruned" in pruned
    assert "replaced" in await kubectl("replace", "--force", "-f", "-", stdin=one)

    waiting = asyncio.ensure_future(kubectl("wait", "--for=delete", "cm/one", "--timeout=10s"))
    await asyncio.sleep(0.5)
    await kubectl("delete", "cm", "one")
    await waiting
    await kubectl("create", "-f", "-", stdin=one)
    assert "deleted" in await kubectl("delete", "cm", "-l", "p=q")


async def test_apply_view_and_set_last_applied(kubectl: Kubectl) -> None:
    await kubectl.apply()
    shown = await kubectl("apply", "view-last-applied", "deploy/web", "-o", "json")
    assert json.loads(shown)["spec"]["replicas"] == 2
    await kubectl("apply", "set-last-applied", "-f", "-", stdin=MANIFEST)
    out = await kubectl("get", "deploy", "web", "--output-watch-events", "-w",
                        "--request-timeout=2s")  # fmt: skip
    assert "ADDED" in out
    subresource = await kubectl("get", "deploy", "web", "--subresource=status", "-o", "json")
    assert json.loads(subresource)["kind"] == "Deployment"
    patched = await kubectl("patch", "deploy", "web", "--subresource=scale", "--type=merge", "-p",
                            '{"spec":{"replicas":3}}')  # fmt: skip
    assert "patched" in patched
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "3"
    heads, row = (await kubectl("get", "deploy", "web", "--subresource=scale")).splitlines()
    assert heads.split() == ["NAME", "DESIRED", "AVAILABLE", "AGE"]
    assert row.split()[:3] == ["web", "3", "0"]


async def test_who_may_do_what(kubectl: Kubectl) -> None:
    rules = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reads, namespace: default}
rules: [{apiGroups: [""], resources: [configmaps], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reads, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reads}
subjects: [{kind: ServiceAccount, name: robot, namespace: default}]
"""
    await kubectl("create", "serviceaccount", "robot")
    assert "reconciled" in await kubectl("auth", "reconcile", "-f", "-", stdin=rules)
    token = (await kubectl("create", "token", "robot", "--duration=10m")).strip()
    # A token given by flag does not outdo the one of the kubeconfig's user, so it has its own.
    config = (kubectl.home / "kubeconfig").read_text()
    mine = config[config.index("token: ") :].split("}")[0].removeprefix("token: ")
    (kubectl.home / "robot").write_text(config.replace(mine, token))
    robot = ("--kubeconfig", str(kubectl.home / "robot"))
    name = "jsonpath={.status.userInfo.username}"
    whoami = await kubectl(*robot, "auth", "whoami", "-o", name)
    assert whoami == "system:serviceaccount:default:robot"

    async def may(*words: str) -> str:
        return (await kubectl.run(*robot, "auth", "can-i", *words))[1].strip()

    for _ in range(50):  # roles are followed, not read with each request
        if await may("get", "cm") == "yes":
            break
    assert (await may("list", "configmaps"), await may("delete", "cm")) == ("yes", "no")
    assert "configmaps" in await may("--list")
    as_robot = ("--as=system:serviceaccount:default:robot", "auth", "can-i", "get", "secrets")
    assert (await kubectl.run(*as_robot))[1].strip() == "no"
    assert 'User "system:serviceaccount:default:robot" cannot list' in await kubectl.fails(
        *robot, "get", "secrets"
    )


async def test_autoscale_kustomize_and_certificates(kubectl: Kubectl, tmp_path: Path) -> None:
    await kubectl.apply()
    out = await kubectl("autoscale", "deploy", "web", "--min=1", "--max=3", "--cpu-percent=50")
    assert "autoscaled" in out
    assert (await kubectl("get", "hpa", "web", "-o", "jsonpath={.spec.maxReplicas}")) == "3"
    (tmp_path / "kustomization.yaml").write_text("resources: [all.yaml]\nnamePrefix: dev-\n")
    (tmp_path / "all.yaml").write_text(MANIFEST)
    assert "name: dev-web" in await kubectl("kustomize", str(tmp_path))
    asked = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": "bob"},
        "spec": {"request": signing_request("bob"), "usages": ["client auth"],
                 "signerName": "kubernetes.io/kube-apiserver-client"},
    }  # fmt: skip
    await kubectl("create", "-f", "-", stdin=json.dumps(asked))
    assert "approved" in await kubectl("certificate", "approve", "bob")
    assert "Approved" in await kubectl("get", "csr", "bob")


def signing_request(user: str) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()
