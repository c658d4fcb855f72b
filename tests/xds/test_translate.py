"""Node models to Envoy resources: recorded, accepted by Envoy, and built only when needed."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.golden_support import Golden, case_names, documents, to_yaml
from tests.mesh.cluster import snapshot
from tests.xds.certificates import write_revocable
from tests.xds.support import service, table, to, virtual_host
from tests.xds.validation import message, validate
from weft.mesh.build import build
from weft.mesh.model import Endpoint, NodeModel, NodeSettings, OutboundPort, Workload
from weft.mesh.scope import scope
from weft.offline.configuration import with_gateway_ports
from weft.xds.resource import CLUSTER, Resource
from weft.xds.translate import Translator, translate

CASES = case_names("xds")


def load(case: str) -> NodeModel:
    (document,) = documents("xds", case)
    return msgspec.convert(document, NodeModel)


def readable(value: Any) -> Any:
    """Sorted, the name first; access logs shortened to their names (they are recorded once)."""
    if isinstance(value, dict):
        return {
            key: [log["name"] for log in item] if key == "access_log" else readable(item)
            for key, item in sorted(value.items(), key=lambda kv: (kv[0] != "name", kv[0]))
        }
    return [readable(item) for item in value] if isinstance(value, list) else value


def as_dict(resource: Resource) -> dict[str, Any]:
    return MessageToDict(message(resource), preserving_proto_field_name=True)


@pytest.mark.parametrize("case", CASES)
def test_recorded(case: str, golden: Golden) -> None:
    resources = translate(load(case))
    assert len({(r.type_url, r.name) for r in resources}) == len(resources)
    text = to_yaml(
        [
            {
                "type": resource.type_url.rpartition(".")[2],
                **({"uses": resource.uses} if resource.uses else {}),
                **({"serving": sorted(resource.serving)} if resource.serving else {}),
                "resource": readable(as_dict(resource)),
            }
            for resource in resources
        ]
    )
    golden.check("xds", case, "envoy.yaml", text)


def test_access_logs_recorded(golden: Golden) -> None:
    (outbound,) = (r for r in translate(load("tcp")) if r.name == "outbound|u1")
    chains = {c["name"]: c["filters"][0] for c in as_dict(outbound)["filter_chains"]}
    logs = {name: chains[name]["typed_config"]["access_log"] for name in ("http|80", "tcp|6379")}
    golden.check("xds", "tcp", "access-logs.yaml", to_yaml(readable(logs)))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_accepted_by_envoy(case: str, tmp_path: Path) -> None:
    validate(translate(load(case)), tmp_path)


FILES = {"crl": "none.crl", "ca": "ca.crt"}
"""What stands for a file of the machine, by its name; others are a certificate or its key."""


def with_files(value: Any, folder: Path) -> Any:
    """The document with files that are there, in place of those below /etc."""
    if isinstance(value, dict):
        return {key: with_files(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [with_files(item, folder) for item in value]
    if isinstance(value, str) and value.startswith("/etc/"):
        path = Path(value)
        return str(
            folder / FILES.get(path.stem, f"tls{'.key' if path.suffix == '.key' else '.crt'}")
        )
    return value


@pytest.mark.slow
@pytest.mark.parametrize("case", case_names("mesh"))
def test_recorded_clusters_are_accepted_by_envoy(case: str, tmp_path: Path) -> None:
    """The whole way, from the objects of `tests/golden/mesh` to what a node of theirs gets."""
    write_revocable(tmp_path, "test")
    model = build(snapshot(with_files(documents("mesh", case), tmp_path))).model
    node = with_gateway_ports(NodeSettings(name="node-a", address="10.244.0.1"), model)
    resources = translate(scope(model, node))
    assert CLUSTER in {resource.type_url for resource in resources}
    validate(resources, tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_equal_models_give_equal_bytes(case: str) -> None:
    assert translate(load(case)) == translate(load(case))


def endpoints(count: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(f"10.0.0.{n}", 80, pod_uid=f"u{n}") for n in range(1, count + 1))


def small(*sizes: int) -> NodeModel:
    services = tuple(service(f"s{n}", endpoints(size)) for n, size in enumerate(sizes))
    hosts = tuple(virtual_host(f"s{n}", to(s)) for n, s in enumerate(services))
    pod = Workload(
        *("u", "p", "default", "n", "10.0.0.9", "w", "spiffe://x"),
        netns="/run/netns/u",
        outbound=(OutboundPort(80, "80"),),
    )
    return NodeModel(
        NodeSettings("n", address="10.0.0.1"),
        workloads=(pod,),
        destinations=services,
        route_tables=(table(*hosts),),
    )


@pytest.mark.slow
@settings(deadline=None)
@given(
    before=st.lists(st.integers(0, 3), max_size=4), after=st.lists(st.integers(0, 3), max_size=4)
)
def test_translating_a_change_equals_translating_anew(before: list[int], after: list[int]) -> None:
    translator = Translator()
    translator.translate(small(*before))
    assert translator.translate(small(*after)) == translate(small(*after))


def test_an_endpoint_change_touches_one_resource() -> None:
    translator = Translator()
    before = {(r.type_url, r.name): r for r in translator.translate(small(2, 2, 2))}
    after = translator.translate(small(2, 3, 2))
    changed = [r.name for r in after if before[r.type_url, r.name].version != r.version]
    rebuilt = [r for r in after if before[r.type_url, r.name] is not r]
    name = "outbound|80||s1.default.svc.cluster.local"
    assert changed == [name]
    assert {r.name for r in rebuilt} == {name}


def test_only_serving_pods_are_listed_as_serving() -> None:
    (_, assignment, *_) = (
        r
        for r in translate(
            NodeModel(
                NodeSettings("n"),
                destinations=(
                    service(
                        "web",
                        (
                            Endpoint("10.0.0.1", 80, pod_uid="a"),
                            Endpoint("10.0.0.2", 80, pod_uid="b", health="DRAINING"),
                            Endpoint("10.0.0.3", 80, pod_uid="c", health="UNHEALTHY"),
                        ),
                    ),
                ),
            )
        )
        if "web" in r.name
    )
    assert assignment.serving == {"a"}
