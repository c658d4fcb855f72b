"""flagger.app/v1beta1, as weft reads it: every kind in one place."""

from weft.api.flagger.canary import Canary, CanaryStatus
from weft.api.flagger.templates import AlertProvider, MetricTemplate

GROUP = "flagger.app"

__all__ = ["GROUP", "AlertProvider", "Canary", "CanaryStatus", "MetricTemplate"]
