"""Real helm against an instance: a chart with a workload and hooks."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.e2e import manifests as m
from tests.e2e.instance import Instance

FOLDER = Path(sys.executable).parent
BINARIES = [str(FOLDER / name) for name in ("helm-3", "helm-4") if (FOLDER / name).exists()]
SECONDS_MAX = 60


def hook(name: str, when: str, policy: str, says: str, kind: str = "Job") -> str:
    """A Job, or a pod, that says something and ends well."""
    pod = f"""{{restartPolicy: Never, containers: [
    {{name: c, image: "echo:1", command: [sh, -c, "echo {says}"]}}]}}"""
    group, spec = ("v1", pod) if kind == "Pod" else ("batch/v1", f"{{template: {{spec: {pod}}}}}")
    return f"""
apiVersion: {group}
kind: {kind}
metadata:
  name: {{{{ .Release.Name }}}}-{name}
  annotations: {{helm.sh/hook: {when}, helm.sh/hook-delete-policy: "{policy}"}}
spec: {spec}
"""


TEMPLATES = {
    "app.yaml": m.echo("web").replace("image: echo:1", "image: {{ .Values.image }}"),
    "before.yaml": hook("before", "pre-install", "before-hook-creation,hook-succeeded", "before"),
    "after.yaml": hook("after", "post-upgrade", "before-hook-creation", "upgraded"),
    "test.yaml": hook("check", "test", "before-hook-creation", "tested", "Pod"),
}


class Helm:
    """One binary against an instance, and a chart."""

    def __init__(self, binary: str, weft: Instance, home: Path) -> None:
        self._binary, self._weft, self._home = binary, weft, home
        self._chart = home / "shop"
        (self._chart / "templates").mkdir(parents=True)
        (self._chart / "Chart.yaml").write_text("{apiVersion: v2, name: shop, version: 0.1.0}")
        (self._chart / "values.yaml").write_text("{image: 'echo:1'}")
        for name, text in TEMPLATES.items():
            (self._chart / "templates" / name).write_text(text)

    def __call__(self, verb: str, *args: str, works: bool = True) -> str:
        chart = [str(self._chart)] if verb in ("install", "upgrade") else []
        env = {"KUBECONFIG": str(self._weft.kubeconfig), "HOME": str(self._home), "PATH": "/bin"}
        done = subprocess.run(
            [self._binary, verb, "shop", *chart, *args],
            capture_output=True, text=True, timeout=SECONDS_MAX, env=os.environ | env, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is works, done.stdout + done.stderr
        return done.stdout + done.stderr

    def history(self) -> list[str]:
        return [row["status"] for row in json.loads(self("history", "-o", "json"))]
