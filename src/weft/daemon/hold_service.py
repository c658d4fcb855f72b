"""Answers proxies that hold requests (Envoy's Authorization service): go on, or refuse."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from envoy.service.auth.v3 import external_auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import code_pb2

from weft.pki.node_requests import node_of
from weft.xds.holding import DESTINATION_KEY
from weft.xds.server import NoNode, certified_node

SERVICE = "envoy.service.auth.v3.Authorization"
RETRY_AFTER_SECONDS = 5
Hold = Callable[[str, str], Awaitable[str]]
"""Of a destination, and the node whose proxy asks: returns when the request may go on, or why it is
refused."""


async def _pass(destination: str, node: str) -> str:
    return ""


class HoldService:
    """The gRPC service. `hold` is set once there is somebody who holds."""

    def __init__(self, own_node: str) -> None:
        self._own_node = own_node
        self.hold: Hold = _pass

    def handler(self) -> Any:
        """The gRPC handler, for any grpc.aio server."""
        method = grpc.unary_unary_rpc_method_handler(
            self._check,
            request_deserializer=external_auth_pb2.CheckRequest.FromString,
            response_serializer=external_auth_pb2.CheckResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Check": method})

    async def _check(self, request: Any, context: Any) -> Any:
        try:
            node = certified_node(context, node_of) or self._own_node
        except NoNode as error:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
        name = request.attributes.context_extensions.get(DESTINATION_KEY, "")
        refusal = await self.hold(name, node)
        return _refused(refusal) if refusal else external_auth_pb2.CheckResponse()


def _refused(text: str) -> Any:
    response = external_auth_pb2.CheckResponse()
    response.status.code = code_pb2.UNAVAILABLE
    denied = response.denied_response
    denied.status.code = http_status_pb2.StatusCode.ServiceUnavailable
    denied.body = text
    header = denied.headers.add().header
    header.key, header.value = "retry-after", str(RETRY_AFTER_SECONDS)
    return response
