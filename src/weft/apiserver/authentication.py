"""Who stands behind a bearer token: the file of tokens, then service accounts."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from weft.apiserver import access
from weft.apiserver.access import Tokens, User


class Identity(Struct, frozen=True):
    """Somebody, and for which audiences the token speaks."""

    user: User
    audiences: tuple[str, ...] = ()


class Authenticator(Protocol):
    """One way to know a token."""

    async def identify(self, token: str, audiences: tuple[str, ...]) -> Identity | None:
        """None for a token that is not known, or not for these audiences (none: the API
        server's own)."""


class StaticTokens:
    """Those of `tokens.csv`; they are for every audience. `tokens` may be replaced at any time."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    async def identify(self, token: str, audiences: tuple[str, ...]) -> Identity | None:
        user = access.user_of_token(self.tokens, token)
        return None if user is None else Identity(user, audiences)


class AnyOf:
    """The first that knows it."""

    def __init__(self, ways: Sequence[Authenticator]) -> None:
        self._ways = ways

    async def identify(self, token: str, audiences: tuple[str, ...]) -> Identity | None:
        for way in self._ways:
            found = await way.identify(token, audiences)
            if found is not None:
                return found
        return None
