"""What a pod's specification promises its containers, with real processes in every isolation.

Nearly all pods here are shells, which start in milliseconds; one manifest starts most of them.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import WEFT, Instance, is_ready, wait_for

pytestmark = pytest.mark.e2e

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def pod(name: str, script: str, container: dict[str, Any] | None = None, **spec: Any) -> Any:
    """A pod of one shell container; `container` and `spec` add to it."""
    main = {"name": "main", "image": "sh:1", "args": ["-c", script], **(container or {})}
    meta = {"name": name, "labels": {"app": name, "zone": "a.b"}}
    base = {"containers": [main], "terminationGracePeriodSeconds": 3}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": base | spec}


def config_map(name: str, **data: str) -> Any:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def apply(weft: Instance, *objects: Any) -> None:
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, objects)))


def log(weft: Instance, name: str, container: str = "main", **query: str) -> str:
    words = "&".join(f"{k}={v}" for k, v in query.items())
    path = f"/api/v1/namespaces/default/pods/{name}/log?container={container}&{words}"
    status, body = weft.api(path)
    return body.decode() if status == 200 else ""


def phase(weft: Instance, name: str) -> str:
    return str(weft.pod(name)["status"].get("phase"))


def container_of(weft: Instance, name: str) -> Any:
    statuses = weft.pod(name)["status"].get("containerStatuses")
    return statuses[0] if statuses else {}


def wait_phase(weft: Instance, name: str, wanted: str, seconds: float = 30) -> None:
    wait_for(lambda: phase(weft, name) == wanted, f"{name} {wanted}", seconds)


def finished(weft: Instance, name: str) -> str:
    """The log of a pod that ends."""
    wait_for(lambda: phase(weft, name) in ("Succeeded", "Failed"), f"{name} ended")
    return log(weft, name)


def gone(weft: Instance, name: str) -> bool:
    return weft.api(f"/api/v1/namespaces/default/pods/{name}")[0] == 404


def waiting_reason(weft: Instance, name: str) -> str:
    return str(container_of(weft, name).get("state", {}).get("waiting", {}).get("reason", ""))


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the host where pods leave notes that outlive them."""
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def zoo(weft: Instance, out: Path) -> Instance:
    weft.image("sh:1", Path("/tmp"), "/bin/sh")
    names = [
        *environment_pods(), *volume_pods(), *restart_pods(out), *exit_pods(), *probe_pods(),
    ]  # fmt: skip
    apply(weft, *names)
    return weft


# --- environment


def environment_pods() -> list[Any]:
    env = [
        {"name": "PLAIN", "value": "plain"},
        {"name": "FROM_KEY", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
        {"name": "OPTIONAL", "valueFrom": {"secretKeyRef": {
            "name": "nothing", "key": "x", "optional": True}}},
        {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "MEMORY", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory"}}},
        {"name": "BOTH", "value": "$(PLAIN)-$(SECRET)-$(UNKNOWN)-$$(PLAIN)"},
    ]  # fmt: skip
    sources = [
        {"configMapRef": {"name": "settings"}, "prefix": "S_"},
        {"secretRef": {"name": "hidden"}},
    ]
    main = {
        "env": env, "envFrom": sources, "workingDir": "/usr",
        "command": ["/bin/sh", "-c"],
        "args": ["env; echo CWD=$PWD; echo HOSTNAME_IS=$(hostname); echo ARG=$0", "<$(PLAIN)>"],
        "resources": {"limits": {"memory": "64Mi"}},
    }  # fmt: skip
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "back-end"},
        "spec": {"selector": {"app": "none"}, "ports": [{"name": "web", "port": 8081}]},
    }  # fmt: skip
    secret = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hidden"},
        "stringData": {"word": "sesame"},
    }  # fmt: skip
    return [
        config_map("settings", a="1", b="two words"), secret, service,
        pod("env", "", main, restartPolicy="Never"),
        pod("whole", "hostname", restartPolicy="Never", subdomain="peers", setHostnameAsFQDN=True),
        pod("lacks", FOREVER, {"envFrom": [{"configMapRef": {"name": "absent"}}]}),
        pod("hosts", "cat /etc/hosts", restartPolicy="Never",
            hostAliases=[{"ip": "10.1.2.3", "hostnames": ["alias.example"]}]),
    ]  # fmt: skip


def test_environment(zoo: Instance) -> None:
    found = dict(line.split("=", 1) for line in finished(zoo, "env").splitlines() if "=" in line)
    status = zoo.pod("env")["status"]
    wanted = {
        "PLAIN": "plain", "FROM_KEY": "1", "SECRET": "sesame", "S_a": "1", "S_b": "two words",
        "word": "sesame", "POD_NAME": "env", "POD_IP": status["podIP"], "LABEL": "env",
        "MEMORY": str(64 << 20), "BOTH": "plain-sesame-$(UNKNOWN)-$(PLAIN)", "CWD": "/usr",
        "ARG": "<plain>", "BACK_END_SERVICE_PORT": "8081", "BACK_END_SERVICE_PORT_WEB": "8081",
    }  # fmt: skip
    assert {k: found.get(k) for k in wanted} == wanted
    assert found["NODE"] == zoo.pod("env")["spec"]["nodeName"]
    assert found["BACK_END_SERVICE_HOST"].startswith(("10.96.", "127."))
    assert "OPTIONAL" not in found
    if zoo.running.isolation == "netns":
        assert found["HOSTNAME_IS"] == "env"
        assert finished(zoo, "whole").strip() == "whole.peers.default.svc.cluster.local"
    assert found["HOSTNAME"] == "env"


def test_etc_hosts_names_the_pod(zoo: Instance) -> None:
    if zoo.running.isolation != "netns":
        pytest.skip("pods of host isolation may see the host's own files")
    hosts = finished(zoo, "hosts")
    lines = [line.split() for line in hosts.splitlines() if not line.startswith("#")]
    assert [zoo.pod("hosts")["status"]["podIP"], "hosts"] in [line[:2] for line in lines if line]
    assert ["10.1.2.3", "alias.example"] in lines
    assert any(line[:2] == ["127.0.0.1", "localhost"] for line in lines)


def test_a_pod_waits_for_its_config_map(zoo: Instance) -> None:
    reason = "CreateContainerConfigError"
    wait_for(lambda: waiting_reason(zoo, "lacks") == reason, reason)
    message = container_of(zoo, "lacks")["state"]["waiting"]["message"]
    assert 'configmap "absent" not found' in message
    assert reason in zoo.weft("get", "pods")
    apply(zoo, config_map("absent", x="1"))
    wait_phase(zoo, "lacks", "Running")


# --- volumes


def volume_pods() -> list[Any]:
    volumes = [
        {"name": "conf", "configMap": {"name": "live"}},
        {"name": "picked", "configMap": {
            "name": "live", "items": [{"key": "color", "path": "deep/paint"}]}},
        {"name": "hidden", "secret": {"secretName": "hidden", "defaultMode": 0o400}},
        {"name": "info", "downwardAPI": {"items": [
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "live"}},
            {"secret": {"name": "hidden"}},
            {"downwardAPI": {"items": [
                {"path": "me", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}},
        {"name": "shared", "emptyDir": {}},
    ]  # fmt: skip
    mounts = [
        {"name": "conf", "mountPath": "/weft-conf"},
        {"name": "picked", "mountPath": "/weft-picked"},
        {"name": "hidden", "mountPath": "/weft-hidden"},
        {"name": "info", "mountPath": "/weft-info"},
        {"name": "all", "mountPath": "/weft-all"},
        {"name": "shared", "mountPath": "/weft-shared"},
    ]
    writer = {
        "name": "main", "image": "sh:1", "volumeMounts": mounts,
        "args": ["-c", "cat /weft-picked/deep/paint /weft-hidden/word /weft-info/labels;"
                 "stat -L -c mode=%a /weft-hidden/word; ls -m /weft-all; cat /weft-all/me; echo;"
                 "(echo x > /weft-conf/new) 2>/dev/null || echo read-only;"
                 "echo from-writer > /weft-shared/note;"
                 "while sleep 0.1; do cat /weft-conf/color > /weft-shared/color; done"],
    }  # fmt: skip
    reader = {
        "name": "reader", "image": "sh:1",
        "volumeMounts": [{"name": "shared", "mountPath": "/other/place"}],
        "args": ["-c", "until cat /other/place/note 2>/dev/null; do sleep 0.1; done;"
                 "while sleep 0.2; do cat /other/place/color; done"],
    }  # fmt: skip
    return [
        config_map("live", color="red\n"),
        pod("volumes", "", volumes=volumes, containers=[writer, reader],
            terminationGracePeriodSeconds=1),
    ]  # fmt: skip


def test_volumes(zoo: Instance) -> None:
    wait_for(lambda: "red" in log(zoo, "volumes", "reader"), "reader sees the shared volume")
    said = log(zoo, "volumes")
    assert "red\nsesame" in said
    assert 'app="volumes"\nzone="a.b"' in said
    assert "mode=400" in said
    assert "color, me, word" in said
    assert said.endswith("volumes\nread-only\n")
    assert log(zoo, "volumes", "reader").startswith("from-writer\n")


def test_config_map_volume_follows_its_config_map(zoo: Instance) -> None:
    apply(zoo, config_map("live", color="green\n"))
    wait_for(lambda: "green" in log(zoo, "volumes", "reader"), "the new value in the volume", 10)
    assert container_of(zoo, "volumes")["restartCount"] == 0
    assert not os.path.exists("/weft-conf"), "mount points belong to the pod, not to the host"


# --- order, restarts, ends


def restart_pods(out: Path) -> list[Any]:
    note = {"name": "out", "hostPath": {"path": str(out)}}
    mount = {"volumeMounts": [{"name": "out", "mountPath": str(out)}]}

    def init(name: str, script: str) -> Any:
        shared = {"volumeMounts": [{"name": "seq", "mountPath": "/seq"}]}
        return {"name": name, "image": "sh:1", "args": ["-c", script], **shared}

    inits = [init("one", "sleep 0.3; echo one >> /seq/log"), init("two", "echo two >> /seq/log")]
    main = {"volumeMounts": [{"name": "seq", "mountPath": "/seq"}]}
    graceful = f"trap 'sleep 2; echo bye > {out}/graceful; exit 0' TERM; echo up; " + (
        "while :; do sleep 0.1; done"
    )
    stop = {"preStop": {"exec": {"command": ["/bin/sh", "-c", f"sleep 0.3; echo 1 > {out}/pre"]}}}
    pre = f"trap 'cat {out}/pre > {out}/term; exit 0' TERM; echo up; while :; do sleep 0.1; done"
    return [
        pod("ordered", "cat /seq/log", main, restartPolicy="Never", initContainers=inits,
            volumes=[{"name": "seq", "emptyDir": {}}]),
        pod("bad-init", FOREVER, restartPolicy="Never", initContainers=[
            {"name": "one", "image": "sh:1", "args": ["-c", "exit 4"]}]),
        pod("graceful", graceful, mount, volumes=[note], terminationGracePeriodSeconds=8),
        pod("stubborn", "trap '' TERM; echo up; while :; do sleep 0.1; done",
            terminationGracePeriodSeconds=1),
        pod("pre-stop", pre, mount | {"lifecycle": stop}, volumes=[note]),
        pod("talker", "for i in 1 2 3 4 5; do echo line $i; done; "
            "while :; do sleep 0.3; echo tick; done", terminationGracePeriodSeconds=1),
    ]  # fmt: skip


def test_init_containers_run_in_order(zoo: Instance) -> None:
    assert finished(zoo, "ordered") == "one\ntwo\n"
    inits = zoo.pod("ordered")["status"]["initContainerStatuses"]
    assert [i["state"]["terminated"]["reason"] for i in inits] == ["Completed", "Completed"]
    wait_phase(zoo, "bad-init", "Failed")
    assert "Init:Error" in zoo.weft("get", "pod", "bad-init")


def test_sigterm_gives_time(zoo: Instance, out: Path) -> None:
    (out / "graceful").unlink(missing_ok=True)
    wait_for(lambda: "up" in log(zoo, "graceful"), "running")
    started = time.monotonic()
    assert zoo.api("/api/v1/namespaces/default/pods/graceful", "DELETE")[0] == 200
    wait_for(lambda: "deletionTimestamp" in zoo.pod("graceful")["metadata"], "terminating")
    assert "Terminating" in zoo.weft("get", "pods")
    wait_for(lambda: gone(zoo, "graceful"), "gone")
    took = time.monotonic() - started
    assert (out / "graceful").read_text() == "bye\n"
    assert 1.9 <= took < 7.9


def test_sigkill_after_the_grace_period(zoo: Instance) -> None:
    wait_for(lambda: "up" in log(zoo, "stubborn"), "running")
    pid = zoo.pid_of("stubborn")
    started = time.monotonic()
    zoo.api("/api/v1/namespaces/default/pods/stubborn", "DELETE")
    wait_for(lambda: gone(zoo, "stubborn"), "gone")
    assert 0.9 <= time.monotonic() - started < 15
    assert not os.path.exists(f"/proc/{pid}")


def test_pre_stop_runs_before_sigterm(zoo: Instance, out: Path) -> None:
    for name in ("pre", "term"):
        (out / name).unlink(missing_ok=True)
    wait_for(lambda: "up" in log(zoo, "pre-stop"), "running")
    zoo.api("/api/v1/namespaces/default/pods/pre-stop", "DELETE")
    wait_for(lambda: gone(zoo, "pre-stop"), "gone")
    assert (out / "term").read_text() == "1\n"


def test_logs_follow_and_tail(zoo: Instance) -> None:
    wait_for(lambda: log(zoo, "talker").count("tick") > 2, "ticks")
    assert log(zoo, "talker").startswith("line 1\nline 2\n")
    assert len(log(zoo, "talker", tailLines="2").splitlines()) == 2
    command = [*WEFT, "logs", "talker", "-f", "--tail", "1", "--data-dir", str(zoo.data_dir)]
    follower = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert follower.stdout is not None
        lines = [follower.stdout.readline() for _ in range(5)]
        assert lines == ["tick\n"] * 5
        zoo.api("/api/v1/namespaces/default/pods/talker", "DELETE")
        assert follower.wait(20) == 0, "the stream ends with its container"
    finally:
        follower.kill()
        follower.wait()


# --- exit codes, restart policies


def exit_pods() -> list[Any]:
    shared = {"volumeMounts": [{"name": "seq", "mountPath": "/seq"}]}
    seq = [{"name": "seq", "emptyDir": {}}]
    second = "if [ -e /seq/x ]; then echo second; exit 0; fi; touch /seq/x; echo first; exit 1"
    hungry = {
        "command": [sys.executable, "-c", "x = bytearray(200 << 20); x[::4096] = b'1' * 51200"],
        "args": [], "resources": {"limits": {"memory": "48Mi"}},
    }  # fmt: skip
    return [
        pod("ends", "exit 0", restartPolicy="Never"),
        pod("fails", "exit 3", restartPolicy="Never"),
        pod("killed", "kill -9 $$$$", restartPolicy="Never"),
        pod("hungry", "", hungry, restartPolicy="Never"),
        pod("no-program", "", {"command": ["/no/such/program"]}, restartPolicy="Never"),
        pod("second", second, shared, restartPolicy="OnFailure", volumes=seq),
        pod("crashes", "echo attempt; exit 5"),
        config_map("mode", mode="bad"),
        pod(
            "mended",
            "[ $MODE = good ] || exit 1; " + FOREVER,
            {
                "env": [
                    {
                        "name": "MODE",
                        "valueFrom": {"configMapKeyRef": {"name": "mode", "key": "mode"}},
                    }
                ]
            },
        ),
    ]


def terminated(weft: Instance, name: str) -> Any:
    return container_of(weft, name)["state"]["terminated"]


@pytest.mark.parametrize(
    ("name", "ends", "code", "reason"),
    [
        ("ends", "Succeeded", 0, "Completed"),
        ("fails", "Failed", 3, "Error"),
        ("killed", "Failed", 137, "Error"),
    ],
)
def test_exit_codes(zoo: Instance, name: str, ends: str, code: int, reason: str) -> None:
    wait_phase(zoo, name, ends)
    found = terminated(zoo, name)
    assert (found["exitCode"], found["reason"]) == (code, reason)
    assert reason in zoo.weft("get", "pod", name)


def test_a_program_that_does_not_exist(zoo: Instance) -> None:
    wait_phase(zoo, "no-program", "Failed")
    found = terminated(zoo, "no-program")
    assert found["exitCode"] in (127, 128)
    assert found["reason"] in ("StartError", "ContainerCannotRun")
    assert "/no/such/program" in found["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="memory limits need root")
def test_memory_limit(zoo: Instance) -> None:
    wait_phase(zoo, "hungry", "Failed")
    found = terminated(zoo, "hungry")
    assert (found["exitCode"], found["reason"]) == (137, "OOMKilled")


def test_on_failure_restarts_until_success(zoo: Instance) -> None:
    wait_phase(zoo, "second", "Succeeded")
    assert container_of(zoo, "second")["restartCount"] == 1
    assert log(zoo, "second") == "second\n"
    assert zoo.weft("logs", "second", "--previous") == "first\n"


def test_crash_loop_backs_off(zoo: Instance) -> None:
    wait_for(lambda: waiting_reason(zoo, "crashes") == "CrashLoopBackOff", "CrashLoopBackOff")
    found = container_of(zoo, "crashes")
    assert "back-off" in found["state"]["waiting"]["message"]
    assert found["lastState"]["terminated"]["exitCode"] == 5
    assert "CrashLoopBackOff" in zoo.weft("get", "pods")
    assert phase(zoo, "crashes") == "Running"
    wait_for(lambda: container_of(zoo, "crashes")["restartCount"] >= 2, "restarted", 45)


def test_a_changed_configuration_ends_the_back_off(zoo: Instance) -> None:
    """What it reads is mended: nobody waits for the next attempt."""
    wait_for(lambda: container_of(zoo, "mended").get("restartCount", 0) >= 2, "it failed", 60)
    wait_for(lambda: waiting_reason(zoo, "mended") == "CrashLoopBackOff", "CrashLoopBackOff")
    apply(zoo, config_map("mode", mode="good"))
    wait_for(lambda: is_ready(zoo.pod("mended")), "it runs", 15)


# --- probes


def probe_pods() -> list[Any]:
    quick = {"periodSeconds": 1, "failureThreshold": 2, "timeoutSeconds": 2}

    def check(command: str, **more: Any) -> Any:
        return {"exec": {"command": ["/bin/sh", "-c", command]}, **quick, **more}

    vol = {"volumeMounts": [{"name": "v", "mountPath": "/weft-v"}]}
    empty = [{"name": "v", "emptyDir": {}}]
    return [
        pod("alive", f"touch /weft-v/ok; {FOREVER}", volumes=empty,
            container=vol | {"livenessProbe": check("test -e /weft-v/ok; r=$?; "
                             "[ -e /weft-v/once ] || { touch /weft-v/once; rm /weft-v/ok; }; "
                             "exit $r")}),
        pod("slow-start", f"(sleep 2.5; touch /weft-v/ok)& {FOREVER}", volumes=empty,
            container=vol | {
                "startupProbe": check("test -e /weft-v/ok", failureThreshold=30),
                "livenessProbe": check("test -e /weft-v/ok", failureThreshold=1),
                "readinessProbe": check("true")}),
        pod("never-ready", FOREVER, {"readinessProbe": check("echo not today; exit 1")}),
        pod("connects", "", {
            "image": "echo:1", "args": [],
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 1},
            "livenessProbe": {"httpGet": {"path": "/who", "port": "http"}, "periodSeconds": 1,
                              "failureThreshold": 20},
        }),
    ]  # fmt: skip


def test_startup_probe_gates_the_others(zoo: Instance) -> None:
    """Liveness would kill it at once if it were asked before the program has started."""
    seen_unstarted = False

    def ready() -> bool:
        nonlocal seen_unstarted
        found = zoo.pod("slow-start")
        started = (found["status"].get("containerStatuses") or [{}])[0].get("started")
        seen_unstarted |= started is False
        assert not (is_ready(found) and not started)
        return is_ready(found)

    wait_for(ready, "ready after the startup probe")
    for condition in zoo.pod("slow-start")["status"]["conditions"]:
        assert condition["status"] == "True"
        assert not condition.get("reason"), condition
    assert container_of(zoo, "slow-start")["restartCount"] == 0
    assert container_of(zoo, "slow-start")["started"] is True


def test_liveness_restarts(zoo: Instance) -> None:
    wait_for(lambda: container_of(zoo, "alive").get("restartCount") == 1, "restarted by liveness")
    wait_for(lambda: is_ready(zoo.pod("alive")), "ready again")
    last = container_of(zoo, "alive")["lastState"]["terminated"]
    assert last["exitCode"] == 0  # its SIGTERM handler says 0
    assert "Liveness probe failed" in zoo.weft("describe", "pod", "alive")


def test_readiness_keeps_out(zoo: Instance) -> None:
    wait_phase(zoo, "never-ready", "Running")
    assert not is_ready(zoo.pod("never-ready"))
    assert "0/1" in zoo.weft("get", "pod", "never-ready")
    wait_for(
        lambda: "not today" in zoo.weft("describe", "pod", "never-ready"), "output in the event"
    )


def test_tcp_and_http_probes(zoo: Instance) -> None:
    wait_for(lambda: is_ready(zoo.pod("connects")), "ready by tcpSocket")
    assert container_of(zoo, "connects")["restartCount"] == 0


# --- jobs


def job(name: str, script: str, **spec: Any) -> Any:
    container = {"name": "main", "image": "sh:1", "args": ["-c", script]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    return {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": template, **spec},
    }  # fmt: skip


def job_condition(weft: Instance, name: str, kind: str) -> Any:
    found = weft.read(f"/apis/batch/v1/namespaces/default/jobs/{name}")
    conditions = found["status"].get("conditions", [])
    return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), None)


def test_jobs(zoo: Instance) -> None:
    apply(
        zoo,
        job("sums", "echo done", completions=3, parallelism=2),
        job("hopeless", "exit 7", backoffLimit=0),
    )
    wait_for(lambda: job_condition(zoo, "sums", "Complete"), "complete")
    pods = zoo.items("pods", "job-name=sums")
    assert [p["status"]["phase"] for p in pods] == ["Succeeded"] * 3
    assert "3/3" in zoo.weft("get", "jobs")
    failed = wait_for(lambda: job_condition(zoo, "hopeless", "Failed"), "failed")
    assert failed["reason"] == "BackoffLimitExceeded"
    zoo.weft("delete", "job", "sums")
    wait_for(lambda: not zoo.items("pods", "job-name=sums"), "its pods go with it")


# --- scheduling, images, nodes


def test_unschedulable_pod_says_why_and_priority_goes_first(zoo: Instance) -> None:
    node = zoo.read("/api/v1/nodes")["items"][0]
    cores = int(node["status"]["allocatable"]["cpu"].removesuffix("m")) / (
        1000 if node["status"]["allocatable"]["cpu"].endswith("m") else 1
    )

    def wants(share: float) -> Any:
        return {"resources": {"requests": {"cpu": f"{int(cores * share * 1000)}m"}}}

    for name, value, share in (("hog", 2000, 0.9), ("low", 1, 0.6), ("high", 1000, 0.6)):
        meta = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass"}
        apply(zoo, {**meta, "metadata": {"name": name}, "value": value})
        apply(zoo, pod(name, FOREVER, wants(share), priorityClassName=name))
        if name == "hog":
            wait_phase(zoo, "hog", "Running")
    apply(zoo, pod("giant", FOREVER, wants(5)))

    def why(name: str) -> str:
        conditions = zoo.pod(name)["status"].get("conditions", [])
        found = [c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"]
        return found[0]["message"] if found and found[0]["reason"] == "Unschedulable" else ""

    for name in ("low", "high", "giant"):
        said = wait_for(lambda n=name: why(n), f"{name} says why")
        assert said.startswith("0/1 nodes are available: 1 Insufficient cpu"), said
    assert "Insufficient cpu" in zoo.weft("describe", "pod", "giant")
    zoo.api("/api/v1/namespaces/default/pods/hog?gracePeriodSeconds=0", "DELETE")
    wait_phase(zoo, "high", "Running")
    assert phase(zoo, "low") == "Pending"
    zoo.weft("delete", "pod", "high", "low", "giant", "--now")


def test_an_image_added_later_starts_the_pods_that_wait(zoo: Instance) -> None:
    apply(zoo, pod("later", FOREVER, {"image": "later:1"}))
    reasons = ("ErrImagePull", "ImagePullBackOff")
    wait_for(lambda: waiting_reason(zoo, "later") in reasons, "waits for its image")
    assert "weft image add later:1" in container_of(zoo, "later")["state"]["waiting"]["message"]
    zoo.image("later:1", Path("/tmp"), "/bin/sh")
    wait_phase(zoo, "later", "Running", 10)
    zoo.image("later:2", Path("/tmp"), "/usr/bin/env", "LATER=2", "/bin/sh")
    zoo.kubectl("set", "image", "pod/later", "main=later:2")

    def runs_it() -> bool:
        try:
            environment = Path(f"/proc/{zoo.pid_of('later')}/environ").read_bytes()
        except OSError:  # between two processes
            return False
        return b"LATER=2" in environment and container_of(zoo, "later")["restartCount"] == 1

    wait_for(runs_it, "another image is another process")


def test_the_node_is_shown(zoo: Instance) -> None:
    said = zoo.weft("get", "nodes", "-o", "wide")
    header, row = said.splitlines()[:2]
    assert "Ready" in row
    for column in ("INTERNAL-IP", "OS-IMAGE", "KERNEL-VERSION", "CONTAINER-RUNTIME"):
        assert column in header
    assert "weft" in row
