"""What nodes may do, and which fields of it."""

from typing import Any

import orjson
import pytest

from weft.api.errors import ApiError
from weft.api.kinds import Kind
from weft.apiserver.access import AUTHENTICATED, Attributes, Decision, Review, User
from weft.apiserver.node_authorizer import FirstYes, NodeAuthorizer, node_of
from weft.apiserver.node_graph import NodeGraph
from weft.apiserver.node_restriction import NodeRestriction
from weft.apiserver.verbs import known_kind

NODE = User("system:node:n1", ("system:nodes", AUTHENTICATED))
OTHER = User("system:node:n2", ("system:nodes", AUTHENTICATED))


def pod(name: str, node: str, *, secret: str = "", phase: str = "Running") -> dict[str, Any]:
    source = {"secretKeyRef": {"name": secret, "key": "k"}}
    env = [{"name": "X", "valueFrom": source}] if secret else []
    volumes = [
        {"name": "v", "projected": {"sources": [{"configMap": {"name": "settings"}}]}},
        {"name": "w", "persistentVolumeClaim": {"claimName": "disk"}},
    ]
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}"},
        "spec": {
            "nodeName": node,
            "serviceAccountName": "seller",
            "containers": [{"name": "c", "env": env}],
            "volumes": volumes,
        },
        "status": {"phase": phase},
    }


@pytest.fixture
def graph() -> NodeGraph:
    made = NodeGraph()
    for each in (pod("a", "n1", secret="word"), pod("b", "n2", secret="key")):
        made.put(orjson.dumps(each))
    return made


def may(graph: NodeGraph, user: User, verb: str, resource: str, **more: str) -> bool:
    more = {"namespace": "shop", **more}
    return NodeAuthorizer(graph).decide(user, Attributes(verb, resource=resource, **more)).allowed


@pytest.mark.parametrize(
    ("resource", "name"),
    [("secrets", "word"), ("configmaps", "settings"), ("persistentvolumeclaims", "disk"),
     ("serviceaccounts", "seller")],
)  # fmt: skip
def test_what_its_pods_name_is_read_by_name(graph: NodeGraph, resource: str, name: str) -> None:
    for verb in ("get", "list", "watch"):
        assert may(graph, NODE, verb, resource, name=name)
    assert not may(graph, NODE, "list", resource)
    assert not may(graph, NODE, "get", resource, name=name, namespace="other")
    assert not may(graph, NODE, "update", resource, name=name)
    assert not may(graph, NODE, "get", resource, name="another")


def test_what_other_nodes_pods_name_is_not(graph: NodeGraph) -> None:
    assert not may(graph, NODE, "get", "secrets", name="key")
    assert may(graph, OTHER, "get", "secrets", name="key")


def test_rights_end_with_the_pod(graph: NodeGraph) -> None:
    graph.put(orjson.dumps(pod("a", "n1", secret="word", phase="Succeeded")))
    assert not may(graph, NODE, "get", "secrets", name="word")
    graph.put(orjson.dumps(pod("a", "n1", secret="word")))
    graph.put(orjson.dumps(pod("c", "n1", secret="word")))
    graph.remove(("shop", "a"))
    assert may(graph, NODE, "get", "secrets", name="word"), "the other pod still names it"
    graph.remove(("shop", "c"))
    assert not may(graph, NODE, "get", "secrets", name="word")


def test_pods_of_its_own(graph: NodeGraph) -> None:
    assert may(graph, NODE, "list", "pods", namespace="", selected_node="n1")
    assert not may(graph, NODE, "list", "pods", namespace="")
    assert not may(graph, NODE, "watch", "pods", namespace="", selected_node="n2")
    assert may(graph, NODE, "patch", "pods", name="a", subresource="status")
    assert not may(graph, NODE, "patch", "pods", name="b", subresource="status")
    assert may(graph, NODE, "delete", "pods", name="a")
    assert not may(graph, NODE, "create", "pods")
    assert not may(graph, NODE, "create", "pods", name="a", subresource="exec")


def test_its_own_node_lease_and_tokens(graph: NodeGraph) -> None:
    assert may(graph, NODE, "patch", "nodes", namespace="", name="n1", subresource="status")
    assert not may(graph, NODE, "patch", "nodes", namespace="", name="n2", subresource="status")
    assert not may(graph, NODE, "delete", "nodes", namespace="", name="n1")
    assert may(graph, NODE, "list", "nodes", namespace="")
    lease = {"group": "coordination.k8s.io", "namespace": "kube-node-lease"}
    assert may(graph, NODE, "update", "leases", name="n1", **lease)
    assert not may(graph, NODE, "update", "leases", name="n2", **lease)
    token = {"name": "seller", "subresource": "token"}
    assert may(graph, NODE, "create", "serviceaccounts", **token)
    assert not may(graph, NODE, "create", "serviceaccounts", name="default", subresource="token")


def test_paths_and_people(graph: NodeGraph) -> None:
    decide = NodeAuthorizer(graph).decide
    assert decide(NODE, Attributes("get", path="/weft/v1/node/link")).allowed
    assert decide(NODE, Attributes("post", path="/weft/v1/node/v1/traces")).allowed
    for other in ("/weft/v1/proxy-restart", "/weft/v1/node/link", "/weft/v1/node/v1/traces/x"):
        assert not decide(NODE, Attributes("post", path=other)).allowed
    alice = User("alice", (AUTHENTICATED,))
    assert not decide(alice, Attributes("get", path="/weft/v1/node/link")).allowed
    assert not decide(alice, Attributes("post", path="/weft/v1/node/v1/traces")).allowed
    assert node_of(User("system:node:n1")) == "", "the name alone is not enough"
    assert node_of(User("alice", ("system:nodes",))) == ""


def test_the_first_yes_counts(graph: NodeGraph) -> None:
    class No:
        def decide(self, user: User, wanted: Attributes) -> Decision:
            return Decision(False, "no role")

    both = FirstYes((No(), NodeAuthorizer(graph)))
    assert both.decide(NODE, Attributes("list", resource="services")).allowed
    refused = both.decide(NODE, Attributes("delete", resource="services"))
    assert (refused.allowed, refused.reason) == (False, "no role")


# --- fields


async def refusal(
    graph: NodeGraph, kind: Kind, name: str, new: Any, old: Any, operation: Any = "UPDATE"
) -> str:
    asked = Review(operation, kind, "shop", name, new, old, NODE)
    try:
        await NodeRestriction(graph).review(asked)
    except ApiError as error:
        return error.message
    return ""


def node(**changes: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": "n1"} | changes.pop("labels", {})
    return {"metadata": {"name": "n1", "labels": labels}, "spec": {"podCIDR": "x", **changes}}


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (node(), ""),
        (node(labels={"team": "x", "topology.kubernetes.io/zone": "z"}), ""),
        (node(labels={"node-restriction.kubernetes.io/team": "x"}), "labels"),
        (node(labels={"node-role.kubernetes.io/master": ""}), "labels"),
        (node(taints=[{"key": "a", "effect": "NoSchedule"}]), "taints"),
        (node(unschedulable=True), "unschedulable"),
        (node(podCIDR="y"), "podCIDR"),
    ],
)
async def test_fields_of_its_node(graph: NodeGraph, new: Any, words: str) -> None:
    said = await refusal(graph, known_kind("nodes"), "n1", new, node())
    assert words in said
    assert bool(said) is bool(words)


async def test_fields_of_its_pods(graph: NodeGraph) -> None:
    pods, old = known_kind("pods"), pod("a", "n1")
    status = old | {"status": {"phase": "Failed"}}
    assert not await refusal(graph, pods, "a", status, old)
    own = old | {"metadata": old["metadata"] | {"annotations": {"weft.dev/netns": "/run/x"}}}
    assert not await refusal(graph, pods, "a", own, old)
    for changes in ({"annotations": {"sidecar.istio.io/x": "y"}}, {"labels": {"app": "bank"}}):
        bad = old | {"metadata": old["metadata"] | changes}
        assert await refusal(graph, pods, "a", bad, old), changes
    moved = old | {"spec": old["spec"] | {"serviceAccountName": "admin"}}
    assert await refusal(graph, pods, "a", moved, old)
    assert await refusal(graph, pods, "a", old, None, "CREATE")


async def test_others_are_not_asked(graph: NodeGraph) -> None:
    asked = Review("DELETE", known_kind("nodes"), "", "n1", None, node(), User("alice"))
    verdict = await NodeRestriction(graph).review(asked)
    assert not verdict.errors


def test_tokens_are_bound_to_pods_of_the_node(graph: NodeGraph) -> None:
    check = NodeRestriction(graph).check_token

    def ask(**bound: str) -> None:
        check(NODE, "shop", "seller", {"spec": {"boundObjectRef": bound} if bound else {}})

    ask(kind="Pod", name="a", uid="uid-a")
    for bound in (
        {}, {"kind": "Pod", "name": "b", "uid": "uid-b"}, {"kind": "Pod", "name": "a", "uid": "?"},
        {"kind": "Secret", "name": "a", "uid": "uid-a"},
    ):  # fmt: skip
        with pytest.raises(ApiError, match="token"):
            ask(**bound)
    check(User("alice"), "shop", "seller", {})
