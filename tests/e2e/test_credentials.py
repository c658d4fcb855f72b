"""Credentials are replaced while everything runs, and old ones end when they are told to."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.instance import Instance, is_ready, kubectl_binary, wait_for

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


def test_another_root(isolated: Instance) -> None:
    """Who knows the old root alone goes on until it is forgotten, then is told; whoever took the
    new one in time notices nothing."""
    weft = isolated
    weft.image("sh:1", Path("/tmp"), "/bin/sh")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reads"}, "spec": {
        "containers": [{"name": "main", "image": "sh:1", "args": ["-c", "sleep 1000"]}],
        "terminationGracePeriodSeconds": 1}}  # fmt: skip
    kept = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"name": "kept", "annotations": {
                "kubernetes.io/service-account.name": "default"}}}  # fmt: skip
    weft.weft("apply", "-f", "-", stdin=f"{json.dumps(pod)}\n---\n{json.dumps(kept)}")
    wait_for(lambda: is_ready(weft.pod("reads")), "the pod runs")

    old = weft.data_dir / "old.kubeconfig"
    old.write_text(weft.kubeconfig.read_text())
    old_root = (weft.data_dir / "pki/ca.crt").read_text()
    bob, carol = weft.data_dir / "bob.kubeconfig", weft.data_dir / "carol.kubeconfig"
    bob.write_text(certified(weft, "bob"))

    def whoami(kubeconfig: Path) -> str:
        args = ("--kubeconfig", str(kubeconfig), "auth", "whoami", "-o",
                "jsonpath={.status.userInfo.username}")  # fmt: skip
        return weft.kubectl(*args, check=False)

    def roots_of_the_pod() -> str:
        path = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
        return weft.kubectl("exec", "reads", "--", "cat", path)

    def roots_of_the_secret() -> str:
        found = weft.read("/api/v1/namespaces/default/secrets/kept")["data"]["ca.crt"]
        return base64.b64decode(found).decode()

    def published(namespace: str = "default") -> str:
        path = f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"
        return str(weft.read(path)["data"]["ca.crt"])

    assert [published(n) for n in ("default", "kube-system")] == [old_root] * 2
    said = weft.weft("credentials", "rotate-ca")
    assert "nobody is cut off" in said
    assert "copies of the kubeconfig: take them anew" in said
    both = (weft.data_dir / "pki/ca.crt").read_text()
    assert both.endswith(old_root)
    assert both != old_root
    wait_for(lambda: roots_of_the_pod() == both, "the pod finds both roots")
    wait_for(lambda: roots_of_the_secret() == both, "the token Secret has both roots")
    wait_for(lambda: published() == both, "the ConfigMap has both roots")
    maps = weft.api(f"{MAPS}/kube-root-ca.crt", "DELETE")
    assert maps[0] == 200, maps
    wait_for(lambda: weft.api(f"{MAPS}/kube-root-ca.crt")[0] == 200, "it is published again")
    carol.write_text(certified(weft, "carol"))
    assert [whoami(f) for f in (weft.kubeconfig, old)] == ["weft-admin"] * 2
    assert [whoami(bob), whoami(carol)] == ["bob", "carol"]
    refused = weft.run("credentials", "rotate-ca")
    assert refused.returncode != 0
    assert "`weft credentials forget-ca` first" in refused.stderr

    watching = subprocess.Popen(
        [str(kubectl_binary()), "--kubeconfig", str(bob), "get", "pods", "-w"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert watching.stdout is not None
    watching.stdout.readline()
    assert "closed" in weft.weft("credentials", "forget-ca")
    assert watching.wait(30) is not None, "the watch with the old certificate was ended"
    assert "certificate signed by unknown authority" in whoami(old)
    assert "Unauthorized" in whoami(with_roots_of(bob, carol))
    assert [whoami(weft.kubeconfig), whoami(carol)] == ["weft-admin", "carol"]
    new = both.removesuffix(old_root)
    wait_for(lambda: roots_of_the_pod() == new, "the pod finds the new root alone")
    wait_for(lambda: published() == published("kube-system") == new, "the ConfigMap, too")
    weft.kill_9()
    weft.up()
    assert [whoami(weft.kubeconfig), whoami(carol)] == ["weft-admin", "carol"]
    assert "certificate signed by unknown authority" in whoami(old)


def certified(weft: Instance, user: str) -> str:
    """A kubeconfig with a client certificate that the API signed for a user who may view."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    asked = {
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": {"name": user},
        "spec": {"request": base64.b64encode(pem).decode(), "usages": ["client auth"],
                 "signerName": "kubernetes.io/kube-apiserver-client"},
    }  # fmt: skip
    weft.kubectl("create", "-f", "-", stdin=json.dumps(asked))
    weft.kubectl("certificate", "approve", user)
    weft.kubectl("create", "clusterrolebinding", user, "--clusterrole=view", f"--user={user}")
    path = f"/apis/certificates.k8s.io/v1/certificatesigningrequests/{user}"
    signed = wait_for(lambda: weft.read(path)["status"].get("certificate"), "it is signed")
    config = yaml.safe_load(weft.kubeconfig.read_text())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    shown = {
        "client-certificate-data": signed,
        "client-key-data": base64.b64encode(private).decode(),
    }
    config["users"][0]["user"] = shown
    return yaml.safe_dump(config)


def with_roots_of(user: Path, other: Path) -> Path:
    """Somebody who trusts the server as another does."""
    mixed = yaml.safe_load(other.read_text())
    mixed["users"] = yaml.safe_load(user.read_text())["users"]
    path = user.with_suffix(".mixed")
    path.write_text(yaml.safe_dump(mixed))
    return path
