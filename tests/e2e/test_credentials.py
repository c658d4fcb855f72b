"""Credentials are replaced while everything runs, and old ones end when they are told to."""

import json

import pytest

from tests.e2e.instance import Instance, kubectl_binary

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(kubectl_binary() is None, reason="kubectl is not installed"),
]
MAPS = "/api/v1/namespaces/default/configmaps"


def test_rotate_and_forget(isolated: Instance) -> None:
    weft = isolated
    account = weft.kubectl("create", "token", "default").strip()
    before = weft.kubeconfig.read_text()
    old = weft.data_dir / "old.kubeconfig"
    old.write_text(before)
    certificate = (weft.data_dir / "pki/apiserver.crt").read_bytes()
    assert "new signing key" in weft.weft("credentials", "rotate")
    assert weft.kubeconfig.read_text() != before
    assert (weft.data_dir / "pki/apiserver.crt").read_bytes() != certificate
    assert (weft.data_dir / "tokens.csv").stat().st_mode & 0o777 == 0o600

    def believed(*args: str) -> bool:
        return "Unauthorized" not in weft.kubectl(*args, "auth", "whoami", check=False)

    assert believed()
    assert believed("--kubeconfig", str(old))

    def account_believed(token: str) -> bool:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                "spec": {"token": token}}  # fmt: skip
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        status, told = weft.api(path, "POST", body)
        assert status == 201, told
        return json.loads(told)["status"].get("authenticated") is True

    assert account_believed(account)
    new = weft.kubectl("create", "token", "default").strip()
    weft.weft("credentials", "forget")
    assert believed()
    assert not believed("--kubeconfig", str(old))
    assert account_believed(new)
    assert not account_believed(account)
