"""Another root of the API server, over real TLS."""

import contextlib
import shutil
import ssl
from pathlib import Path

import pytest

from tests.pki.test_ca import handshake, write
from weft.lib.aio import now
from weft.pki import api_roots
from weft.pki.ca import Authority, CaError, Credential, signed_by

DOMAIN = "cluster.local"


def server(directory: Path, authority: Authority) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(write(directory, "server", authority.server(["localhost"], now())))
    made.load_verify_locations(cadata=authority.roots)
    made.verify_mode = ssl.CERT_OPTIONAL
    return made


def client(directory: Path, roots: str, shown: Credential | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=roots)
    if shown is not None:
        made.load_cert_chain(write(directory, "client", shown))
    return made


async def test_nobody_is_cut_off_until_the_old_root_is_forgotten(tmp_path: Path) -> None:
    old = Authority.load_or_create(tmp_path, DOMAIN, now())
    user = old.client("alice", ["dev"], now())
    both = api_roots.add(tmp_path, DOMAIN, now())
    first, second = both.names_of_roots
    assert second == old.name
    assert first == both.name != old.name
    new = both.certificate_pem
    for roots in (old.roots, new, both.roots):
        for shown in (None, user, both.client("bob", [], now())):
            await handshake(server(tmp_path, both), client(tmp_path, roots, shown), "localhost")
    alone = api_roots.forget(tmp_path, DOMAIN, now())
    assert alone.roots == new
    await handshake(server(tmp_path, alone), client(tmp_path, new), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(server(tmp_path, alone), client(tmp_path, old.roots), "localhost")
    der = ssl.PEM_cert_to_DER_cert(user.certificate)
    assert signed_by(der, both.roots)
    assert not signed_by(der, alone.roots)


def test_a_third_root_is_refused(tmp_path: Path) -> None:
    api_roots.add(tmp_path, DOMAIN, now())
    before = (tmp_path / "ca.crt").read_text()
    with pytest.raises(CaError, match="forget-ca"):
        api_roots.add(tmp_path, DOMAIN, now())
    assert (tmp_path / "ca.crt").read_text() == before
    api_roots.forget(tmp_path, DOMAIN, now())
    assert len(api_roots.add(tmp_path, DOMAIN, now()).names_of_roots) == 2


@pytest.mark.parametrize("written", range(5))
def test_a_crash_between_two_files_leaves_a_whole_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    old = Authority.load_or_create(tmp_path, DOMAIN, now())
    count, write_file = 0, api_roots.replace_file

    def crash(path: Path, data: bytes, mode: int = 0o600) -> None:
        nonlocal count
        count += 1
        if count > written:
            raise OSError("power cut")
        write_file(path, data, mode)

    monkeypatch.setattr(api_roots, "replace_file", crash)
    with pytest.raises(OSError, match="power cut") if written < 4 else contextlib.nullcontext():
        api_roots.add(tmp_path, DOMAIN, now())
    found = Authority.load_or_create(tmp_path, DOMAIN, now())
    assert (len(found.names_of_roots) == 1) == (written < 3)
    assert old.name in found.names_of_roots
    again = Authority.load_or_create(shutil.copytree(tmp_path, tmp_path / "copy"), DOMAIN, now())
    der = ssl.PEM_cert_to_DER_cert(again.client("c", [], now()).certificate)
    assert signed_by(der, found.certificate_pem)
