"""The weather back end: answers forecasts; WEATHER_VERSION decides how much it tells."""

import os

from aiohttp import web

VERSION = os.environ.get("WEATHER_VERSION", "v1")
FORECASTS = {
    "berlin": ("light rain", 8),
    "lagos": ("sunny", 31),
    "lima": ("fog", 17),
    "osaka": ("cloudy", 14),
}


async def forecast(request: web.Request) -> web.Response:
    city = request.match_info["city"].lower()
    if city not in FORECASTS:
        known = ", ".join(sorted(FORECASTS))
        return web.json_response({"error": f"no forecast for {city}; known: {known}"}, status=404)
    sky, celsius = FORECASTS[city]
    answer = {"city": city, "sky": sky, "version": VERSION, "pod": os.environ.get("HOSTNAME", "")}
    if VERSION != "v1":
        answer["celsius"] = celsius
    return web.json_response(answer)


async def healthz(_: web.Request) -> web.Response:
    return web.Response(text="ok")


app = web.Application()
app.add_routes([web.get("/forecast/{city}", forecast), web.get("/healthz", healthz)])

if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"weather-backend {VERSION} listens on {port}", flush=True)
    web.run_app(app, host=os.environ.get("HOST"), port=port, print=None, access_log=None)
