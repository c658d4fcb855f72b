"""The weather back end: answers forecasts; WEATHER_VERSION decides how much it tells.

WEATHER_FAULT makes it faulty, for people who learn to find a fault: so many percent of its answers
are errors, and all of them come late.
"""

import asyncio
import os
import random

from aiohttp import web

VERSION = os.environ.get("WEATHER_VERSION", "v1")
FAULT_PERCENT = float(os.environ.get("WEATHER_FAULT", "0"))
FAULT_SECONDS = 0.4
FORECASTS = {
    "berlin": ("light rain", 8),
    "lagos": ("sunny", 31),
    "lima": ("fog", 17),
    "osaka": ("cloudy", 14),
}


async def forecast(request: web.Request) -> web.Response:
    if FAULT_PERCENT:
        await asyncio.sleep(FAULT_SECONDS * (0.5 + random.random()))
        if random.random() * 100 < FAULT_PERCENT:
            print(f"error: no reading for {request.path}: sensor timed out", flush=True)
            return web.json_response({"error": "sensor timed out"}, status=500)
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
