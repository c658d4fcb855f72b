"""Real helm 3 and 4: releases from install to uninstall."""

import asyncio
import base64
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.apiserver.serving import Running

FOLDER = Path(sys.executable).parent
BINARIES = [str(FOLDER / name) for name in ("helm-3", "helm-4") if (FOLDER / name).exists()]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not BINARIES, reason="helm is not installed (tools/get_tools.py)"),
]
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels: {app.kubernetes.io/managed-by: {{ .Release.Service }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      containers:
      - name: web
        image: "web:{{ .Values.tag }}"
        env: [{name: TAG, value: {{ .Values.tag | quote }}}]
      {{- if .Values.sidecar }}
      - {name: sidecar, image: "side:1"}
      {{- end }}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}-settings}
data: {tag: {{ .Values.tag }}}
---
apiVersion: shop.example.com/v1
kind: Till
metadata: {name: {{ .Release.Name }}}
spec: {drawers: {{ .Values.replicas }}}
"""
DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: tills.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: tills, kind: Till}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {drawers: {type: integer}}}}
"""


class Helm:
    """One binary against the server, and a chart."""

    def __init__(self, binary: str, live: Running) -> None:
        self.chart = live.home / "shop"
        for name, text in {
            "Chart.yaml": "{apiVersion: v2, name: shop, version: 0.1.0}",
            "values.yaml": "{replicas: 1, tag: a, sidecar: false}",
            "templates/all.yaml": DEPLOYMENT,
            "crds/tills.yaml": DEFINITION,
        }.items():
            (self.chart / name).parent.mkdir(parents=True, exist_ok=True)
            (self.chart / name).write_text(text)
        self._binary = binary
        self._live = live
        self._env = {"KUBECONFIG": str(live.kubeconfig), "HOME": str(live.home), "PATH": "/bin"}

    async def run(self, *args: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            self._binary, *args, env=self._env,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode or 0, out.decode(), err.decode()

    async def __call__(self, verb: str, *args: str, values: Sequence[str] = ()) -> str:
        sets = [part for value in values for part in ("--set", value)]
        chart = [str(self.chart)] if verb in ("install", "upgrade") else []
        code, out, err = await self.run(verb, *args, *chart, *sets)
        assert code == 0, err
        return out

    async def history(self) -> list[tuple[int, str]]:
        found = json.loads(await self("history", "shop", "-o", "json"))
        return [(row["revision"], row["status"]) for row in found]

    async def deployed(self) -> tuple[int, list[str]]:
        path = "/apis/apps/v1/namespaces/default/deployments/shop"
        _, found = await self._live.json("GET", path)
        spec = found["spec"]
        return spec["replicas"], [c["image"] for c in spec["template"]["spec"]["containers"]]


@pytest.fixture(params=BINARIES, ids=lambda path: Path(path).name)
def helm(request: pytest.FixtureRequest, live: Running) -> Helm:
    return Helm(request.param, live)


async def test_a_release_from_install_to_uninstall(helm: Helm, live: Running) -> None:
    """With a definition of its own, an upgrade, a roll-back, and a foreign field kept."""
    assert "STATUS: deployed" in await helm("install", "shop")
    assert await helm.deployed() == (1, ["web:a"])
    _, till = await live.json("GET", "/apis/shop.example.com/v1/namespaces/default/tills/shop")
    assert till["spec"] == {"drawers": 1}

    label = {"metadata": {"annotations": {"team": "x"}}}
    deployments = "/apis/apps/v1/namespaces/default/deployments/shop"
    merge = {"Content-Type": "application/merge-patch+json"}
    await live.json("PATCH", deployments, data=json.dumps(label), headers=merge)
    await helm("upgrade", "shop", values=("replicas=3", "tag=b", "sidecar=true"))
    assert await helm.deployed() == (3, ["web:b", "side:1"])
    await helm("rollback", "shop", "1")
    assert await helm.deployed() == (1, ["web:a"])
    _, web = await live.json("GET", deployments)
    assert web["metadata"]["annotations"]["team"] == "x"
    assert await helm.history() == [(1, "superseded"), (2, "superseded"), (3, "deployed")]

    (listed,) = json.loads(await helm("list", "-o", "json"))
    assert (listed["name"], listed["revision"], listed["status"]) == ("shop", "3", "deployed")
    await helm("uninstall", "shop")
    assert json.loads(await helm("list", "-o", "json")) == []
    assert (await live.json("GET", deployments))[0] == 404
    secrets = "/api/v1/namespaces/default/secrets?labelSelector=owner%3Dhelm"
    assert (await live.json("GET", secrets))[1]["items"] == []


async def test_what_cannot_be_is_told(live: Running) -> None:
    """A release that gets too big for its Secret, one whose object is there, one that waits."""
    helm = Helm(BINARIES[-1], live)
    filler = helm.chart / "filler.txt"
    filler.write_text(base64.b64encode(random.Random(1).randbytes(1_000_000)).decode())
    code, _, err = await helm.run("install", "shop", str(helm.chart))
    assert code != 0
    assert "data: Too long: may not be more than 1048576 bytes" in err
    filler.unlink()
    await helm("install", "shop")
    code, _, err = await helm.run("install", "shop", str(helm.chart))
    assert code != 0
    assert "cannot reuse a name that is still in use" in err or "cannot re-use a name" in err
    web = {"metadata": {"name": "other-settings"}, "data": {}}
    await live.json("POST", "/api/v1/namespaces/default/configmaps", json=web)
    code, _, err = await helm.run("install", "other", str(helm.chart))
    assert code != 0
    assert "invalid ownership metadata" in err
    wait = ("upgrade", "shop", str(helm.chart), "--set", "tag=c", "--wait", "--timeout", "1s")
    code, _, err = await helm.run(*wait)
    assert code != 0
    assert "context deadline exceeded" in err or "not ready" in err
    assert (await helm.history())[-1][1] == "failed"


async def test_helm_4_takes_over_what_helm_3_made(live: Running) -> None:
    if len(BINARIES) < 2:
        pytest.skip("needs both")
    old, new = Helm(BINARIES[0], live), Helm(BINARIES[1], live)
    await old("install", "shop", values=("sidecar=true",))
    await new("upgrade", "shop", values=("tag=b",))
    assert await new.deployed() == (1, ["web:b"])
    await new("upgrade", "shop", "--server-side=true", "--force-conflicts", values=("tag=c",))
    assert await new.deployed() == (1, ["web:c"])
    await new("uninstall", "shop", "--wait")
