"""Tokens of pods: got once, renewed in time."""

from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod, PodSpec
from weft.lib.timefmt import rfc3339
from weft.node import tokens
from weft.node.downward import TokenKey
from weft.node.tokens import Tokens

POD = Pod(
    metadata=ObjectMeta(name="p", namespace="d", uid="u"),
    spec=PodSpec(service_account_name="robot"),
)


class Issuer:
    """A client that issues numbered tokens for an hour."""

    def __init__(self, clock: list[float]) -> None:
        self.asked: list[tuple[str, str, Any]] = []
        self._clock = clock

    async def request_token(
        self, account: str, namespace: str, request: Mapping[str, Any]
    ) -> bytes:
        self.asked.append((account, namespace, request["spec"]))
        status = {
            "token": f"T{len(self.asked)}",
            "expirationTimestamp": rfc3339(self._clock[0] + 3600),
        }
        return orjson.dumps({"status": status})


async def test_got_once_and_renewed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1_790_000_000.0]
    monkeypatch.setattr(tokens, "now", lambda: clock[0])
    issuer = Issuer(clock)
    kept = Tokens(issuer)  # type: ignore[arg-type]
    wanted = frozenset({TokenKey("vault", 600)})
    assert await kept.ensure(POD, wanted)
    assert issuer.asked == [
        ("robot", "d", {
            "audiences": ["vault"], "expirationSeconds": 600,
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"},
        }),
    ]  # fmt: skip
    assert kept.of("u") == {TokenKey("vault", 600): "T1"}
    clock[0] += 2800
    assert not await kept.ensure(POD, wanted)
    clock[0] += 100
    assert await kept.ensure(POD, wanted)
    assert kept.of("u") == {TokenKey("vault", 600): "T2"}
    kept.forget("u")
    assert kept.of("u") == {}
