"""Describe: complete, readable, and silent about secret values."""

from weft.views.describe import describe

NOW = 1_700_000_000.0


def test_conditions_and_events_are_tables() -> None:
    pod = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "c", "image": "web:1"}]},
        "status": {
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "lastTransitionTime": "2023-11-14T22:13:10Z",
                }
            ],
        },
    }
    event = {
        "type": "Warning",
        "reason": "BackOff",
        "message": "restarting\n failed container",
        "count": 3,
        "lastTimestamp": "2023-11-14T22:13:00Z",
        "source": {"component": "kubelet"},
    }
    text = "\n".join(describe(pod, [event], NOW))
    assert "Name:          web" in text
    assert "image: web:1" in text
    assert "10s" in text
    assert "20s (x3)" in text
    assert "restarting failed container" in text


def test_secret_values_stay_secret() -> None:
    secret = {
        "kind": "Secret",
        "apiVersion": "v1",
        "metadata": {"name": "s"},
        "data": {"password": "aHVudGVyMg=="},
    }
    text = "\n".join(describe(secret, [], NOW))
    assert "password: 7 bytes" in text
    assert "aHVudGVyMg" not in text
    assert "hunter2" not in text
