"""The dashboard's web server: static pages, logins, and the API in the name of who logged in."""

import logging
import mimetypes
import secrets
from pathlib import Path

import orjson
from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType, web

from weft.dashboard import guard
from weft.dashboard.backend import BASE, Backend, Unreachable
from weft.dashboard.live import Live
from weft.dashboard.sessions import SESSION_SECONDS_MAX, Session, Sessions
from weft.lib.aio import Tasks, ticks

log = logging.getLogger("weft.dashboard")
STATIC = Path(__file__).parent / "static"
ADDRESS = "127.0.0.1"
SECRET_BYTES = 32
LOGIN_BYTES_MAX = 16 * 1024
SHUTDOWN_SECONDS = 1.0
NONCE = b"{{nonce}}"
LOGIN = "/session"
CODE = "/session/code"
LIVE = "/live"
EXEC_SUFFIXES = ("/exec", "/attach")
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Dashboard:
    """One instance's dashboard. `start`, then `close`."""

    def __init__(self, socket: str) -> None:
        self._backend = Backend(socket)
        self._sessions = Sessions(lambda: secrets.token_urlsafe(SECRET_BYTES))
        self._live = Live(self._backend)
        self._runner: web.ServerRunner | None = None
        self.port = 0
        """That is listened on, once started."""

    async def start(self, port: int) -> None:
        """Listen on this port of the loopback, or on a free one when it is taken."""
        runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, handler_cancellation=True),
            shutdown_timeout=SHUTDOWN_SECONDS,
        )
        await runner.setup()
        self._runner = runner
        try:
            await web.TCPSite(runner, ADDRESS, port).start()
        except OSError:
            await web.TCPSite(runner, ADDRESS, 0).start()
        self.port = int(runner.addresses[0][1])

    @property
    def url(self) -> str:
        return f"http://{ADDRESS}:{self.port}/"

    async def close(self) -> None:
        """Idempotent."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._backend.close()

    @property
    def _cookie(self) -> str:
        """With the port in it: cookies do not tell ports apart, and instances run side by side."""
        return f"weft-session-{self.port}"

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._answer(http)
        except Unreachable as error:
            response = _problem(502, f"the API server does not answer: {error}")
        except ConnectionError:
            raise
        except Exception:
            log.exception("dashboard: request failed method=%s path=%s", http.method, http.path)
            response = _problem(500, "the dashboard failed; weft's log says more")
        if not response.prepared:
            for name, value in guard.headers().items():
                response.headers.setdefault(name, value)
        return response

    async def _answer(self, http: web.BaseRequest) -> web.StreamResponse:
        if reason := guard.refusal(http.method, http.headers, self.port):
            return _problem(403, reason)
        if http.path == LOGIN and http.method == "POST":
            return await self._login(http)
        if http.path == CODE and http.method == "POST":
            return await self._code(http)
        if http.path in (LOGIN, LIVE) or guard.is_api(http.path):
            session = self._session(http)
            if session is None:
                return _problem(401, "log in first")
            return await self._with_session(http, session)
        if http.method not in guard.SAFE_METHODS:
            return _problem(405, "this path takes no changes")
        return _static(http.path)

    def _session(self, http: web.BaseRequest) -> Session | None:
        return self._sessions.find(
            http.cookies.get(self._cookie, ""), guard.key_of(http.headers), ticks()
        )

    async def _with_session(self, http: web.BaseRequest, session: Session) -> web.StreamResponse:
        if http.path == LOGIN:
            if http.method == "DELETE":
                self._sessions.end(session)
                gone = _json({"user": ""})
                gone.del_cookie(self._cookie, path="/")
                return gone
            return _json({"user": session.user})
        if http.path == LIVE:
            still_open = lambda: self._sessions.is_open(session, ticks())  # noqa: E731
            return await self._live.serve(http, session.token, still_open)
        if http.path.endswith(EXEC_SUFFIXES) and "Upgrade" in http.headers:
            return await self._terminal(http, session)
        return await self._backend.relay(http, session.token, guard.headers())

    async def _login(self, http: web.BaseRequest) -> web.StreamResponse:
        moment = ticks()
        if self._sessions.closed(moment):
            return _problem(429, "too many failed logins; wait a minute")
        wanted = await _login_body(http)
        session = None
        if code := wanted.get("code", ""):
            session = self._sessions.redeem(code, moment)
        elif token := wanted.get("token", "").strip():
            user = await self._backend.user_of(token)
            session = None if user is None else self._sessions.begin(token, user, moment)
        if session is None:
            self._sessions.failed(moment)
            return _problem(401, "this token is not known, or the link was used or is too old")
        answer = _json({"user": session.user, "key": session.key})
        answer.set_cookie(
            *(self._cookie, session.id),
            httponly=True,
            samesite="Strict",
            path="/",
            max_age=int(SESSION_SECONDS_MAX),
        )
        return answer

    async def _code(self, http: web.BaseRequest) -> web.StreamResponse:
        """For `weft dashboard`, which shows a token: a link that logs in once."""
        token = http.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        user = await self._backend.user_of(token) if token else None
        if user is None:
            return _problem(401, "this token is not known")
        return _json({"code": self._sessions.code(token, user, ticks())})

    async def _terminal(self, http: web.BaseRequest, session: Session) -> web.StreamResponse:
        """A terminal in a pod: what either side of the WebSocket says is passed on."""
        protocols = [
            word.strip()
            for word in http.headers.get("Sec-WebSocket-Protocol", "").split(",")
            if word.strip() and not word.strip().startswith(guard.KEY_PROTOCOL)
        ]
        try:
            async with self._backend.session.ws_connect(
                BASE + http.path_qs,
                headers={"Authorization": f"Bearer {session.token}"},
                protocols=protocols,
                max_msg_size=0,
            ) as inner:
                outer = web.WebSocketResponse(protocols=protocols, heartbeat=20.0)
                await outer.prepare(http)
                both = Tasks()
                both.spawn(_pass(inner, outer), "dashboard-terminal")
                try:
                    await _pass(outer, inner)
                finally:
                    await both.close()
                return outer
        except ClientError as error:
            return _problem(getattr(error, "status", 502), f"no terminal: {error}")


async def _pass(
    source: web.WebSocketResponse | ClientWebSocketResponse,
    target: web.WebSocketResponse | ClientWebSocketResponse,
) -> None:
    try:
        async for message in source:
            if message.type == WSMsgType.BINARY:
                await target.send_bytes(message.data)
            elif message.type == WSMsgType.TEXT:
                await target.send_str(message.data)
    except ConnectionError:
        return
    finally:
        await target.close()


async def _login_body(http: web.BaseRequest) -> dict[str, str]:
    raw = await http.content.read(LOGIN_BYTES_MAX)
    try:
        found = orjson.loads(raw)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)}


def _static(path: str) -> web.Response:
    """A file of the pages. Every page is the same document: what it shows is behind the `#`."""
    name = "index.html" if path == "/" else path.removeprefix("/")
    file = (STATIC / name).resolve()
    if not file.is_relative_to(STATIC) or not file.is_file():
        return _problem(404, "there is no such page")
    body = file.read_bytes()
    if file.name == "index.html":
        nonce = secrets.token_urlsafe(16)
        head = guard.headers(nonce) | {"Cache-Control": "no-store"}
        return web.Response(
            body=body.replace(NONCE, nonce.encode()), content_type="text/html", headers=head
        )
    kind = TYPES.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "text/plain"
    kept = "max-age=86400" if "vendor" in file.parts else "no-cache"
    return web.Response(
        body=body, content_type=kind, charset="utf-8", headers={"Cache-Control": kept}
    )


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _problem(status: int, message: str) -> web.Response:
    body = {"kind": "Status", "status": "Failure", "code": status, "message": message}
    return _json(body, status)
