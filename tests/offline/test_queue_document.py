"""Queues as people are shown them."""

from tests.scheduler.kueue.test_controller import cluster_queue, group, job, of, settle, world
from weft.offline.queue_document import document


def test_an_inactive_cluster_queue_is_shown_with_who_waits_and_why() -> None:
    w = world()
    cluster_queue(w, "lost", resourceGroups=[group(of("nowhere", "2"))])
    job(w, "a", "lost")
    settle(w)
    found = document(w.snapshot(), "lost", w.now)
    assert found is not None
    assert [(e.name, e.state) for e in found.entries] == [("a", "waits")]
    assert "references missing ResourceFlavor(s): nowhere" in found.entries[0].why
    assert document(w.snapshot(), "none", w.now) is None
