"""The name a person probably meant. Pure word comparison, no knowledge of objects."""

from collections.abc import Iterable

# Words people use for a thing, and the names that real fields have for it.
_MEANINGS: dict[str, tuple[str, ...]] = {
    "faulttolerance": ("outlierDetection", "retries"),
    "circuitbreaker": ("outlierDetection", "connectionPool"),
    "circuitbreakers": ("outlierDetection", "connectionPool"),
    "healthcheck": ("livenessProbe", "outlierDetection"),
    "loadbalancing": ("loadBalancer",),
    "lbpolicy": ("loadBalancer", "simple"),
    "retry": ("retries",),
    "retrypolicy": ("retries",),
    "routes": ("route", "http"),
    "rules": ("http",),
    "backends": ("route",),
    "destinations": ("route", "destination"),
    "service": ("host",),
    "version": ("subset", "apiVersion"),
    "environment": ("env",),
    "cmd": ("command", "args"),
    "entrypoint": ("command",),
    "matchlabel": ("matchLabels",),
    "cert": ("serverCertificate", "credentialName"),
    "certificate": ("serverCertificate", "credentialName"),
    "key": ("privateKey",),
    "secretname": ("credentialName",),
    "servicemesh": ("VirtualService",),
}
_CLOSE_ENOUGH = 3  # one edit is forgiven for every so many letters


def distance(a: str, b: str) -> int:
    """Edits between two words: insert, delete, replace, or swap two neighbours."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        current = [i]
        for j, y in enumerate(b, 1):
            cost = min(row[j] + 1, current[j - 1] + 1, row[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before[j - 2] + 1)
            current.append(cost)
        before, row = row, current
    return row[-1]


def _key(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "")


def nearest(word: str, candidates: Iterable[str]) -> str:
    """The candidate most like `word`, or "" when none is like it.

    Case, dashes and underscores do not count; then known meanings, then spelling, then a
    candidate of which the word is the start or the other way round.
    """
    names = sorted(set(candidates))
    plain = _key(word)
    for name in names:
        if _key(name) == plain:
            return name
    for meaning in _MEANINGS.get(plain, ()):
        if meaning in names:
            return meaning
    ranked = sorted((distance(plain, _key(name)), name) for name in names)
    if ranked and ranked[0][0] <= max(1, len(plain) // _CLOSE_ENOUGH):
        return ranked[0][1]
    related = [n for n in names if _related(plain, _key(n))]
    return min(related, key=lambda n: (abs(len(n) - len(word)), n)) if related else ""


def _related(a: str, b: str) -> bool:
    short, long = sorted((a, b), key=len)
    return len(short) >= 4 and (long.startswith(short) or long.endswith(short))
