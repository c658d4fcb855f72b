"""Prometheus' text format: what proxies say in it, with Istio's names and labels.

Source: prometheus.io, "Exposition formats".
"""

import re
from functools import lru_cache

from weft.telemetry.edge_labels import FOLDED_KEPT_MAX, TAG, labels

_ENVOY_PREFIX = "envoy_istio_"
"""Envoy puts its own name before the names that we chose."""
_FOLDED = re.compile(r"^envoy_(istio_\w+)\{" + TAG + r'="((?:[^"\\]|\\.)*)"', re.M)


def unfolded(page: str) -> str:
    """A proxy's page of metrics, the mesh's own with all their labels."""
    page = _FOLDED.sub(lambda found: f"{found[1]}{{{label_text(found[2])}", page)
    return page.replace(f"# TYPE {_ENVOY_PREFIX}", "# TYPE istio_")


@lru_cache(maxsize=FOLDED_KEPT_MAX)
def label_text(value: str) -> str:
    """A folded tag's labels, as they stand between braces."""
    return ",".join(f'{name}="{escaped(text)}"' for name, text in labels(value))


def escaped(text: str) -> str:
    """A label's value between quotation marks."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
