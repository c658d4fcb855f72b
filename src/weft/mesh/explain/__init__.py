"""Why a request goes where it goes: the walk that the proxy makes, over the model it is made from.

`walk` follows one request or connection through a model (`connections`, `virtual_hosts`,
`matching`, `rewriting`); `answer` says it in people's words, with the objects and fields that
decided. What a field of the model means to a request stands in the tables of `effects`: a new one
gets a line there, and is shown as it is until then.
"""

from weft.mesh.explain.request import Request
from weft.mesh.explain.walk import (
    Explanation,
    explain_from_gateway,
    explain_from_workload,
    explain_to_service,
)

__all__ = [
    "Explanation",
    "Request",
    "explain_from_gateway",
    "explain_from_workload",
    "explain_to_service",
]
