"""Images that no pod needs go when the disk is full, those that were needed longest ago first."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import archives
from weft.node.image_gc import ImageCollector, noticed, removable
from weft.node.images import ImageStore
from weft.node.runtime import Image, OciImage


def image(name: str, origin: str = "pull") -> Image:
    return Image(name, "/", (), oci=OciImage("sha256:1", "sha256:2", origin=origin))  # type: ignore[arg-type]


def test_the_one_needed_longest_ago_goes_first() -> None:
    images = [image("old"), image("used"), image("recent"), image("imported", "import"),
              Image("process", "/srv", ())]  # fmt: skip
    seen = noticed({}, images, {"old"}, 100.0)
    seen = noticed(seen, images, {"recent"}, 200.0)
    images.append(image("new"))
    seen = noticed(seen, images, {"used"}, 300.0)
    assert removable(seen, images, {"used"}, 300.0) == ("old", "recent")
    assert removable(seen, images, set(), 300.0, age=0.0) == ("new", "old", "recent", "used")
    assert "old" not in noticed(seen, images[1:], (), 400.0)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 12 MB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "weft-test", place], check=True)
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_disk_is_freed_of_what_can_be_pulled_again(small: Path, tmp_path: Path) -> None:
    store = ImageStore(small)
    for number in range(2):
        name = f"registry.test/app:{number}"
        layer = archives.layer([("data", os.urandom(2 << 20), 0o644)])
        layout = archives.oci_layout(tmp_path / str(number), name, [layer], {"Cmd": ["/data"]})
        (image,) = store.import_from(layout)
        assert image.oci is not None
        store.keep(name, image.oci.digest)
    process = store.add("process", tmp_path)
    collector = ImageCollector(store, tmp_path / "run", high_percent=60, low_percent=50)
    used = os.statvfs(small)
    assert used.f_bavail < 0.4 * used.f_blocks
    assert collector.look(["registry.test/app:1"], 0.0) == [], "they have only just come"
    off = ImageCollector(store, tmp_path / "run", high_percent=100)
    assert off.look([], 0.0) == off.look([], 1000.0) == []
    assert collector.look(["registry.test/app:1"], 1000.0) == ["registry.test/app:0"]
    left = os.statvfs(small)
    assert left.f_bavail > 0.5 * left.f_blocks
    assert collector.look([], 2000.0) == [], "there is enough"
    assert collector.free(["registry.test/app:1"], 2000.0) == []
    assert collector.free([], 2000.0) == ["registry.test/app:1"], "the node runs short"
    assert store.list() == (process,)
