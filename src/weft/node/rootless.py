"""An ordinary user's node: whether this process belongs into its user namespace, and how it gets
there. Before any thread starts, for the kernel lets only a process of one thread go."""

from pathlib import Path

from weft.api.wellknown import ISOLATION_HOST
from weft.lib.files import own_directory
from weft.node.linux import userns
from weft.node.linux.capabilities import CAPABILITIES
from weft.node.podhost.wire import SOCKET_NAME
from weft.node.probe import decide

_ROOTS = tuple(1 << CAPABILITIES.index(name) for name in ("SYS_ADMIN", "NET_ADMIN"))


FIRST_ISOLATION = "isolation"
"""File of the data directory: what the instance was started with first."""


def first_isolation(data_dir: str) -> str:
    """Of an ordinary user's instance: its Services have addresses that suit it. Empty for a new
    one; those of before it was written down had the machine's network."""
    try:
        return Path(data_dir, FIRST_ISOLATION).read_text().strip()
    except OSError:
        return ISOLATION_HOST if Path(data_dir, "kubeconfig").exists() else ""


class Place:
    """Where the node of a run directory lives. `enter`, and at the end of the process `leave`."""

    def __init__(self, run_dir: str) -> None:
        self._run_dir = run_dir
        self._keeper = 0
        self._is_new = False

    def enter(self, isolation: str, *, create: bool) -> bool:
        """Go into the node's user namespace, if it has one or (`create`) shall have one with this
        isolation. OSError says why that is impossible."""
        for directory in (Path(self._run_dir).parent, Path(self._run_dir)):
            if create or directory.exists():
                own_directory(directory)  # what others wrote there leads nowhere good
        found = userns.exists(self._run_dir)
        if found and isolation == ISOLATION_HOST:
            raise OSError(
                "pods of an earlier start run in a user namespace; end them with `weft down`, or"
                " leave out --isolation host"
            )
        if not found and (not create or not _wants(isolation)):
            return False
        userns.enter(self._run_dir, create=True)
        self._keeper = userns.keeper_of(self._run_dir)
        self._is_new = not found
        return True

    def leave(self) -> None:
        """When the node has been taken down, or never was, nothing keeps its namespaces."""
        if self._is_new and not Path(self._run_dir, SOCKET_NAME).exists():
            userns.forget(self._run_dir)
        userns.release(self._run_dir, self._keeper)


def _wants(isolation: str) -> bool:
    if isolation == ISOLATION_HOST or _is_root():
        return False
    from weft.node.linux import trial  # noqa: PLC0415 - needed once, and not as root

    return decide(isolation, trial.ask_all()).rootless


def _is_root() -> bool:
    """Whether there is no need to try: what root lacks here, a user namespace lacks as well."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            held = int(line.split()[1], 16)
            return all(held & bit for bit in _ROOTS)
    return False
