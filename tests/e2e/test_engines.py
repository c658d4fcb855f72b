"""Containers that a container engine runs (real Podman, real dockerd): what test_images.py promises
of pods, images of the engine's own, and that weft and the engine may be killed and come back."""

import base64
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import archives, engines
from tests.e2e import test_images as images
from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, is_ready, wait_for
from tests.e2e.test_images import PASSWORD, SHELL, pod, registry  # noqa: F401
from tests.e2e.test_pods import apply, container_of, log

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.root,
    pytest.mark.skipif(archives.busybox() is None, reason="needs a static busybox"),
]
COUNTING = "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"


@pytest.fixture(scope="module", params=engines.KINDS)
def weft(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An instance with an engine: one image was imported into weft, one is the engine's own."""
    if why := engines.unavailable(request.param):
        pytest.skip(why)
    directory = tmp_path_factory.mktemp("archives")
    place = Path(tempfile.mkdtemp(prefix="weft-engine-"))
    base = archives.base_layer()
    with engines.running(request.param, place / "e") as engine:
        built = archives.docker_archive(
            directory / "built.tar", "built:1", [base, archives.page("built\n")], archives.HTTPD
        )
        engine.load(built)
        layout = archives.oci_layout(directory / "sh", "shop/sh:1", [base], SHELL, "+zstd")
        for instance in fresh(ISOLATIONS[0]):
            instance.weft("image", "import", str(layout))
            instance.options = (  # type: ignore[attr-defined]
                "--oci-runtime", request.param, "--engine-socket", str(engine.socket)
            )  # fmt: skip
            instance.oci_runtime = request.param  # type: ignore[attr-defined]
            instance.engine = engine  # type: ignore[attr-defined]
            instance.up(options=instance.options)  # type: ignore[attr-defined]
            yield instance
        assert [n for n in engine.names() if n.startswith("k8s_")] == [], "weft down left some"
    shutil.rmtree(place, ignore_errors=True)


def only(weft: Instance, kind: str) -> None:
    """Both engines are asked the same: each looks at a part of what comes of it."""
    if weft.oci_runtime != kind:  # type: ignore[attr-defined]
        pytest.skip(f"looked at with {kind}")


def test_a_pod_gets_what_its_image_and_its_specification_say(weft: Instance) -> None:
    only(weft, "docker")
    images.test_a_pod_gets_what_its_image_and_its_specification_say(weft)


def test_memory_namespaces_and_ends(weft: Instance) -> None:
    only(weft, "podman")
    images.test_memory_namespaces_and_ends(weft)


def test_people_reach_into_them(weft: Instance, tmp_path: Path) -> None:
    only(weft, "podman")
    images.test_people_reach_into_them(weft, tmp_path)


def test_what_the_engine_has_runs_and_outlives_weft_and_the_engine(weft: Instance) -> None:
    engine: engines.Engine = weft.engine  # type: ignore[attr-defined]
    options: tuple[str, ...] = weft.options  # type: ignore[attr-defined]
    there = {"exec": {"command": ["test", "-e", "/www/index.html"]}, "periodSeconds": 1}
    web = pod("web", "", {"image": "built:1", "readinessProbe": there},
              terminationGracePeriodSeconds=1)  # fmt: skip
    del web["spec"]["containers"][0]["args"]
    small = {"limits": {"memory": "64Mi"}, "requests": {"memory": "16Mi"}}
    counts = pod("counts", COUNTING, {"resources": small}, terminationGracePeriodSeconds=1)
    apply(weft, web, counts, pod("absent", "", {
        "image": "nowhere.invalid/none:1", "imagePullPolicy": "Never"}))  # fmt: skip
    for name in ("web", "counts"):
        wait_for(lambda name=name: is_ready(weft.pod(name)), f"{name} ready")
    more = {"limits": {"memory": "96Mi"}, "requests": {"memory": "16Mi"}}
    body = json.dumps({"spec": {"containers": [{"name": "main", "resources": more}]}})
    weft.kubectl("patch", "pod", "counts", "--subresource", "resize", "-p", body)
    wait_for(lambda: container_of(weft, "counts").get("resources") == more, "resized by the engine")
    assert container_of(weft, "counts")["restartCount"] == 0
    uid = weft.pod("web")["metadata"]["uid"]
    assert {f"k8s_{name}_web_default_{uid}_0" for name in ("main", "POD")} <= set(engine.names())
    address = weft.pod("web")["status"]["podIP"]
    page = ("exec", "counts", "--", "wget", "-qO-", f"http://{address}:8080/")
    assert weft.weft(*page) == "built\n"
    assert weft.pod("web")["status"]["containerStatuses"][0]["imageID"]
    wait_for(lambda: "ErrImageNeverPull" in json.dumps(container_of(weft, "absent")), "refused")
    (node,) = weft.items("nodes", namespace="")
    version = node["status"]["nodeInfo"]["containerRuntimeVersion"]
    assert version.startswith(f"{engine.kind}://"), version

    wait_for(lambda: "line 5\n" in log(weft, "counts"), "it counts")
    pids = _pids(weft)
    weft.kill_9()
    if engine.kind == "podman":  # dockerd ends its containers with itself
        engine.stop(signal.SIGKILL)
        engine.start()
    weft.up(options=options)
    wait_for(lambda: _pids(weft).get("web") == pids["web"], "adopted")
    wait_for(lambda: is_ready(weft.pod("counts")), "adopted")
    counted = len(_numbers(weft))
    wait_for(lambda: len(_numbers(weft)) > counted + 5, "its log goes on")
    numbers = _numbers(weft)
    assert numbers == list(range(1, len(numbers) + 1)), "no line is lost or doubled"

    engine.stop(signal.SIGTERM)
    engine.start()
    if engine.kind == "docker":
        wait_for(lambda: _restarts(weft, "web") > 0, "what dockerd ended is started again")
    wait_for(lambda: is_ready(weft.pod("web")) and is_ready(weft.pod("counts")), "all is back")
    wait_for(lambda: weft.run(*page).stdout == "built\n", "web answers")
    weft.weft("delete", "pod", "web", "counts", "absent")
    wait_for(lambda: not [n for n in engine.names() if "_web_" in n or "_counts_" in n], "removed")


def test_the_engine_pulls_with_the_pods_secrets(
    weft: Instance,
    registry: str,  # noqa: F811 - the fixture
) -> None:
    only(weft, "docker")  # Podman takes plain HTTP only where its configuration says so
    word = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    settings = SHELL | {"Cmd": ["-c", "echo pulled; sleep 1000"]}
    archives.push(registry, "own/app", "1", [archives.base_layer()], settings, f"Basic {word}")
    secret = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull"},
        "stringData": {".dockerconfigjson": json.dumps({"auths": {registry: {"auth": word}}})},
    }  # fmt: skip
    image = {"image": f"{registry}/own/app:1", "args": []}
    apply(weft, secret, pod("pulls", "", image, imagePullSecrets=[{"name": "pull"}]),
          pod("denied", "", {**image, "imagePullPolicy": "Always"}))  # fmt: skip
    wait_for(lambda: is_ready(weft.pod("pulls")), "pulled and ready")
    said = container_of(weft, "pulls")["imageID"]
    assert said.startswith(f"{registry}/own/app@sha256:"), said
    wait_for(lambda: "ImagePullBackOff" in json.dumps(container_of(weft, "denied")), "denied")
    assert (
        "no basic auth credentials" in container_of(weft, "denied")["state"]["waiting"]["message"]
    )
    logs = "".join(f.read_text() for f in (weft.data_dir / "log").iterdir() if f.is_file())
    for hidden in (PASSWORD, word):
        assert hidden not in logs + json.dumps(weft.items("events"))
    weft.weft("delete", "pod", "pulls", "denied")


def test_down_says_when_the_engine_does_not_answer(weft: Instance) -> None:
    only(weft, "podman")
    engine: engines.Engine = weft.engine  # type: ignore[attr-defined]
    weft.api("/api/v1/namespaces/default/pods?gracePeriodSeconds=0", "DELETE")
    wait_for(lambda: not weft.items("pods"), "no pods: they would be waited for")
    engine.stop(signal.SIGKILL)
    done = weft.run("down")
    assert done.returncode == 1
    assert "containers of this instance may run on in it" in done.stderr
    engine.start()
    assert weft.run("down").returncode == 0


def _pids(weft: Instance) -> dict[str, int]:
    return {p["name"]: p["pid"] for p in weft.status()["pods"]}


def _numbers(weft: Instance) -> list[int]:
    return [int(line.split()[1]) for line in log(weft, "counts").splitlines()]


def _restarts(weft: Instance, name: str) -> int:
    return int(weft.pod(name)["status"]["containerStatuses"][0]["restartCount"])
