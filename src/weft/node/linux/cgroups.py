"""Control groups of version 1, 2, hybrid or none: limits, usage, OOM kills, kill, remove.

Groups are always below the group this process itself is in (or, for root at the root of the
hierarchy, below the root): a limit set on weft holds for its pods. On version 2 an own group is
used only when it is delegated, because systemd stops a whole undelegated unit when one process in
it is killed for memory.
"""

import contextlib
import errno
import os

_V1_CONTROLLERS = ("cpu", "cpuacct", "memory", "pids")
_V2_CONTROLLERS = ("memory", "cpu", "pids")
_PERIOD_MICROSECONDS = 100_000
_QUOTA_MIN_MICROSECONDS = 1000
_MOVE_ROUNDS_MAX = 20
_OWN_LEAF = "weft-node"
_UNLIMITED_BYTES = 1 << 60
"""Version 1 says a number of this size for no limit."""
PODS = "pods"
"""The group that those of all pods are in."""


def _read(path: str) -> str:
    with open(path) as file:
        return file.read()


def _write(path: str, value: object) -> None:
    with open(path, "w") as file:
        file.write(str(value))


def _try_write(path: str, value: object) -> bool:
    try:
        _write(path, value)
    except OSError:
        return False
    return True


def _numbers(path: str) -> dict[str, int]:
    pairs = (line.split()[:2] for line in _read(path).splitlines() if line)
    return {name: int(value) for name, value in pairs if value.lstrip("-").isdigit()}


class Group:
    """One container's group: a directory (version 2) or one per controller (version 1).

    `directories` maps controller names to paths; version 2 has the single key "". Empty: there
    are no groups on this machine, every call does nothing.
    """

    def __init__(self, directories: dict[str, str]) -> None:
        self.directories = directories

    def _of(self, controller: str) -> str:
        return self.directories.get("") or self.directories.get(controller, "")

    @property
    def unified(self) -> bool:
        return "" in self.directories

    def create(self, cpu_cores: float | None, memory_bytes: int | None, pids: int | None) -> None:
        """Make it with its limits (None: no limit). OSError when a limit cannot be set."""
        for path in self.directories.values():
            os.makedirs(path, exist_ok=True)
        self.change(cpu_cores, memory_bytes, pids)

    def change(self, cpu_cores: float | None, memory_bytes: int | None, pids: int | None) -> None:
        """Set limits, of one that is there; None leaves one as it is. OSError."""
        if self.unified:
            self._limit_v2(cpu_cores, memory_bytes, pids)
        elif self.directories:
            self._limit_v1(cpu_cores, memory_bytes, pids)

    def _limit_v2(self, cores: float | None, memory: int | None, pids: int | None) -> None:
        path = self.directories[""]
        if cores is not None:
            quota = max(_QUOTA_MIN_MICROSECONDS, int(cores * _PERIOD_MICROSECONDS))
            _write(f"{path}/cpu.max", f"{quota} {_PERIOD_MICROSECONDS}")
        if memory is not None:
            _write(f"{path}/memory.max", memory)
            _try_write(f"{path}/memory.swap.max", 0)
        if pids is not None:
            _write(f"{path}/pids.max", pids)

    def _limit_v1(self, cores: float | None, memory: int | None, pids: int | None) -> None:
        if cores is not None and (path := self._of("cpu")):
            quota = max(_QUOTA_MIN_MICROSECONDS, int(cores * _PERIOD_MICROSECONDS))
            _write(f"{path}/cpu.cfs_period_us", _PERIOD_MICROSECONDS)
            _write(f"{path}/cpu.cfs_quota_us", quota)
        if memory is not None and (path := self._of("memory")):
            # The limit with swap is never below the one without: which comes first depends.
            _try_write(f"{path}/memory.memsw.limit_in_bytes", memory)
            _write(f"{path}/memory.limit_in_bytes", memory)
            _try_write(f"{path}/memory.memsw.limit_in_bytes", memory)
        if pids is not None and (path := self._of("pids")):
            _write(f"{path}/pids.max", pids)

    def limit(self, memory_bytes: int | None, pids: int | None) -> None:
        """Replace its limits of memory and processes; None: no limit. OSError: below what it has
        now, or there is no controller for it."""
        limits = [("pids", "pids.max", "pids.max", pids)]
        limits.append(("memory", "memory.limit_in_bytes", "memory.max", memory_bytes))
        for controller, file_v1, file_v2, value in limits:
            path = self._of(controller)
            if not path and value is not None:
                raise OSError(errno.ENOENT, f"no {controller} controller for limits")
            if not path:
                continue
            none = "max" if self.unified or controller == "pids" else -1
            name = file_v2 if self.unified else file_v1
            try:
                _write(f"{path}/{name}", none if value is None else value)
            except FileNotFoundError:
                if value is not None:
                    raise

    def running(self) -> tuple[int, int | None]:
        """Processes and threads in it and below, and how many there may be. OSError."""
        path = self._of("pids")
        most = _read(f"{path}/pids.max").strip()
        return int(_read(f"{path}/pids.current")), int(most) if most.isdigit() else None

    def memory_limit(self) -> int | None:
        """OSError."""
        name = "memory.max" if self.unified else "memory.limit_in_bytes"
        text = _read(f"{self._of('memory')}/{name}").strip()
        return int(text) if text.isdigit() and int(text) < _UNLIMITED_BYTES else None

    def kill_all_on_oom(self) -> None:
        """One process out of memory ends the whole container (version 2 only)."""
        if self.unified:
            _try_write(f"{self.directories['']}/memory.oom.group", 1)

    def enter(self) -> None:
        """Move the calling process into it. OSError."""
        for path in self.directories.values():
            _write(f"{path}/cgroup.procs", 0)

    def processes(self) -> tuple[int, ...]:
        for path in self.directories.values():
            try:
                pids = (int(pid) for pid in _read(f"{path}/cgroup.procs").split())
                return tuple(pid for pid in pids if pid > 1)  # 0 is one we cannot see
            except OSError:
                return ()
        return ()

    def kill(self, signal_number: int) -> bool:
        """Kill what is in it now; True when nothing was left. Version 1 has no kill at once, so
        no new processes are allowed and callers come again."""
        if self.unified and _try_write(f"{self.directories['']}/cgroup.kill", 1):
            return not self.processes()
        if path := self._of("pids"):
            _try_write(f"{path}/pids.max", 0)
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal_number)
        return not left

    def out_of_memory_kills(self) -> int:
        """Processes killed for this group's memory limit so far."""
        with contextlib.suppress(OSError):
            if self.unified:
                return _numbers(f"{self.directories['']}/memory.events").get("oom_kill", 0)
            if path := self._of("memory"):
                return _numbers(f"{path}/memory.oom_control").get("oom_kill", 0)
        return 0

    def usage(self) -> tuple[float, int]:
        """CPU seconds so far and working set bytes; zeros where nothing counts them."""
        try:
            if self.unified:
                path = self.directories[""]
                cpu = _numbers(f"{path}/cpu.stat").get("usage_usec", 0) / 1e6
                inactive = _numbers(f"{path}/memory.stat").get("inactive_file", 0)
                return cpu, max(0, int(_read(f"{path}/memory.current")) - inactive)
            cpu, memory = 0.0, 0
            if path := self._of("cpuacct"):
                cpu = int(_read(f"{path}/cpuacct.usage")) / 1e9
            if path := self._of("memory"):
                inactive = _numbers(f"{path}/memory.stat").get("total_inactive_file", 0)
                memory = max(0, int(_read(f"{path}/memory.usage_in_bytes")) - inactive)
        except OSError:
            return 0.0, 0
        return cpu, memory

    def remove(self) -> bool:
        """Remove the directories; False while the kernel still holds one (try again)."""
        gone = True
        for path in self.directories.values():
            try:
                os.rmdir(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                gone = False
        return gone


class Cgroups:
    """Where this process may make groups. `mode` is v2, v1 or none; `reason` says why none."""

    def __init__(self, name: str) -> None:
        """`name` is the directory for our groups. Moves processes only within a delegated group."""
        self.mode = "none"
        self.reason = ""
        self._parents: dict[str, str] = {}
        try:
            mounts, own = _mounts(), _own_paths()
        except OSError as error:
            self.reason = f"cgroups cannot be read: {error}"
            return
        unified = mounts.get("")
        if unified is not None and {"memory", "cpu"} <= _controllers(unified[0]):
            self._use_v2(_here(unified, own.get("", "/")), unified[0], name)
        elif "memory" in mounts or "cpu" in mounts:
            self._use_v1(mounts, own, name)
        else:
            self.reason = "no cgroup controllers are mounted"

    def group(self, path: str) -> Group:
        """The group of this name (not made yet)."""
        return Group({key: f"{parent}/{path}" for key, parent in self._parents.items()})

    def pods(self) -> Group:
        """The group of all pods, made if need be. OSError."""
        group = self.group(PODS)
        for path in group.directories.values():
            os.makedirs(path, exist_ok=True)
            if group.unified:
                _enable(path)
        return group

    def close(self) -> None:
        """Remove the own directories if nothing is left in them."""
        for parent in self._parents.values():
            with contextlib.suppress(OSError):  # other containers are still there
                with contextlib.suppress(FileNotFoundError):
                    os.rmdir(f"{parent}/{PODS}")
                os.rmdir(parent)

    def _use_v1(self, mounts: dict[str, tuple[str, str]], own: dict[str, str], name: str) -> None:
        for controller in _V1_CONTROLLERS:
            if controller not in mounts:
                continue
            path = f"{_here(mounts[controller], own.get(controller, '/'))}/{name}"
            try:
                os.makedirs(path, exist_ok=True)
            except OSError as error:
                why = f"{controller}: {error.strerror}"
                self.reason = f"{self.reason}; {why}" if self.reason else why
                continue
            if os.access(f"{path}/cgroup.procs", os.W_OK):
                self._parents[controller] = path
        self.mode = "v1" if self._parents else "none"

    def _use_v2(self, own: str, root: str, name: str) -> None:
        try:
            if own == root:
                if os.geteuid() != 0:
                    self.reason = "the root cgroup is not this user's"
                    return
                parent = f"{root}/{name}"
            else:
                if os.path.basename(own) == _OWN_LEAF:  # an earlier pod host moved us there
                    own = os.path.dirname(own)
                if not _delegated(own):
                    self.reason = f"{own} is not delegated (systemd-run --scope -p Delegate=yes)"
                    return
                _move_all(own, f"{own}/{_OWN_LEAF}")
                parent = f"{own}/{name}"
            _enable(own)
            os.makedirs(parent, exist_ok=True)
            _enable(parent)
        except OSError as error:
            self.reason = f"{own}: {error.strerror}"
            return
        self.mode = "v2"
        self._parents = {"": parent}


def _mounts() -> dict[str, tuple[str, str]]:
    """Controller ("" is version 2) -> (mount point, root of the mount)."""
    found: dict[str, tuple[str, str]] = {}
    for line in _read("/proc/self/mountinfo").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.split(" ", 2)
        columns = fields.split()
        place = (_unescape(columns[4]), _unescape(columns[3]))
        if kind == "cgroup2":
            found.setdefault("", place)
        elif kind == "cgroup":
            for option in options.split(","):
                if option in _V1_CONTROLLERS:
                    found.setdefault(option, place)
    return found


def path_below_mount(group: Group) -> str:
    """A group's path from its hierarchy's root, as OCI runtimes want it; "" without groups."""
    path = group.directories.get("") or group.directories.get("memory", "")
    point = _mounts().get("" if group.unified else "memory", ("", ""))[0]
    return path.removeprefix(point) if path and point and path.startswith(point + "/") else ""


def _unescape(path: str) -> str:
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def group_of(pid: int) -> Group:
    """The group that others put a process in; an empty one when it has none of its own."""
    try:
        mounts, own = _mounts(), _own_paths(str(pid))
    except OSError:
        return Group({})
    unified = mounts.get("")
    names = [c for c in _V1_CONTROLLERS if c in mounts]
    if unified is not None and {"memory", "cpu"} <= _controllers(unified[0]):
        names = [""]
    found = {name: _here(mounts[name], own.get(name, "/")) for name in names}
    return Group({c: path for c, path in found.items() if path != mounts[c][0]})


def _own_paths(pid: str = "self") -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _read(f"/proc/{pid}/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _here(mount: tuple[str, str], own: str) -> str:
    point, root = mount
    if root != "/" and (own == root or own.startswith(root + "/")):
        own = own[len(root) :]
    return os.path.normpath(point + "/" + own)


def _controllers(path: str) -> set[str]:
    try:
        return set(_read(f"{path}/cgroup.controllers").split())
    except OSError:
        return set()


def _delegated(path: str) -> bool:
    """systemd marks what it delegated; without systemd a writable group is ours."""
    writable = all(
        os.access(f"{path}/{name}", os.W_OK) for name in ("cgroup.procs", "cgroup.subtree_control")
    )
    if not writable:
        return False
    if not os.path.isdir("/run/systemd/system"):
        return True
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(path, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _move_all(source: str, target: str) -> None:
    """A group with controllers for its children may hold no processes itself."""
    os.makedirs(target, exist_ok=True)
    for _ in range(_MOVE_ROUNDS_MAX):
        pids = _read(f"{source}/cgroup.procs").split()
        if not pids:
            return
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                _write(f"{target}/cgroup.procs", pid)


def _enable(path: str) -> None:
    available = _controllers(path)
    for controller in _V2_CONTROLLERS:
        if controller in available:
            ok = _try_write(f"{path}/cgroup.subtree_control", f"+{controller}")
            if not ok and controller != "pids":
                raise OSError(errno.EACCES, f"controller {controller} cannot be enabled")
