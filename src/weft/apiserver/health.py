"""/healthz, /livez and /readyz, with their single checks, as kube-apiserver words them. Pure."""

from collections.abc import Collection, Mapping

from weft.apiserver import failures

PATHS = ("healthz", "livez", "readyz")
_ALWAYS = ("ping", "log", "etcd")
"""Kubernetes' names, which monitors ask for: `etcd` stands for the store."""
_READY = "informer-sync"


def answer(
    path: str, verbose: bool, excluded: Collection[str], ready: bool
) -> tuple[int, str] | None:
    """HTTP status and text; None for a path that is about something else. Raises ApiError 404
    for a check that there is not."""
    kind, _, check = path.strip("/").partition("/")
    if kind not in PATHS:
        return None
    checks: Mapping[str, bool] = dict.fromkeys(_ALWAYS, True)
    if kind == "readyz":
        checks = {**checks, _READY: ready}
    if check:
        if check not in checks:
            raise failures.no_such_path()
        return _one(check, checks[check])
    good = all(ok or name in excluded for name, ok in checks.items())
    if good and not verbose:
        return 200, "ok"
    lines = [_line(name, ok, name in excluded) for name, ok in checks.items()]
    end = f"{kind} check {'passed' if good else 'failed'}"
    return (200 if good else 500), "\n".join([*lines, end, ""])


def _one(name: str, ok: bool) -> tuple[int, str]:
    return (200, "ok") if ok else (500, f"internal server error: {name} failed\n")


def _line(name: str, ok: bool, excluded: bool) -> str:
    if excluded:
        return f"[+]{name} excluded: ok"
    return f"[+]{name} ok" if ok else f"[-]{name} failed: reason withheld"
