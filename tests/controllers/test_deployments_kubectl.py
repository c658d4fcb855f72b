"""What kubectl says of roll-outs: status, history, undo, pause, resume, restart, scale."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.apiserver.serving import running
from tests.controllers.cluster import cluster

KUBECTL = shutil.which("kubectl")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(KUBECTL is None, reason="kubectl is not installed"),
]
MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  annotations: {kubernetes.io/change-cause: first}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "web:1"}]}
"""


async def test_a_roll_out_as_people_do_it(tmp_path: Path) -> None:
    async with running(tmp_path) as live, cluster(live.server.local_client()):
        env = {
            "KUBECONFIG": str(live.kubeconfig),
            "HOME": str(tmp_path),
            "PATH": os.environ["PATH"],
        }

        async def kubectl(*args: str, stdin: str = "") -> str:
            process = await asyncio.create_subprocess_exec(
                str(KUBECTL), *args, "-n", "shop", env=env,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
            assert process.returncode == 0, (args, err.decode())
            return out.decode()

        async def image() -> str:
            path = "jsonpath={.items[*].spec.containers[0].image}"
            return " ".join(sorted(set((await kubectl("get", "pods", "-o", path)).split())))

        await kubectl("apply", "-f", "-", stdin=MANIFEST)
        done = 'deployment "web" successfully rolled out\n'
        assert (await kubectl("rollout", "status", "deploy/web", "--timeout=10s")).endswith(done)
        await kubectl("set", "image", "deploy/web", "main=web:2")
        assert (await kubectl("rollout", "status", "deploy/web", "--timeout=10s")).endswith(done)
        await kubectl("wait", "--for=condition=Available", "deploy/web", "--timeout=5s")
        history = await kubectl("rollout", "history", "deploy/web")
        assert [line.split() for line in history.splitlines()[2:4]] == [
            ["1", "first"],
            ["2", "first"],
        ]
        await kubectl("rollout", "undo", "deploy/web")
        await kubectl("rollout", "status", "deploy/web", "--timeout=10s")
        history = await kubectl("rollout", "history", "deploy/web")
        assert [line.split()[0] for line in history.splitlines()[2:4]] == ["2", "3"]
        await kubectl("rollout", "pause", "deploy/web")
        await kubectl("set", "image", "deploy/web", "main=web:3")
        await kubectl("scale", "deploy/web", "--replicas=4")
        await kubectl("wait", "--for=jsonpath={.status.availableReplicas}=4", "deploy/web")
        assert "web:3" not in await image()
        await kubectl("rollout", "resume", "deploy/web")
        await kubectl("rollout", "status", "deploy/web", "--timeout=10s")
        await kubectl("rollout", "restart", "deploy/web")
        await kubectl("rollout", "status", "deploy/web", "--timeout=10s")
        described = await kubectl("describe", "deploy/web")
        assert "NewReplicaSetAvailable" in described
        assert "ScalingReplicaSet" in described
        await kubectl("delete", "deploy/web", "--cascade=foreground", "--timeout=15s")
        assert await image() == ""
