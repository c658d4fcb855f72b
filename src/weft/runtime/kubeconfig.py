"""kubeconfig files: which API server, which CA, which credentials. Format: clientcmd/v1."""

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from weft.lib.files import replace_file


class KubeconfigError(Exception):
    """The file cannot be used: says which file, what is wrong and what to do."""


class Connection(Struct, frozen=True):
    """How to reach an API server and as whom. PEM texts; "" for absent."""

    server: str
    """Base URL, e.g. https://127.0.0.1:6443."""
    ca: str = ""
    """Certificates to trust; without any, the system's."""
    token: str = ""
    client_certificate: str = ""
    client_key: str = ""
    namespace: str = "default"
    tls_server_name: str = ""
    """The name the server's certificate must carry, when it is not the URL's host."""
    insecure: bool = False
    """Do not verify the server's certificate."""


def render(connection: Connection, name: str = "weft") -> str:
    """The text of a kubeconfig with one cluster, user and context, all called `name`."""
    cluster: dict[str, Any] = {"server": connection.server}
    if connection.ca:
        cluster["certificate-authority-data"] = _encode(connection.ca)
    if connection.tls_server_name:
        cluster["tls-server-name"] = connection.tls_server_name
    if connection.insecure:
        cluster["insecure-skip-tls-verify"] = True
    user: dict[str, Any] = {}
    if connection.token:
        user["token"] = connection.token
    if connection.client_certificate:
        user["client-certificate-data"] = _encode(connection.client_certificate)
        user["client-key-data"] = _encode(connection.client_key)
    context = {"cluster": name, "user": name, "namespace": connection.namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
        "preferences": {},
    }
    return yaml.safe_dump(content, sort_keys=False)


def write(path: Path, connection: Connection, name: str = "weft") -> None:
    """Write the file, mode 0600, in one step: readers see the old one or the new one."""
    replace_file(path, render(connection, name).encode())


def read(path: Path, context: str = "") -> Connection:
    """The connection of a context (default: the current one). Files that the kubeconfig names
    are read too, relative to it. Raises KubeconfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise KubeconfigError(f"cannot read kubeconfig {path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KubeconfigError(f"kubeconfig {path} is not YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise KubeconfigError(f"kubeconfig {path} is empty or no mapping")
    name = context or content.get("current-context") or ""
    if not name:
        raise KubeconfigError(f"kubeconfig {path} has no current-context: name one")
    chosen = _entry(path, content, "context", name)
    cluster = _entry(path, content, "cluster", str(chosen.get("cluster") or ""))
    user = _entry(path, content, "user", str(chosen.get("user") or "")) if "user" in chosen else {}
    for unsupported in ("exec", "auth-provider", "username"):
        if unsupported in user:
            raise KubeconfigError(
                f"kubeconfig {path}: user `{chosen['user']}` authenticates by `{unsupported}`, "
                "which weft does not do; use a token or a client certificate"
            )
    if not cluster.get("server"):
        raise KubeconfigError(f"kubeconfig {path}: cluster `{chosen['cluster']}` has no server")
    token = str(user.get("token") or "")
    if not token and user.get("tokenFile"):
        token = _file(path, str(user["tokenFile"])).strip()
    return Connection(
        server=str(cluster["server"]).rstrip("/"),
        ca=_pem(path, cluster, "certificate-authority"),
        token=token,
        client_certificate=_pem(path, user, "client-certificate"),
        client_key=_pem(path, user, "client-key"),
        namespace=str(chosen.get("namespace") or "default"),
        tls_server_name=str(cluster.get("tls-server-name") or ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
    )


def ssl_context(connection: Connection) -> ssl.SSLContext:
    """What to trust and what to show. Raises ssl.SSLError for certificates that are none."""
    context = ssl.create_default_context(cadata=connection.ca or None)
    if connection.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if connection.client_certificate:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # mode 0600
            file.write(f"{connection.client_certificate}\n{connection.client_key}")
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _entry(path: Path, content: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    entries = content.get(f"{kind}s") or ()
    names = []
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, Mapping):
            names.append(str(entry.get("name")))
            if entry.get("name") == name and isinstance(entry.get(kind) or {}, Mapping):
                return entry.get(kind) or {}
    known = f"it has: {', '.join(names)}" if names else "it has none"
    raise KubeconfigError(f"kubeconfig {path} has no {kind} `{name}`; {known}")


def _pem(path: Path, entry: Mapping[str, Any], field: str) -> str:
    if data := entry.get(f"{field}-data"):
        try:
            return base64.b64decode(str(data), validate=True).decode("ascii")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise KubeconfigError(f"kubeconfig {path}: {field}-data is not base64 PEM") from error
    return _file(path, str(entry[field])) if entry.get(field) else ""


def _file(kubeconfig: Path, name: str) -> str:
    path = kubeconfig.parent / name
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise KubeconfigError(f"kubeconfig {kubeconfig} names {path}: {error.strerror}") from error


def _encode(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()
