"""Single requests as lines of text."""

from weft.lib.timefmt import rfc3339_micro
from weft.telemetry.requests import Request, is_error
from weft.views.tables import PLAIN, Style


def request_line(request: Request, style: Style = PLAIN) -> str:
    """One request: when, who, whom, what, and what came of it."""
    target = request.destination or request.service or request.authority or "nobody"
    if request.version not in ("", "latest", "unknown"):
        target += f" {request.version}"
    caller = request.source or "outside"
    head = f"{style.dim}{rfc3339_micro(request.at)[11:23]}{style.reset}  {caller} → {target}"
    if not request.method:
        moved = f"{request.received_bytes} B sent, {request.sent_bytes} B received"
        return f"{head}  {request.protocol}  {_outcome(request, 'closed', style)}  {moved}"
    status = str(request.status or "no answer")
    if request.grpc_status not in ("", "0"):
        status = f"grpc {request.grpc_status}"
    tries = f"  {request.attempts} attempts" if request.attempts > 1 else ""
    what = f"{request.method} {request.authority}{request.path}"
    return (
        f"{head}  {what}  {_outcome(request, status, style)}  {request.duration_ms:.0f} ms{tries}"
    )


def _outcome(request: Request, status: str, style: Style) -> str:
    why = f" {request.flags} ({request.details})" if request.flags and request.details else ""
    if is_error(request):
        return f"{style.bad}{status}{why}{style.reset}"
    tone = style.busy if request.status >= 400 else style.good
    return f"{tone}{status}{style.reset}{why}"
