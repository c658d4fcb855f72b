"""A gRPC program for end-to-end tests, without generated code: messages are plain bytes."""

import asyncio
import os
import signal
from collections import Counter

import grpc

POD = os.environ.get("HOSTNAME", "").encode()
SERVING = b"\x08\x01"
"""grpc.health.v1.HealthCheckResponse with status SERVING."""


async def who(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    metadata = dict(context.invocation_metadata() or ())
    await context.send_initial_metadata((("x-pod", POD.decode()),))
    context.set_trailing_metadata((("x-seen", str(metadata.get("x-test", ""))),))
    return POD + b":" + request


async def count(request: bytes, _: grpc.aio.ServicerContext):
    for number in range(int(request)):
        yield b"%s:%d" % (POD, number)
        await asyncio.sleep(0.01)


async def talk(requests, _: grpc.aio.ServicerContext):
    async for request in requests:
        yield POD + b":" + request


async def fail(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "on purpose")


async def lazy(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    """The request is POD HOW: the pod of that name takes half a second, or fails at once."""
    pod, how = request.split()
    if pod == POD and how == b"fails":
        await context.abort(grpc.StatusCode.INTERNAL, "on purpose")
    await asyncio.sleep(0.5 if pod == POD else 0.01)
    return POD


CALLS: Counter[bytes] = Counter()


async def unsteady(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    """The request is KEY:STATUS: the first call of a key here fails with it, the next answer."""
    CALLS[request] += 1
    if CALLS[request] == 1:
        status = request.decode().partition(":")[2]
        await context.abort(grpc.StatusCode[status], "on purpose")
    return b"%d" % CALLS[request]


async def check(_: bytes, __: grpc.aio.ServicerContext) -> bytes:
    return SERVING


async def main() -> None:
    server = grpc.aio.server()
    echo = {
        "Who": grpc.unary_unary_rpc_method_handler(who),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Lazy": grpc.unary_unary_rpc_method_handler(lazy),
        "Unsteady": grpc.unary_unary_rpc_method_handler(unsteady),
    }
    health = {"Check": grpc.unary_unary_rpc_method_handler(check)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("test.Echo", echo),
            grpc.method_handlers_generic_handler("grpc.health.v1.Health", health),
        )
    )
    address = os.environ.get("HOST") or "0.0.0.0"
    server.add_insecure_port(f"{address}:{os.environ.get('PORT', '9000')}")
    await server.start()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop(5)


if __name__ == "__main__":
    asyncio.run(main())
