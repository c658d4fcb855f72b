"""Access as people use it: a viewer's kubeconfig, an audit trail, a drained node."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.e2e import manifests as m
from tests.e2e.conftest import fresh
from tests.e2e.instance import Instance, kubectl_binary, wait_for

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(kubectl_binary() is None, reason="kubectl is not installed"),
]

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: RequestResponse
  resources: [{group: "", resources: [secrets, configmaps]}]
- level: None
"""


@pytest.fixture(scope="module")
def weft() -> Iterator[Instance]:
    isolation = "netns" if os.geteuid() == 0 else "host"
    for instance in fresh(isolation):
        policy = instance.data_dir / "policy.yaml"
        policy.write_text(POLICY)
        instance.weft(
            "up", "--detach", "--port", "0", "--isolation", isolation,
            "--audit-policy", str(policy),
        )  # fmt: skip
        yield instance


def as_account(weft: Instance, name: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """kubectl with nothing but a token of this service account."""
    token = weft.kubectl("create", "token", name, "--duration=10m").strip()
    binary = kubectl_binary()
    assert binary
    server = weft.kubectl("config", "view", "-o", "jsonpath={.clusters[0].cluster.server}")
    own = weft.data_dir / "viewer.kubeconfig"
    own.write_text(
        f"apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: {server}, insecure-skip-tls-verify: true}}}}]\n"
        f"users: [{{name: c, user: {{token: {token}}}}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: c}}]\n"
    )
    return subprocess.run(
        [binary, "--kubeconfig", str(own), *args], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_rights_of_a_labelled_role_are_granted(weft: Instance) -> None:
    """What an operator brings along: `view` and a role of one's own take over its rights, and
    lose them with it."""
    aggregating = {
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "monitoring"}, "rules": [],
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"monitoring": "yes"}}]},
    }  # fmt: skip
    weft.kubectl("create", "-f", "-", stdin=json.dumps(aggregating))
    weft.kubectl("create", "clusterrole", "machines", "--verb=get", "--resource=nodes")
    for role in ("monitoring", "view"):
        weft.kubectl("create", "serviceaccount", f"by-{role}")
        weft.kubectl(
            "create", "clusterrolebinding", f"by-{role}", f"--clusterrole={role}",
            f"--serviceaccount=default:by-{role}",
        )  # fmt: skip

    def may(role: str) -> bool:
        return as_account(weft, f"by-{role}", "auth", "can-i", "get", "nodes").returncode == 0

    assert not may("monitoring")
    assert not may("view")
    weft.kubectl(
        "label", "clusterrole", "machines", "monitoring=yes",
        "rbac.authorization.k8s.io/aggregate-to-view=true",
    )  # fmt: skip
    for role in ("monitoring", "view"):
        wait_for(lambda: may(role), f"{role} grants it")  # noqa: B023
    found = as_account(weft, "by-monitoring", "get", "node", "nowhere")
    assert "NotFound" in found.stderr
    weft.kubectl("delete", "clusterrole", "machines")
    for role in ("monitoring", "view"):
        wait_for(lambda: not may(role), f"{role} grants it no longer")  # noqa: B023


def test_a_viewer_sees_and_changes_nothing(weft: Instance) -> None:
    weft.kubectl("create", "serviceaccount", "viewer")
    assert as_account(weft, "viewer", "get", "pods").returncode != 0
    weft.kubectl(
        "create", "rolebinding", "viewers", "--clusterrole=view",
        "--serviceaccount=default:viewer",
    )  # fmt: skip
    weft.kubectl("create", "configmap", "seen", "--from-literal=a=1")
    weft.kubectl("create", "secret", "generic", "hidden", "--from-literal=password=hunter2")

    def seen() -> bool:
        return "seen" in as_account(weft, "viewer", "get", "configmaps").stdout

    wait_for(seen, "the viewer sees")
    refused = as_account(weft, "viewer", "get", "secrets")
    assert (
        'secrets is forbidden: User "system:serviceaccount:default:viewer" cannot list resource '
        '"secrets" in API group "" in the namespace "default"' in refused.stderr
    )
    assert as_account(weft, "viewer", "delete", "configmap", "seen").returncode != 0
    assert as_account(weft, "viewer", "get", "nodes").returncode != 0


def test_only_administrators_touch_the_authorities(weft: Instance) -> None:
    """Not even who may do everything in every namespace, or look at the mesh."""
    weft.kubectl("create", "serviceaccount", "chief")
    for role in ("admin", "edit", "weft:mesh-viewer"):
        name = f"chief-{role.replace(':', '-')}"
        weft.kubectl(
            "create", "clusterrolebinding", name, f"--clusterrole={role}",
            "--serviceaccount=default:chief",
        )  # fmt: skip
    nothing = weft.data_dir / "nothing.json"
    nothing.write_text("{}")
    wait_for(
        lambda: as_account(weft, "chief", "get", "--raw", "/weft/v1/ca").returncode == 0,
        "the chief may look",
    )
    before = weft.read("/weft/v1/ca")["authorities"]
    token = (weft.data_dir / "tokens.csv").read_text()
    for path in (
        "ca/rotate", "ca/rotate-now", "credentials-rotate", "credentials-forget",
        "credentials-rotate-ca", "credentials-forget-ca", "credentials-forget-ca-force",
        "proxy-restart",
    ):  # fmt: skip
        done = as_account(weft, "chief", "create", "--raw", f"/weft/v1/{path}", "-f", str(nothing))
        assert "(Forbidden)" in done.stderr, (path, done.stderr)
    assert weft.read("/weft/v1/ca")["authorities"] == before
    assert (weft.data_dir / "tokens.csv").read_text() == token


def test_the_audit_log_tells_it_without_secrets(weft: Instance) -> None:
    path = weft.data_dir / "log" / "audit.log"
    user = "system:serviceaccount:default:viewer"

    def refusals() -> list[str]:
        found = [json.loads(line) for line in path.read_text().splitlines()]
        return [
            e["verb"] for e in found
            if e["user"].get("username") == user and e["responseStatus"]["code"] == 403
        ]  # fmt: skip

    wait_for(lambda: {"list", "delete"} <= set(refusals()), "both refusals")
    assert "hunter2" not in path.read_text()
    assert "aHVudGVyMg" not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_node_is_drained(weft: Instance) -> None:
    weft.kubectl("apply", "-f", "-", stdin=m.echo("drained"))
    (before,) = weft.wait_ready("app=drained", 1)
    node = before["spec"]["nodeName"]
    out = weft.kubectl("drain", node, "--ignore-daemonsets", "--timeout=60s")
    assert f"node/{node} drained" in out
    (after,) = wait_for(lambda: weft.items("pods", "app=drained"), "a new pod")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert after["status"]["phase"] == "Pending"
    weft.kubectl("uncordon", node)
    weft.wait_ready("app=drained", 1)
