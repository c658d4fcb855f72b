"""What image names mean, and that several processes may change the store."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from weft.node.images import ImageStore, familiar, normalize


@pytest.mark.parametrize(
    ("name", "full", "short"),
    [
        ("redis", "docker.io/library/redis:latest", "redis:latest"),
        ("redis:7", "docker.io/library/redis:7", "redis:7"),
        ("docker.io/redis:7", "docker.io/library/redis:7", "redis:7"),
        ("me/app:1.0", "docker.io/me/app:1.0", "me/app:1.0"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("quay.io/a/b:2", "quay.io/a/b:2", "quay.io/a/b:2"),
        ("host:5000/app", "host:5000/app:latest", "host:5000/app:latest"),
        ("app@sha256:ab", "docker.io/library/app@sha256:ab", "app@sha256:ab"),
        ("app:1@sha256:ab", "docker.io/library/app:1@sha256:ab", "app:1@sha256:ab"),
    ],
)
def test_names_are_completed_as_container_engines_do(name: str, full: str, short: str) -> None:
    assert normalize(name) == full
    assert normalize(full) == full
    assert familiar(name) == short


def test_images_are_found_under_every_spelling(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "data")
    assert store.resolve("app") is None
    assert store.names() == ()
    store.add("app", tmp_path, ("python", "app.py"), {"A": "1"})
    other = ImageStore(tmp_path / "data")
    for name in ("app", "app:latest", "docker.io/library/app:latest"):
        image = other.resolve(name)
        assert image is not None
        assert (image.directory, image.command, image.env) == (
            *(str(tmp_path), ("python", "app.py")),
            {"A": "1"},
        )
    assert other.resolve("app:2") is None
    store.add("app", tmp_path, ("python", "other.py"))
    changed = other.resolve("app")
    assert changed is not None
    assert changed.command == ("python", "other.py")
    assert store.names() == ("app:latest",)
    assert [image.name for image in store.list()] == ["docker.io/library/app:latest"]
    assert other.remove("app")
    assert not other.remove("app")
    assert store.resolve("app") is None


def test_the_index_is_private_and_readable(tmp_path: Path) -> None:
    ImageStore(tmp_path).add("app", tmp_path, ("run",), {"PASSWORD": "secret"})
    index = tmp_path / "images/index.json"
    assert stat.S_IMODE(index.stat().st_mode) == 0o600
    assert json.loads(index.read_text())["docker.io/library/app:latest"]["command"] == ["run"]


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is not a directory"):
        ImageStore(tmp_path).add("app", tmp_path / "nowhere", ("run",))


def test_concurrent_changes_are_all_kept(tmp_path: Path) -> None:
    names = [f"app-{number}" for number in range(30)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: ImageStore(tmp_path).add(name, tmp_path, ("run",)), names))
    assert ImageStore(tmp_path).names() == tuple(sorted(f"{name}:latest" for name in names))
