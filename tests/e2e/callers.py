"""A pod that makes the requests a test tells it to, in every isolation."""

from typing import Any

from tests.e2e import manifests as m
from tests.e2e.instance import Instance, ask, run_inside, wait_for

PROGRAM = """
async def main():
    from aiohttp import ClientError, ClientSession, ClientTimeout
    try:
        async with (
            ClientSession(trust_env=True, timeout=ClientTimeout(total=8)) as session,
            session.request({method!r}, {url!r}, headers={headers!r}, ssl=False) as answer,
        ):
            body = (await answer.read()).decode(errors="replace")
            return [answer.status, body, {{k.lower(): v for k, v in answer.headers.items()}}]
    except (ClientError, OSError, TimeoutError) as error:
        return [0, repr(error), {{}}]
"""


class Caller:
    """Reached through the gateway as `<name>.run`, so that it works in every isolation."""

    def __init__(self, weft: Instance, name: str = "caller", namespace: str = "default") -> None:
        self.weft = weft
        self.name = name
        self.host = f"{name}.run"
        text = m.echo(name) + m.service(name) + m.gateway(f"{name}-run", self.host)
        text += m.routes(f"{name}-run", m.to(name), self.host, f"{name}-run")
        weft.weft("apply", "-n", namespace, "-f", "-", stdin=text)
        wait_for(self._there, f"{name} answers")

    def _there(self) -> bool:
        try:
            return ask(self.weft, "/who", self.host)[0] == 200
        except OSError:
            return False  # the gateway's port is not open yet

    def request(
        self, url: str, host: str = "", method: str = "GET", **headers: str
    ) -> tuple[int, str, dict[str, str]]:
        """Status, body and headers (lower case) of a request; the status is 0 without an answer."""
        every = {**headers, **({"Host": host} if host else {})}
        program = PROGRAM.format(method=method, url=url, headers=every)
        status, body, found = run_inside(self.weft, self.host, program)
        return status, body, found

    def status(self, url: str, host: str = "") -> int:
        return self.request(url, host)[0]

    def settles(self, url: str, wanted: int, host: str = "") -> str:
        """The body, once a request is answered with this status."""
        said: list[Any] = []

        def right() -> bool:
            said[:] = [self.request(url, host)]
            return bool(said[0][0] == wanted)

        try:
            wait_for(right, url, 15)
        except AssertionError:
            raise AssertionError(f"{url} {host}: wanted {wanted}, last said {said}") from None
        return str(said[0][1])
