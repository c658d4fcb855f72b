"""What container engines are asked, and what their answers mean; test_engines.py (e2e) asks real
ones."""

import json
import os
import socket
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests import archives
from weft.node.engine import archive, holder, requests, states
from weft.node.engine.api import EngineApi, EngineError, message_of, socket_of
from weft.node.engine.lines import Frames, Plain, Seen, line_of
from weft.node.engine.logs import LogFile, copy_file
from weft.node.images import ImageStore
from weft.node.runtime import ContainerSpec, EngineContainer, Limits, Mount

LINE = b"2026-11-29T12:02:42.023990857Z hello\n"


def frame(kind: int, text: bytes) -> bytes:
    return bytes((kind, 0, 0, 0)) + len(text).to_bytes(4, "big") + text


# --- requests


def spec(**more: Any) -> ContainerSpec:
    own = {"capabilities": ("CHOWN",), **more.pop("engine", {})}
    made = EngineContainer(
        image="docker.io/library/web:1", name="k8s_main_web_shop_uid-1_2", pod="uid-1", **own
    )
    base = {"argv": ("serve",), "env": {"A": "b"}, "netns": "/run/netns/x", "hostname": "web"}
    return ContainerSpec(id="uid-1_main_2", engine=made, **(base | more))


def test_a_pods_containers_share_its_holders_namespaces() -> None:
    asked = requests.holder_request(spec(), "me")
    assert requests.holder_name(spec().engine or EngineContainer("", "", "")) == (
        "k8s_POD_web_shop_uid-1_0"
    )
    host = asked["HostConfig"]
    assert (asked["Hostname"], host["NetworkMode"], host["CapAdd"]) == (
        "web",
        "none",
        ["SYS_ADMIN"],
    )
    assert host["Mounts"][0]["Source"] == "/run/netns/x"
    asked = requests.container_request(spec(), "me", "web:1", "held")
    host = asked["HostConfig"]
    assert host["NetworkMode"] == host["IpcMode"] == "container:held"
    assert host["PidMode"] == ""
    assert "Hostname" not in asked, "Docker refuses it in another one's network"
    assert (asked["Entrypoint"], asked["Cmd"]) == (["serve"], []), "not the image's own arguments"
    podman = requests.container_request(spec(), "me", "web:1", "held", podman=True)
    assert podman["HostConfig"]["UTSMode"] == "container:held"
    shared = spec(engine={"shared_pid": True})
    asked = requests.container_request(shared, "me", "web:1", "held")
    assert asked["HostConfig"]["PidMode"] == "container:held"
    asked = requests.container_request(spec(), "me", "web:1", "held", "target")
    assert asked["HostConfig"]["PidMode"] == "container:target"


def test_a_pod_of_the_machines_network_has_no_network_to_enter() -> None:
    asked = requests.holder_request(spec(netns="", hostname=""), "me")
    host = asked["HostConfig"]
    assert (host["NetworkMode"], host["UTSMode"], host["CapAdd"]) == ("host", "host", [])
    assert "Mounts" not in host
    asked = requests.container_request(spec(netns="", hostname=""), "me", "web:1", "held")
    assert asked["HostConfig"]["NetworkMode"] == asked["HostConfig"]["UTSMode"] == "host"


def test_limits_confinement_and_mounts_are_said() -> None:
    limited = spec(
        limits=Limits(cpu_cores=0.5, memory_bytes=64 << 20, pids=20), no_new_privileges=True,
        mounts=(Mount("/v/a", "/data/deep"), Mount("/v/b", "/data", read_only=True),
                Mount("/v/hosts", "/etc/hosts")),
        engine={"read_only_root": True, "seccomp": False, "masked": False, "stop_seconds": 7,
                "etc": {"hosts": "/p/hosts", "resolv.conf": "/etc/resolv.conf"},
                "nodes_own": frozenset({"resolv.conf"})},
    )  # fmt: skip
    asked = requests.container_request(limited, "me", "web:1", "held")
    host = asked["HostConfig"]
    assert (host["CpuQuota"], host["CpuPeriod"]) == (50_000, 100_000)
    assert host["Memory"] == host["MemorySwap"] == 64 << 20
    assert host["PidsLimit"] == 20
    assert host["SecurityOpt"] == ["no-new-privileges:true", "seccomp=unconfined"]
    assert (host["MaskedPaths"], host["ReadonlyRootfs"]) == ([], True)
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["CHOWN"])
    assert asked["StopTimeout"] == 7
    mounted = [(m["Target"], m["Source"], m["ReadOnly"]) for m in host["Mounts"]]
    assert mounted == [
        ("/etc/resolv.conf", "/etc/resolv.conf", True),
        ("/data", "/v/b", True),
        ("/data/deep", "/v/a", False),
        ("/etc/hosts", "/v/hosts", False),
    ]
    privileged = spec(engine={"privileged": True, "seccomp": False})
    host = requests.container_request(privileged, "me", "web:1", "held")["HostConfig"]
    assert host["Privileged"]
    assert "CapDrop" not in host
    assert host["SecurityOpt"] == []


# --- answers


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({"Status": "exited", "ExitCode": 0}, (0, "Completed")),
        ({"Status": "exited", "ExitCode": 3}, (3, "Error")),
        ({"Status": "exited", "ExitCode": 137, "OOMKilled": True}, (137, "OOMKilled")),
        ({"Status": "created", "ExitCode": 127, "Error": "no such file"}, (128, "StartError")),
        ({"Status": "running", "Running": True, "Pid": 7}, (None, "")),
        ({"Status": "stopping", "Pid": 7}, (None, "")),
    ],
)
def test_states(state: dict[str, Any], expected: tuple[int | None, str]) -> None:
    found = states.state_of("id", {"State": state})
    assert (found.exit_code, found.reason) == expected


def test_times_with_nanoseconds_and_the_zero_time() -> None:
    assert states.seconds("2026-11-29T12:02:42.031761088Z") == pytest.approx(1795953762.031761)
    assert states.seconds("2026-11-29T14:02:42.5+02:00") == pytest.approx(1795953762.5)
    assert states.seconds("0001-01-01T00:00:00Z") == 0


def test_which_api_version_is_spoken() -> None:
    assert states.api_version({"ApiVersion": "1.41", "MinAPIVersion": "1.24"}) == "1.41"
    assert states.api_version({"ApiVersion": "1.52", "MinAPIVersion": "1.44"}) == "1.44"
    assert states.api_version({"ApiVersion": "1.60", "MinAPIVersion": "1.48"}) == "1.48"
    with pytest.raises(ValueError, match=r"needs 1\.40 or newer"):
        states.api_version({"ApiVersion": "1.39"})


def test_engines_that_cannot_run_pods_are_refused() -> None:
    def refused(info: dict[str, Any], *, as_root: bool = True) -> str:
        return states.refusal(info, as_root, "6.1")

    assert refused({"SecurityOptions": ["name=seccomp"], "KernelVersion": "6.1"}) == ""
    assert "userns-remap" in refused({"SecurityOptions": ["name=userns"]})
    assert "without root" in refused({"SecurityOptions": ["name=rootless"]})
    assert refused({"SecurityOptions": ["name=rootless"]}, as_root=False) == ""
    assert "windows" in refused({"OSType": "windows"})
    assert "another kernel (5.15-linuxkit, here 6.1)" in refused({"KernelVersion": "5.15-linuxkit"})
    (told,) = states.shortcomings({"MemoryLimit": False, "CpuCfsQuota": False, "PidsLimit": True})
    assert told.startswith("limits of memory, cpu are not enforced")
    assert states.shortcomings({"MemoryLimit": True}) == ()


def test_what_images_may_be_called() -> None:
    assert states.candidates("web:1", podman=False) == ("docker.io/library/web:1",)
    assert states.candidates("web", podman=True) == (
        "localhost/web:latest", "docker.io/library/web:latest",
    )  # fmt: skip
    assert states.candidates("docker.io/library/web:1", podman=True) == ("docker.io/library/web:1",)
    assert states.candidates("ghcr.io/a/b:1", podman=True) == ("ghcr.io/a/b:1",)
    assert states.candidates("localhost/web:1", podman=False) == ("localhost/web:1",)


def test_an_image_that_saw_no_registry_is_this_machines_own() -> None:
    config = {"Entrypoint": ["serve"], "Cmd": ["-v"], "Env": ["A=b=c"], "User": "web:web",
              "WorkingDir": "/srv", "StopSignal": "SIGINT"}  # fmt: skip
    built = {"Id": "sha256:aa", "Config": config, "RepoDigests": ["localhost/web@sha256:bb"]}
    image = states.image_of("web:1", built)
    assert (image.command, image.args, image.env) == (("serve",), ("-v",), {"A": "b=c"})
    assert image.oci is not None
    assert (image.oci.origin, image.oci.digest, image.oci.stop_signal) == (
        "import", "sha256:aa", "SIGINT",
    )  # fmt: skip
    pulled = states.image_of("redis:7", built | {"RepoDigests": ["redis@sha256:cc"]})
    assert pulled.oci is not None
    assert (pulled.oci.origin, pulled.oci.digest) == ("pull", "sha256:cc")
    assert pulled.oci.repositories == ("docker.io/library/redis",)


def test_usage_of_both_versions_of_control_groups() -> None:
    cpu = {"cpu_usage": {"total_usage": 2_500_000_000}}
    first = {"cpu_stats": cpu, "memory_stats": {"usage": 100, "stats": {"total_inactive_file": 30}}}
    second = {"cpu_stats": cpu, "memory_stats": {"usage": 100, "stats": {"inactive_file": 40}}}
    assert states.usage_of(first) == (2.5, 70)
    assert states.usage_of(second) == (2.5, 60)
    assert states.usage_of({}) == (0, 0)


# --- logs


def test_frames_come_in_any_pieces() -> None:
    data = frame(1, LINE) + frame(2, b"2026-11-29T12:02:42Z oops\n") + frame(1, b"x y")
    frames, found = Frames(), []
    for at in range(0, len(data), 7):
        found += frames.feed(data[at : at + 7])
    assert found == [
        ("stdout", LINE), ("stderr", b"2026-11-29T12:02:42Z oops\n"), ("stdout", b"x y"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no stream"):
        Frames().feed(b"HTTP/1.1 500 x")


def test_lines_are_of_the_log_format() -> None:
    assert line_of("stdout", LINE) == b"2026-11-29T12:02:42.023990857Z stdout F hello\n"
    assert line_of("stderr", b"2026-11-29T12:02:42Z a part") == (
        b"2026-11-29T12:02:42.000000000Z stderr P a part\n"
    )
    assert line_of("stdout", b"2026-11-29T14:02:42.5+02:00 \n") == (
        b"2026-11-29T12:02:42.500000000Z stdout F \n"
    )
    plain = Plain()
    assert plain.feed(b"2026-11-29T12:02:42Z on") == []
    assert plain.feed(b"e\r\n2026") == [("stdout", b"2026-11-29T12:02:42Z one\r\n")]
    assert plain.end() == [("stdout", b"2026")]


def test_what_is_read_again_is_not_written_again(tmp_path: Path) -> None:
    lines = [
        line_of("stdout", b"2026-11-29T12:02:%02d.%09dZ line %d\n" % (n // 10, n % 10, n))
        for n in range(60)
    ]
    lines += [lines[-1]]  # the same words at the same time, twice
    file = LogFile(str(tmp_path / "0.log"))
    file.write(b"".join(lines[:40]))
    seen = Seen(file.newest())
    assert seen.since == states.seconds("2026-11-29T12:02:02Z")
    again = [line for line in lines[20:] if seen.is_new(line)]
    file.write(b"".join(again))
    file.close()
    assert (tmp_path / "0.log").read_bytes() == b"".join(lines)
    assert Seen(iter(())).since == 0, "an empty log is read from its beginning"


async def test_a_file_of_podman_is_copied_in_whole_lines_and_read_on(tmp_path: Path) -> None:
    at = b"2026-11-29T12:02:42.%09d+00:00 "
    source, target = tmp_path / "ctr.log", tmp_path / "0.log"
    written = [
        at % 1 + b"stdout F one", at % 2 + b"stdout P t", at % 3 + b"stderr F oops",
        at % 4 + b"stdout F wo", at % 5 + b"stdout P no ", at % 6 + b"stdout P end",
    ]  # fmt: skip
    source.write_bytes(b"\n".join(written[:3]) + b"\n")
    await copy_file(str(source), str(target), lambda: True)
    half = target.read_bytes()
    stamp = b"2026-11-29T12:02:42.%09dZ "
    assert half.splitlines() == [
        stamp % 1 + b"stdout F one", stamp % 3 + b"stderr F oops", stamp % 2 + b"stdout F t",
    ]  # fmt: skip
    target.write_bytes(b"".join(half.splitlines(keepends=True)[:2]))  # weft was killed before
    source.write_bytes(b"\n".join(written) + b"\n")
    await copy_file(str(source), str(target), lambda: True)
    assert target.read_bytes().splitlines() == [
        *half.splitlines()[:2], stamp % 2 + b"stdout F two", stamp % 5 + b"stdout F no end",
    ]  # fmt: skip


def test_a_line_that_was_written_half_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "0.log").write_bytes(b"first\n2026-11-29T12:02:42.0Z stdout F ha")
    file = LogFile(str(tmp_path / "0.log"))
    file.write(b"next\n")
    file.close()
    assert (tmp_path / "0.log").read_bytes() == b"first\nnext\n"


# --- the engine's place


def test_where_engines_listen() -> None:
    said = {"DOCKER_HOST": "unix:///d.sock", "CONTAINER_HOST": "unix:///p.sock"}
    assert socket_of("docker", "/x.sock", said, True) == "/x.sock"
    assert socket_of("docker", "", said, True) == "/d.sock"
    assert socket_of("podman", "", said, True) == "/p.sock"
    remote = {"DOCKER_HOST": "tcp://10.0.0.1:2376", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert socket_of("docker", "", remote, True) == "/var/run/docker.sock"
    assert socket_of("podman", "", {}, True) == "/run/podman/podman.sock"
    assert socket_of("podman", "", remote, False) == "/run/user/7/podman/podman.sock"


async def test_what_is_wrong_with_an_engine_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"Podman does not run: .*--engine-socket"):
        await EngineApi("podman", str(tmp_path / "none.sock")).open()
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="is no socket"):
        await EngineApi("docker", str(tmp_path / "file")).open()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead.sock"))
    dead_api = EngineApi("docker", str(tmp_path / "dead.sock"))
    with pytest.raises(EngineError, match=r"Docker at .*dead.sock"):
        await dead_api.open()
    await dead_api.close()


async def test_an_engine_of_long_ago_is_refused(tmp_path: Path) -> None:
    async def answer(request: web.Request) -> web.Response:
        old = {"ApiVersion": "1.30", "Version": "17.06"} if "version" in request.path else {}
        return web.json_response(old)

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "old.sock")).start()
    api = EngineApi("docker", str(tmp_path / "old.sock"))
    try:
        with pytest.raises(EngineError, match=r"API is version 1\.30"):
            await api.open()
    finally:
        await api.close()
        await runner.cleanup()


def test_complaints() -> None:
    assert message_of(b'{"message":"no space"}') == "no space"
    assert message_of(b"plain text\n") == "plain text"
    assert message_of(b"") == "it does not say why"


# --- images


def test_the_holders_program_sleeps_and_its_image_is_whole(tmp_path: Path) -> None:
    architecture = holder.platform(os.uname().machine)
    if architecture is None:
        pytest.skip("pods run through engines on x86_64 and aarch64 only")
    program = tmp_path / "hold"
    program.write_bytes(holder.program(architecture))
    program.chmod(0o755)
    with subprocess.Popen([program]) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert Path(f"/proc/{process.pid}/exe").resolve() == program
        process.kill()
    for name in ("amd64", "arm64"):
        with tarfile.open(fileobj=BytesIO(holder.image(name))) as whole:
            (entry,) = json.load(whole.extractfile("manifest.json") or BytesIO())
            described = json.load(whole.extractfile(entry["Config"]) or BytesIO())
        assert described["architecture"] == name


@pytest.mark.skipif(archives.busybox() is None, reason="needs a static busybox")
def test_images_of_the_store_are_written_as_docker_saves_them(tmp_path: Path) -> None:
    layers = [archives.layer([("a", b"1", 0o644)]), archives.layer([("b", b"2", 0o644)])]
    layout = archives.oci_layout(tmp_path / "in", "two:1", layers, {"User": "7"}, "+zstd")
    store = ImageStore(tmp_path / "store")
    (image,) = store.import_from(layout)
    assert image.oci is not None
    with open(tmp_path / "out.tar", "wb") as output:
        archive.write(store, image.oci, ("docker.io/library/two:1",), output)
    again = ImageStore(tmp_path / "again")
    (back,) = again.import_from(tmp_path / "out.tar")
    assert back.oci is not None
    assert (back.name, back.oci.id, back.oci.layers) == (image.name, image.oci.id, image.oci.layers)
