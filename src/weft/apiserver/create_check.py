"""A PATCH that creates needs the verb create too, as in Kubernetes: else whoever may patch could
make what they like by server-side apply."""

from weft.apiserver import access, failures
from weft.apiserver.access import Attributes, Authorizer, Review, Verdict

_ALLOWED = Verdict()


class CreateCheck:
    """access.Admission, to be asked first. A POST has been through the same question."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def review(self, asked: Review) -> Verdict:
        if asked.operation != "CREATE":
            return _ALLOWED
        kind = asked.kind
        wanted = Attributes(
            "create", group=kind.group, version=kind.version, resource=kind.plural,
            namespace=asked.namespace, name=asked.name,
        )  # fmt: skip
        decision = self._authorizer.decide(asked.user, wanted)
        if not decision.allowed:
            text = access.forbidden_text(asked.user, wanted, decision.reason)
            raise failures.forbidden(kind, asked.name, text)
        return _ALLOWED
