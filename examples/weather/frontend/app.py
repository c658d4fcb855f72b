"""The weather front end: asks `weather-backend` for every forecast and presents it.

It knows the back end by its service name alone; where the call goes is the mesh's business.
"""

import os

from aiohttp import ClientSession, web

BACKEND = os.environ.get("WEATHER_BACKEND_URL", "http://weather-backend")
# Headers that tie the spans of one request together; an application must pass them on.
TRACE_HEADERS = ("traceparent", "tracestate", "x-request-id")
SESSION = web.AppKey("session", ClientSession)


async def page(request: web.Request) -> web.Response:
    city = request.match_info["city"]
    headers = {n: request.headers[n] for n in TRACE_HEADERS if n in request.headers}
    if "x-user" in request.headers:
        headers["x-user"] = request.headers["x-user"]
    async with request.app[SESSION].get(f"{BACKEND}/forecast/{city}", headers=headers) as answer:
        body = await answer.json() if answer.content_type == "application/json" else {}
        if answer.status != 200:
            return web.json_response(body or {"error": "no forecast"}, status=answer.status)
    warm = f", {body['celsius']} °C" if "celsius" in body else ""
    text = f"{body['city'].title()}: {body['sky']}{warm}"
    return web.json_response({"text": text, "backend": body["version"], "pod": body["pod"]})


async def healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


async def session(app: web.Application):
    # trust_env: without network namespaces the way into the mesh is the http_proxy variable.
    async with ClientSession(trust_env=True) as app[SESSION]:
        yield


app = web.Application()
app.cleanup_ctx.append(session)
app.add_routes([web.get("/weather/{city}", page), web.get("/healthz", healthz)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"weather-frontend listens on {port}", flush=True)
    web.run_app(app, host=os.environ.get("HOST"), port=port, print=None, access_log=None)
