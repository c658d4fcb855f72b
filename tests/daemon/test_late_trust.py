"""A client trusts whom it would have trusted, only later."""

import ssl
from pathlib import Path

import pytest

from tests.apiserver.serving import certificate, write
from weft.daemon.late_trust import authorities_read_later


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The only authority that this machine has: files of its certificate and key."""
    files = write(tmp_path / "known", certificate("known"))
    monkeypatch.setenv("SSL_CERT_FILE", files[0])
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return files


def shake_hands(client: ssl.SSLContext, files: tuple[str, str]) -> None:
    """Raises SSLError when the client does not trust the server."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*files)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(down, up, server_hostname="127.0.0.1")
    theirs = server.wrap_bio(up, down, server_side=True)
    for _ in range(3):
        for end in (ours, theirs):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ours.version()


def test_the_machine_s_authorities_are_read_at_the_first_connection(
    known: tuple[str, str], tmp_path: Path
) -> None:
    with authorities_read_later():
        late = ssl.create_default_context()
    at_once = ssl.create_default_context()
    assert at_once.cert_store_stats()["x509"] == 1, "whoever is not meant reads them as ever"
    assert late.cert_store_stats()["x509"] == 0
    assert (late.verify_mode, late.check_hostname) == (ssl.CERT_REQUIRED, True)
    shake_hands(late, known)
    assert late.cert_store_stats()["x509"] == 1
    stranger = write(tmp_path / "stranger", certificate("stranger"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(late, stranger)


def test_a_stranger_is_not_trusted_first_either(known: tuple[str, str], tmp_path: Path) -> None:
    with authorities_read_later():
        late = ssl.create_default_context()
    stranger = write(tmp_path / "stranger", certificate("stranger"))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(late, stranger)
    shake_hands(late, known)
