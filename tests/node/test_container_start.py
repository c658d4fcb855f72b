"""Sub paths of volumes: made where they are missing, never outside."""

from pathlib import Path

from weft.node.container_start import _make_sub_paths
from weft.node.environment import Refusal
from weft.node.runtime import Mount


def test_a_missing_sub_path_is_made(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    assert _make_sub_paths((Mount(f"{volume}/a/b", "/data"),), [str(volume)]) is None
    assert (volume / "a/b").is_dir()


def test_a_link_in_a_volume_leads_no_sub_path_out_of_it(tmp_path: Path) -> None:
    volume, secret = tmp_path / "volume", tmp_path / "secret"
    for directory in (volume, secret, volume / "own"):
        directory.mkdir()
    (volume / "out").symlink_to(secret)
    (volume / "in").symlink_to("own")
    assert _make_sub_paths((Mount(f"{volume}/in", "/data"),), [str(volume)]) is None
    for path in ("out", "out/new"):
        refused = _make_sub_paths((Mount(f"{volume}/{path}", "/data"),), [str(volume)])
        assert isinstance(refused, Refusal)
        assert "leads out of its volume" in refused.message
    assert not (secret / "new").exists()
