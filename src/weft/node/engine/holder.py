"""The container that holds a pod's namespaces together: an image of one tiny program. Pure.

Engines cannot be told to use a network namespace that exists (Docker: none at all), only that of
another container. So each pod has one whose program enters the pod's own network, which weft made,
and sleeps; the pod's containers are then started in the network of that process.
"""

import hashlib
import io
import json
import struct
import tarfile

IMAGE = "weft.dev/pod-holder:1"
PROGRAM = "/hold"
NETNS = "/netns"
"""Where the holder sees the network to enter; absent: it keeps the one it has."""

# Both: ignore SIGCHLD, so that the kernel forgets children of a shared process namespace whose
# first process this is; open NETNS, setns(2) to it, or exit with the error's number; sleep.
_CODE = {
    # rt_sigaction open setns pause exit
    "amd64": (62, "b80d000000bf11000000488d354700000031d241ba080000000f05b802000000488d3d51000000"
                  "31f60f0585c0781289c7be00000040b8340100000f0585c07509b8220000000f05ebf7f7d889c7"
                  "b83c0000000f050000"),
    # rt_sigaction openat setns ppoll exit
    "arm64": (183, "c81080d2200280d241030010020080d2030180d2010000d4080780d2600c809281030010020080"
                   "d2030080d2010000d4a000f8b70100a8d2882180d2010000d4200100b5280980d2000080d20100"
                   "80d2020080d2030080d2040080d2010000d4f9ffff17e00300cba80b80d2010000d4"),
}  # fmt: skip
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_BASE = 0x400000
_HEADERS_BYTES = 120
_PAGE = 0x10000


def platform(machine: str) -> str | None:
    """The name that images have for a machine; None when there is no program for it."""
    return _MACHINES.get(machine)


def program(architecture: str) -> bytes:
    """A static executable (ELF, one segment)."""
    machine, code = _CODE[architecture]
    ignored = struct.pack("<QQQQ", 1, 0, 0, 0)  # struct sigaction with SIG_IGN
    body = bytes.fromhex(code).ljust(-(-len(code) // 16) * 8, b"\0") + ignored
    body += NETNS.encode() + b"\0\0"
    size = _HEADERS_BYTES + len(body)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 64, 0, 0
    )  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, _PAGE)
    return header + segment + body


def image(architecture: str) -> bytes:
    """An archive as `docker load` takes it."""
    layer = _tar({PROGRAM.lstrip("/"): program(architecture)})
    diff_id = f"sha256:{hashlib.sha256(layer).hexdigest()}"
    configuration = json.dumps({
        "architecture": architecture, "os": "linux", "config": {"Entrypoint": [PROGRAM]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "history": [],
    }, sort_keys=True).encode()  # fmt: skip
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]
    return _tar(
        {name: configuration, "layer.tar": layer, "manifest.json": json.dumps(manifest).encode()}
    )


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
