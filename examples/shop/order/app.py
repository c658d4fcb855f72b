"""The order service: GET /order/<id>, completed with the buyer from the user service."""

import os

import requests
from flask import Flask, jsonify, request
from waitress import serve

app = Flask(__name__)
session = requests.Session()
USER_SERVICE = os.environ.get("USER_SERVICE_URL", "http://user-service")
# Headers that tie the spans of one request together; an application must pass them on.
TRACE_HEADERS = ("traceparent", "tracestate", "x-request-id")
ORDERS = {
    100: {"id": 100, "user_id": 1, "item": "umbrella"},
    101: {"id": 101, "user_id": 2, "item": "sun hat"},
}


@app.get("/order/<int:order_id>")
def get_order(order_id: int):
    order = ORDERS.get(order_id)
    if not order:
        return jsonify(error="order not found"), 404
    headers = {n: request.headers[n] for n in TRACE_HEADERS if n in request.headers}
    url = f"{USER_SERVICE}/user/{order['user_id']}"
    answer = session.get(url, headers=headers, timeout=5)
    buyer = answer.json()["name"] if answer.ok else None
    return jsonify({**order, "buyer": buyer}), 200 if answer.ok else 502


@app.get("/healthz")
def healthz():
    return "ok"


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"order-service listens on {port}", flush=True)
    serve(app, host=os.environ.get("HOST", "0.0.0.0"), port=port, threads=8, _quiet=True)
