"""Whether a Job or pod waits in a LocalQueue, and the name of its Workload. Pure."""

import hashlib

from weft.api.k8s.batch_v1 import Job
from weft.api.k8s.meta_v1 import ObjectMeta
from weft.api.k8s.pod_v1 import Pod
from weft.api.kueue.v1beta2 import LocalQueue, Workload
from weft.api.snapshot import Snapshot
from weft.api.weft.queue_v1alpha1 import Queue
from weft.api.wellknown import ANNOTATION_ADMITTED_AT, LABEL_POD_GROUP, LABELS_QUEUE

OWN_LABEL, KUEUE_LABEL = LABELS_QUEUE
NAME_CHARS_MAX = 253
_HASH_CHARS = 5


def local_queue(snapshot: Snapshot, obj: Job | Pod) -> str:
    """The LocalQueue that it waits in; empty for none: then the label means a Queue of weft's."""
    meta = obj.metadata
    name = meta.labels.get(KUEUE_LABEL, "")
    if not name or meta.labels.get(OWN_LABEL):
        return ""
    if ANNOTATION_ADMITTED_AT in meta.annotations and snapshot.get(Queue, name) is not None:
        return ""  # it runs already, by leave of that one
    if snapshot.get(LocalQueue, name, meta.namespace) is not None:
        return name
    known = snapshot.get(Workload, workload_name(obj), meta.namespace)
    return name if known is not None else ""


def workload_name(obj: Job | Pod) -> str:
    """As Kueue names Workloads, so that tools find them."""
    meta = obj.metadata
    if isinstance(obj, Pod) and (group := group_of(meta)):
        return group
    kind, group = ("Job", "batch") if isinstance(obj, Job) else ("Pod", "")
    text = "\n".join((kind, group, meta.name, meta.uid))
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()[:_HASH_CHARS]
    prefix = f"{kind.lower()}-{meta.name}"[: NAME_CHARS_MAX - _HASH_CHARS - 1]
    return f"{prefix}-{digest}"


def group_of(meta: ObjectMeta) -> str:
    return meta.labels.get(LABEL_POD_GROUP, "")
