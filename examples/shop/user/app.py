"""The user service: GET /user/<id>."""

import os

from flask import Flask, jsonify
from waitress import serve

app = Flask(__name__)
USERS = {1: {"id": 1, "name": "Ada"}, 2: {"id": 2, "name": "Grace"}}


@app.get("/user/<int:user_id>")
def get_user(user_id: int):
    user = USERS.get(user_id)
    return (jsonify(user), 200) if user else (jsonify(error="user not found"), 404)


@app.get("/healthz")
def healthz():
    return "ok"


if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8080"))
    print(f"user-service listens on {port}", flush=True)
    serve(app, host=os.environ.get("HOST", "0.0.0.0"), port=port, threads=8, _quiet=True)
