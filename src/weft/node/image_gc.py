"""Removes images that no pod needs when the disk fills, as kubelet does: the one that was needed
longest ago first.

Only images that were pulled: an imported one, and a process image, cannot be had again.
"""

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from msgspec import Struct

from weft.node.images import ImageStore, layers_in_use
from weft.node.oci.documents import ImageError
from weft.node.runtime import Image

HIGH_PERCENT_DEFAULT = 85
LOW_PERCENT_DEFAULT = 80
AGE_SECONDS_MIN = 120.0
"""An image that came less than this long ago is kept (kubelet's minimum TTL)."""


class Seen(Struct, frozen=True):
    """Of an image."""

    detected: float
    used: float = 0.0


def noticed(
    seen: Mapping[str, Seen], images: Collection[Image], used: Collection[str], now: float
) -> dict[str, Seen]:
    """What is known of the images after a look. Pure."""
    return {
        image.name: Seen(
            seen[image.name].detected if image.name in seen else now,
            now if image.name in used else seen[image.name].used if image.name in seen else 0.0,
        )
        for image in images
    }


def removable(
    seen: Mapping[str, Seen],
    images: Collection[Image],
    used: Collection[str],
    now: float,
    age: float = AGE_SECONDS_MIN,
) -> tuple[str, ...]:
    """Names of the images that may go, in order. Pure."""
    found = [
        image.name
        for image in images
        if image.oci is not None and image.oci.origin == "pull" and image.name not in used
        and now - seen[image.name].detected >= age
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda name: (seen[name].used, seen[name].detected)))


class ImageCollector:
    """Of one image store. Blocking."""

    def __init__(
        self,
        store: ImageStore,
        run_dir: Path,
        high_percent: int = HIGH_PERCENT_DEFAULT,
        low_percent: int = LOW_PERCENT_DEFAULT,
    ) -> None:
        """At `high_percent` of use and more, images go until it is `low_percent`; a high one of
        100 turns this off."""
        self._store = store
        self._run_dir = run_dir
        self._high = high_percent
        self._low = low_percent
        self._seen: dict[str, Seen] = {}

    @property
    def directory(self) -> str:
        """Where the images are."""
        return str(self._store.directory)

    def look(self, used: Collection[str], now: float) -> list[str]:
        """Remember which are used; remove some when the disk is as full as that. Their names."""
        names = self._note(used, now)
        if self._high >= 100 or self._percent() < self._high:
            return []
        return self._remove(names, now, lambda: self._percent() <= self._low, AGE_SECONDS_MIN)

    def free(self, used: Collection[str], now: float) -> list[str]:
        """Remove all that may go, and content that no image has: the node runs short."""
        return self._remove(self._note(used, now), now, lambda: False, 0.0)

    def _note(self, used: Collection[str], now: float) -> frozenset[str]:
        resolved = (self._store.resolve(name) for name in used)
        names = frozenset(image.name for image in resolved if image is not None)
        self._seen = noticed(self._seen, self._store.list(), names, now)
        return names

    def _percent(self) -> float:
        place = self._store.directory
        path = place if place.is_dir() else place.parent
        fs = os.statvfs(path)
        return 100.0 * (1 - fs.f_bavail / fs.f_blocks) if fs.f_blocks else 0.0

    def _remove(
        self, used: Collection[str], now: float, enough: Callable[[], bool], age: float
    ) -> list[str]:
        gone: list[str] = []
        self._prune()
        for name in removable(self._seen, self._store.list(), used, now, age):
            if enough():
                break
            self._store.remove(name)
            self._prune()
            gone.append(name)
        return gone

    def _prune(self) -> None:
        try:
            self._store.prune(layers_in_use(self._run_dir))
        except (ImageError, OSError):
            return  # an image is being written, or not even a lock can be; another time
