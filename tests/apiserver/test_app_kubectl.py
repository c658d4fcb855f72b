"""Real kubectl, each version that is installed, against a real server."""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.apiserver.serving import Running
from tests.apiserver.support import deployment

SDK = Path("/usr/lib/google-cloud-sdk/bin")


def binaries() -> list[str]:
    """The version-less kubectl of that kit only chooses one of the others."""
    found = [str(SDK / f"kubectl.1.{minor}") for minor in (30, 31, 32, 33)]
    found.append(str(Path(sys.executable).parent / "kubectl-1.37"))
    found = [path for path in found if os.access(path, os.X_OK)]
    fallback = shutil.which("kubectl")
    return found or ([fallback] if fallback else [])


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not binaries(), reason="kubectl is not installed"),
]
LATEST = binaries()[-1:]
SOME = list(dict.fromkeys([*binaries()[::2], *LATEST]))
"""The oldest, one of those that began to send protobuf, the newest: for verbs beyond the usual."""

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "app:1", ports: [{containerPort: 80}], env: [{name: A, value: "1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1beta1
kind: VirtualService
metadata: {name: web}
spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}
"""


class Kubectl:
    """Runs one binary against the server."""

    def __init__(self, binary: str, live: Running) -> None:
        self._binary = binary
        self.home = live.home
        self._env = {"KUBECONFIG": str(live.kubeconfig), "HOME": str(live.home), "PATH": "/bin"}

    async def run(
        self, *args: str, stdin: str = "", env: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            self._binary, *args, env=self._env | (env or {}),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        return process.returncode or 0, out.decode(), err.decode()

    async def __call__(self, *args: str, stdin: str = "", **how: Any) -> str:
        code, out, err = await self.run(*args, stdin=stdin, **how)
        assert code == 0, err
        return out

    async def fails(self, *args: str, stdin: str = "") -> str:
        code, _, err = await self.run(*args, stdin=stdin)
        assert code != 0
        return err

    async def apply(self, manifest: str = MANIFEST) -> list[str]:
        return (await self("apply", "-f", "-", stdin=manifest)).splitlines()


@pytest.fixture(params=binaries(), ids=lambda p: Path(p).name)
def kubectl(request: pytest.FixtureRequest, live: Running) -> Kubectl:
    return Kubectl(request.param, live)


@pytest.fixture(params=LATEST, ids=lambda p: Path(p).name)
def latest(request: pytest.FixtureRequest, live: Running) -> Kubectl:
    return Kubectl(request.param, live)


async def test_apply_diff_get_delete(kubectl: Kubectl) -> None:
    """The daily round on every version."""
    assert await kubectl.apply() == [
        "deployment.apps/web created",
        "service/web created",
        "virtualservice.networking.istio.io/web created",
    ]
    assert all(line.endswith(" unchanged") for line in await kubectl.apply())
    changed = MANIFEST.replace("app:1", "app:2")
    code, diff, _ = await kubectl.run("diff", "-f", "-", stdin=changed)
    assert code == 1
    assert "+        image: app:2" in diff or "image: app:2" in diff
    assert (await kubectl.apply(changed))[0] == "deployment.apps/web configured"
    assert (await kubectl("get", "deploy,svc,vs", "-o", "name")).split() == [
        "deployment.apps/web", "service/kubernetes", "service/web",
        "virtualservice.networking.istio.io/web",
    ]  # fmt: skip
    wide = await kubectl("get", "deploy", "-o", "wide")
    assert wide.splitlines()[0].split() == [
        "NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR",
    ]  # fmt: skip
    assert wide.splitlines()[1].split()[:4] == ["web", "0/2", "0", "0"]
    typo = MANIFEST.replace("replicas: 2", "replica: 3")
    assert 'unknown field "spec.replica"' in await kubectl.fails("apply", "-f", "-", stdin=typo)
    item = "{apiVersion: v1, kind: ConfigMap, metadata: {name: l}}"
    listed = f"apiVersion: v1\nkind: List\nitems:\n- {item}\n"
    assert await kubectl.apply(listed) == ["configmap/l created"]
    explained = await kubectl("explain", "deploy.spec.strategy.rollingUpdate")
    assert "maxSurge" in explained
    assert "namespace/shop created" in await kubectl(
        "apply", "-f", "-", stdin="apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"
    )
    deleted = await kubectl("delete", "-f", "-", stdin=MANIFEST)
    assert 'deployment.apps "web" deleted' in deleted
    assert "NotFound" in await kubectl.fails("get", "deploy", "web")


async def test_outputs(kubectl: Kubectl) -> None:
    await kubectl.apply()
    plain = orjson.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    assert plain["spec"]["replicas"] == 2
    assert "replicas: 2" in await kubectl("get", "deploy", "web", "-o", "yaml")
    assert await kubectl("get", "deploy", "-o", "jsonpath={.items[*].spec.replicas}") == "2"
    columns = "custom-columns=N:.metadata.name,R:.spec.replicas"
    assert (await kubectl("get", "deploy", "-o", columns)).split() == ["N", "R", "web", "2"]
    sorted_ = await kubectl("get", "svc", "--sort-by=.metadata.name", "--no-headers")
    assert [line.split()[0] for line in sorted_.splitlines()] == ["kubernetes", "web"]
    assert (await kubectl("get", "svc", "-A", "--field-selector", "metadata.name=web")).count(
        "web"
    ) == 1
    assert "No resources found" in (await kubectl.run("get", "pods", "-l", "a=b"))[2]
    assert await kubectl("get", "--raw", "/healthz") == "ok"
    names = await kubectl("api-resources", "-o", "name")
    assert {"pods", "deployments.apps", "virtualservices.networking.istio.io"} <= set(names.split())
    assert "networking.istio.io/v1beta1" in await kubectl("api-versions")
    assert "v1.33" in await kubectl("version")
    assert 'doesn\'t have a resource type "nopes"' in await kubectl.fails("get", "nopes")


async def test_output_templates(latest: Kubectl) -> None:
    """Each form, from the command line and from a file."""
    await latest.apply()
    template = "{{range .items}}{{.metadata.name}}:{{.spec.replicas}};{{end}}"
    path = "{.items[*].metadata.name}"
    columns = "NAME LABEL\n.metadata.name .metadata.labels.app"
    files = {"go": template, "path": path, "columns": columns}
    for name, text in files.items():
        (latest.home / name).write_text(text)
    home = latest.home
    for output, expected in (
        (f"go-template={template}", "web:2;"),
        (f"go-template-file={home}/go", "web:2;"),
        (f"template={template}", "web:2;"),
        (f"jsonpath-file={home}/path", "web"),
        (f"custom-columns-file={home}/columns", "NAME LABEL web web"),
        ("name", "deployment.apps/web"),
    ):
        out = await latest("get", "deploy", "-o", output)
        assert out.split() == expected.split(), output
    out = await latest("get", "deploy", "-o", "jsonpath-as-json={.items[*].spec.replicas}")
    assert orjson.loads(out) == [2]
    shown = (await latest("get", "deploy", "--show-labels")).splitlines()
    assert (shown[0].split()[-1], shown[1].split()[-1]) == ("LABELS", "app=web")
    shown = (await latest("get", "deploy", "-L", "app,absent")).splitlines()
    assert shown[0].split()[-2:] == ["APP", "ABSENT"]
    assert shown[1].split()[-1] == "web"


async def test_cluster_info_dump(latest: Kubectl) -> None:
    await latest.apply()
    folder = latest.home / "dump"
    await latest("cluster-info", "dump", "--namespaces=default", f"--output-directory={folder}")
    found = orjson.loads((folder / "default" / "deployments.json").read_bytes())
    assert [item["metadata"]["name"] for item in found["items"]] == ["web"]
    assert orjson.loads((folder / "nodes.json").read_bytes())["kind"] == "NodeList"


async def test_changing_commands(kubectl: Kubectl) -> None:
    await kubectl.apply()
    assert "scaled" in await kubectl("scale", "deploy/web", "--replicas=4", "--current-replicas=2")
    await kubectl("label", "deploy", "web", "tier=front")
    await kubectl("annotate", "svc", "web", "note=x")
    await kubectl("set", "image", "deploy/web", "c=app:3")
    await kubectl("set", "env", "deploy/web", "B=2")
    await kubectl("patch", "svc", "web", "-p", '{"spec":{"ports":[{"port":80,"name":"http"}]}}')
    await kubectl("patch", "vs", "web", "--type=merge", "-p", '{"spec":{"hosts":["other"]}}')
    ops = '[{"op":"replace","path":"/spec/replicas","value":1}]'
    await kubectl("patch", "deploy", "web", "--type=json", "-p", ops)
    await kubectl("rollout", "restart", "deploy/web")
    await kubectl("rollout", "pause", "deploy/web")
    await kubectl("rollout", "resume", "deploy/web")
    found = orjson.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    container = found["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "app:3"
    assert {e["name"] for e in container["env"]} == {"A", "B"}
    assert found["spec"]["replicas"] == 1
    assert found["metadata"]["labels"]["tier"] == "front"
    ports = await kubectl("get", "svc", "web", "-o", "jsonpath={.spec.ports}")
    assert orjson.loads(ports) == [
        {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 80}
    ]
    await kubectl("create", "-f", "-", stdin="apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n")
    replaced = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {k: v}\n"
    await kubectl("replace", "-f", "-", stdin=replaced)
    assert await kubectl("get", "secret", "s", "-o", "jsonpath={.data.k}") == "dg=="
    expose = await kubectl("expose", "deploy", "web", "--name=web2", "--port=81")
    assert "service/web2 exposed" in expose
    assert "pod/solo created" in await kubectl("run", "solo", "--image=app:1")
    assert 'pod "solo"' in await kubectl("delete", "pod", "solo", "--now")


async def test_dry_run_changes_nothing(latest: Kubectl, live: Running) -> None:
    await latest.apply()
    revision = live.store.revision
    changed = MANIFEST.replace("app:1", "app:9")
    out = await latest("apply", "--dry-run=server", "-f", "-", stdin=changed)
    assert "configured (server dry run)" in out
    await latest("delete", "deploy", "web", "--dry-run=server")
    assert live.store.revision == revision


async def test_edit_and_warnings(kubectl: Kubectl) -> None:
    await kubectl.apply()
    editor = kubectl.home / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 2/replicas: 6/' \"$1\"\n")
    editor.chmod(0o755)
    out = await kubectl("edit", "deploy", "web", env={"KUBE_EDITOR": str(editor)})
    assert "edited" in out
    assert await kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "6"
    typo = MANIFEST.replace("replicas: 2", "replica: 3")
    code, _, err = await kubectl.run("apply", "--validate=warn", "-f", "-", stdin=typo)
    assert code == 0
    assert 'Warning: unknown field "spec.replica"' in err


async def test_errors_name_the_field(latest: Kubectl) -> None:
    text = MANIFEST.replace("replicas: 2", "replicas: -1")
    err = await latest.fails("apply", "-f", "-", stdin=text)
    assert 'The Deployment "web" is invalid: spec.replicas: Invalid value: -1' in err
    text = MANIFEST.replace("replicas: 2", 'replicas: "two"')
    assert "spec.replicas" in await latest.fails("apply", "-f", "-", stdin=text)
    err = await latest.fails("apply", "-n", "nope", "-f", "-", stdin=MANIFEST)
    assert 'namespaces "nope" not found' in err
    err = await latest.fails("delete", "ns", "default")
    assert "this namespace may not be deleted" in err
    await latest.apply()
    err = await latest.fails("create", "-f", "-", stdin=MANIFEST)
    assert 'deployments.apps "web" already exists' in err


async def test_describe_wait_rollout_and_watch(kubectl: Kubectl, live: Running) -> None:
    await kubectl.apply()
    text = await kubectl("describe", "deploy", "web")
    assert "2 desired" in text
    assert "Selector:               app=web" in text
    await kubectl("describe", "svc", "web")
    watching = asyncio.ensure_future(
        kubectl.run("get", "deploy", "-w", "--request-timeout=4s", "--no-headers")
    )
    waiting = asyncio.ensure_future(
        kubectl("wait", "deploy/web", "--for=condition=Available", "--timeout=10s")
    )
    following = asyncio.ensure_future(kubectl("rollout", "status", "deploy/web", "--timeout=10s"))
    await asyncio.sleep(1.5)
    status = {
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2,
        "availableReplicas": 2,
        "conditions": [{"type": "Available", "status": "True", "reason": "MinimumReplicas",
                        "message": ""}],
    }  # fmt: skip
    kind = deployment()
    path = f"/apis/apps/v1/namespaces/default/{kind['kind'].lower()}s/web/status"
    headers = {"Content-Type": "application/merge-patch+json"}
    code, _ = await live.json("PATCH", path, data=orjson.dumps({"status": status}), headers=headers)
    assert code == 200
    assert "condition met" in await waiting
    assert "successfully rolled out" in await following
    _, rows, _ = await watching
    assert [row.split()[1] for row in rows.splitlines()] == ["0/2", "2/2"]


async def test_rollout_history_and_undo(kubectl: Kubectl) -> None:
    """The controllers' part (ReplicaSets with their revision) is played by hand."""
    await kubectl.apply(MANIFEST.replace("app:1", "app:2"))
    deployment = orjson.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    owner = {
        "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True,
        "uid": deployment["metadata"]["uid"],
    }  # fmt: skip
    for revision in ("1", "2"):
        template = orjson.loads(orjson.dumps(deployment["spec"]["template"]))
        template["metadata"]["labels"]["pod-template-hash"] = f"h{revision}"
        template["spec"]["containers"][0]["image"] = f"app:{revision}"
        labels = template["metadata"]["labels"]
        replica_set = {
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": f"web-h{revision}", "labels": labels, "ownerReferences": [owner],
                "annotations": {"deployment.kubernetes.io/revision": revision},
            },
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        }  # fmt: skip
        await kubectl("create", "-f", "-", stdin=orjson.dumps(replica_set).decode())
    history = await kubectl("rollout", "history", "deploy/web")
    assert [line.split()[0] for line in history.splitlines()[2:] if line] == ["1", "2"]
    assert "rolled back" in await kubectl("rollout", "undo", "deploy/web", "--to-revision=1")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert await kubectl("get", "deploy", "web", "-o", image) == "app:1"


async def test_logs(kubectl: Kubectl, live: Running) -> None:
    from tests.apiserver.test_server import Source, started_pod

    live.server.log_source = source = Source()
    await started_pod(live)
    assert await kubectl("logs", "p") == "n1/default/p/c\nsecond\n"
    assert "second" in await kubectl("logs", "-f", "p", "--tail=5", "--since=1h", "--timestamps")
    assert source.asked[-1].tail_lines == 5
    err = await kubectl.fails("logs", "p", "--previous")
    assert 'previous terminated container "c" in pod "p" not found' in err
    assert "container x is not valid for pod p" in await kubectl.fails("logs", "p", "-c", "x")


async def test_deletion_waits_for_finalizers(kubectl: Kubectl) -> None:
    manifest = (
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: held, finalizers: [example.com/x]}\n"
    )
    await kubectl.apply(manifest)
    deleting = asyncio.ensure_future(kubectl("delete", "cm", "held", "--timeout=10s"))
    await asyncio.sleep(1)
    assert not deleting.done()
    await kubectl("patch", "cm", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert "deleted" in await deleting
    await kubectl.apply(MANIFEST)
    await kubectl("delete", "deploy", "web", "--cascade=orphan", "--wait=false")
    held = orjson.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    assert held["metadata"]["finalizers"] == ["orphan"]


async def test_long_lists_come_in_chunks(latest: Kubectl, live: Running) -> None:
    client = live.server.local_client()
    from tests.apiserver.support import config_map, kind

    for at in range(25):
        await client.create(kind("cm"), config_map(f"c{at:02}"), "default")
    out = await latest("get", "cm", "--chunk-size=10", "-o", "name")
    assert len(out.split()) == 25
