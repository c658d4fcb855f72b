import base64
from pathlib import Path

import pytest
import yaml

from weft.runtime.kubeconfig import Connection, KubeconfigError, read, write

FULL = Connection(
    server="https://127.0.0.1:6443",
    ca="-----BEGIN CERTIFICATE-----\nca\n",
    token="secret",
    client_certificate="cert\n",
    client_key="key\n",
    namespace="shop",
    tls_server_name="kubernetes",
)


def test_what_is_written_reads_back_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("old")
    path.chmod(0o644)
    write(path, FULL)
    assert read(path) == FULL
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["config"]
    write(path, Connection(server="http://localhost:1", insecure=True))
    assert read(path) == Connection(server="http://localhost:1", insecure=True)


def test_contexts_and_files_of_a_users_own_config(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("ca of a file")
    (tmp_path / "token").write_text("from a file\n")
    content = {
        "current-context": "one",
        "clusters": [
            {"name": "c", "cluster": {"server": "https://a/", "certificate-authority": "ca.pem"}}
        ],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}, {"name": "w", "user": None}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "two", "context": {"cluster": "c", "namespace": "n", "user": "w"}},
        ],
    }
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(content))
    assert read(path) == Connection(server="https://a", ca="ca of a file", token="from a file")
    assert read(path, "two") == Connection(server="https://a", ca="ca of a file", namespace="n")


def config(user: object = None, cluster: object = None, **extra: object) -> str:
    server = {"server": "https://a"}
    content = {
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": server if cluster is None else cluster}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "one", "context": {"cluster": "c", "user": "u"}}],
    }
    return yaml.safe_dump(content | extra)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "empty"),
        ("a: [", "not YAML"),
        ("- 1", "no mapping"),
        (config(**{"current-context": ""}), "no current-context"),
        (config(**{"current-context": "two"}), "no context `two`; it has: one"),
        (config(users=[]), "no user `u`; it has none"),
        (config(clusters="x"), "no cluster `c`"),
        (config(cluster={}), "cluster `c` has no server"),
        (config({"exec": {"command": "aws"}}), "authenticates by `exec`"),
        (config({"tokenFile": "absent"}), "No such file"),
        (config({"client-key-data": "???"}), "client-key-data is not base64"),
        (
            config({"client-certificate-data": base64.b64encode(b"\xff").decode()}),
            "client-certificate-data is not base64 PEM",
        ),
    ],
)
def test_an_unusable_file_is_explained(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=what) as caught:
        read(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="No such file"):
        read(tmp_path / "absent")
