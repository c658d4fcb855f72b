"""Which instances of ordinary users stay in the machine's network."""

from pathlib import Path

from weft.node.rootless import FIRST_ISOLATION, first_isolation


def test_an_instance_stays_what_it_was(tmp_path: Path) -> None:
    assert first_isolation(str(tmp_path)) == ""
    (tmp_path / "kubeconfig").touch()  # of before the choice was written down
    assert first_isolation(str(tmp_path)) == "host"
    (tmp_path / FIRST_ISOLATION).write_text("netns\n")
    assert first_isolation(str(tmp_path)) == "netns"
