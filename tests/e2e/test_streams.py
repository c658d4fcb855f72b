"""exec, attach, cp, port-forward, run -it and debug, as real clients do them."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import WEFT, Instance, wait_for

FOLDER = "/usr/lib/google-cloud-sdk/bin"
PROGRAMS = {v: f"{FOLDER}/kubectl.{v}" for v in ("1.29", "1.30", "1.31", "1.32", "1.33")}
PROGRAMS["1.37"] = str(Path(sys.executable).parent / "kubectl-1.37")
VERSIONS = [version for version, path in PROGRAMS.items() if os.access(path, os.X_OK)]
"""1.29 speaks SPDY, 1.30 WebSocket with SPDY for port-forward, the others WebSocket alone."""
NEWEST = VERSIONS[-1] if VERSIONS else ""
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not VERSIONS, reason="no kubectl with a version in its name is installed"),
]
kubectls = pytest.mark.parametrize("version", VERSIONS)
LIKE_OTHERS = ("1.32", "1.33")
"""They speak as those before and after them; what all versions need is tried with them, too."""
unlike = pytest.mark.parametrize(
    "version", [v for v in VERSIONS if v not in LIKE_OTHERS or v == NEWEST]
)


def pod(name: str, image: str, *args: str, **container: Any) -> str:
    main = {"name": "main", "image": image, "args": list(args)} | container
    spec = {"containers": [main], "terminationGracePeriodSeconds": 1, "restartPolicy": "Never"}
    meta = {"name": name}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


@pytest.fixture(scope="module")
def weft(isolated: Instance) -> Instance:
    """Without network namespaces the same happens: once is enough."""
    return isolated


@pytest.fixture(scope="module")
def cluster(weft: Instance) -> Instance:
    weft.image("sh:1", Path("/tmp"), "/bin/sh")
    weft.image("python:1", Path("/tmp"), sys.executable)
    serve = (
        "import http.server as h, os; "
        "at = (os.environ.get('HOST', '0.0.0.0'), int(os.environ['PORT'])); "
        "h.ThreadingHTTPServer(at, h.SimpleHTTPRequestHandler).serve_forever()"
    )
    env = [{"name": "GREETING", "value": "hello"}]
    ports = [{"containerPort": 8080}]
    pods = [
        pod("web", "python:1", "-c", serve, env=env, ports=ports, workingDir="/"),
        pod("terminal", "sh:1", stdin=True, tty=True),
    ]
    weft.weft("apply", "-f", "-", stdin="\n---\n".join(pods))
    for name in ("web", "terminal"):
        wait_for(lambda: weft.pod(name)["status"].get("phase") == "Running", f"{name} runs")  # noqa: B023
    return weft


def command(weft: Instance, version: str, *args: str) -> list[str]:
    return [PROGRAMS[version], "--kubeconfig", str(weft.kubeconfig), *args]


def kubectl(
    weft: Instance, version: str, *args: str, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        command(weft, version, *args), input=stdin, capture_output=True, timeout=60, check=False
    )


class Terminal:
    """A program that believes to be talked to by a person."""

    def __init__(self, argv: list[str], rows: int = 33, columns: int = 101) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(argv[0], argv)
        self.text = ""
        self.resize(rows, columns)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def until(self, text: str, seconds: float = 20) -> None:
        """Read on until the text has come."""
        end = time.monotonic() + seconds
        while text not in self.text:
            assert time.monotonic() < end, f"no {text!r} in {self.text!r}"
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    assert text in self.text, f"ended without {text!r}: {self.text!r}"
                    return

    def ask(self, text: str, answer: str) -> None:
        """Type again until it is answered: prompts come and go while programs start."""
        for _ in range(10):
            self.type(text)
            try:
                self.until(answer, 2)
            except AssertionError:
                continue
            return
        self.until(answer, 1)

    def exit_code(self) -> int:
        end = time.monotonic() + 20
        while time.monotonic() < end:
            if select.select([self.fd], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode(errors="replace")
                except OSError:
                    break
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.fd)


@contextmanager
def terminal(argv: list[str]) -> Iterator[Terminal]:
    found = Terminal(argv)
    try:
        yield found
    finally:
        found.close()


# ------------------------------------------------------------------ exec


@kubectls
def test_exec_runs_inside_the_container(cluster: Instance, version: str) -> None:
    script = "echo $GREETING; pwd; echo complaint >&2; exit 7"
    done = kubectl(cluster, version, "exec", "web", "--", "sh", "-c", script)
    assert done.returncode == 7
    assert done.stdout == b"hello\n/\n"
    assert b"complaint\n" in done.stderr
    assert b"exit code 7" in done.stderr


@unlike
def test_exec_moves_much_both_ways_and_ends_its_input(cluster: Instance, version: str) -> None:
    sent = os.urandom(1 << 16) * 40
    done = kubectl(cluster, version, "exec", "-i", "web", "--", "cat", stdin=sent)
    assert done.stdout == sent
    done = kubectl(cluster, version, "exec", "web", "--", "head", "-c", "20000000", "/dev/zero")
    assert len(done.stdout) == 20_000_000


@unlike
def test_exec_with_a_terminal_that_changes_its_size(cluster: Instance, version: str) -> None:
    with terminal(command(cluster, version, "exec", "-it", "web", "--", "sh")) as shell:
        shell.ask("echo size $(stty size)\n", "size 33 101")
        shell.resize(40, 120)
        shell.ask("echo size $(stty size)\n", "size 40 120")
        shell.ask("tty\n", "/dev/pts/")
        shell.type("exit 3\n")
        assert shell.exit_code() == 3


def test_what_cannot_be_run_says_why(cluster: Instance) -> None:
    done = kubectl(cluster, NEWEST, "exec", "web", "--", "no-such-program")
    assert done.returncode == 127
    assert b'exec: "no-such-program": executable file not found in $PATH' in done.stderr
    done = kubectl(cluster, NEWEST, "exec", "web", "-c", "other", "--", "ls")
    assert b"container other is not valid for pod web" in done.stderr
    done = kubectl(cluster, NEWEST, "exec", "nowhere", "--", "ls")
    assert b'pods "nowhere" not found' in done.stderr


def test_a_command_ends_with_its_client(cluster: Instance) -> None:
    mark = f"4{os.getpid()}"
    argv = command(cluster, NEWEST, "exec", "web", "--", "sleep", mark)
    client = subprocess.Popen(argv)
    runs = ["pgrep", "-f", f"^sleep {mark}$"]
    wait_for(lambda: subprocess.run(runs, capture_output=True, check=False).stdout, "sleep runs")
    client.kill()
    client.wait()
    wait_for(
        lambda: not subprocess.run(runs, capture_output=True, check=False).stdout, "sleep is gone"
    )


def test_what_a_command_leaves_behind_does_not_hold_its_client(cluster: Instance) -> None:
    script = "echo done; sleep 60 & exit 0"
    started = time.monotonic()
    done = kubectl(cluster, NEWEST, "exec", "web", "--", "sh", "-c", script)
    assert done.stdout == b"done\n"
    assert time.monotonic() - started < 20


# ------------------------------------------------------------------ cp, port-forward


@kubectls
def test_copies_there_and_back(cluster: Instance, version: str, tmp_path: Path) -> None:
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/blob").write_bytes(os.urandom(2_000_000))
    there = tmp_path / "there"
    there.mkdir()
    done = kubectl(cluster, version, "cp", str(tmp_path / "tree"), f"web:{there}")
    assert done.returncode == 0, done.stderr
    back = tmp_path / "back"
    done = kubectl(cluster, version, "cp", f"web:{there}/tree/sub/blob", str(back))
    assert done.returncode == 0, done.stderr
    assert back.read_bytes() == (tmp_path / "tree/sub/blob").read_bytes()


@contextmanager
def forwarding(weft: Instance, version: str, what: str, port: int) -> Iterator[int]:
    argv = command(weft, version, "port-forward", what, f":{port}")
    client = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdout is not None
    try:
        line = client.stdout.readline()
        assert "Forwarding from 127.0.0.1:" in line, line
        yield int(line.split("127.0.0.1:")[1].split(" ")[0])
    finally:
        client.kill()
        client.wait()


@kubectls
def test_forwards_a_port(cluster: Instance, version: str, tmp_path: Path) -> None:
    blob = tmp_path / "blob"
    blob.write_bytes(os.urandom(3_000_000))
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/tmp") and folder.is_relative_to("/tmp"):
            folder.chmod(0o755)
    with forwarding(cluster, version, "pod/web", 8080) as port:
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{blob}", timeout=10) as answer:
                assert answer.read() == blob.read_bytes()


@unlike
def test_a_port_nobody_listens_on_is_told(cluster: Instance, version: str) -> None:
    argv = command(cluster, version, "port-forward", "web", ":9")
    client = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert client.stdout is not None
    try:
        port = int(client.stdout.readline().split("127.0.0.1:")[1].split(" ")[0])
        with pytest.raises(OSError):  # noqa: PT011
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)
        _, told = client.communicate(timeout=20)
    finally:
        client.kill()
        client.wait()
    assert "failed to connect to localhost:9 inside the pod: Connection refused" in told


# ------------------------------------------------------------------ attach, run, debug


@unlike
def test_attaches_to_a_terminal(cluster: Instance, version: str) -> None:
    with terminal(command(cluster, version, "attach", "-it", "terminal")) as shell:
        shell.ask("echo $((40+2))x\n", "42x")
        shell.ask("echo size $(stty size)\n", "size 33 101")
    assert cluster.pod("terminal")["status"]["phase"] == "Running"
    assert "42x" in cluster.weft("logs", "terminal")
    assert b"42x" in kubectl(cluster, version, "logs", "terminal", "--tail=50").stdout


@unlike
def test_top(cluster: Instance, version: str) -> None:
    done = kubectl(cluster, version, "top", "pod", "web", "--containers", "--no-headers")
    name, container, _, memory = done.stdout.split()
    assert (name, container) == (b"web", b"main"), done
    assert int(memory.removesuffix(b"Mi")) > 1, done


def test_input_that_ends_with_the_first_attachment(cluster: Instance) -> None:
    args = ("-c", "cat; echo the end; exit 5")
    made = pod("once", "sh:1", *args, stdin=True, stdinOnce=True)
    cluster.weft("apply", "-f", "-", stdin=made)
    wait_for(lambda: cluster.pod("once")["status"].get("phase") == "Running", "it runs")
    done = kubectl(cluster, NEWEST, "attach", "-i", "once", stdin=b"one\ntwo\n")
    assert done.stdout.splitlines() == [b"one", b"two", b"the end"]
    wait_for(lambda: cluster.pod("once")["status"]["phase"] == "Failed", "it ended")


def test_a_slow_listener_holds_the_container_up_and_loses_nothing(cluster: Instance) -> None:
    args = ("-c", "read x; seq 1 400000")
    made = pod("many", "sh:1", *args, stdin=True, stdinOnce=True)
    cluster.weft("apply", "-f", "-", stdin=made)
    wait_for(lambda: cluster.pod("many")["status"].get("phase") == "Running", "it runs")
    argv = command(cluster, NEWEST, "attach", "-i", "many")
    client = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(b"go\n")
    client.stdin.flush()
    first = client.stdout.readline()
    time.sleep(1.5)
    rest = client.stdout.read()
    client.stdin.close()
    client.wait(20)
    assert (first + rest).split() == [str(n).encode() for n in range(1, 400_001)]


def test_run_with_a_terminal_gives_the_exit_code(cluster: Instance) -> None:
    argv = command(
        cluster, NEWEST, "run", "shell", "-it", "--rm", "--image=sh:1", "--restart=Never"
    )
    with terminal(argv) as shell:
        shell.ask("echo $((40+2))x\n", "42x")
        shell.type("exit 6\n")
        assert shell.exit_code() == 6
    wait_for(lambda: cluster.api("/api/v1/namespaces/default/pods/shell")[0] == 404, "it is gone")


@unlike
def test_debug_adds_a_container_to_a_pod(cluster: Instance, version: str) -> None:
    name = f"look{version.replace('.', '')}"
    argv = command(cluster, version, "debug", "-it", "web", "--image=sh:1", "-c", name)
    hostname = "web" if cluster.isolation == "netns" else ""
    with terminal(argv) as shell:
        shell.ask("echo on $(hostname)\n", f"on {hostname}")
        shell.ask("echo port $(wget -qO- 127.0.0.1:8080 2>/dev/null | wc -l)\n", "port ")
        shell.type("exit 3\n")
        shell.exit_code()

    def state() -> Any:
        found = cluster.pod("web")["status"].get("ephemeralContainerStatuses") or []
        return next((s["state"].get("terminated") for s in found if s["name"] == name), None)

    assert wait_for(state, "it ended")["exitCode"] == 3
    assert cluster.pod("web")["status"]["phase"] == "Running"
    patch = {"spec": {"ephemeralContainers": []}}
    path = "/api/v1/namespaces/default/pods/web"
    assert cluster.api(f"{path}/ephemeralcontainers", "PATCH", patch)[0] == 422
    assert cluster.api(path, "PATCH", patch)[0] == 422


def test_debugging_a_node_from_a_process_image_is_refused(
    cluster: Instance,
) -> None:
    spec = {
        "containers": [
            {"name": "d", "image": "sh:1", "volumeMounts": [{"name": "h", "mountPath": "/host"}]}
        ],
        "volumes": [{"name": "h", "hostPath": {"path": "/"}}],
    }
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nodeview"}, "spec": spec}
    cluster.weft("apply", "-f", "-", stdin=json.dumps(made))

    def why() -> str:
        (status,) = cluster.pod("nodeview")["status"].get("containerStatuses") or [{}]
        return str((status.get("state") or {}).get("waiting", {}).get("message", ""))

    assert "it sees the machine's files at / already" in wait_for(why, "a reason")


# ------------------------------------------------------------------ the official Python client


def test_official_client(cluster: Instance) -> None:
    from kubernetes import client, config
    from kubernetes.stream import portforward, stream

    core = client.CoreV1Api(config.new_client_from_config(str(cluster.kubeconfig)))
    run, forward = core.connect_get_namespaced_pod_exec, core.connect_get_namespaced_pod_portforward
    how: dict[str, Any] = {"stderr": True, "stdout": True, "tty": False}
    said = stream(
        run, "web", "default", command=["sh", "-c", "echo out; echo err >&2"], stdin=False, **how
    )
    assert sorted(said.split()) == ["err", "out"]
    shell = stream(run, "web", "default", command=["sh"], stdin=True, _preload_content=False, **how)
    shell.write_stdin("echo one\n")
    assert shell.readline_stdout(timeout=10) == "one"
    shell.write_stdin("exit 9\n")
    shell.run_forever(timeout=10)
    assert shell.returncode == 9
    ports = portforward(forward, "web", "default", ports="8080")
    socket = ports.socket(8080)
    socket.setblocking(True)
    socket.sendall(b"GET /proc/self/status HTTP/1.0\r\n\r\n")
    answer = b""
    while piece := socket.recv(4096):
        answer += piece
    assert answer.startswith(b"HTTP/1.0 200")
    ports = portforward(forward, "web", "default", ports="9")
    socket = ports.socket(9)
    socket.setblocking(True)
    assert socket.recv(1) == b""
    assert "Connection refused" in ports.error(9)


# ------------------------------------------------------------------ weft's own commands


def test_weft_exec_cp_and_port_forward(cluster: Instance, tmp_path: Path) -> None:
    done = cluster.run("exec", "web", "--", "sh", "-c", "echo $GREETING; exit 7")
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert cluster.run("exec", "-i", "web", "--", "cat", stdin="typed").stdout == "typed"
    done = cluster.run("exec", "nowhere", "--", "ls")
    assert done.returncode == 1
    assert 'pods "nowhere" not found' in done.stderr
    done = cluster.run("exec", "-it", "web", "--", "sh")
    assert "-t needs -i and a terminal" in done.stderr
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/sub/file").write_text("text")
    cluster.weft("cp", str(tmp_path / "tree"), f"web:{tmp_path}/there")
    cluster.weft("cp", f"web:{tmp_path}/there/sub/file", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "text"
    assert "No such file" in cluster.run("cp", "web:/no/such", str(tmp_path / "x")).stderr
    assert "one of SOURCE and TARGET must be" in cluster.run("cp", "here", "there").stderr
    argv = [*WEFT, "port-forward", "--data-dir", str(cluster.data_dir), "web", ":8080"]
    client = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    try:
        port = int(client.stdout.readline().split("127.0.0.1:")[1].split(" ")[0])
        url = f"http://127.0.0.1:{port}/proc/self/comm"
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert answer.status == 200
    finally:
        client.kill()
        client.wait()


def test_weft_exec_with_a_terminal(cluster: Instance) -> None:
    argv = [*WEFT, "exec", "--data-dir", str(cluster.data_dir), "-it", "web", "--", "sh"]
    with terminal(argv) as shell:
        shell.ask("echo size $(stty size)\n", "size 33 101")
        shell.resize(40, 120)
        shell.ask("echo size $(stty size)\n", "size 40 120")
        shell.type("exit 3\n")
        assert shell.exit_code() == 3
