"""Small container images for tests, made of static busybox: as `docker save` writes them, as OCI
layouts, and as a registry has them."""

import gzip
import hashlib
import io
import json
import shutil
import sys
import tarfile
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
PASSWD = b"root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:web:/home/web:/bin/sh\n"
GROUP = b"root:x:0:\nweb:x:1000:\nstaff:x:50:web\n"
APPLETS = ("sh", "cat", "echo", "httpd", "id", "ls", "mount", "sleep", "tar", "test", "touch",
           "wget", "ps", "hostname", "dd", "env", "stat", "unshare", "kill", "true", "mkdir",
           "mknod", "ipcs", "grep", "tr", "nslookup", "stty", "head", "tail", "chmod", "rm",
           "nc")  # fmt: skip

Member = tuple[str, bytes | str | None, int]
"""Name, content (None is a directory, str the target of a link), mode."""


def busybox() -> str | None:
    """A static one, which runs without any other file."""
    unpacked = (f"{sys.prefix}/tools/{folder}/busybox" for folder in ("bin", "usr/bin"))
    for program in (shutil.which("busybox"), *unpacked):
        if program is not None and Path(program).exists():
            start = Path(program).read_bytes()[:4096]
            if start[:4] == b"\x7fELF" and b"ld-linux" not in start:
                return program
    return None


def layer(members: Iterable[Member], owners: Mapping[str, int] | None = None) -> bytes:
    """An uncompressed layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content, mode in members:
            info = tarfile.TarInfo(name)
            info.mode = mode
            info.uid = info.gid = (owners or {}).get(name, 0)
            if content is None:
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif isinstance(content, str):
                info.type = tarfile.SYMTYPE
                info.linkname = content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def base_layer() -> bytes:
    """Busybox with links, users, and the directories that programs expect."""
    program = busybox()
    assert program is not None
    members: list[Member] = [
        *((name, None, 0o755) for name in ("bin", "etc", "root", "home", "home/web", "www")),
        ("tmp", None, 0o1777),
        ("bin/busybox", Path(program).read_bytes(), 0o755),
        *((f"bin/{name}", "busybox", 0o777) for name in APPLETS),
        ("etc/passwd", PASSWD, 0o644),
        ("etc/group", GROUP, 0o644),
    ]
    return layer(members, {"home/web": 1000})


def page(text: str) -> bytes:
    """A layer with what the web server shows."""
    return layer([("www/index.html", text.encode(), 0o644)])


HTTPD = {"Entrypoint": ["httpd", "-f"], "Cmd": ["-p", "8080", "-h", "/www"], "Env": ["COLOR=blue"]}


def config_of(layers: Iterable[bytes], settings: Mapping[str, Any]) -> bytes:
    """The configuration of an image."""
    ids = [digest(data) for data in layers]
    return json.dumps({
        "architecture": "amd64", "os": "linux", "config": dict(settings),
        "rootfs": {"type": "layers", "diff_ids": ids},
    }).encode()  # fmt: skip


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def docker_archive(
    target: Path, name: str, layers: list[bytes], settings: Mapping[str, Any]
) -> Path:
    """As `docker save` writes it."""
    config = config_of(layers, settings)
    files = {f"{digest(config)[7:]}.json": config}
    names = []
    for data in layers:
        names.append(f"{digest(data)[7:]}/layer.tar")
        files[names[-1]] = data
    manifest = [{"Config": f"{digest(config)[7:]}.json", "RepoTags": [name], "Layers": names}]
    files["manifest.json"] = json.dumps(manifest).encode()
    target.write_bytes(layer((name, data, 0o644) for name, data in files.items()))
    return target


PACKED = {
    "": lambda data: data,
    "+gzip": gzip.compress,
    "+zstd": zstandard.compress,
}


def blobs_of(
    layers: list[bytes], settings: Mapping[str, Any], packing: str = "+gzip"
) -> tuple[bytes, dict[str, bytes]]:
    """The manifest, and everything it names by digest."""
    config = config_of(layers, settings)
    packed = [PACKED[packing](data) for data in layers]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": OCI_LAYER + packing, "digest": digest(data), "size": len(data)}
                   for data in packed],
    }).encode()  # fmt: skip
    return manifest, {digest(data): data for data in (config, *packed)}


def oci_layout(
    target: Path, name: str, layers: list[bytes], settings: Mapping[str, Any],
    packing: str = "+gzip",
) -> Path:  # fmt: skip
    """A directory after the OCI image layout."""
    manifest, blobs = blobs_of(layers, settings, packing)
    blobs[digest(manifest)] = manifest
    folder = target / "blobs/sha256"
    folder.mkdir(parents=True)
    for key, data in blobs.items():
        (folder / key[7:]).write_bytes(data)
    entry = {
        "mediaType": OCI_MANIFEST, "digest": digest(manifest), "size": len(manifest),
        "annotations": {"org.opencontainers.image.ref.name": name},
    }  # fmt: skip
    (target / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (target / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return target


def push(
    address: str, path: str, tag: str, layers: list[bytes], settings: Mapping[str, Any],
    authorization: str = "",
) -> str:  # fmt: skip
    """Put an image into a registry that speaks plain HTTP; the digest of its manifest."""
    base = f"http://{address}/v2/{path}"
    own = {"Authorization": authorization} if authorization else {}
    manifest, blobs = blobs_of(layers, settings)

    def send(method: str, url: str, body: bytes, media: str) -> Any:
        headers = {"Content-Type": media, **own}
        request = urllib.request.Request(url, method=method, headers=headers, data=body)
        return urllib.request.urlopen(request, timeout=20)

    for key, data in blobs.items():
        with send("POST", f"{base}/blobs/uploads/", b"", "text/plain") as answer:
            place = answer.headers["Location"]
        place = place if place.startswith("http") else f"http://{address}{place}"
        sign = "&" if "?" in place else "?"
        send("PUT", f"{place}{sign}digest={key}", data, "application/octet-stream").close()
    send("PUT", f"{base}/manifests/{tag}", manifest, OCI_MANIFEST).close()
    return digest(manifest)
