"""Directories of this node's persistent volumes: removed once their volume is released and to be
deleted. They are made when a pod first needs them (`volume_files`)."""

import asyncio
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from weft.api import persistent_volumes as pv
from weft.api.errors import ApiError
from weft.api.k8s.core_v1 import Node
from weft.api.k8s.persistent_volume_v1 import PersistentVolume
from weft.api.k8s.pod_v1 import Pod
from weft.api.registry import kind_for
from weft.api.snapshot import Snapshot
from weft.runtime.client import Client
from weft.runtime.informer import Informers

log = logging.getLogger("weft.node")

RETRY_SECONDS = 2.0
"""After something could not be removed."""
NOT_FOUND, CONFLICT = 404, 409


class LocalVolumes:
    """Looks after the volumes of one node. Construct before the informers are waited for."""

    def __init__(self, client: Client, informers: Informers, node_name: str) -> None:
        self._client = client
        self._objects: Snapshot = informers.cache
        self._node_name = node_name
        self._wake = asyncio.Event()
        informers.add(PersistentVolume)
        informers.add(Node)
        informers.subscribe(self._changed)

    def _changed(self, cls: type[Struct], before: Struct | None, after: Struct | None) -> None:
        if cls in (PersistentVolume, Pod):
            self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            self._wake.clear()
            failed = False
            for volume in tuple(due(self._objects, self._node_name)):
                failed |= not await self._remove(volume)
            try:
                async with asyncio.timeout(RETRY_SECONDS if failed else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _remove(self, volume: PersistentVolume) -> bool:
        """The directory (unless it is to stay), the finalizer, the volume; False: try again."""
        found = volume.metadata
        try:
            if deletes(volume):
                await asyncio.to_thread(_remove_tree, _path(volume))
            rest = [f for f in found.finalizers if f != pv.FINALIZER_DIRECTORY]
            body = {"metadata": {"finalizers": rest, "resourceVersion": found.resource_version}}
            kind = kind_for(PersistentVolume)
            await self._client.patch(kind, found.name, body)
            if not found.deletion_timestamp:
                await self._client.delete(kind, found.name, uid=found.uid)
        except ApiError as error:
            return error.code in (NOT_FOUND, CONFLICT)
        except OSError as error:
            log.warning("volume not removed name=%s error=%s", found.name, error)
            return False
        return True


def due(objects: Snapshot, node_name: str) -> Iterable[PersistentVolume]:
    """Volumes of ours on this node that are over: released and to be deleted, or deleted by
    somebody and bound to nobody."""
    node = objects.get(Node, node_name)
    if node is None:
        return
    for volume in objects.list(PersistentVolume):
        if not pv.is_ours(volume) or pv.FINALIZER_DIRECTORY not in volume.metadata.finalizers:
            continue
        over = volume.status.phase == "Released" and (
            deletes(volume) or bool(volume.metadata.deletion_timestamp)
        )
        unused = volume.metadata.deletion_timestamp and volume.status.phase != "Bound"
        if (over or unused) and pv.reaches(volume, node):
            yield volume


def deletes(volume: PersistentVolume) -> bool:
    """Whether its data goes with it."""
    return volume.spec.persistent_volume_reclaim_policy == "Delete"


def _path(volume: PersistentVolume) -> Path:
    return Path(volume.spec.local.path) if volume.spec.local is not None else Path()


def _remove_tree(path: Path) -> None:
    """Only what weft named itself; OSError when something is left."""
    if path.name.startswith("pvc-") and path.is_absolute() and path.exists():
        shutil.rmtree(path)
