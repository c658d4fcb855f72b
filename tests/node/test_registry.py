"""Pulls: from Debian's registry program, and from one that asks for tokens, breaks off and lies."""

import base64
import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests import archives
from weft.node.image_pulls import ImagePulls
from weft.node.images import ImageStore
from weft.node.oci import registries
from weft.node.oci.documents import ImageError
from weft.node.oci.registries import Credentials, Registries
from weft.node.runtime import OciImage

LAYERS = [archives.layer([("a", os.urandom(300_000), 0o644)]), archives.layer([("b", b"2", 0o644)])]
SETTINGS = {"Entrypoint": ["/a"]}
SECRET = "s3cret-word"


class Registry:
    """One repository, `shop/web`. What it does wrong is set by the tests."""

    def __init__(self) -> None:
        self.manifest, self.blobs = archives.blobs_of(LAYERS, SETTINGS)
        self.manifests = {"1": self.manifest, archives.digest(self.manifest): self.manifest}
        self.users: dict[str, str] = {}
        self.cut = 0
        """Transfers that break off in the middle."""
        self.busy = 0
        """Requests that are answered 429."""
        self.requests: list[str] = []
        self.address = ""

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v2/shop/web/manifests/{name}", self.give_manifest),
            web.get("/v2/shop/web/blobs/{name}", self.give_blob),
            web.get("/token", self.give_token),
        ]

    async def give_token(self, request: web.Request) -> web.StreamResponse:
        self.requests.append("token")
        assert request.query["scope"] == "repository:shop/web:pull"
        assert request.query["service"] == "here"
        header = request.headers.get("Authorization", "").removeprefix("Basic ")
        user, _, password = base64.b64decode(header).decode().partition(":")
        if self.users.get(user) != password:
            return web.Response(status=401)
        return web.json_response({"token": "good"})

    def refused(self, request: web.Request) -> web.StreamResponse | None:
        if self.busy:
            self.busy -= 1
            return web.Response(status=429)
        if self.users and request.headers.get("Authorization") != "Bearer good":
            realm = f'Bearer realm="{self.address}/token",service="here",'
            challenge = realm + 'scope="repository:shop/web:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        return None

    async def give_manifest(self, request: web.Request) -> web.StreamResponse:
        self.requests.append("manifest")
        if (refusal := self.refused(request)) is not None:
            return refusal
        body = self.manifests.get(request.match_info["name"])
        return web.Response(status=404) if body is None else web.Response(body=body)

    async def give_blob(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self.refused(request)) is not None:
            return refusal
        data = self.blobs[request.match_info["name"]]
        self.requests.append(request.headers.get("Range", "whole"))
        begin = int(request.headers.get("Range", "bytes=0-")[6:-1])
        answer = web.StreamResponse(status=206 if begin else 200)
        answer.content_length = len(data) - begin
        await answer.prepare(request)
        if self.cut and len(data) > 1000:
            self.cut -= 1
            await answer.write(data[begin : begin + 100_000])
            assert request.transport is not None
            request.transport.close()
            return answer
        await answer.write(data[begin:])
        return answer


@pytest.fixture
async def registry() -> AsyncIterator[Registry]:
    found = Registry()
    app = web.Application()
    app.add_routes(found.routes())
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@contextlib.asynccontextmanager
async def pulls(tmp_path: Path, known: Registries | None = None) -> AsyncIterator[ImagePulls]:
    found = ImagePulls(ImageStore(tmp_path), known or Registries())
    try:
        yield found
    finally:
        await found.close()


def named(registry: Registry, tag: str = ":1") -> str:
    return f"{registry.address.removeprefix('http://')}/shop/web{tag}"


async def pull(tmp_path: Path, name: str, secrets: Any = (), known: Any = None) -> OciImage:
    async with pulls(tmp_path, known) as given:
        image = await given.pull(name, tuple(secrets))
    assert image.oci is not None
    assert len(ImageStore(tmp_path).layers(image.oci)) == 2
    assert all(Path(p).is_dir() for p in ImageStore(tmp_path).layers(image.oci))
    return image.oci


async def test_tokens_and_that_no_secret_is_told(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    registry.users = {"me": SECRET}
    name = named(registry)
    host = name.partition("/")[0]
    with pytest.raises(ImageError, match="pull access denied"):
        await pull(tmp_path, name)
    with pytest.raises(ImageError, match="pull access denied") as caught:
        await pull(tmp_path, name, [(host, Credentials("me", SECRET + "x"))])
    wrong = Credentials("other", "x")
    image = await pull(tmp_path, name, [(host, wrong), (host, Credentials("me", SECRET))])
    assert image.digest == archives.digest(registry.manifest)
    assert image.origin == "pull"
    config = f"configs: {{'{host}': {{auth: {{username: me, password: {SECRET}}}}}}}"
    await pull(tmp_path / "other", name, known=registries.read(config))
    assert SECRET not in caplog.text + str(caught.value) + repr(registries.read(config))


async def test_an_interrupted_transfer_goes_on(registry: Registry, tmp_path: Path) -> None:
    registry.cut = 2
    await pull(tmp_path, named(registry))
    ranges = [r for r in registry.requests if r.startswith("bytes=")]
    assert ranges, "it began anew"
    before = len(registry.requests)
    await pull(tmp_path, named(registry))
    assert registry.requests[before:] == ["manifest"], "what is there is not fetched again"


async def test_limits_of_patience(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weft.node.oci.registry.RETRY_SECONDS", (0.0,))
    registry.busy = 3
    await pull(tmp_path / "a", named(registry))
    registry.busy = 100
    with pytest.raises(ImageError, match="429"):
        await pull(tmp_path / "b", named(registry))


async def test_digests_platforms_and_lies(registry: Registry, tmp_path: Path) -> None:
    manifest = registry.manifest
    entries = [
        {"mediaType": archives.OCI_MANIFEST, "digest": digest, "size": len(manifest),
         "platform": {"os": "linux", "architecture": architecture}}
        for digest, architecture in ((archives.digest(manifest), "amd64"),
                                     ("sha256:" + "0" * 64, "arm64"))
    ]  # fmt: skip
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    registry.manifests["many"] = index
    if os.uname().machine == "x86_64":
        image = await pull(tmp_path / "a", named(registry, ":many"))
        assert image.digest == archives.digest(manifest)
    await pull(tmp_path / "b", named(registry, f"@{archives.digest(manifest)}"))
    registry.manifests[archives.digest(manifest)] = manifest + b" "
    with pytest.raises(ImageError, match="came with other content"):
        await pull(tmp_path / "c", named(registry, f"@{archives.digest(manifest)}"))
    with pytest.raises(ImageError, match="not found"):
        await pull(tmp_path / "d", named(registry, ":none"))
    big = max(registry.blobs, key=lambda d: len(registry.blobs[d]))
    registry.blobs[big] = registry.blobs[big][:-1] + b"x"
    with pytest.raises(ImageError, match="came with other content"):
        await pull(tmp_path / "e", named(registry))
    assert ImageStore(tmp_path / "e").names() == ()


async def test_mirrors_come_first_and_get_no_secret(registry: Registry, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
        known = registries.read(
            f"mirrors: {{'docker.io': {{endpoint: ['{dead}', '{registry.address}']}}}}"
        )
        await pull(tmp_path, "shop/web:1", [("docker.io", Credentials("me", SECRET))], known)
        places = registries.endpoints(
            registries.Reference("docker.io", "shop/web", "1"), known,
            [("docker.io", Credentials("me", SECRET))],
        )  # fmt: skip
    assert [len(p.credentials) for p in places] == [0, 0, 1]


@pytest.mark.parametrize(
    ("place", "fits"),
    [
        ("https://index.docker.io/v1/", True), ("docker.io", True), ("docker.io/shop", True),
        ("docker.io/other", False), ("*.io", True), ("quay.io", False), ("docker.io:5000", False),
    ],
)  # fmt: skip
def test_whom_pull_secrets_are_for(place: str, fits: bool) -> None:
    reference = registries.Reference("docker.io", "shop/web", "1")
    assert registries.matches(place, reference) is fits


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mirrors: [", "line"),
        ("mirors: {}", "mirors"),
        ("mirrors: {a: {endpoint: ['ftp://x']}}", "http"),
        ("mirrors: {a: {endpoint: ['https://u:p@x']}}", "configs"),
        ("configs: {a: {auth: {auth: '%%%'}}}", "base64"),
    ],
)
def test_files_about_registries(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        registries.read(text)


# --- the real program


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[str]:
    """Its address."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(json.dumps({
        "version": 0.1, "storage": {"filesystem": {"rootdirectory": str(tmp_path / "registry")}},
        "http": {"addr": address}, "log": {"level": "error"},
    }))  # fmt: skip
    process = subprocess.Popen([program, "serve", str(config)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/v2/"):
                break
            time.sleep(0.05)
        yield address
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
async def test_a_real_registry(debian: str, tmp_path: Path) -> None:
    digest = archives.push(debian, "shop/web", "1", LAYERS, SETTINGS)
    image = await pull(tmp_path / "data", f"{debian}/shop/web:1")
    assert image.digest == digest
    with pytest.raises(ImageError, match="not found"):
        await pull(tmp_path / "data", f"{debian}/shop/web:2")
