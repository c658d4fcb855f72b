"""`weft up` and `weft down`."""

import ipaddress
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from weft.cli import options, output
from weft.lib.instance import (
    API_PORT_DEFAULT,
    ENGINE_RECORD,
    Settings,
    data_dir_of,
    node_name_default,
    process_start,
    read_running,
    run_dir_of,
)

START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 90.0
POLL_SECONDS = 0.05
LOG_LEVELS = ("debug", "info", "warning", "error")
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@click.command(epilog="Example: weft up -f examples/weather/ --detach")
@options.files
@options.data_dir
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=API_PORT_DEFAULT,
    show_default=True,
    help="API port; 0: free one.",
)
@click.option("--isolation", type=click.Choice(["auto", "netns", "host"]), default="auto")
@click.option(
    "--gateway-address",
    default="127.0.0.1",
    show_default=True,
    callback=lambda _context, _option, value: own_address(value),
    help="Address that ingress gateways listen on.",
)
@click.option(
    "--gateway-pool",
    default="",
    metavar="NETWORK",
    callback=lambda _context, _option, value: _network(value),
    help="Further Gateways each get an address of this network, such as 10.0.0.16/28, which this"
    " machine must have.  [default: a part of 127.0.0.0/8]",
)
@click.option(
    "--service-cidr",
    default="",
    metavar="NETWORK",
    callback=lambda _context, _option, value: _network(value),
    help="Network of Services' addresses, chosen at the first start.  [default: 10.96.0.0/16; where"
    " pods have no networks, a part of 127.0.0.0/8]",
)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    default="warning",
    show_default=True,
)
@click.option(
    "--scheduler-config",
    default="",
    metavar="FILE",
    callback=lambda _context, _option, value: value and os.path.abspath(value),
    help="How nodes are scored for pods of a schedulerName: a KubeSchedulerConfiguration.",
)
@click.option(
    "--audit-policy",
    default="",
    metavar="FILE",
    callback=lambda _context, _option, value: value and os.path.abspath(value),
    help="Log requests as this audit.k8s.io/v1 Policy says, to DATA_DIR/log/audit.log.",
)
@click.option(
    "--audit-log-maxsize",
    type=click.IntRange(1, 10_000),
    default=100,
    show_default=True,
    metavar="MEGABYTES",
    help="Size at which the audit log is rotated.",
)
@click.option(
    "--audit-log-maxbackup",
    type=click.IntRange(0, 1000),
    default=10,
    show_default=True,
    metavar="FILES",
    help="Rotated audit logs that are kept.",
)
@click.option(
    "--outbound-traffic-policy",
    type=click.Choice(["ALLOW_ANY", "REGISTRY_ONLY", "ALLOW_ANY_DYNAMIC_DNS"]),
    default="ALLOW_ANY",
    show_default=True,
    help="What becomes of calls to hosts that the mesh does not know, unless a MeshConfig says so.",
)
@options.identity
@options.clients
@click.option(
    "--jwks-refresh",
    type=options.Duration(1.0, "keys are read once a second at most"),
    default="5m",
    show_default=True,
    help="How often the keys of issuers of tokens (JWT) are read again.",
)
@options.images
@options.node
@click.option(
    "--no-node",
    is_flag=True,
    help="Only API server and controllers: this machine is no node, runs no pods and no Envoy.",
)
@click.option(
    "--trace-percent",
    type=click.FloatRange(0, 100),
    default=0.0,
    show_default=True,
    help="Share of requests that are traced, beside those that ask for it; 0: none at all.",
)
@click.option(
    "--trace-export",
    default="",
    metavar="URL",
    help="Also send all spans to this OTLP/HTTP endpoint (headers: $WEFT_OTLP_HEADERS).",
)
@click.option("--detach", is_flag=True, help="Run in the background; return when ready.")
def up(data_dir: str | None, files: tuple[str, ...], detach: bool, **rest: Any) -> None:
    """Start everything: API server, controllers, node agent, Envoy. Ctrl-C stops it cleanly."""
    start(data_dir, files, detach, **rest)


def start(data_dir: str | None, files: tuple[str, ...], detach: bool, **rest: Any) -> None:
    """Run an instance with these settings, or leave it running in the background."""
    directory = data_dir_of(data_dir)
    if running := read_running(directory):
        output.fail(
            f"weft already runs on {directory} (process {running.pid}, port {running.port})",
            f"stop it with `weft down --data-dir {shlex.quote(directory)}`, or choose another"
            " --data-dir",
        )
    if wrong := options.check_node(rest):
        output.fail(wrong, "`weft up --help` says what these options mean")
    if rest.get("no_node"):
        if rest.get("node_name"):
            output.fail("--name is this machine's node, and --no-node has none", "leave one out")
        rest["node_name"] = ""
    else:
        rest["node_name"] = rest.get("node_name") or node_name_default()
    settings = Settings(data_dir=directory, run_dir=run_dir_of(directory), **rest)
    command = daemon_command("run", settings, *files)
    if detach:
        start_detached(settings, command, reads_stdin="-" in files)
    else:
        # Until the daemon can handle them; it takes them then, see run_until_signal.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        os.execv(command[0], command)  # noqa: S606 - our own interpreter and module


def own_address(text: str) -> str:
    """An IPv4 address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ipaddress.IPv4Address(text)), 0))
        except (ValueError, OSError):
            raise click.BadParameter(
                f"{text} is no IPv4 address of this machine (0.0.0.0: all of them)"
            ) from None
    return text


def _network(text: str) -> str:
    """A network in its canonical form."""
    try:
        return str(ipaddress.IPv4Network(text)) if text else ""
    except ValueError as error:
        raise click.BadParameter(f"{error}; write it like 10.0.0.16/28") from None


def daemon_command(verb: str, settings: Settings, *files: str) -> list[str]:
    """The daemon is a program of its own: no command line code runs in it."""
    values = msgspec.json.encode(settings).decode()
    return [sys.executable, "-m", "weft.daemon", verb, values, *files]


def start_detached(settings: Settings, command: list[str], reads_stdin: bool = False) -> None:
    """Start the daemon in a session of its own; returns when it runs, ends the command if not."""
    settings.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    offset = settings.log_file.stat().st_size if settings.log_file.exists() else 0
    with open(settings.log_file, "ab", opener=_private) as log:
        process = subprocess.Popen(
            command,
            stdin=None if reads_stdin else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_until_running(settings, process, offset)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        output.fail("interrupted; weft is stopped again", code=130)


def _wait_until_running(
    settings: Settings, process: "subprocess.Popen[bytes]", offset: int
) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        if process.poll() is not None:
            _print_log(settings.log_file, offset)
            output.fail("weft did not start", f"the log is {settings.log_file}")
        running = read_running(settings.data_dir)
        if running and running.pid == process.pid:
            _print_log(settings.log_file, offset)
            return
        time.sleep(POLL_SECONDS)
    process.terminate()
    output.fail(f"weft was not ready after {START_SECONDS_MAX:.0f} s", f"see {settings.log_file}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _print_log(path: Path, offset: int) -> None:
    with open(path, "rb") as log:
        log.seek(offset)
        sys.stderr.write(log.read().decode(errors="replace"))


@click.command(epilog="Example: weft down --data-dir ./state")
@options.data_dir
@click.option("--keep-pods", is_flag=True, help="Stop only weft; pods and Envoy run on.")
def down(data_dir: str | None, keep_pods: bool) -> None:
    """Stop everything: pods (gracefully), Envoy, networks, the API server. State is kept."""
    directory = data_dir_of(data_dir)
    running = read_running(directory)
    if running is None:
        if keep_pods or not Path(directory).exists():
            output.fail(f"weft does not run on {directory}")
        settings = Settings(data_dir=directory, run_dir=run_dir_of(directory))
        failed = subprocess.call(daemon_command("clean-up", settings))
        _tell_left(directory)
        sys.exit(failed)
    os.kill(running.pid, signal.SIGUSR2 if keep_pods else signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while time.monotonic() < deadline:
        if process_start(running.pid) != running.process_start:
            output.note("weft stopped" + (" (pods run on)" if keep_pods else ""))
            if not keep_pods:
                _tell_left(directory)
            return
        time.sleep(POLL_SECONDS)
    output.fail(
        f"weft (process {running.pid}) did not stop within {STOP_SECONDS_MAX:.0f} s",
        f"see {directory}/log/weft.log",
    )


def _tell_left(directory: str) -> None:
    """Fails when a container engine did not answer: its containers are still there."""
    if Path(directory, ENGINE_RECORD).exists():
        output.fail(
            "the container engine did not answer: containers of this instance may run on in it",
            f"start the engine, then `weft down --data-dir {directory}` once more ends them; see"
            f" {directory}/log/weft.log",
        )
