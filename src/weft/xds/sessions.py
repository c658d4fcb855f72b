"""Sessions that stay at one endpoint: Envoy's stateful sessions."""

from envoy.config.core.v3 import extension_pb2
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2
from envoy.extensions.http.stateful_session.cookie.v3 import cookie_pb2 as cookie_state_pb2
from envoy.extensions.http.stateful_session.header.v3 import header_pb2
from envoy.type.http.v3 import cookie_pb2

from weft.mesh.model import Session
from weft.xds.proto import Proto, any_of, duration

SESSION_FILTER = "envoy.filters.http.stateful_session"


def session_filter() -> Proto:
    """The filter, which does nothing until a route says what for."""
    return stateful_session_pb2.StatefulSession()


def keep_session(route: Proto, session: Session) -> None:
    """Have the requests of a session on an Envoy route go to one endpoint."""
    if session.kind == "header":
        state: Proto = header_pb2.HeaderBasedSessionState(name=session.name)
    else:
        cookie = cookie_pb2.Cookie(name=session.name, path=session.path)
        if session.ttl:
            cookie.ttl.CopyFrom(duration(session.ttl))
        cookie.attributes.add(name="HttpOnly")
        state = cookie_state_pb2.CookieBasedSessionState(cookie=cookie)
    config = stateful_session_pb2.StatefulSessionPerRoute(
        stateful_session=stateful_session_pb2.StatefulSession(
            session_state=extension_pb2.TypedExtensionConfig(
                name=f"envoy.http.stateful_session.{session.kind}", typed_config=any_of(state)
            )
        )
    )
    route.typed_per_filter_config[SESSION_FILTER].CopyFrom(any_of(config))
