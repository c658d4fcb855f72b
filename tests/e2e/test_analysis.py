"""Analysis as users meet it: warnings of real kubectl, refusals, `weft apply`, `weft analyze`."""

import json
import os
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.e2e.instance import KUBECTL_FOLDERS, Instance, wait_for

pytestmark = pytest.mark.e2e
VERSIONS = [
    minor
    for minor in ("1.30", "1.33")
    if any(os.access(f"{folder}/kubectl.{minor}", os.X_OK) for folder in KUBECTL_FOLDERS)
]

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews}
spec: {selector: {app: reviews}, ports: [{name: http, port: 80}]}
---
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: %s}
spec: {hosts: [%s], http: [{%sroute: [{destination: {host: %s, subset: v1}}]}]}
---
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: ratings}
spec: {host: ratings, subsets: [{name: v1, labels: {version: v1}}]}
---
"""
RATINGS = SERVICE.replace("reviews", "ratings")
WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: ratings}
spec:
  replicas: 0
  selector: {matchLabels: {app: ratings}}
  template:
    metadata: {labels: {app: ratings, version: v1}}
    spec: {containers: [{name: app, image: "echo:1", ports: [{containerPort: 80}]}]}
---
"""


def kubectl(
    weft: Instance, minor: str, *args: str, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    found = (f"{folder}/kubectl.{minor}" for folder in KUBECTL_FOLDERS)
    binary = next(path for path in found if os.access(path, os.X_OK))
    command = [binary, "--kubeconfig", str(weft.kubeconfig), *args]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, input=stdin, check=False
    )


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.lower().startswith("warning:")]


def known(weft: Instance, kind: str, name: str) -> None:
    """Admission reads what it has seen: wait until the object is among it."""
    slip = ROUTE % ("probe", f"{name}s", "", f"{name}s")
    wait_for(
        lambda: kind != "service" or f"did you mean `{name}`" in weft_dry_run(weft, slip),
        f"{kind} {name} seen",
    )


def weft_dry_run(weft: Instance, text: str) -> str:
    done = kubectl(weft, VERSIONS[-1], "apply", "--dry-run=server", "-f", "-", stdin=text)
    return done.stdout + done.stderr


@pytest.mark.tools("kubectl")
@pytest.mark.parametrize("minor", VERSIONS)
def test_kubectl_prints_slips_as_warnings_and_refuses_mistakes(
    isolated: Instance, minor: str
) -> None:
    kubectl(isolated, minor, "apply", "-f", "-", stdin=SERVICE)
    known(isolated, "service", "reviews")
    name = f"slip-{minor.replace('.', '-')}"
    done = kubectl(isolated, minor, "apply", "-f", "-", stdin=ROUTE % (name, "a.b", "", "revews"))
    assert done.returncode == 0, done.stderr
    assert warnings(done.stderr) == [
        "Warning: spec.http[0].route[0].destination.host: no Service or ServiceEntry is named "
        "`revews`; requests are answered 503 (did you mean `reviews`?) [WEFT2101]"
    ]
    retries = "retries: {attempts: 2, retryOn: 5xxx}, "
    text = (ROUTE % ("b", "b", retries, "reviews")).replace(", subset: v1", "")
    bad = kubectl(isolated, minor, "apply", "-f", "-", stdin=text)
    assert bad.returncode == 1
    assert "spec.http[0].retries.retryOn" in bad.stderr
    assert "WEFT2301" in bad.stderr
    kubectl(isolated, minor, "delete", f"virtualservice/{name}", "service/reviews")


@pytest.mark.tools("kubectl")
@pytest.mark.parametrize("minor", VERSIONS)
def test_a_whole_set_in_the_wrong_order_has_no_warnings(isolated: Instance, minor: str) -> None:
    text = (ROUTE % ("ratings", "ratings", "", "ratings")) + RULE + RATINGS + WORKLOAD
    done = kubectl(isolated, minor, "apply", "-f", "-", stdin=text)
    assert done.returncode == 0, done.stderr
    assert warnings(done.stderr) == []
    kubectl(isolated, minor, "delete", "-f", "-", stdin=text)


def test_weft_apply_looks_at_the_whole_set(isolated: Instance, tmp_path: Path) -> None:
    sound = (ROUTE % ("ratings", "ratings", "", "ratings")) + RULE + RATINGS + WORKLOAD
    (tmp_path / "set.yaml").write_text(sound)
    done = isolated.run("apply", "-f", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "set.yaml").write_text(sound.replace("subset: v1", "subset: v2"))
    done = isolated.run("apply", "-f", str(tmp_path))
    assert done.returncode == 0
    assert f"error[WEFT2102] {tmp_path}/set.yaml:5" in done.stderr
    assert "DestinationRule default/ratings defines: `v1`" in done.stderr
    isolated.weft("delete", "-f", str(tmp_path))


def test_analyze_live_and_files_on_top(isolated: Instance, tmp_path: Path) -> None:
    isolated.weft("apply", "-f", "-", stdin=RATINGS + WORKLOAD)
    file = tmp_path / "rule.yaml"
    file.write_text(RULE)
    alone = isolated.run("analyze", str(file))
    assert "WEFT2108" in alone.stdout, "files alone do not hold the Service"
    on_top = isolated.run("analyze", "--live", str(file))
    assert (on_top.returncode, on_top.stdout) == (0, "")
    assert "on top of what is stored" in on_top.stderr
    file.write_text(RULE.replace("version: v1", "version: v9"))
    on_top = isolated.run("analyze", "--live", str(file), "--fail-on", "warning")
    assert on_top.returncode == 1
    assert f"warning[WEFT2109] {file}:5 DestinationRule default/ratings" in on_top.stdout
    isolated.weft("apply", "-f", str(file))
    stored = json.loads(isolated.run("analyze", "--live", "-n", "default", "-o", "json").stdout)
    assert ("WEFT2109", "ratings") in {(f["code"], f["name"]) for f in stored["findings"]}
    isolated.weft("delete", "-f", "-", stdin=RATINGS + WORKLOAD + textwrap.dedent(RULE))


def test_weft_up_says_what_is_wrong_with_its_files(stopped: Instance, tmp_path: Path) -> None:
    file = tmp_path / "set.yaml"
    file.write_text(RATINGS + WORKLOAD + ROUTE % ("ratings", "ratings", "", "ratings"))
    isolation = ("--isolation", stopped.isolation)
    done = stopped.run("up", "--detach", "--port", "0", *isolation, "-f", str(file))
    assert done.returncode == 0, done.stderr
    told = done.stdout + done.stderr
    assert f"error[WEFT2102] {file}:" in told
    assert "add a DestinationRule for `ratings.default.svc.cluster.local`" in told
