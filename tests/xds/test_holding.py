"""What sleeps: requests are held by routes, connections by missing clusters."""

from envoy.config.route.v3 import route_components_pb2 as route_pb2
from google.protobuf.json_format import MessageToDict

from tests.xds.test_delta import Peer, brief, res, web
from weft.mesh.model import Destination
from weft.xds.delta import Request
from weft.xds.holding import asleep, has_no_cluster, hold_on_route, wakeable
from weft.xds.resource import CLUSTER

WEB = Destination("web|80", "web", 80, "http", wakes="deployment/web", asleep=True)
RAW = Destination("raw|25", "raw", 25, "tcp", wakes="deployment/raw", asleep=True)
AWAKE = Destination("db|5432", "db", 5432, "tcp", wakes="deployment/db")
OTHER = Destination("other|80", "other", 80, "http")


def test_who_is_held_and_how():
    every = (WEB, RAW, AWAKE, OTHER)
    assert asleep(every) == {"web|80", "raw|25"}
    assert wakeable(every) == {"raw|25", "db|5432"}
    assert [d.name for d in every if has_no_cluster(d)] == ["raw|25"]


def test_of_a_divided_route_only_the_share_that_sleeps_is_held():
    route = route_pb2.Route()
    for name in ("web|80", "other|80"):
        route.route.weighted_clusters.clusters.add(name=name)
    hold_on_route(route, asleep([WEB]))
    held, free = route.route.weighted_clusters.clusters
    config = MessageToDict(held.typed_per_filter_config["weft.hold"])
    assert config["checkSettings"]["contextExtensions"] == {"destination": "web|80"}
    assert not free.typed_per_filter_config
    assert not route.typed_per_filter_config


def test_a_missing_cluster_is_answered_when_it_comes_and_not_before():
    peer = Peer(web())
    peer.start()
    assert peer.tell(Request(CLUSTER, subscribe=("late",))) == []
    assert "+C late" in brief(peer.update([*web(), res(CLUSTER, "late")]))


def test_a_cluster_that_sleeps_again_is_removed_and_can_be_asked_for_again():
    peer = Peer([*web(), res(CLUSTER, "late")])
    peer.start()
    assert "-C late" in brief(peer.settle(peer.update(web())))
    assert peer.tell(Request(CLUSTER, subscribe=("late",))) == []
    assert "+C late" in brief(peer.settle(peer.update([*web(), res(CLUSTER, "late")])))
