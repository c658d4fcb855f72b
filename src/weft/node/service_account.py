"""What a pod finds of its service account: a token, the API server's CA and its own namespace,
where in-cluster clients look. Blocking; small files only.

The directory is a mount point on the host, empty there, made once in /run by an agent that may
(root): programs look in this very place, and making it for each container would need a copy of
all of /run. It stays, because others' pods may be mounted on it.
"""

from pathlib import Path

from weft.api.k8s.core_v1 import ServiceAccount
from weft.api.k8s.pod_v1 import Pod
from weft.api.snapshot import Snapshot
from weft.node import volume_files
from weft.node.runtime import Mount
from weft.node.volumes import File

DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"


def make_mount_point() -> None:
    """OSError when it is missing and cannot be made."""
    Path(DIRECTORY).mkdir(mode=0o755, parents=True, exist_ok=True)


def wanted(pod: Pod, objects: Snapshot) -> bool:
    """Whether the pod mounts it: its own word, else its account's, else yes."""
    if pod.spec.automount_service_account_token is not None:
        return pod.spec.automount_service_account_token
    name = pod.spec.service_account_name or "default"
    account = objects.get(ServiceAccount, name, pod.metadata.namespace)
    return account is None or account.automount_service_account_token is not False


def mounts(pod: Pod, objects: Snapshot, ca: str) -> bool:
    """Whether the pod gets the directory here."""
    return bool(ca) and wanted(pod, objects) and Path(DIRECTORY).is_dir()


def files(pod: Pod, ca: str, token: str) -> tuple[File, ...]:
    """As Kubernetes projects them."""
    found = (File("ca.crt", ca.encode()), File("namespace", pod.metadata.namespace.encode()))
    return (*found, File("token", token.encode())) if token else found


def offer(pod: Pod, objects: Snapshot, ca: str, token: str, pod_directory: Path) -> Mount | None:
    """Write the files; where to show them. OSError."""
    if not mounts(pod, objects, ca):
        return None
    directory = pod_directory / "serviceaccount"
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(volume_files.DIRECTORY_MODE)
    volume_files.write_atomically(directory, files(pod, ca, token))
    return Mount(str(directory), DIRECTORY, read_only=True, optional=True)
