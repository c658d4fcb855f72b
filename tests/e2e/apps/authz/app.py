"""An authorizer for end-to-end tests, over HTTP and gRPC: lets `x-test-user: ann` through, refuses
bodies with `bad` in them."""

import asyncio
import signal

import grpc
from aiohttp import web
from envoy.config.core.v3 import base_pb2
from envoy.service.auth.v3 import external_auth_pb2 as auth_pb2
from envoy.type.v3 import http_status_pb2
from google.rpc import status_pb2

CHECK = "/envoy.service.auth.v3.Authorization/Check"
ASKED: list[str] = []


def allowed(user: str, body: str) -> bool:
    return user == "ann" and "bad" not in body


async def check(request: web.Request) -> web.Response:
    ASKED.append(f"http {request.path}")
    if request.headers.get("x-test-slow"):
        await asyncio.sleep(5)
    seen = ",".join(sorted(n.lower() for n in request.headers if n.lower().startswith("x-")))
    if allowed(request.headers.get("x-test-user", ""), await request.text()):
        return web.Response(headers={"x-user": "Ann", "x-hidden": "1", "x-told": seen})
    return web.Response(status=401, text="who are you", headers={"x-reason": "nobody", "x-no": "1"})


class Authorizer(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method != CHECK:
            return None
        return grpc.unary_unary_rpc_method_handler(
            self.check,
            request_deserializer=auth_pb2.CheckRequest.FromString,
            response_serializer=auth_pb2.CheckResponse.SerializeToString,
        )

    async def check(self, request: auth_pb2.CheckRequest, _: object) -> auth_pb2.CheckResponse:
        http = request.attributes.request.http
        ASKED.append(f"grpc {http.path}")
        answer = auth_pb2.CheckResponse()
        if allowed(http.headers.get("x-test-user", ""), http.body):
            header = base_pb2.HeaderValue(key="x-user", value="Ann")
            answer.ok_response.headers.append(base_pb2.HeaderValueOption(header=header))
            return answer
        answer.status.CopyFrom(status_pb2.Status(code=7))
        answer.denied_response.status.CopyFrom(http_status_pb2.HttpStatus(code=402))
        answer.denied_response.body = "grpc says no"
        return answer


async def asked(_: web.Request) -> web.Response:
    found = list(ASKED)
    ASKED.clear()
    return web.json_response(found)


async def main() -> None:
    app = web.Application()
    app.add_routes([web.get("/asked", asked), web.route("*", "/{tail:.*}", check)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, None, 8080).start()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Authorizer(),))
    server.add_insecure_port("0.0.0.0:9000")
    await server.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
    await server.stop(0)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
