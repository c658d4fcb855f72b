"""Keeps configurations that are applied again from undoing what an autoscaler decided."""

from weft.api.k8s.autoscaling_v2 import HorizontalPodAutoscaler
from weft.apiserver.access import Review, Verdict
from weft.controllers import scale_owner
from weft.runtime.informer import Informers

NO_VERDICT = Verdict()


class ScaleAdmission:
    """access.Admission."""

    def __init__(self, informers: Informers) -> None:
        self._cache = informers.cache
        informers.add(HorizontalPodAutoscaler)

    async def review(self, asked: Review) -> Verdict:
        new, old = asked.new, asked.old
        if new is None or old is None or asked.subresource or not asked.applies:
            return NO_VERDICT
        found = scale_owner.kept(self._cache, asked.kind.kind, old, new)
        if found is None:
            return NO_VERDICT
        replicas, name = found
        text = f"spec.replicas stays {replicas}: HorizontalPodAutoscaler {name} decides it; leave "
        text += "the field out of what you apply, or use `kubectl scale`"
        return Verdict(obj=new | {"spec": {**new["spec"], "replicas": replicas}}, warnings=(text,))
