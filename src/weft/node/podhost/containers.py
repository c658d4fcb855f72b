"""All containers of a pod host: start, end, respawn, adoption, removal."""

import contextlib
import hashlib
import os
import select
import shutil
import signal
import time
from collections.abc import Callable
from typing import Any

from weft.node.linux.cgroups import PODS, Cgroups, Group
from weft.node.podhost import console, loglink, oci, procs, spawn
from weft.node.podhost.records import (
    EXIT_START_ERROR,
    EXIT_UNKNOWN,
    REASON_UNKNOWN,
    Container,
    ending,
    load,
)
from weft.node.podhost.wire import Message

RESPAWN_SECONDS = (0.0, 0.1, 0.3, 1.0, 3.0)
"""Waits before the first, second, ... restart in a row; the last one repeats."""
RESPAWN_RESET_SECONDS = 10.0
"""After running this long the next restart is the first again."""
LOG_DRAIN_SECONDS = 3.0
"""How long a removal waits for the log writer to write the rest."""
STRANGER_STATUS_SECONDS = 1.5
"""How long after its end an adopted process may be waiting for its parent to reap it."""
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
_RETRY_SECONDS = 0.01
_NEVER = float("inf")

To = tuple[int, Any]
"""Whom to answer: client and request number."""


class Containers:
    """The containers by id; `tick` does what is due, `deadline` says when."""

    def __init__(
        self,
        run_dir: str,
        poll: select.epoll,
        broadcast: Callable[[Message], None],
        answer: Callable[[To, Message], None],
    ) -> None:
        self._directory = f"{run_dir}/containers"
        os.makedirs(self._directory, 0o700, exist_ok=True)
        self._poll = poll
        self._broadcast = broadcast
        self._answer = answer
        name = "weft-" + hashlib.sha256(run_dir.encode()).hexdigest()[:8]
        self._cgroups = Cgroups(name)
        self.how = spawn.privilege(run_dir)
        self._logs = loglink.LogLink(run_dir)
        self._all: dict[str, Container] = {}
        self._by_pid: dict[int, Container] = {}
        self._by_pidfd: dict[int, Container] = {}
        self._strangers: dict[int, tuple[Container, float]] = {}
        """Ended adopted processes by pidfd, until the kernel tells their status or it is late."""
        self._respawns: dict[str, float] = {}
        self._streaks: dict[str, int] = {}
        self._leftovers: set[str] = set()
        """Ended containers in which processes may still run."""
        self._removals: dict[str, tuple[list[To], float]] = {}
        self._log_fd = -1

    @property
    def facts(self) -> Message:
        return {
            "cgroups": self._cgroups.mode,
            "cgroups_reason": self._cgroups.reason,
            "privilege": self.how,
            "images": True,
        }

    # --- requests

    def start(self, spec: dict[str, Any], now: float) -> Message:
        """Start it, or the state of the one with this id."""
        container_id = str(spec["id"])
        if "/" in container_id or container_id in ("", ".", ".."):
            raise ValueError(f"not a container id: {container_id!r}")
        known = self._all.get(container_id)
        if known is not None:
            return known.view()
        directory = f"{self._directory}/{container_id}"
        shutil.rmtree(directory, ignore_errors=True)
        os.mkdir(directory, 0o700)
        container = Container(spec, directory)
        self._all[container_id] = container
        self._launch(container, now)
        return container.view()

    def signal(self, container_id: str, number: int, now: float) -> None:
        container = self._all.get(container_id)
        if container is not None and container.running:
            self._no_respawn(container, number, now)
            self._signal_main(container, number)

    def retire(self, container_id: str) -> None:
        """When it ends, it is not started again."""
        self.running(container_id).stopping = True
        self._all[container_id].save()

    def kill(self, container_id: str, now: float) -> None:
        container = self._all.get(container_id)
        if container is None:
            return
        if container.running:
            self._no_respawn(container, signal.SIGKILL, now)
            self._signal_main(container, signal.SIGKILL)
        self._leftovers.add(container_id)

    def kill_all(self, now: float) -> None:
        for container_id in list(self._all):
            self.kill(container_id, now)

    def remove(self, container_id: str, to: To, now: float) -> None:
        """Answers when everything it held is free; a running one is killed."""
        if container_id not in self._all:
            self._answer(to, {})
            return
        self.kill(container_id, now)
        waiting, until = self._removals.get(container_id, ([], now + LOG_DRAIN_SECONDS))
        self._removals[container_id] = ([*waiting, to], until)

    def limit(self, container_id: str, limits: dict[str, Any]) -> None:
        """Change the limits of one that runs. LookupError; ValueError when it uses more memory;
        OSError."""
        container = self.running(container_id)
        memory = limits["memory_bytes"]
        used = container.group.usage()[1]
        if memory is not None and used > memory:
            raise ValueError(f"it uses {used} bytes of memory, more than the new limit {memory}")
        container.group.change(limits["cpu_cores"], memory, limits["pids"])
        container.spec["limits"] = limits
        container.save()

    def usage(self, container_id: str) -> tuple[float, int]:
        """CPU seconds and working set; where no control group counts, of its processes."""
        container = self.running(container_id)
        counted = container.group.usage()
        if any(counted):
            return counted
        found = procs.members(container.id, container.pid, container.starttime)
        return procs.usage(found)

    def limit_pods(self, memory_bytes: int | None, pids: int | None) -> None:
        """For all pods together. OSError says why it is not enforced."""
        if self._cgroups.mode == "none" and (memory_bytes, pids) != (None, None):
            raise OSError(self._cgroups.reason or "there are no control groups")
        self._cgroups.pods().limit(memory_bytes, pids)

    def pods_usage(self) -> Message:
        """Of all pods together; None where it is not counted or not limited."""
        group = self._cgroups.group(PODS)
        found: Message = {"memory_limit": None, "memory": None, "pids_limit": None, "pids": None}
        with contextlib.suppress(OSError):
            found["memory_limit"] = group.memory_limit()
            found["memory"] = group.usage()[1]
        with contextlib.suppress(OSError):
            found["pids"], found["pids_limit"] = group.running()
        return found

    def running(self, container_id: str) -> Container:
        """LookupError."""
        container = self._all.get(container_id)
        if container is None or not container.running or not container.pid:
            raise LookupError(f"container {container_id} does not run")
        return container

    def views(self) -> list[Message]:
        return [container.view() for container in self._all.values()]

    # --- life of a container

    def _launch(self, container: Container, now: float) -> None:
        container.pid = container.starttime = 0
        container.started_at = now
        suffix = f".{container.restarts}" if container.restarts else ""
        parent = "" if container.spec.get("of_node") else f"{PODS}/"
        container.group = self._cgroups.group(parent + container.id + suffix)
        container.save()  # before the fork: what a killed pod host started is found by its group
        try:
            message = self._spawn(container)
        except OSError as error:
            message = f"{error.filename or ''} {error.strerror}".strip()
        if message:
            if container.pid:
                os.waitpid(container.pid, 0)
            container.finish(EXIT_START_ERROR, 0, "StartError", message, time.time())
            self._finished(container)
            return
        container.starttime = procs.starttime(container.pid)
        self._by_pid[container.pid] = container
        container.save()

    def _spawn(self, container: Container) -> str:
        if not container.spec.get("of_node"):
            self._cgroups.pods()
        container.limit()
        files = console.open_files(container)
        self._logs.open(container)
        try:
            if container.spec.get("rootfs"):
                if other := container.spec.get("processes_of"):
                    refused = oci.share_processes(container, self._all.get(other), self.how)
                    if refused:
                        return refused
                return oci.start(container, files, self.how)
            return spawn.start(container, files, self.how)
        finally:
            for fd in files:
                if fd >= 0:
                    os.close(fd)

    def ended(self, pid: int, status: int, now: float) -> None:
        """A child ended. Unknown ones are orphans of containers."""
        container = self._by_pid.pop(pid, None)
        if container is not None:
            exit_code, number, reason = ending(status, container.group.out_of_memory_kills() > 0)
            self._end(container, exit_code, number, reason, now)

    def _end(self, c: Container, exit_code: int, number: int, reason: str, now: float) -> None:
        if not self._kill_rest(c):
            self._leftovers.add(c.id)
        if c.spec["respawn"] and not c.stopping:
            ran = now - c.started_at
            streak = 0 if ran > RESPAWN_RESET_SECONDS else self._streaks.get(c.id, 0)
            self._streaks[c.id] = streak + 1
            self._respawns[c.id] = now + RESPAWN_SECONDS[min(streak, len(RESPAWN_SECONDS) - 1)]
            c.pid = 0
            c.message = f"ended with exit code {exit_code} ({reason}), starting again"
            c.save()
            return
        c.finish(exit_code, number, reason, "", now)
        self._finished(c)

    def attach(self, container: Container, outputs: dict[str, int]) -> None:
        """What it prints from now on also goes to these descriptors, which stay the caller's."""
        if not container.spec["log_path"]:
            raise LookupError(f"container {container.id} has no log to listen in on")
        self._logs.attach(container, outputs)

    def _finished(self, container: Container) -> None:
        self._logs.end(container)
        console.close(container)
        self._broadcast({"event": container.view()})

    def _respawn(self, container: Container, now: float) -> None:
        old = container.group
        container.restarts += 1
        container.spec["argv"] = container.spec.get("respawn_argv") or container.spec["argv"]
        self._launch(container, now)
        old.kill(signal.SIGKILL)
        self._leftovers.discard(container.id)
        self._remove_group(old)

    def _remove_group(self, group: Group) -> bool:
        """False while the kernel still holds it."""
        try:
            return group.remove()
        except OSError:  # not ours to remove any more
            return True

    def _no_respawn(self, container: Container, number: int, now: float) -> None:
        """It was asked to end. One that waits for its respawn has ended by that."""
        if number not in _ENDING_SIGNALS or not container.spec["respawn"]:
            return
        container.stopping = True
        container.save()
        if self._respawns.pop(container.id, None) is not None:
            container.finish(128 + number, number, "Error", container.message, now)
            self._finished(container)

    def _signal_main(self, container: Container, number: int) -> None:
        if container.pid and procs.starttime(container.pid) == container.starttime:
            procs.send(container.pid, number)

    def _kill_rest(self, container: Container) -> bool:
        if container.group.directories:
            return container.group.kill(signal.SIGKILL)
        return procs.kill_members(container.id, container.pid, container.starttime)

    # --- adoption

    def adopt(self, now: float) -> None:
        """Take over what a killed pod host left behind."""
        for name in sorted(os.listdir(self._directory)):
            if name.startswith("."):
                continue  # a runtime's own
            container = load(f"{self._directory}/{name}")
            if container is None:
                shutil.rmtree(f"{self._directory}/{name}", ignore_errors=True)
                continue
            self._all[container.id] = container
            if not container.log_done:
                for stream in loglink.STREAMS:
                    if os.path.exists(container.fifo(stream)):
                        container.log_fds.append(loglink.hold(container.fifo(stream)))
            if container.running:
                console.hold(container)
                self._adopt_running(container, now)
            else:
                self._leftovers.add(container.id)

    def _adopt_running(self, container: Container, now: float) -> None:
        if container.pid and procs.starttime(container.pid) == container.starttime:
            try:
                fd = os.pidfd_open(container.pid)
            except OSError:
                fd = -1
            if fd >= 0:
                self._by_pidfd[fd] = container
                self._poll.register(fd, select.EPOLLIN)
                return
        self._end(container, EXIT_UNKNOWN, 0, REASON_UNKNOWN, now)

    def ready(self, fd: int, now: float) -> bool:
        """A descriptor of ours is readable; False when it is not ours."""
        if fd in self._by_pidfd:
            self._poll.unregister(fd)
            self._strangers[fd] = (self._by_pidfd.pop(fd), now + STRANGER_STATUS_SECONDS)
            return True
        if fd == self._log_fd:
            for container_id in self._logs.receive():
                self._log_written(container_id)
            return True
        return False

    def _settle_strangers(self, now: float) -> None:
        for fd, (container, until) in list(self._strangers.items()):
            status = procs.stranger_status(fd, container.pid)
            if status is None and now < until:
                continue
            del self._strangers[fd]
            os.close(fd)
            if status is None:
                self._end(container, EXIT_UNKNOWN, 0, REASON_UNKNOWN, now)
            else:
                killed = container.group.out_of_memory_kills() > 0
                self._end(container, *ending(status, killed), now)

    # --- things that take time

    def tick(self, now: float) -> None:
        self._settle_strangers(now)
        for container_id, at in list(self._respawns.items()):
            if at <= now:
                del self._respawns[container_id]
                self._respawn(self._all[container_id], now)
        for container_id in list(self._leftovers):
            container = self._all[container_id]
            respawning = container.running and container.pid == 0
            if respawning or (not container.running and self._kill_rest(container)):
                self._leftovers.discard(container_id)
        self._tick_logs(now)
        for container_id, (to, until) in list(self._removals.items()):
            self._try_remove(self._all[container_id], to, now > until)

    def _try_remove(self, container: Container, to: list[To], late: bool) -> None:
        if container.running or container.id in self._leftovers:
            return
        if not (container.log_done or late) or not self._remove_group(container.group):
            return
        loglink.release(container)
        oci.forget(container)
        shutil.rmtree(container.directory, ignore_errors=True)
        del self._all[container.id]
        self._streaks.pop(container.id, None)
        del self._removals[container.id]
        for one in to:
            self._answer(one, {})

    def _tick_logs(self, now: float) -> None:
        if self._logs.fileno() == -1:
            self._log_fd = -1  # closing a descriptor also takes it out of the poll
        if not self._logs.tick(now, self._logs_wanted()):
            return
        self._log_fd = self._logs.fileno()
        self._poll.register(self._log_fd, select.EPOLLIN)
        for container in self._all.values():
            if not container.log_done:
                self._logs.open(container)
                if not container.running:
                    self._logs.end(container)

    def _logs_wanted(self) -> bool:
        return any(not container.log_done for container in self._all.values())

    def _log_written(self, container_id: str) -> None:
        container = self._all.get(container_id)
        if container is not None and not container.running:
            loglink.release(container)
            container.save()

    def deadline(self) -> float:
        """When `tick` must run next, epoch seconds."""
        soon = bool(self._strangers or self._leftovers or self._removals)
        times = list(self._respawns.values())
        times.append(time.time() + _RETRY_SECONDS if soon else _NEVER)
        times.append(self._logs.deadline(self._logs_wanted()))
        return min(times)

    def quiet(self) -> bool:
        """Nothing runs any more and every log is written (or it is too late for that)."""
        if any(container.running for container in self._all.values()) or self._leftovers:
            return False
        now = time.time()
        ends = [c.finished_at for c in self._all.values() if not c.log_done]
        return all(now > end + LOG_DRAIN_SECONDS for end in ends)

    def close(self) -> None:
        """After `quiet`: leave nothing behind."""
        for container in self._all.values():
            self._remove_group(container.group)
        self._cgroups.close()
        self._logs.quit()
