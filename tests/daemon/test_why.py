"""What Envoy says of endpoints, in words."""

from typing import Any

from weft.daemon.why import endpoint_health


def host(port: int, **status: Any) -> dict[str, Any]:
    address = {"socket_address": {"address": "10.0.0.1", "port_value": port}}
    return {"address": address, "health_status": status}


def test_endpoints_are_healthy_or_it_is_said_what_is_wrong() -> None:
    hosts = [
        host(1, eds_health_status="HEALTHY"),
        host(2, eds_health_status="DRAINING"),
        host(3, eds_health_status="HEALTHY", failed_outlier_check=True),
        host(4, failed_active_health_check=True, failed_outlier_check=True),
    ]
    found = endpoint_health({"cluster_statuses": [{"name": "a", "host_statuses": hosts}]})
    assert [found["a", f"10.0.0.1:{n}"] for n in (1, 2, 3, 4)] == [
        "healthy",
        "draining",
        "ejected as an outlier",
        "fails health checks, ejected as an outlier",
    ]
