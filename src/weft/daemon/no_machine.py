"""In place of a machine where weft runs without a node of its own (`--no-node`)."""

import socket
from pathlib import Path

from weft.daemon.machine import Machine
from weft.lib.instance import Settings
from weft.node.envoy import EnvoyAdmin, EnvoyError, admin_socket
from weft.node.network_host import HostNetwork
from weft.node.podhost import wire
from weft.node.probe import IsolationReport
from weft.node.runtime import ContainerState

NO_ISOLATION = "none"


class NoMachine(Machine):
    """No pod host, no network, no Envoy; needs no root."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.report = IsolationReport(NO_ISOLATION)
        self.network = HostNetwork(Path(settings.run_dir))
        self._admin = EnvoyAdmin(admin_socket(Path(settings.run_dir)))

    @property
    def admin(self) -> EnvoyAdmin:
        """Of no Envoy: whoever asks it is told so."""
        return self._admin

    async def open(self, with_envoy: bool = True) -> None:
        """Raises OSError when pods of an earlier start run on, for nobody would look after them."""
        if _podhost_runs(Path(self.settings.run_dir)):
            raise OSError(
                "pods of an earlier start, with a node, run on here; stop them first: start weft"
                " without --no-node, then `weft down` without --keep-pods"
            )

    async def containers(self) -> tuple[ContainerState, ...]:
        return ()

    async def active(
        self, address: str, ports: tuple[int, ...] = (), *, connections: bool = False
    ) -> int:
        return 0

    async def active_by_cluster(self, address: str, ports: tuple[int, ...] = ()) -> dict[str, int]:
        return {}

    async def envoy_pid(self) -> int:
        return 0

    async def restart_envoy(self) -> None:
        raise EnvoyError("this instance has no node, and no proxy, of its own (--no-node)")

    async def metrics(self) -> bytes:
        return b""

    async def close(self) -> None:
        await self._admin.close()

    async def destroy(self) -> None:
        await self._admin.close()


def _podhost_runs(run_dir: Path) -> bool:
    """The directory's path is short, see `run_dir_of`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(run_dir / wire.SOCKET_NAME))
        except OSError:
            return False
    return True
