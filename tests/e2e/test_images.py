"""Containers from images: what their pods are promised, whoever starts them (the pod host itself,
runc, crun), with small images made here."""

import base64
import json
import os
import shutil
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import archives
from tests.e2e.conftest import ISOLATIONS, fresh
from tests.e2e.instance import Instance, Load, ask, is_ready, kubectl_binary, wait_for
from tests.e2e.manifests import gateway, routes, service, to
from tests.e2e.test_pods import apply, container_of, finished, log, wait_phase
from weft.node.image_container import own_capabilities

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.root,
    pytest.mark.skipif(archives.busybox() is None, reason="needs a static busybox"),
]
RUNTIMES = ["builtin", "runc", "crun"]
SHELL = {"Entrypoint": ["sh"], "Env": ["COLOR=blue"], "WorkingDir": "/home/web"}
PROGRAM = """
id -u; id -g; id -G; pwd; echo $COLOR $HOME; hostname
grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status | tr -d '\\t'
echo $$$$; touch /home/web/file && echo wrote; unshare -m true 2>&1; echo hidden $(cat /proc/keys)
cat /data/file; echo more > /data/own && cat /data/own; ls -d /proc/[0-9]* | grep -c .
ls /var/run/secrets/kubernetes.io/serviceaccount; grep -c kube /etc/resolv.conf; echo bye >&2
echo last words > /dev/termination-log; exit 3
"""


@pytest.fixture(scope="module", params=RUNTIMES)
def weft(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An instance whose containers are started by one runtime, and has the images."""
    if request.param != "builtin" and shutil.which(request.param) is None:
        pytest.skip(f"needs {request.param}")
    directory = tmp_path_factory.mktemp("archives")
    base = archives.base_layer()
    for instance in fresh(ISOLATIONS[0]):
        for version in ("1", "2"):
            name = f"shop/web:{version}"
            layers = [base, archives.page(f"v{version}\n")]
            archive = archives.docker_archive(
                directory / f"{version}.tar", name, layers, archives.HTTPD
            )
            instance.weft("image", "import", str(archive))
        layout = archives.oci_layout(directory / "sh", "shop/sh:1", [base], SHELL, "+zstd")
        instance.weft("image", "import", str(layout))
        instance.up(options=("--oci-runtime", request.param))
        instance.oci_runtime = request.param  # type: ignore[attr-defined]
        yield instance


def only_builtin(weft: Instance) -> None:
    """What does not depend on who starts containers is tested once, and once with an engine."""
    if weft.oci_runtime not in ("builtin", "podman"):  # type: ignore[attr-defined]
        pytest.skip("tested with the pod host itself")


def whole_root(weft: Instance) -> bool:
    """Whether containers can be privileged: Docker gives them every capability there is, and
    cannot where it has not all itself."""
    mine = "SYS_RESOURCE" in own_capabilities()
    return mine or weft.oci_runtime != "docker"  # type: ignore[attr-defined]


def pod(name: str, script: str, container: dict[str, Any] | None = None, **spec: Any) -> Any:
    main = {"name": "main", "image": "shop/sh:1", "args": ["-c", script], **(container or {})}
    meta = {"name": name, "labels": {"app": name}}
    base = {"containers": [main], "terminationGracePeriodSeconds": 3}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": base | spec}


def web(version: str, replicas: int = 2) -> Any:
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {
                "terminationGracePeriodSeconds": 5,
                "containers": [{
                    "name": "web", "image": f"shop/web:{version}",
                    "ports": [{"name": "http", "containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/", "port": "http"},
                                       "periodSeconds": 1},
                    "livenessProbe": {"exec": {"command": ["test", "-e", "/www/index.html"]}},
                    "resources": {"limits": {"memory": "64Mi"}},
                }],
            }},
        },
    }  # fmt: skip


def test_a_pod_gets_what_its_image_and_its_specification_say(weft: Instance) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"},
              "data": {"file": "from the map\n"}}  # fmt: skip
    volumes = [
        {"name": "map", "configMap": {"name": "c"}}, {"name": "data", "emptyDir": {}},
    ]  # fmt: skip
    mounts = {"volumeMounts": [
        {"name": "data", "mountPath": "/data"},
        {"name": "map", "mountPath": "/data/file", "subPath": "file"},
    ]}  # fmt: skip
    locked = mounts | {"securityContext": {
        "runAsUser": 1000, "runAsNonRoot": True, "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
    }}  # fmt: skip
    group = {"supplementalGroups": [4000], "fsGroup": 3000}
    apply(
        weft,
        config,
        pod("plain", PROGRAM, mounts, volumes=volumes, restartPolicy="Never"),
        pod("locked", PROGRAM, locked, volumes=volumes, securityContext=group,
            restartPolicy="Never"),
        pod("granted", "grep CapEff /proc/self/status; unshare -m true && echo mounted",
            {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, restartPolicy="Never"),
        pod("privileged", "grep CapEff /proc/self/status; test -e /dev/vda -o -e /dev/kmsg && "
            "echo devices", {"securityContext": {"privileged": True}}, restartPolicy="Never"),
        pod("named", "true", {"image": "shop/sh:1", "securityContext": {"runAsNonRoot": True}}),
    )  # fmt: skip
    plain = _said(finished(weft, "plain"))
    assert plain[:6] == ["0", "0", "0", "/home/web", "blue /root", "plain"], plain
    assert plain[6:9] == ["CapEff:00000000a00425fb", "NoNewPrivs:0", "Seccomp:2"], plain
    assert plain[9:11] == ["1", "wrote"], plain
    assert "Operation not permitted" in plain[11], plain
    assert plain[12:15] == ["hidden", "from the map", "more"], plain
    assert int(plain[15]) < 5, "it sees no processes but its own"
    assert plain[16:20] == ["ca.crt", "namespace", "token", "0"], plain
    ended = container_of(weft, "plain")["state"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (3, "last words\n")

    assert "bye" in log(weft, "plain").split("\n")
    finished(weft, "locked")
    locked_said = _said(log(weft, "locked"))
    assert locked_said[:2] == ["1000", "1000"], locked_said
    assert set(locked_said[2].split()) == {"1000", "4000", "3000", "50"}, locked_said
    assert locked_said[4] == "blue /home/web"
    assert locked_said[6:9] == ["CapEff:0000000000000000", "NoNewPrivs:1", "Seccomp:2"]
    assert "wrote" not in locked_said
    assert "Read-only file system" in log(weft, "locked")
    assert "more" in locked_said, "volumes can be written"
    granted = finished(weft, "granted")
    assert "a02425fb" in granted
    assert "mounted" in granted
    if whole_root(weft):
        privileged = finished(weft, "privileged")
        assert "devices" in privileged
        assert int(privileged.split()[1], 16) > 1 << 35, privileged
    wait_for(lambda: "CreateContainerConfigError" in json.dumps(container_of(weft, "named")),
             "refused")  # fmt: skip
    waiting = container_of(weft, "named")["state"]["waiting"]
    assert waiting["message"].startswith("container has runAsNonRoot and image will run as root")


def _said(text: str) -> list[str]:
    """Without what stands in the other stream, which engines may put before or after."""
    return [line for line in text.split("\n") if line != "bye" and not line.startswith("touch:")]


def test_memory_namespaces_and_ends(weft: Instance) -> None:
    sleeper = {"name": "other", "image": "shop/sh:1", "args": ["-c", "sleep 1000"]}
    main = {"name": "main", "image": "shop/sh:1", "stdin": True, "args": ["-c", "sleep 1000"]}
    apply(
        weft,
        pod("greedy", "x=a; while :; do x=$x$x; done",
            {"resources": {"limits": {"memory": "16Mi"}}}, restartPolicy="Never"),
        pod("missing", "true", {"command": ["/bin/nothing"]}, restartPolicy="Never"),
        pod("shared", "", containers=[main, sleeper], shareProcessNamespace=True),
        pod("apart", "", containers=[main, sleeper],
            initContainers=[{"name": "first", "image": "shop/sh:1",
                             "args": ["-c", "echo from init > /note/text"],
                             "volumeMounts": [{"name": "note", "mountPath": "/note"}]}],
            volumes=[{"name": "note", "emptyDir": {"medium": "Memory"}}]),
        pod("hostly", "set -- /proc/[0-9]*; echo $#; id", hostPID=True, restartPolicy="Never"),
    )  # fmt: skip
    wait_phase(weft, "greedy", "Failed")
    ended = container_of(weft, "greedy")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    wait_phase(weft, "missing", "Failed")
    ended = container_of(weft, "missing")["state"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("StartError", 128)
    assert "/bin/nothing" in ended["message"]
    for name in ("shared", "apart"):
        wait_for(lambda name=name: is_ready(weft.pod(name)), f"{name} ready")
    shared = weft.weft("exec", "-c", "main", "shared", "--", "ps")
    apart = weft.weft("exec", "-c", "main", "apart", "--", "ps")
    assert shared.count("sleep 1000") == 2, shared
    assert apart.count("sleep 1000") == 1, apart
    spaces = [weft.weft("exec", "-c", name, "apart", "--", "sh", "-c",
                        "stat -Lc %i /proc/self/ns/ipc /proc/self/ns/uts /proc/self/ns/net")
              for name in ("main", "other")]  # fmt: skip
    if weft.oci_runtime == "docker":  # type: ignore[attr-defined]
        spaces = [" ".join(each.split()[::2]) for each in spaces]  # one host name, several UTS
    assert spaces[0] == spaces[1]
    assert int(finished(weft, "hostly").split()[0]) > 20


def test_people_reach_into_them(weft: Instance, tmp_path: Path) -> None:
    only_builtin(weft)
    terminal = {"stdin": True, "tty": True}
    apply(
        weft,
        pod("talk", "echo hello; cat; echo end of input", {"stdin": True}),
        pod("term", "test -t 0 && echo a terminal; sleep 1000", terminal),
    )
    for name in ("talk", "term"):
        wait_for(lambda name=name: is_ready(weft.pod(name)), f"{name} ready")
    wait_for(lambda: "a terminal" in log(weft, "term"), "the terminal's output")
    assert "hello" in log(weft, "talk")
    assert weft.weft("exec", "-i", "talk", "--", "cat", stdin="through\n") == "through\n"
    failed = weft.run("exec", "talk", "--", "sh", "-c", "echo $COLOR; exit 7")
    assert (failed.returncode, failed.stdout) == (7, "blue\n"), failed
    assert weft.run("exec", "talk", "--", "nothing").returncode == 127
    (tmp_path / "file").write_text("copied\n")
    weft.weft("cp", str(tmp_path / "file"), "talk:/tmp/file")
    assert weft.weft("exec", "talk", "--", "cat", "/tmp/file") == "copied\n"
    assert not Path("/tmp/file").exists() or Path("/tmp/file").read_text() != "copied\n"


def test_sidecars_probes_and_forwarded_ports(weft: Instance) -> None:
    """A sidecar comes first and shares files; a failed probe restarts one container alone."""
    only_builtin(weft)
    shared = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
    alive = {"exec": {"command": ["test", "-e", "/shared/alive"]}}
    script = "sleep 1; echo hello from the helper > /shared/index.html; touch /shared/alive;"
    helper = {
        "name": "helper", "image": "shop/sh:1", "args": ["-c", script + " sleep 1000"],
        "restartPolicy": "Always", "startupProbe": alive | {"failureThreshold": 60}, **shared,
    }  # fmt: skip
    main = shared | {
        "ports": [{"containerPort": 8080}],
        "startupProbe": {"tcpSocket": {"port": 8080}},
        "livenessProbe": alive | {"periodSeconds": 1, "failureThreshold": 1},
    }
    volumes = [{"name": "shared", "emptyDir": {}}]
    apply(weft, pod("pair", "exec httpd -f -p 8080 -h /shared", main, initContainers=[helper],
                    volumes=volumes))  # fmt: skip
    wait_for(lambda: is_ready(weft.pod("pair")), "both run")
    command = [str(kubectl_binary()), "--kubeconfig", str(weft.kubeconfig), "port-forward",
               "pod/pair", ":8080"]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().split(" -> ")[0].rpartition(":")[2]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"hello from the helper\n"
        process.terminate()
    weft.weft("exec", "pair", "-c", "helper", "--", "rm", "/shared/alive")

    def restarts(kind: str) -> int:
        return int(weft.pod("pair")["status"][kind][0]["restartCount"])

    wait_for(lambda: restarts("containerStatuses") > 0, "the main container is restarted")
    weft.weft("exec", "pair", "-c", "helper", "--", "touch", "/shared/alive")
    wait_for(lambda: is_ready(weft.pod("pair")), "ready again")
    assert restarts("initContainerStatuses") == 0, "the sidecar runs on"


async def test_a_deployment_is_rolled_under_load_and_outlives_weft(weft: Instance) -> None:
    only_builtin(weft)
    text = service("web") + gateway("web", "web.test") + routes("web", to("web"), "web.test", "web")
    apply(weft, web("1"))
    weft.weft("apply", "-f", "-", stdin=text)
    weft.wait_ready("app=web", 2)
    wait_for(lambda: _answer(weft) == (200, "v1\n"), "v1 answers")
    url = weft.gateway()
    async with Load(url + "/", clients=2, headers={"Host": "web.test"}) as load:
        await load.until(50)
        apply(weft, web("2"))
        before = load.total
        while load.bodies["v2\n"] < 100:
            await load.until(load.total + 20)
            assert load.total < before + 20_000
        pids = {p["pid"] for p in weft.status()["pods"] if p["name"].startswith("web-")}
        weft.kill_9()
        await load.until(load.total + 100)
        weft.up(options=("--oci-runtime", weft.oci_runtime))  # type: ignore[attr-defined]
        await load.until(load.total + 100)
    assert load.failed == 0, load.report()
    weft.wait_ready("app=web", 2)
    after = {p["pid"] for p in weft.status()["pods"] if p["name"].startswith("web-")}
    assert after & pids, "containers were adopted"
    name = weft.ready_pods("app=web")[0]["metadata"]["name"]
    assert weft.weft("exec", name, "--", "cat", "/www/index.html") == "v2\n"
    assert weft.pod(name)["status"]["containerStatuses"][0]["imageID"].startswith(
        "docker.io/shop/web@sha256:"
    )


def _answer(weft: Instance) -> tuple[int, str]:
    try:
        return ask(weft, "/", "web.test")
    except (OSError, urllib.error.URLError):
        return 0, ""


PASSWORD = "word-of-a-registry"
HTPASSWD = "me:$2b$08$3SKOg7EefkLWzFaZWIQX5OtujoV7xQbQe8EFobsw7SnPi2gYoceQa\n"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """The address of a real registry that wants a password."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    (tmp_path / "htpasswd").write_text(HTPASSWD)
    config = {
        "version": 0.1, "storage": {"filesystem": {"rootdirectory": str(tmp_path / "content")}},
        "http": {"addr": address}, "log": {"level": "error"},
        "auth": {"htpasswd": {"realm": "here", "path": str(tmp_path / "htpasswd")}},
    }  # fmt: skip
    (tmp_path / "config.yml").write_text(json.dumps(config))
    process = subprocess.Popen([program, "serve", str(tmp_path / "config.yml")],
                               stderr=subprocess.DEVNULL)  # fmt: skip
    try:
        wait_for(lambda: _listens(address), "the registry")
        yield address
    finally:
        process.kill()
        process.wait()


def _listens(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def test_pods_wait_for_images_and_pull_them(weft: Instance, registry: str) -> None:
    only_builtin(weft)
    word = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    settings = SHELL | {"Cmd": ["-c", "echo pulled; sleep 1000"]}
    archives.push(registry, "own/app", "1", [archives.base_layer()], settings, f"Basic {word}")
    config = json.dumps({"auths": {registry: {"auth": word}}})
    secret = {
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull"}, "stringData": {".dockerconfigjson": config},
    }  # fmt: skip
    image = {"image": f"{registry}/own/app:1", "args": []}
    apply(
        weft,
        secret,
        pod("pulls", "", image, imagePullSecrets=[{"name": "pull"}]),
        pod("refused", "", {**image, "imagePullPolicy": "Always"}),
        pod("never", "", {"image": "own/never:1", "imagePullPolicy": "Never"}),
        pod("crooked", "", {"image": "Own/Never:1"}),
    )
    wait_for(lambda: is_ready(weft.pod("pulls")), "pulled and ready")
    assert "pulled" in log(weft, "pulls")
    said = container_of(weft, "pulls")["imageID"]
    assert said.startswith(f"{registry}/own/app@sha256:")
    for name, reason, words in (
        ("refused", "ImagePullBackOff", "pull access denied"),
        ("never", "ErrImageNeverPull", "pull policy of Never"),
        ("crooked", "InvalidImageName", "lower case"),
    ):
        waiting = wait_for(lambda name=name, reason=reason: _waits(weft, name, reason), reason)
        assert words in waiting["message"]
    events = weft.items("events")
    told = {e["reason"] for e in events if e["involvedObject"]["name"] == "pulls"}
    assert {"Pulling", "Pulled", "Started"} <= told
    logs = "".join(f.read_text() for f in (weft.data_dir / "log").iterdir() if f.is_file())
    for hidden in (PASSWORD, word):
        assert hidden not in logs + json.dumps(events)


def _waits(weft: Instance, name: str, reason: str) -> Any:
    waiting = container_of(weft, name).get("state", {}).get("waiting", {})
    return waiting if waiting.get("reason") == reason else None


def test_kubectl_debug_sees_the_processes_of_its_target(weft: Instance) -> None:
    """`--target` shows that container's processes and no others."""
    if not whole_root(weft):
        pytest.skip("Docker cannot run privileged containers here (no CAP_SYS_RESOURCE)")
    loop = "trap 'exit 0' TERM; hostname > /mark; while :; do sleep 0.2; done"
    other = {"name": "other", "image": "shop/sh:1", "args": ["-c", "exec sleep 1001"]}
    target = pod("watched", loop)
    target["spec"]["containers"].append(other)
    apply(weft, target)
    wait_for(lambda: is_ready(weft.pod("watched")), "it runs")
    look = "tr '\\0' ' ' < /proc/1/cmdline; echo; cat /proc/1/root/mark; cat /proc/[0-9]*/cmdline"
    for name, options in (("look", ("--target=main",)), ("alone", ())):
        weft.kubectl("debug", "watched", "--image=shop/sh:1", "-c", name, *options,
                     "--profile=sysadmin", "--", "sh", "-c", f"{look}; echo over")  # fmt: skip
        logs = ("logs", "watched", "-c", name)
        wait_for(lambda logs=logs: "over" in weft.kubectl(*logs, check=False), "it ended")
    said = weft.kubectl("logs", "watched", "-c", "look")
    assert said.startswith("sh -c trap"), said
    assert "\nwatched\n" in said, "it reads the files of its target"
    assert "1001" not in said, "not the processes of another container"
    assert not weft.kubectl("logs", "watched", "-c", "alone").startswith("sh -c trap")
    assert is_ready(weft.pod("watched")), "its end harms nobody"
    weft.kubectl("delete", "pod", "watched", "--wait=false")


def test_kubectl_debug_of_a_node_shows_the_machine(weft: Instance, tmp_path: Path) -> None:
    """Its files below /host, its processes, its network; `chroot /host` makes the shell its own."""
    (tmp_path / "mark").write_text("of the machine\n")
    (name,) = (node["metadata"]["name"] for node in weft.items("nodes", namespace=""))
    look = (
        f"cat /host{tmp_path}/mark; chroot /host cat {tmp_path}/mark; "
        "readlink /proc/self/ns/net; ls -d /proc/[0-9]* | grep -c ."
    )
    weft.kubectl("debug", f"node/{name}", "--image=shop/sh:1", "--profile=sysadmin",
                 "--attach", "--", "sh", "-c", look)  # fmt: skip
    (pod_name,) = (
        p["metadata"]["name"] for p in weft.items("pods") if "debugger" in p["metadata"]["name"]
    )
    finished(weft, pod_name)
    said = log(weft, pod_name, "debugger").splitlines()
    assert said[:2] == ["of the machine"] * 2, said
    assert said[2] == os.readlink("/proc/self/ns/net")
    assert int(said[3]) > 20
    assert (tmp_path / "mark").read_text() == "of the machine\n", "its end takes nothing along"


def test_nothing_is_left_behind(weft: Instance) -> None:
    assert "refused" not in (weft.run_dir / "podhost.log").read_text(), "the runtime was used"
    if weft.items("deployments"):
        weft.weft("delete", "deployment", "web")
    weft.weft("delete", "pod", *(p["metadata"]["name"] for p in weft.items("pods")))
    wait_for(lambda: not weft.items("pods"), "pods gone")
    wait_for(lambda: not list((weft.data_dir / "node/pods").glob("*")), "files gone")
    assert str(weft.data_dir) not in Path("/proc/self/mountinfo").read_text()
    weft.weft("image", "remove", "shop/web:1")
    blobs = weft.data_dir / "images/blobs/sha256"
    before = len(list(blobs.iterdir()))
    weft.weft("image", "prune")
    assert len(list(blobs.iterdir())) < before
    assert "shop/web:2" in weft.weft("image", "list")
