"""Injected faults, as the per-route configuration of Envoy's fault filter."""

from envoy.extensions.filters.common.fault.v3 import fault_pb2 as common_pb2
from envoy.extensions.filters.http.fault.v3 import fault_pb2
from envoy.type.v3 import percent_pb2

from weft.mesh.model import Fault
from weft.xds.proto import Proto, duration


def fraction(percent: float) -> Proto:
    """0..100 in steps of a ten-thousandth."""
    share = round(min(max(percent, 0.0), 100.0) * 10_000)
    return percent_pb2.FractionalPercent(
        numerator=share, denominator=percent_pb2.FractionalPercent.MILLION
    )


def http_fault(fault: Fault | None) -> Proto | None:
    """None when the fault injects nothing."""
    if fault is None:
        return None
    result = fault_pb2.HTTPFault()
    if fault.delay > 0 and fault.delay_percent > 0:
        result.delay.CopyFrom(
            common_pb2.FaultDelay(
                fixed_delay=duration(fault.delay), percentage=fraction(fault.delay_percent)
            )
        )
    if fault.abort_status and fault.abort_percent > 0:
        result.abort.CopyFrom(
            fault_pb2.FaultAbort(
                http_status=fault.abort_status, percentage=fraction(fault.abort_percent)
            )
        )
    elif fault.abort_grpc_status and fault.abort_percent > 0:
        result.abort.CopyFrom(
            fault_pb2.FaultAbort(
                grpc_status=fault.abort_grpc_status, percentage=fraction(fault.abort_percent)
            )
        )
    if not result.HasField("delay") and not result.HasField("abort"):
        return None
    return result
