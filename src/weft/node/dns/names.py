"""The file in which the daemon tells the DNS server the names of now.

It outlives the daemon: a server that is started again answers with what was last known.
"""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from weft.node.dns.zone import Zone

log = logging.getLogger("weft.node")

LOOK_SECONDS = 0.001
"""Between two looks whether the file changed."""


class Names(Struct, frozen=True, omit_defaults=True):
    """Fields may be added, with a default: during an upgrade one version reads what the other
    wrote."""

    zone: Zone
    namespaces: Mapping[str, str]
    """Of pods, by address: whose questions they are."""
    upstreams: tuple[str, ...]
    """The machine's resolvers: IPs, with `#port` when it is not 53."""


def encoded(names: Names) -> bytes:
    """What the file holds."""
    return msgspec.msgpack.encode(names)


class NamesFile:
    """Reads it when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._decoder = msgspec.msgpack.Decoder(Names)
        self._looked = 0.0
        self._version: tuple[int, int] | None = None
        self._names: Names | None = None

    def read(self) -> Names | None:
        """The names of now; None when nobody said any yet. One that cannot be read changes
        nothing."""
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return self._names
        self._looked = now
        try:
            found = os.stat(self._path)
            version = (found.st_ino, found.st_mtime_ns)
            if version != self._version:
                self._version = version
                with open(self._path, "rb") as file:
                    self._names = self._decoder.decode(file.read())
        except FileNotFoundError:
            pass
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("names not read path=%s error=%s", self._path, error)
        return self._names
