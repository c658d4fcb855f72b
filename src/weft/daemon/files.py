"""The instance on disk: directories, lock, credentials, the file that says it runs."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import ssl
from pathlib import Path

import msgspec
import yaml
from msgspec import structs

from weft.apiserver.access import MASTERS, Tokens, parse_tokens
from weft.apiserver.audit import PolicyError, parse_policy
from weft.apiserver.audit_log import AuditSettings
from weft.daemon.mesh_identity import MeshIdentity
from weft.lib.aio import now
from weft.lib.files import PRIVATE_DIRECTORY_MODE, PRIVATE_MODE, own_directory, replace_file
from weft.lib.instance import Running, Settings
from weft.node.linux import userns
from weft.node.podhost.wire import SOCKET_NAME
from weft.node.rootless import FIRST_ISOLATION
from weft.pki.ca import Authority
from weft.pki.identity import api_server_names
from weft.pki.mesh_ca import OwnRoots, PluggedIn
from weft.pki.rotation import Lives, lives_of
from weft.runtime import kubeconfig
from weft.runtime.kubeconfig import Connection
from weft.scheduler.profiles import DEFAULT, BadProfiles, Profiles
from weft.scheduler.profiles import parse as parse_profiles
from weft.xds.server import AdsServer

ADMIN_USER = "weft-admin"
TOKEN_BYTES = 32
MEGABYTE = 1 << 20
TLS12_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""With forward secrecy and authenticated, as gateways take them; all of TLS 1.3 are so."""
DATA_DIR_BYTES_MAX = 400
"""SQLite takes paths of up to 512 bytes."""


def stop_signals() -> "asyncio.Future[bool]":
    """Done when the process is asked to stop; whether its pods shall run on."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[bool] = loop.create_future()

    def stop(keep_pods: bool) -> None:
        if not stopped.done():
            stopped.set_result(keep_pods)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop, False)
    loop.add_signal_handler(signal.SIGUSR2, stop, True)
    # `weft up` blocked them while this program could not handle them yet.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    return stopped


class InstanceTaken(Exception):
    """Another process holds the data directory."""


class BadAuditPolicy(Exception):
    """The audit policy cannot be used: says which file and why."""


class BadTokens(Exception):
    """The file of tokens cannot be used: says why and what to do."""


def prepare_directories(settings: Settings) -> None:
    """Make what is missing; private to this user. Raises OSError: not to be had, or somebody
    else's."""
    if len(os.fsencode(settings.data_dir)) > DATA_DIR_BYTES_MAX:
        raise OSError(f"the data directory's path is longer than {DATA_DIR_BYTES_MAX} bytes")
    for path in (Path(settings.data_dir), settings.log_file.parent):
        path.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIRECTORY_MODE)
    run_dir = Path(settings.run_dir)
    own_directory(run_dir.parent)
    own_directory(run_dir)


def lock_instance(settings: Settings) -> int:
    """Hold the data directory for this process' life. Raises InstanceTaken."""
    path = Path(settings.data_dir) / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise InstanceTaken(f"another weft runs on {settings.data_dir}") from error
    return descriptor


def with_service_cidr(settings: Settings) -> Settings:
    """The network of Services as it was chosen at the first start. OSError for another one."""
    directory = Path(settings.data_dir)
    path = directory / "service-cidr"
    wanted = settings.service_cidr
    if path.exists():
        chosen = path.read_text().strip()
    else:
        chosen = "" if (directory / "kubeconfig").exists() else wanted
    if wanted not in ("", chosen):
        raise OSError(
            f"--service-cidr {wanted}: the Services of this instance have addresses of"
            f" {chosen or 'the usual network'}, which was chosen at its first start; leave the"
            " option out, or start with another --data-dir"
        )
    return structs.replace(settings, service_cidr=chosen)


def keep_first_choices(settings: Settings, isolation: str) -> None:
    """For later starts, once they are in use."""
    kept = Path(settings.data_dir) / FIRST_ISOLATION
    if not settings.no_node and not kept.exists():
        replace_file(kept, f"{isolation}\n".encode())
    if settings.service_cidr:
        path = Path(settings.data_dir) / "service-cidr"
        replace_file(path, f"{settings.service_cidr}\n".encode())


def admin_token(settings: Settings) -> tuple[str, Tokens]:
    """The administrator's token, made at the first start, and all tokens of the instance. Raises
    BadTokens."""
    path = Path(settings.data_dir) / "tokens.csv"
    if not path.exists():
        token = secrets.token_urlsafe(TOKEN_BYTES)
        replace_file(path, f'{token},{ADMIN_USER},{ADMIN_USER},"{MASTERS}"\n'.encode())
    try:
        tokens = parse_tokens(path.read_text())
    except ValueError as error:
        raise BadTokens(f"{path}: {error}; remove the file to have a new token made") from error
    for token, user in tokens.items():
        if user.name == ADMIN_USER:
            return token, tokens
    raise BadTokens(f"{path} has no token of {ADMIN_USER}; remove it to have a new one made")


def rotate_admin_token(settings: Settings) -> None:
    """Put a new token of the administrator first; the one before stays valid. Raises OSError."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    _rewrite_tokens(settings, [f'{token},{ADMIN_USER},{ADMIN_USER},"{MASTERS}"'], keep=1)


def forget_admin_tokens(settings: Settings) -> None:
    """Keep the administrator's newest token only. Raises OSError."""
    _rewrite_tokens(settings, [], keep=1)


def _rewrite_tokens(settings: Settings, first: list[str], *, keep: int) -> None:
    """`first`, then so many of the administrator's lines, and everybody else's as they are."""
    path = Path(settings.data_dir) / "tokens.csv"
    left, lines = keep, list(first)
    for line in path.read_text().splitlines():
        mine = line.split(",")[1:2] == [ADMIN_USER]
        if not mine or left > 0:
            lines.append(line)
        left -= mine
    replace_file(path, ("\n".join(lines) + "\n").encode())


class BadSchedulerConfig(Exception):
    """The file of `--scheduler-config` cannot be used: says where it is wrong."""


def scheduler_profiles(settings: Settings) -> Profiles:
    """How nodes are scored. Raises BadSchedulerConfig."""
    if not settings.scheduler_config:
        return DEFAULT
    path = Path(settings.scheduler_config)
    try:
        return parse_profiles(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadSchedulerConfig(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, BadProfiles) as error:
        raise BadSchedulerConfig(f"scheduler configuration {path}: {error}") from error


def audit_settings(settings: Settings) -> AuditSettings | None:
    """Of the audit log, when one is wanted. Raises BadAuditPolicy."""
    if not settings.audit_policy:
        return None
    path = Path(settings.audit_policy)
    try:
        policy = parse_policy(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadAuditPolicy(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError, PolicyError) as error:
        raise BadAuditPolicy(f"audit policy {path}: {error}") from error
    return AuditSettings(
        policy,
        settings.audit_log,
        settings.audit_log_maxsize * MEGABYTE,
        settings.audit_log_maxbackup,
    )


def server_tls(settings: Settings, names: tuple[str, ...]) -> tuple[ssl.SSLContext, Authority]:
    """TLS of the API server: a certificate for these names (or addresses) from the instance's
    CA, which clients' certificates must come from as well."""
    directory = Path(settings.data_dir) / "pki"
    ca = Authority.load_or_create(directory, settings.trust_domain, now())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS12_CIPHERS)
    renew_server_certificate(settings, ca, names, context)
    context.load_verify_locations(cadata=ca.roots)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.set_alpn_protocols(["http/1.1"])
    return context, ca


def mesh_identity(settings: Settings, ads: AdsServer) -> MeshIdentity:
    """The mesh's authority, its own or from files. Raises CaError."""
    found = lives(settings)
    ca: OwnRoots | PluggedIn
    if settings.ca_dir:
        ca = PluggedIn(Path(settings.ca_dir), now())
    else:
        ca = OwnRoots(Path(settings.data_dir) / "pki" / "mesh", settings.trust_domain, found)
    made = MeshIdentity(ca, found, ads)
    made.open()
    return made


def lives(settings: Settings) -> Lives:
    return lives_of(settings.root_cert_ttl, settings.workload_cert_ttl)


def renew_server_certificate(
    settings: Settings, ca: Authority, names: tuple[str, ...], context: ssl.SSLContext
) -> None:
    """A new certificate for connections from now on. Raises OSError."""
    directory = Path(settings.data_dir) / "pki"
    credential = ca.server(api_server_names(names), now())
    certificate, key = directory / "apiserver.crt", directory / "apiserver.key"
    replace_file(certificate, credential.certificate.encode())
    replace_file(key, credential.key.encode())
    context.load_cert_chain(certificate, key)


def publish_kubeconfig(settings: Settings, port: int, ca: Authority, token: str) -> None:
    """Write the administrator's kubeconfig (0600)."""
    target = Connection(server=f"https://127.0.0.1:{port}", ca=ca.roots, token=token)
    kubeconfig.write(settings.kubeconfig, target)


def publish_running(settings: Settings, running: Running) -> None:
    """Tell other commands that this process serves the instance."""
    replace_file(settings.state_file, msgspec.json.encode(running))


def unpublish_running(settings: Settings) -> None:
    settings.state_file.unlink(missing_ok=True)


def unlock_instance(lock: int) -> None:
    os.close(lock)


def remove_run_directory(settings: Settings) -> None:
    """Sockets and pins of an instance that has ended; its data directory stays. What is still in
    use, by pods or as a mount, is left."""
    run_dir, home = Path(settings.run_dir), userns.home(settings.run_dir)
    lines = Path("/proc/self/mounts").read_text().splitlines()
    mounts = {line.split(" ")[1] for line in lines} - {home}
    if (run_dir / SOCKET_NAME).exists() or any(Path(m).is_relative_to(run_dir) for m in mounts):
        return
    userns.unpin(settings.run_dir)
    shutil.rmtree(run_dir, ignore_errors=True)
    with contextlib.suppress(OSError):  # other instances are in it
        run_dir.parent.rmdir()
