"""A node that joined reads what its agent needs, and may."""

from weft.api.k8s.pod_v1 import Pod
from weft.api.registry import kind_for
from weft.apiserver.access import Attributes, User
from weft.apiserver.node_authorizer import NodeAuthorizer
from weft.apiserver.node_graph import NodeGraph
from weft.daemon.agent_instance import NAMED
from weft.node import agent


def test_a_node_may_read_all_that_its_agent_reads() -> None:
    """A class that is new in the agent is new in the node authorizer, or read by name."""
    node = User("system:node:n", ("system:nodes",))
    for cls in agent.CLASSES:
        kind = kind_for(cls)
        wanted = Attributes(
            "watch", group=kind.group, version=kind.version, resource=kind.plural,
            selected_node="n" if cls is Pod else "",
        )  # fmt: skip
        allowed = NodeAuthorizer(NodeGraph()).decide(node, wanted).allowed
        assert allowed or cls in NAMED, cls
