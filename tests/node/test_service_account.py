"""Service account files of a pod."""

from pathlib import Path

import pytest

from tests.node.pods import pod
from weft.api.k8s.core_v1 import ServiceAccount
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.snapshot import ObjectSnapshot
from weft.node import service_account

NO = ServiceAccount(
    metadata=ObjectMeta(name="quiet", namespace="default"), automount_service_account_token=False
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"automountServiceAccountToken": False}, False),
        ({"serviceAccountName": "quiet"}, False),
        ({"serviceAccountName": "quiet", "automountServiceAccountToken": True}, True),
        ({"serviceAccountName": "unknown"}, True),
    ],
)
def test_who_gets_them(spec: dict[str, object], expected: bool) -> None:
    assert service_account.wanted(pod(**spec), ObjectSnapshot([NO])) is expected


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_account, "DIRECTORY", str(tmp_path / "point"))
    nothing = service_account.offer(pod(), ObjectSnapshot([]), "PEM", "T", tmp_path / "pod")
    assert nothing is None, "no mount point"
    service_account.make_mount_point()
    mount = service_account.offer(pod(), ObjectSnapshot([]), "PEM", "T", tmp_path / "pod")
    assert mount is not None
    assert mount.read_only
    assert (Path(mount.source) / "ca.crt").read_text() == "PEM"
    assert (Path(mount.source) / "namespace").read_text() == "default"
    assert service_account.offer(pod(), ObjectSnapshot([]), "", "T", tmp_path / "pod") is None
