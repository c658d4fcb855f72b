"""Acting as somebody else: the Impersonate headers, and who may use them. Pure."""

from collections.abc import Callable, Iterable, Iterator
from urllib.parse import unquote

from weft.api.errors import ApiError
from weft.apiserver.access import (
    AUTHENTICATED,
    Attributes,
    User,
    service_account_groups,
    service_account_of,
)

USER, GROUP, UID, EXTRA = (
    "impersonate-user", "impersonate-group", "impersonate-uid", "impersonate-extra-",
)  # fmt: skip
_AUTHENTICATION = "authentication.k8s.io"


def impersonated(
    headers: Iterable[tuple[str, str]], may: Callable[[Attributes], None]
) -> User | None:
    """Who the headers name; None when they name nobody. `may` raises ApiError 403 for what the
    real user is not allowed. Raises ApiError 400 for what is no text, and 500, as Kubernetes, for
    groups and the like without a user."""
    name, uid, groups = "", "", []
    extra: dict[str, list[str]] = {}
    for lowered, value in _asked(headers):
        if lowered == USER:
            name = value
        elif lowered == GROUP:
            groups.append(value)
        elif lowered == UID:
            uid = value
        elif lowered.startswith(EXTRA):
            extra.setdefault(unquote(lowered[len(EXTRA) :]), []).append(value)
    if not name:
        if groups or uid or extra:
            raise ApiError(
                500, "InternalError", "Internal error occurred: requested impersonation of "
                "groups, a uid or extra fields without impersonating a user",
            )  # fmt: skip
        return None
    account = service_account_of(name)
    if account is not None:
        may(_attributes("serviceaccounts", account[1], namespace=account[0]))
        groups = groups or list(service_account_groups(account[0]))
    else:
        may(_attributes("users", name))
    for group in groups:
        if account is None or group not in service_account_groups(account[0]):
            may(_attributes("groups", group))
    if uid:
        may(_attributes("uids", uid, group=_AUTHENTICATION))
    for key, values in extra.items():
        for value in values:
            may(_attributes("userextras", value, group=_AUTHENTICATION, subresource=key))
    if AUTHENTICATED not in groups and name != "system:anonymous":
        groups.append(AUTHENTICATED)
    return User(name, tuple(groups), uid, {k: tuple(v) for k, v in extra.items()})


def _asked(headers: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The headers that count, in lower case. Bytes that are no UTF-8 could not be said again, in
    an answer or in the audit log."""
    for header, value in headers:
        if (lowered := header.lower()).startswith("impersonate-"):
            try:
                value.encode()
            except UnicodeEncodeError:
                text = f"the header {header} is not valid UTF-8"
                raise ApiError(400, "BadRequest", text) from None
            yield lowered, value


def _attributes(
    resource: str, name: str, *, namespace: str = "", group: str = "", subresource: str = ""
) -> Attributes:
    return Attributes(
        "impersonate", group=group, version="v1", resource=resource, subresource=subresource,
        namespace=namespace, name=name,
    )  # fmt: skip


def refusal(user: User, wanted: Attributes, text: str) -> ApiError:
    """403 in Kubernetes' words: about the thing that was to be impersonated."""
    plural = f"{wanted.resource}.{wanted.group}" if wanted.group else wanted.resource
    details = {"name": wanted.name, "group": wanted.group, "kind": wanted.resource}
    details = {k: v for k, v in details.items() if v}
    return ApiError(403, "Forbidden", f'{plural} "{wanted.name}" is forbidden: {text}', details)
