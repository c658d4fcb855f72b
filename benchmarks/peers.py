"""Other proxies, set up as people set them up, in front of one address: nginx, HAProxy, and a pair
of Envoys configured as Istio's sidecars are. Each has a port for each protocol that it carries."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.harness import Process
from weft.lib.envoy_binary import envoy_path

WORKERS = max(2, os.cpu_count() or 2)
START_SECONDS_MAX = 15.0
NGINX_STREAM = tuple(
    root / "usr/lib/nginx/modules/ngx_stream_module.so"
    for root in (Path(sys.prefix) / "tools", Path("/"))
)
"""Where tools/get_tools.py unpacks it, and where the distribution has it."""
HTTP1, HTTP2, GRPC, TCP = "HTTP/1.1", "HTTP/2", "gRPC", "TCP"
_TYPES = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPES}.extensions.filters"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Peer:
    """A proxy, its port for each protocol, and the processes it consists of."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.ports: dict[str, int] = {}
        self._started: list[subprocess.Popen[bytes]] = []

    def port(self, protocol: str) -> int:
        """A free one, from now on for this protocol."""
        return self.ports.setdefault(protocol, free_port())

    def run(self, *command: str) -> None:
        log = (self.folder / f"{self.name}.log").open("ab")
        self._started.append(subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log))

    def processes(self) -> list[Process]:
        """All, workers included."""
        found = [process.pid for process in self._started]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            found += [int(child) for child in children]
        return [Process(pid) for pid in found]

    def stop(self) -> None:
        for process in self._started:
            process.terminate()
        for process in self._started:
            process.wait(10)

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        for port in self.ports.values():
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self.name} does not listen")
                time.sleep(0.02)


def nginx(peer: Peer, target: str) -> None:
    """With connections to the back end that are kept, which is not its default. It speaks HTTP/2 to
    back ends for gRPC only; its module for TCP is a package of its own."""
    module = next((path for path in NGINX_STREAM if path.exists()), None)
    load = f"load_module {module};" if module else ""
    stream = ""
    if module:
        stream = f"""
stream {{
  upstream bytes {{ server {target}; }}
  server {{ listen 127.0.0.1:{peer.port(TCP)} reuseport; proxy_pass bytes; }}
}}
"""
    config = f"""
{load}
worker_processes {WORKERS};
daemon off;
pid {peer.folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {peer.folder}/b; proxy_temp_path {peer.folder}/p;
  fastcgi_temp_path {peer.folder}/f; uwsgi_temp_path {peer.folder}/u;
  scgi_temp_path {peer.folder}/s;
  upstream back {{ server {target}; keepalive 512; }}
  # Kept connections are an upstream's, whatever is spoken on them: gRPC needs its own.
  upstream back2 {{ server {target}; keepalive 512; }}
  keepalive_requests 100000000;
  server {{
    listen 127.0.0.1:{peer.port(HTTP1)} reuseport;
    listen 127.0.0.1:{peer.port(HTTP2)} http2 reuseport;
    location / {{
      proxy_pass http://back; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host $host;
    }}
  }}
  server {{
    listen 127.0.0.1:{peer.port(GRPC)} http2 reuseport;
    location / {{ grpc_pass grpc://back2; }}
  }}
}}
{stream}"""
    (peer.folder / "nginx.conf").write_text(config)
    peer.run("nginx", "-c", f"{peer.folder}/nginx.conf", "-p", str(peer.folder), "-e", "stderr")


def haproxy(peer: Peer, target: str) -> None:
    config = f"""
global
  nbthread {WORKERS}
  maxconn 8192
defaults
  mode http
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  http-reuse always
frontend in
  bind 127.0.0.1:{peer.port(HTTP1)}
  default_backend back
backend back
  server one {target}
frontend in2
  bind 127.0.0.1:{peer.port(HTTP2)} proto h2
  bind 127.0.0.1:{peer.port(GRPC)} proto h2
  default_backend back2
backend back2
  server one {target} proto h2
listen bytes
  mode tcp
  bind 127.0.0.1:{peer.port(TCP)}
  server one {target}
"""
    (peer.folder / "haproxy.cfg").write_text(config)
    peer.run("haproxy", "-db", "-f", f"{peer.folder}/haproxy.cfg")


def sidecars(peer: Peer, target: str) -> None:
    """Two Envoys of the version that weft runs, mutual TLS between them, with the filters and the
    nineteen labels of metrics that Istio's sidecars have."""
    certificates(peer.folder)
    between = {protocol: free_port() for protocol in (HTTP1, HTTP2, TCP)}
    for name, text in (
        ("caller", _caller(peer, between)),
        ("callee", _callee(peer, between, target)),
    ):
        (peer.folder / f"{name}.json").write_text(json.dumps(text))
        peer.run(
            str(envoy_path()), "-c", f"{name}.json", "--concurrency", str(WORKERS),
            "--disable-hot-restart", "-l", "error",
        )  # fmt: skip


def certificates(folder: Path) -> None:
    """A certificate that both sidecars use and believe."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=bench", "-keyout", "key.pem"),
            *("-out", "cert.pem", "-addext", "subjectAltName=URI:spiffe://cluster.local/ns/a/sa/b"),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )


def _tls(folder: Path) -> dict[str, Any]:
    pair = {
        "certificate_chain": {"filename": f"{folder}/cert.pem"},
        "private_key": {"filename": f"{folder}/key.pem"},
    }
    believed = {"trusted_ca": {"filename": f"{folder}/cert.pem"}}
    return {"tls_certificates": [pair], "validation_context": believed}


def _caller(peer: Peer, between: dict[str, int]) -> dict[str, Any]:
    """HTTP/2 and gRPC have one port: the filters are the same."""
    listeners, clusters = [], []
    for protocol, port in between.items():
        alpn = {"alpn_protocols": ["h2" if protocol == HTTP2 else "http/1.1"]}
        socket_ = {
            "name": "tls",
            "typed_config": {
                "@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": _tls(peer.folder) | alpn,
            },
        }
        clusters.append(_cluster(protocol, "127.0.0.1", port) | {"transport_socket": socket_})
        filters = _filters("outbound", protocol, ("cors", "fault"))
        listeners.append(_listener(protocol, peer.port(protocol), filters))
    peer.ports[GRPC] = peer.ports[HTTP2]
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def _callee(peer: Peer, between: dict[str, int], target: str) -> dict[str, Any]:
    host, to = target.split(":")
    listeners, clusters = [], []
    for protocol, port in between.items():
        alpn = {"alpn_protocols": ["h2" if protocol == HTTP2 else "http/1.1"]}
        socket_ = {
            "name": "tls",
            "typed_config": {
                "@type": f"{_TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                "require_client_certificate": True,
                "common_tls_context": _tls(peer.folder) | alpn,
            },
        }
        filters = _filters("inbound", protocol, ("rbac",))
        if protocol != TCP:
            filters[0]["typed_config"] |= {
                "forward_client_cert_details": "APPEND_FORWARD",
                "set_current_client_cert_details": {"subject": True, "uri": True},
            }
        listeners.append(_listener(protocol, port, filters, socket_))
        clusters.append(_cluster(protocol, host, int(to)))
    return {"static_resources": {"listeners": listeners, "clusters": clusters}}


def _cluster(protocol: str, host: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": host, "port_value": port}}
    endpoints = {"lb_endpoints": [{"endpoint": {"address": address}}]}
    limits = [{"max_connections": 65536, "max_pending_requests": 65536, "max_requests": 65536}]
    cluster: dict[str, Any] = {
        "name": protocol, "type": "STATIC", "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": limits},
        "load_assignment": {"cluster_name": protocol, "endpoints": [endpoints]},
    }  # fmt: skip
    if protocol == HTTP2:
        options = {
            "@type": f"{_TYPES}.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        cluster["typed_extension_protocol_options"] = {name: options}
    return cluster


def _filters(direction: str, protocol: str, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The filters of a listener's connections."""
    if protocol != TCP:
        return [{"name": "http", "typed_config": _manager(direction, protocol, names)}]
    proxy = {
        "@type": f"{_FILTERS}.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": direction,
        "cluster": TCP,
        "access_log": [_metrics()],
    }
    return [{"name": "tcp", "typed_config": proxy}]


_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "cors": ("http.cors.v3.Cors", {}),
    "fault": ("http.fault.v3.HTTPFault", {}),
    "rbac": (
        "http.rbac.v3.RBAC",
        {
            "rules": {
                "policies": {
                    "mesh": {
                        "permissions": [{"any": True}],
                        "principals": [
                            {
                                "authenticated": {
                                    "principal_name": {"prefix": "spiffe://cluster.local/"}
                                }
                            }
                        ],
                    }
                }
            }
        },
    ),
    "router": ("http.router.v3.Router", {}),
}


def _manager(direction: str, protocol: str, names: tuple[str, ...]) -> dict[str, Any]:
    filters = [
        {"name": name, "typed_config": {"@type": f"{_FILTERS}.{_SETTINGS[name][0]}"}
         | _SETTINGS[name][1]}
        for name in (*names, "router")
    ]  # fmt: skip
    route = {"match": {"prefix": "/"}, "route": {"cluster": protocol, "timeout": "0s"}}
    return {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": direction,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": filters,
        "access_log": [_metrics()],
    }


_PARTY = ("workload", "workload_namespace", "principal", "app", "version", "cluster")
LABELS = (
    *(f"source_{part}" for part in _PARTY),
    *(f"destination_{part}" for part in _PARTY),
    *("destination_service", "destination_service_name", "destination_service_namespace"),
    *("reporter", "request_protocol", "response_code", "response_flags"),
)


def _metrics() -> dict[str, Any]:
    live = {"request_protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%",
            "response_flags": "%RESPONSE_FLAGS%"}  # fmt: skip
    tags = [{"name": name, "value_format": live.get(name, "value")} for name in LABELS]
    stat = {"name": "requests_total", "tags": tags}
    duration = {
        "stat": {"name": "request_duration_milliseconds", "tags": tags},
        "unit": "Milliseconds",
        "value_format": "%DURATION%",
    }
    config = {
        "@type": f"{_TYPES}.extensions.access_loggers.stats.v3.Config",
        "stat_prefix": "istio",
        "counters": [{"stat": stat, "value_fixed": 1}],
        "histograms": [duration],
    }
    return {"name": "stats", "typed_config": config}


def _listener(
    name: str, port: int, filters: list[dict[str, Any]], transport: dict[str, Any] | None = None
) -> dict[str, Any]:
    chain: dict[str, Any] = {"filters": filters}
    if transport:
        chain["transport_socket"] = transport
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [chain],
    }


PEERS: dict[str, tuple[str, Callable[[Peer, str], None]]] = {
    "nginx": ("nginx", nginx),
    "HAProxy": ("haproxy", haproxy),
    "sidecars": ("openssl", sidecars),
}
"""By name: the program that is needed, and how it is started."""


@contextlib.contextmanager
def running(target: str) -> Iterator[dict[str, Peer]]:
    """All peers that this machine has, in front of `address:port`."""
    folder = Path(tempfile.mkdtemp(prefix="weft-bench-peers-"))
    started: dict[str, Peer] = {}
    try:
        for name, (program, start) in PEERS.items():
            if shutil.which(program) is None:
                continue
            own = folder / name
            own.mkdir()
            peer = started[name] = Peer(name, own)
            start(peer, target)
            peer.wait()
        yield started
    finally:
        for peer in started.values():
            peer.stop()
        shutil.rmtree(folder, ignore_errors=True)
