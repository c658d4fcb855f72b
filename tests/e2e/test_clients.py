"""Real clients: kubectl, helm and the official Python client, against a whole instance."""

import json
import threading
import time
from pathlib import Path

import pytest

from tests.e2e import manifests as m
from tests.e2e.helm import BINARIES as HELMS
from tests.e2e.helm import Helm
from tests.e2e.instance import EXAMPLES, Instance, kubectl_binary, wait_for

pytestmark = pytest.mark.e2e
needs_kubectl = pytest.mark.skipif(kubectl_binary() is None, reason="kubectl is not installed")


@needs_kubectl
def test_kubectl_apply_get_logs_scale_rollout_delete(isolated: Instance) -> None:
    text = m.echo("kc", replicas=2) + m.service("kc")
    first = isolated.kubectl("apply", "-f", "-", stdin=text)
    assert "deployment.apps/kc-v1 created" in first
    again = isolated.kubectl("apply", "-f", "-", stdin=text)
    assert "deployment.apps/kc-v1 unchanged" in again
    assert "successfully rolled out" in isolated.kubectl(
        "rollout", "status", "deploy/kc-v1", "--timeout=40s"
    )
    wide = isolated.kubectl("get", "pods,svc", "-o", "wide")
    assert "Running" in wide
    assert "service/kc" in wide
    assert "echo v1 ready" in isolated.kubectl("logs", "deploy/kc-v1")
    isolated.kubectl("scale", "deploy/kc-v1", "--replicas=3")
    isolated.wait_ready("app=kc", 3)
    isolated.kubectl("set", "env", "deploy/kc-v1", "MORE=1")
    isolated.kubectl("rollout", "status", "deploy/kc-v1", "--timeout=60s")
    history = isolated.kubectl("rollout", "history", "deploy/kc-v1")
    assert "2" in history
    isolated.kubectl("rollout", "undo", "deploy/kc-v1")
    isolated.kubectl("rollout", "status", "deploy/kc-v1", "--timeout=60s")
    env = isolated.get("deployment", "kc-v1")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert [e["name"] for e in env] == ["VERSION"]
    assert "kc-v1" in isolated.kubectl("describe", "deploy/kc-v1")
    isolated.kubectl("delete", "-f", "-", "--timeout=60s", stdin=text)
    wait_for(lambda: not isolated.items("pods", "app=kc"), "pods are gone")


@needs_kubectl
def test_kubectl_applies_the_weather_example(isolated: Instance) -> None:
    for part in ("frontend", "backend"):
        isolated.image(
            f"weather-{part}:latest",
            EXAMPLES / "weather" / part,
            __import__("sys").executable,
            "app.py",
        )
    isolated.kubectl("apply", "-f", str(EXAMPLES / "weather"))
    isolated.wait_ready("app=weather-backend", 3)
    isolated.wait_ready("app=weather-frontend", 1)
    import urllib.request

    def answer() -> str:
        with urllib.request.urlopen(isolated.gateway() + "/weather/berlin", timeout=5) as page:
            return str(json.loads(page.read())["text"])

    def tried() -> str:
        try:
            return answer()
        except OSError:
            return ""

    assert wait_for(tried, "weather through the mesh").startswith("Berlin: light rain")
    assert "weather-frontend listens" in isolated.kubectl("logs", "deploy/weather-frontend")
    isolated.kubectl("delete", "-f", str(EXAMPLES / "weather"), "--timeout=60s")


def test_official_client(isolated: Instance) -> None:
    from kubernetes import client, config, watch

    api_client = config.new_client_from_config(str(isolated.kubeconfig))
    core, apps = client.CoreV1Api(api_client), client.AppsV1Api(api_client)
    seen: list[str] = []

    def follow() -> None:
        stream = watch.Watch().stream(
            core.list_namespaced_pod, "default", label_selector="app=py", timeout_seconds=120
        )
        for event in stream:
            seen.append(event["type"])
            if event["type"] == "DELETED":
                return

    watcher = threading.Thread(target=follow, daemon=True)
    watcher.start()
    container = client.V1Container(
        name="echo",
        image="echo:1",
        ports=[client.V1ContainerPort(container_port=8080)],
        readiness_probe=client.V1Probe(
            http_get=client.V1HTTPGetAction(path="/who", port=8080), period_seconds=1
        ),
    )
    labels = {"app": "py"}
    deployment = client.V1Deployment(
        metadata=client.V1ObjectMeta(name="py"),
        spec=client.V1DeploymentSpec(
            replicas=1,
            selector=client.V1LabelSelector(match_labels=labels),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels=labels),
                spec=client.V1PodSpec(containers=[container], termination_grace_period_seconds=5),
            ),
        ),
    )
    apps.create_namespaced_deployment("default", deployment)
    isolated.wait_ready("app=py", 1)
    (pod,) = core.list_namespaced_pod("default", label_selector="app=py").items
    assert pod.status.pod_ip
    assert "ready" in core.read_namespaced_pod_log(pod.metadata.name, "default")
    with pytest.raises(client.ApiException) as conflict:
        apps.create_namespaced_deployment("default", deployment)
    assert conflict.value.status == 409
    apps.patch_namespaced_deployment("py", "default", {"spec": {"replicas": 2}})
    isolated.wait_ready("app=py", 2)
    apps.delete_namespaced_deployment("py", "default")
    wait_for(lambda: not isolated.items("pods", "app=py"), "pods are gone")
    watcher.join(10)
    assert {"ADDED", "MODIFIED", "DELETED"} <= set(seen)


def test_weft_commands_without_kubectl(isolated: Instance) -> None:
    isolated.weft("apply", "-f", "-", stdin=m.echo("wc") + m.service("wc"))
    (pod,) = isolated.wait_ready("app=wc", 1)
    name = pod["metadata"]["name"]
    assert "echo v1 ready" in isolated.weft("logs", name)
    described = isolated.weft("describe", f"pod/{name}")
    assert "Started" in described
    assert "service/wc" in isolated.weft("get", "svc,pods")
    status = isolated.weft("status")
    assert name in status
    assert "acked" in status
    started = time.monotonic()
    isolated.weft("delete", "deployment", "wc-v1")
    wait_for(lambda: not isolated.items("pods", "app=wc"), "pod gone")
    assert time.monotonic() - started < 10
    done = isolated.run("get", "deploymints")
    assert done.returncode != 0
    assert "deployments" in done.stderr


@pytest.mark.skipif(not HELMS, reason="helm is not installed (tools/get_tools.py)")
@pytest.mark.parametrize("binary", HELMS, ids=lambda path: Path(path).name)
def test_a_helm_release_whose_pods_run(isolated: Instance, binary: str, tmp_path: Path) -> None:
    """Hooks, waits, helm's own tests, and an upgrade that fails and is rolled back."""
    helm = Helm(binary, isolated, tmp_path)
    assert "STATUS: deployed" in helm("install", "--wait", "--timeout=40s")
    assert isolated.get("deployment", "web-v1")["status"]["availableReplicas"] == 1
    jobs = [job["metadata"]["name"] for job in isolated.items("jobs")]
    assert jobs == []  # the hook ran before, and was deleted when it had succeeded

    told = helm("test", "--logs", "--timeout=40s")
    assert "Succeeded" in told
    assert "tested" in told

    helm("upgrade", "--wait", "--timeout=40s")
    after = isolated.get("job", "shop-after")
    assert after["status"]["succeeded"] == 1

    undo = "--rollback-on-failure" if binary.endswith("4") else "--atomic"
    told = helm("upgrade", "--set=image=not-there:1", undo, "--timeout=3s", works=False)
    assert "rolled back" in told or "rollback" in told
    assert helm.history() == ["superseded", "superseded", "failed", "deployed"]
    spec = isolated.get("deployment", "web-v1")["spec"]["template"]["spec"]
    assert spec["containers"][0]["image"] == "echo:1"

    helm("uninstall", "--wait", "--cascade=foreground", "--timeout=40s")
    # helm 4 counts what its watch has not shown yet as deleted, so it may come back early.
    web = "/apis/apps/v1/namespaces/default/deployments/web-v1"
    wait_for(lambda: isolated.api(web)[0] == 404, "the owner is gone")
    assert isolated.items("pods", "app=web") == []
    isolated.kubectl("delete", "job/shop-after", "pod/shop-check", "--ignore-not-found")
