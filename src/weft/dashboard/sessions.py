"""Who is logged in. A session is known by two secrets: an id, which the browser keeps in a cookie
that no script reads, and a key, which the page keeps and sends with each request.

The cookie alone is worth nothing: browsers send it to every port of this host, so also to
applications that run here. The key alone is worth nothing either.
"""

import hmac
from collections import deque
from collections.abc import Callable

from msgspec import Struct

SESSIONS_MAX = 200
"""The one that was used least recently ends when there are more."""
SESSION_SECONDS_MAX = 12 * 3600.0
IDLE_SECONDS_MAX = 2 * 3600.0
CODES_MAX = 50
CODE_SECONDS_MAX = 60.0
"""For which a link that `weft dashboard` printed logs in."""
FAILURES_MAX = 10
"""Failed logins within `FAILURE_SECONDS`; then nobody logs in for a while."""
FAILURE_SECONDS = 60.0


class Session(Struct):
    """Somebody who logged in."""

    id: str
    key: str
    token: str
    """For the API server."""
    user: str
    began: float
    used: float


class Sessions:
    """All of them, in memory. `secret` makes a secret; times are in seconds, of any clock."""

    def __init__(self, secret: Callable[[], str]) -> None:
        self._secret = secret
        self._sessions: dict[str, Session] = {}
        self._codes: dict[str, tuple[str, str, float]] = {}
        self._failures: deque[float] = deque(maxlen=FAILURES_MAX)

    def begin(self, token: str, user: str, now: float) -> Session:
        """A new session of somebody whom the API server knows by this token."""
        self._forget(now)
        if len(self._sessions) >= SESSIONS_MAX:
            oldest = min(self._sessions.values(), key=lambda each: each.used)
            del self._sessions[oldest.id]
        made = Session(self._secret(), self._secret(), token, user, now, now)
        self._sessions[made.id] = made
        return made

    def find(self, its_id: str, key: str, now: float) -> Session | None:
        """The session of an id and a key, if both fit and it has not ended."""
        self._forget(now)
        found = self._sessions.get(its_id)
        if found is None or not hmac.compare_digest(found.key.encode(), key.encode()):
            return None
        found.used = now
        return found

    def end(self, session: Session) -> None:
        self._sessions.pop(session.id, None)

    def is_open(self, session: Session, now: float) -> bool:
        """Whether it still holds; asked about connections that stay."""
        self._forget(now)
        return session.id in self._sessions

    def code(self, token: str, user: str, now: float) -> str:
        """What logs in once, soon, without the token being typed."""
        self._forget(now)
        while len(self._codes) >= CODES_MAX:
            del self._codes[next(iter(self._codes))]
        made = self._secret()
        self._codes[made] = (token, user, now)
        return made

    def redeem(self, code: str, now: float) -> Session | None:
        """The session that a code stands for; it is used up."""
        self._forget(now)
        known = self._codes.pop(code, None)
        return None if known is None else self.begin(known[0], known[1], now)

    def failed(self, now: float) -> None:
        """Somebody showed a token or code that is not known."""
        self._failures.append(now)

    def closed(self, now: float) -> bool:
        """Whether there were too many failures of late."""
        full = len(self._failures) == FAILURES_MAX
        return full and now - self._failures[0] < FAILURE_SECONDS

    def _forget(self, now: float) -> None:
        ended = [
            its_id
            for its_id, each in self._sessions.items()
            if now - each.began > SESSION_SECONDS_MAX or now - each.used > IDLE_SECONDS_MAX
        ]
        for its_id in ended:
            del self._sessions[its_id]
        for code in [c for c, (*_, at) in self._codes.items() if now - at > CODE_SECONDS_MAX]:
            del self._codes[code]
