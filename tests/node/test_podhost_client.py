"""Containers as their users meet them: start, look, end, and what survives whose death."""

import asyncio
import os
import signal
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.node.machine import ENV, alive, ended, kill, lines, log_of, podhost, shell
from tests.waiting import until
from weft.node.podhost_client import PodhostError, ensure_podhost
from weft.node.runtime import Command, ContainerSpec, Limits, Mount

pytestmark = pytest.mark.slow


async def test_a_container_has_its_environment_directory_log_and_exit_code() -> None:
    async with podhost() as (runtime, directory):
        script = "echo $GREETING; pwd; echo oops >&2; printf unfinished; exit 3"
        started = await runtime.start(shell("c", script, directory, cwd="/usr"))
        assert started.pid > 0
        assert started.exit_code is None
        state = await ended(runtime, "c")
        await runtime.remove("c")
        assert (state.exit_code, state.reason, state.signal) == (3, "Error", 0)
        assert state.started_at <= state.finished_at <= time.time()
        assert lines(directory, "c") == ["hello", "/usr", "unfinished"]
        assert lines(directory, "c", "stderr") == ["oops"]
        assert await runtime.list() == ()


async def test_exit_codes_are_those_of_kubernetes() -> None:
    async with podhost() as (runtime, directory):
        await runtime.start(shell("good", "true", directory))
        await runtime.start(shell("term", "sleep 60", directory))
        await runtime.signal("term", signal.SIGTERM)
        good, term = await ended(runtime, "good"), await ended(runtime, "term")
        assert (good.exit_code, good.reason) == (0, "Completed")
        assert (term.exit_code, term.signal, term.reason) == (143, 15, "Error")
        await runtime.signal("term", signal.SIGTERM)
        await runtime.signal("never", signal.SIGTERM)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"argv": ("no-such-program",)}, 'exec: "no-such-program": executable file not found in'),
        ({"argv": ("/no/such",)}, 'exec: "/no/such": no such file or directory'),
        ({"argv": ("/usr",)}, 'exec: "/usr": permission denied'),
        ({"argv": ("true",), "cwd": "/no/such"}, "cannot change to working directory /no/such"),
        (
            {"argv": ("true",), "mounts": (Mount("/no/such", "/data"),)},
            "cannot mount /no/such at /data: /no/such does not exist",
        ),
        ({"argv": ("true",), "netns": "/no/such"}, "/no/such: No such file or directory"),
    ],
)
async def test_what_cannot_start_says_why(changes: dict[str, object], message: str) -> None:
    async with podhost() as (runtime, _):
        if "mounts" in changes and runtime.privilege == "none":
            message = "volumes need root or user namespaces"
        state = await runtime.start(ContainerSpec(**{"id": "c", "env": ENV, **changes}))
        assert (state.exit_code, state.reason) == (128, "StartError")
        assert message in state.message
        assert (await ended(runtime, "c")).reason == "StartError"


async def test_volumes_appear_at_any_path_and_nothing_on_the_host() -> None:
    async with podhost() as (runtime, directory):
        if runtime.privilege == "none":
            pytest.skip("no private mounts here")
        for name in ("data", "config", "etc"):
            (directory / name).mkdir()
        (directory / "config/key").write_text("value\n")
        (directory / "etc/resolv.conf").write_text("nameserver 192.0.2.53\n")
        mounts = (
            Mount(str(directory / "data"), "/weft-test-data"),
            Mount(str(directory / "config"), "/weft-test-data/nested/config", read_only=True),
            Mount(str(directory / "config"), "/var/lib/weft-test/config", read_only=True),
            Mount(str(directory / "config/key"), "/etc/weft-test/key.conf", read_only=True),
            Mount(str(directory / "config/key"), "/usr/weft-test-file"),
            Mount(str(directory / "config"), "/opt", read_only=True),
        )
        script = """
            cat /etc/resolv.conf /var/lib/weft-test/config/key /etc/weft-test/key.conf
            cat /weft-test-data/nested/config/key /usr/weft-test-file /opt/key
            echo kept > /weft-test-data/written; ls -d /usr/bin /var/lib/dpkg /proc/self
            touch /var/lib/weft-test/config/x 2>/dev/null || echo read-only
            uname -n; id -u
        """
        spec = shell(
            "c",
            script,
            directory,
            mounts=mounts,
            etc_dir=str(directory / "etc"),
            hostname="my-pod",
        )
        await runtime.start(spec)
        assert (await ended(runtime, "c")).exit_code == 0, lines(directory, "c", "stderr")
        await runtime.remove("c")
        assert lines(directory, "c") == [
            "nameserver 192.0.2.53",
            *["value"] * 5,
            *("/proc/self", "/usr/bin", "/var/lib/dpkg"),
            *("read-only", "my-pod", str(os.getuid())),
        ]
        assert (directory / "data/written").read_text() == "kept\n"
        for path in ("/weft-test-data", "/var/lib/weft-test", "/etc/weft-test"):
            assert not Path(path).exists()
        assert "weft-test" not in Path("/proc/self/mountinfo").read_text()


async def test_every_user_sees_mount_points_that_were_made() -> None:
    async with podhost() as (runtime, directory):
        if runtime.privilege != "root":
            pytest.skip("other users need root")
        directory.chmod(0o755)
        (directory / "key").write_text("value\n")
        targets = ("/etc/weft-test/key", "/weft-test/deep/key")
        mounts = tuple(Mount(str(directory / "key"), target) for target in targets)
        script = f"cat {' '.join(targets)}"
        await runtime.start(shell("c", script, directory, mounts=mounts, uid=65534))
        assert (await ended(runtime, "c")).exit_code == 0, lines(directory, "c", "stderr")
        await until(lambda: lines(directory, "c") == ["value", "value"])


async def test_files_below_dev_leave_devices_as_they_are() -> None:
    async with podhost() as (runtime, directory):
        if runtime.privilege != "root":
            pytest.skip("devices of an overlay in a user namespace cannot be opened")
        file = directory / "message"
        file.touch()
        file.chmod(0o666)
        directory.chmod(0o755)
        script = """
            echo said > /dev/termination-log; echo lost > /dev/null
            head -c 8 /dev/urandom | wc -c; touch /dev/shm/weft-t-$$ && rm /dev/shm/weft-t-$$
            python3 -c 'import pty; pty.openpty(); print("pty")'
            ls /dev | grep -v termination-log | wc -l
        """
        mounts = (Mount(str(file), "/dev/termination-log", optional=True),)
        await runtime.start(shell("c", script, directory, mounts=mounts, uid=65534))
        state = await ended(runtime, "c")
        assert state.exit_code == 0, lines(directory, "c", "stderr")
        await until(lambda: len(lines(directory, "c")) == 3)
        assert lines(directory, "c") == ["8", "pty", str(len(os.listdir("/dev")))]
        assert file.read_text() == "said\n"
        assert not Path("/dev/termination-log").exists()


async def test_an_optional_mount_that_cannot_be_made_is_left_out() -> None:
    async with podhost() as (runtime, directory):
        if runtime.privilege == "none":
            pytest.skip("no private mounts here")
        mounts = (
            Mount(str(directory / "no-such"), "/weft-test-a", optional=True),
            Mount(str(directory), "/dev/null", optional=True),
        )
        await runtime.start(shell("c", "echo on > /dev/stdout", directory, mounts=mounts))
        assert (await ended(runtime, "c")).exit_code == 0
        await until(lambda: lines(directory, "c") == ["on"])


async def test_an_ended_container_tells_when_its_log_is_written() -> None:
    async with podhost() as (runtime, directory):
        await runtime.start(shell("c", "seq 20000", directory))
        assert not (await runtime.list())[0].log_written
        await ended(runtime, "c")
        for _ in range(500):
            if (await runtime.list())[0].log_written:
                break
            await asyncio.sleep(0.01)
        assert lines(directory, "c")[-1] == "20000"


async def test_exec_runs_inside_with_the_same_view() -> None:
    async with podhost() as (runtime, directory):
        (directory / "etc").mkdir()
        (directory / "etc/hosts").write_text("10.1.2.3 inside\n")
        etc = str(directory / "etc") if runtime.privilege != "none" else ""
        await runtime.start(shell("c", "sleep 60", directory, cwd="/usr", etc_dir=etc))
        command = ("sh", "-c", "pwd; echo $GREETING; cat /etc/hosts; echo bad >&2; exit 7")
        result = await runtime.exec("c", command, 10)
        assert result.exit_code == 7
        hosts = "10.1.2.3 inside\n" if etc else Path("/etc/hosts").read_text()
        assert result.output.decode() == f"/usr\nhello\n{hosts}bad\n"
        missing = await runtime.exec("c", ("no-such",), 10)
        assert missing.exit_code == 127
        assert b"executable file not found" in missing.output
        assert (await runtime.exec("c", ("sh", "-c", "kill -9 $$"), 10)).exit_code == 137
        raw = await runtime.exec("c", ("printf", r"\377\000"), 10)
        assert raw.output == b"\xff\x00"


async def test_commands_and_attachments_go_on_when_other_containers_end() -> None:
    async with podhost() as (runtime, directory):
        await runtime.start(shell("c", "echo up; cat", directory, stdin=True))
        await until(lambda: lines(directory, "c"))  # the log writer is there
        command = await runtime.open_exec("c", Command(("sh", "-c", "read x; exit 3"), stdin=True))
        attached = await runtime.open_attach("c", Command((), stdin=True))
        await runtime.start(shell("other", "exit 0", directory))
        await ended(runtime, "other")
        await command.write(b"on\n")
        assert await asyncio.wait_for(command.wait(), 20) == 3
        await attached.write(b"still here\n")
        assert await asyncio.wait_for(attached.read("stdout"), 20) == b"still here\n"
        await command.close()
        await attached.close()


async def test_exec_has_a_deadline_and_a_limit() -> None:
    async with podhost() as (runtime, directory):
        await runtime.start(shell("c", "sleep 60", directory))
        own = f"60.{os.getpid()}"  # nobody else on this machine sleeps this long
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await runtime.exec("c", ("sleep", own), 0.3)
        assert time.monotonic() - begun < 5
        running = await runtime.exec("c", ("pgrep", "-f", f"sleep {own}$"), 5)
        assert running.output == b""
        much = await runtime.exec("c", ("head", "-c", "3000000", "/dev/zero"), 10)
        assert (much.exit_code, len(much.output)) == (0, 1 << 20)
        await runtime.kill("c")
        await ended(runtime, "c")
        with pytest.raises(PodhostError, match="does not run"):
            await runtime.exec("c", ("true",), 5)


async def test_the_end_of_a_container_ends_all_of_it() -> None:
    async with podhost() as (runtime, directory):
        script = "setsid sh -c 'sleep 60 & echo $!; wait' & sleep 0.3; exit 0"
        await runtime.start(shell("c", script, directory))
        escapee = int((await until(lambda: lines(directory, "c")))[0])
        assert alive(escapee)
        await ended(runtime, "c")
        await until(lambda: not alive(escapee))
        await runtime.start(shell("d", "trap '' TERM; setsid sleep 61 & echo $!; wait", directory))
        escapee = int((await until(lambda: lines(directory, "d")))[0])
        await runtime.kill("d")
        assert (await ended(runtime, "d")).exit_code == 137
        await until(lambda: not alive(escapee))


async def test_a_large_environment_fits() -> None:
    async with podhost() as (runtime, directory):
        env = {**ENV, **{f"V{i}": "x" * 100_000 for i in range(12)}}
        await runtime.start(shell("c", "echo ${#V11}", directory, env=env))
        await ended(runtime, "c")
        await runtime.remove("c")
        assert lines(directory, "c") == ["100000"]


@pytest.mark.root
async def test_a_container_may_be_another_user() -> None:
    async with podhost() as (runtime, directory):
        directory.chmod(0o755)
        script = "id -u; id -g; id -G; echo again > /dev/stdout; grep NoNewPrivs /proc/self/status"
        spec = shell(
            *("c", script, directory),
            uid=4321,
            gid=4322,
            supplemental_groups=(4323,),
            no_new_privileges=True,
        )
        await runtime.start(spec)
        await ended(runtime, "c")
        await runtime.remove("c")
        assert lines(directory, "c") == ["4321", "4322", "4322 4323", "again", "NoNewPrivs:\t1"]


@pytest.mark.root
async def test_limits_hold_and_out_of_memory_is_named() -> None:
    async with podhost() as (runtime, directory):
        if runtime.cgroups == "none":
            pytest.skip(f"no limits here: {runtime.cgroups_reason}")
        grow = f"exec {sys.executable} -c 'x = bytearray(300 << 20); print(len(x))'"
        limits = Limits(memory_bytes=64 << 20)
        await runtime.start(shell("memory", grow, directory, limits=limits))
        assert (await ended(runtime, "memory")).reason == "OOMKilled"
        burn = "while :; do :; done"
        await runtime.start(shell("cpu", burn, directory, limits=Limits(cpu_cores=0.2)))
        await asyncio.sleep(2)
        cpu, memory = await runtime.usage("cpu")
        assert 0.1 < cpu < 0.8
        assert memory > 0


@pytest.mark.root
async def test_all_pods_together_have_a_limit() -> None:
    async with podhost() as (runtime, directory):
        if runtime.cgroups == "none":
            pytest.skip(f"no limits here: {runtime.cgroups_reason}")
        await runtime.limit_pods(64 << 20, 30)
        many = "for i in $(seq 60); do sleep 1000 & done; sleep 1000"
        for name in ("a", "b"):
            await runtime.start(shell(name, many, directory))
        await runtime.start(shell("envoy", "sleep 1000", directory, of_node=True))
        await until(lambda: lines(directory, "a", "stderr") or lines(directory, "b", "stderr"))
        used = await runtime.pods_usage()
        assert (used.memory_limit, used.pids_limit) == (64 << 20, 30)
        assert used.memory is not None
        assert used.pids is not None
        assert used.pids <= 30, "what is no pod is not counted"
        await runtime.limit_pods(None, None)
        used = await runtime.pods_usage()
        assert (used.memory_limit, used.pids_limit) == (None, None)


AGENT = """
    import asyncio, os, sys
    from pathlib import Path
    from weft.node.podhost_client import ensure_podhost
    from weft.node.runtime import ContainerSpec

    async def main(directory):
        runtime = await ensure_podhost(directory / "run")
        for name, script in (("counts", "while :; do i=$((i+1)); echo $i; sleep 0.02; done"),
                             ("ends", "sleep 0.5; exit 5")):
            log = str(directory / "log" / f"{name}.log")
            env = {"PATH": os.environ["PATH"]}
            argv = ("/bin/sh", "-c", script)
            await runtime.start(ContainerSpec(id=name, argv=argv, env=env, log_path=log))
        os.kill(os.getpid(), 9)

    asyncio.run(main(Path(sys.argv[1])))
"""


async def test_containers_outlive_their_agent() -> None:
    async with podhost() as (runtime, directory):
        await runtime.close()
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-c", textwrap.dedent(AGENT), str(directory)
        )
        assert await agent.wait() == -9
        await asyncio.sleep(1)
        again = await ensure_podhost(directory / "run")
        assert (await ended(again, "ends")).exit_code == 5
        states = {state.id: state for state in await again.list()}
        assert states["counts"].exit_code is None
        assert alive(states["counts"].pid)
        await again.kill("counts")
        await ended(again, "counts")
        await again.remove("counts")
        numbers = [int(line) for line in lines(directory, "counts")]
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) > 20
        await again.close()
        await runtime.connect()


async def test_a_killed_podhost_is_replaced_and_adopts_what_runs() -> None:
    async with podhost() as (runtime, directory):
        count = "while :; do i=$((i+1)); echo $i; sleep 0.01; done"
        spec = shell("counts", count, directory)
        started = await runtime.start(spec)
        await runtime.start(shell("ends", "sleep 1; exit 6", directory))
        first = runtime.podhost_pid
        kill(first)
        await until(lambda: runtime.podhost_pid != first and not alive(first))
        states = {state.id: state for state in await runtime.list()}
        assert states["counts"].exit_code is None
        assert states["counts"].pid == started.pid
        state = await ended(runtime, "ends")
        # The kernel tells the status of strangers since 6.15; else it is honestly unknown.
        assert (state.exit_code, state.reason) in ((6, "Error"), (137, "ContainerStatusUnknown"))
        assert (await runtime.exec("counts", ("echo", "inside"), 5)).output == b"inside\n"
        assert (await runtime.start(spec)).pid == started.pid
        await runtime.kill("counts")
        assert (await ended(runtime, "counts")).exit_code == 137
        await runtime.remove("counts")
        numbers = [int(line) for line in lines(directory, "counts")]
        assert numbers == list(range(1, len(numbers) + 1))


async def test_what_ended_while_no_podhost_ran_is_reported() -> None:
    async with podhost() as (runtime, directory):
        started = await runtime.start(shell("c", "sleep 60", directory))
        waiting = asyncio.ensure_future(ended(runtime, "c"))
        await asyncio.sleep(0.1)
        kill(runtime.podhost_pid)
        kill(started.pid)
        state = await waiting
        assert (state.exit_code, state.reason) in ((137, "Error"), (137, "ContainerStatusUnknown"))


async def test_respawned_containers_come_back_at_once_until_stopped() -> None:
    async with podhost() as (runtime, directory):
        started = await runtime.start(shell("d", "sleep 60", directory, respawn=True))
        kill(started.pid)
        begun = time.monotonic()

        async def restarted(times: int) -> int:
            while True:
                state = (await runtime.list())[0]
                if state.restarts >= times and state.pid and alive(state.pid):
                    return state.pid
                await asyncio.sleep(0.01)

        second = await asyncio.wait_for(restarted(1), 5)
        assert time.monotonic() - begun < 5
        kill(runtime.podhost_pid)  # both die: a new pod host starts it again
        kill(second)
        await asyncio.wait_for(restarted(2), 10)
        await runtime.signal("d", signal.SIGTERM)
        state = await ended(runtime, "d")
        assert (state.exit_code, state.restarts) == (143, 2)


async def test_no_output_is_lost_and_nobody_dies_when_the_log_writer_is_killed() -> None:
    async with podhost() as (runtime, directory):
        script = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo $i; done; sleep 1; echo end"
        await runtime.start(shell("c", script, directory))
        await until(lambda: lines(directory, "c"))
        for _ in range(3):
            await asyncio.sleep(0.1)
            for pid in _log_writers(directory / "run"):
                kill(pid)
        assert (await ended(runtime, "c")).exit_code == 0
        await runtime.remove("c")
        seen = lines(directory, "c")
        assert seen[-1] == "end"
        assert len(seen) >= 3000 - 5  # the chunk in flight may be lost, nothing more


def _log_writers(run_dir: Path) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if str(run_dir).encode() in words and any(w.endswith(b"/logwriter") for w in words):
            found.append(int(path.parent.name))
    return found


async def test_logs_rotate() -> None:
    async with podhost() as (runtime, directory):
        await runtime.start(shell("c", "yes 0123456789012345678 | head -c 30000000", directory))
        await ended(runtime, "c")
        await runtime.remove("c")
        files = sorted(log_of(directory, "c").parent.iterdir())
        assert [f.name for f in files] == ["c.log", "c.log.1", "c.log.2", "c.log.3", "c.log.4"]
        assert all(f.stat().st_size < 11 << 20 for f in files)


async def test_every_listener_gets_every_end() -> None:
    async with podhost() as (runtime, directory):
        other = await ensure_podhost(directory / "run")
        waits = [asyncio.ensure_future(ended(r, "c")) for r in (runtime, runtime, other)]
        await asyncio.sleep(0.1)
        await runtime.start(shell("c", "exit 4", directory))
        assert [(await wait).exit_code for wait in waits] == [4, 4, 4]
        assert other.podhost_pid == runtime.podhost_pid
        await other.close()


async def test_shutdown_leaves_no_process_and_no_state() -> None:
    async with podhost() as (runtime, directory):
        pids = [
            (await runtime.start(shell(f"c{i}", "setsid sleep 60 & sleep 60", directory))).pid
            for i in range(3)
        ]
        await until(lambda: _log_writers(directory / "run"))
        await runtime.shutdown()
        assert not any(alive(pid) for pid in pids)
        await until(lambda: not _log_writers(directory / "run"))
        assert sorted(p.name for p in (directory / "run").iterdir()) == [
            "podhost.lock",
            "podhost.log",
        ]
        assert (directory / "run/podhost.log").read_text() == ""
        await runtime.close()
        await runtime.connect()
