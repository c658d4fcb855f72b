"""DestinationRule `tunnel`: connections reach their target through an HTTP proxy (CONNECT)."""

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.model import Tunnel

METHODS = ("CONNECT", "POST")


def read_tunnel(
    rule: istio.DestinationRule, wanted: istio.TunnelSettings, path: str, report: Findings
) -> Tunnel | None:
    """What is asked of the proxy; None, with a report, when it does not say enough."""
    method = wanted.protocol or METHODS[0]
    problem = ""
    if method not in METHODS:
        problem = f"`{method}` opens no tunnel"
    elif not wanted.target_host or "%" in wanted.target_host:
        problem = "`targetHost` names no host"
    elif not wanted.target_port:
        problem = "`targetPort` is missing"
    if problem:
        hint = "set targetHost, targetPort, and CONNECT or POST as protocol"
        report.add(f.VALUE_INVALID, rule, path, hint, problem=problem, part="tunnel")
        return None
    host = f"[{wanted.target_host}]" if ":" in wanted.target_host else wanted.target_host
    return Tunnel(f"{host}:{wanted.target_port}", post=method == "POST")
