"""API errors, as Kubernetes' Status objects (apimachinery's metav1.Status)."""

from collections.abc import Mapping
from typing import Any


class ApiError(Exception):
    """A refused request: HTTP code, machine-readable reason, text for people.

    `details` is the Status' details (name, group, kind, uid, causes, retryAfterSeconds).
    `continue_token` is where a list whose pages expired can go on all the same.
    """

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        *,
        continue_token: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = dict(details or {})
        self.continue_token = continue_token

    def status(self) -> dict[str, Any]:
        """The body that Kubernetes clients parse."""
        body: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return body | ({"details": self.details} if self.details else {})

    @classmethod
    def from_status(cls, status: Mapping[str, Any]) -> "ApiError":
        """The error that a Status body stands for."""
        return cls(
            int(status.get("code") or 500),
            str(status.get("reason") or "InternalError"),
            str(status.get("message") or "unknown error"),
            status.get("details"),
            continue_token=str((status.get("metadata") or {}).get("continue") or ""),
        )


def not_found(resource: str, name: str, group: str = "") -> ApiError:
    """`resource` is the plural, as in the path."""
    full = f"{resource}.{group}" if group else resource
    return ApiError(
        404,
        "NotFound",
        f'{full} "{name}" not found',
        {"name": name, "group": group, "kind": resource},
    )
