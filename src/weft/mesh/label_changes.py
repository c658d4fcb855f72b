"""What Telemetry objects change of the labels of metrics: `tagOverrides`.

Values are CEL in Istio; a proxy fills in attributes of a request without evaluating anything, so
texts, and attributes that it has a word for, are what is taken.
"""

import re
from collections.abc import Mapping

from weft.mesh.model import LabelChange

LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
RESERVED = ("le", "edge")
"""Of histograms, and of the form in which proxies count."""
TEXT = re.compile(r"""(?:"([^"\\\x00-\x1f]*)"|'([^'\\\x00-\x1f]*)')""")
HEADER = re.compile(r"""(request|response)\.headers\[["']([A-Za-z0-9_-]+)["']\]""")
ATTRIBUTES: Mapping[str, str] = {
    "request.host": "%REQUEST_HEADER(:AUTHORITY)%",
    "request.method": "%REQUEST_HEADER(:METHOD)%",
    "request.protocol": "%PROTOCOL%",
    "request.scheme": "%REQUEST_HEADER(:SCHEME)%",
    "request.useragent": "%REQUEST_HEADER(USER-AGENT)%",
    "response.code": "%RESPONSE_CODE%",
    "response.code_details": "%RESPONSE_CODE_DETAILS%",
    "response.flags": "%RESPONSE_FLAGS%",
    "source.address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "upstream.address": "%UPSTREAM_HOST%",
}
"""By Istio's name of an attribute, the proxy's."""


def changed(metric: str, label: str, operation: str, value: str) -> LabelChange | None:
    """None for what cannot be taken."""
    if LABEL.fullmatch(label) is None or label in RESERVED:
        return None
    if operation == "REMOVE":
        return LabelChange(metric, label)
    if text := TEXT.fullmatch(value.strip()):
        return LabelChange(metric, label, literal=text[1] or text[2] or "")
    command = ATTRIBUTES.get(value.strip(), "")
    if header := HEADER.fullmatch(value.strip()):
        command = f"%{header[1].upper()}_HEADER({header[2]})%"
    return LabelChange(metric, label, command=command) if command else None
