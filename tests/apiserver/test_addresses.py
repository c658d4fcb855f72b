"""Service addresses: properties of the allocation."""

from hypothesis import given
from hypothesis import strategies as st

from tests.examples import examples
from weft.apiserver.addresses import Ranges, assign, held, lacking, problems, settle

RANGES = Ranges("10.0.0.0/28", 30000, 30005)


@examples(60)
@given(st.integers(0, 20), st.integers(0, 1000))
def test_addresses_are_in_range_fresh_and_exhausted_exactly(count: int, seed: int) -> None:
    used: frozenset[str] = frozenset()
    given_out = 0
    for _ in range(count):
        service = {"spec": {"ports": []}}
        if not assign(service, RANGES, used, lambda n: seed % n):
            break
        settle(service)
        mine = held(service)
        assert len(mine) == 1
        assert not mine & used
        assert not problems(service, RANGES)
        assert service["spec"]["clusterIP"] not in ("10.0.0.0", "10.0.0.1", "10.0.0.15")
        used |= mine
        given_out += 1
    assert given_out == min(count, 13)


def test_node_ports_of_one_service_differ() -> None:
    service = {"spec": {"type": "NodePort", "ports": [{"port": n} for n in range(1, 7)]}}
    assert assign(service, RANGES, frozenset(), lambda n: 0)
    assert len({p["nodePort"] for p in service["spec"]["ports"]}) == 6
    assert not lacking(service)
    more = {"spec": {"type": "NodePort", "ports": [{"port": n} for n in range(1, 8)]}}
    assert not assign(more, RANGES, frozenset(), lambda n: 0)


def test_types_without_addresses_lose_them() -> None:
    service = {"spec": {"type": "ExternalName", "clusterIP": "10.0.0.3", "ports": [
        {"port": 1, "nodePort": 30001}]}}  # fmt: skip
    settle(service)
    assert held(service) == frozenset()
    assert not lacking(service)


def test_wishes_outside_the_ranges_are_problems() -> None:
    service = {"spec": {"type": "NodePort", "clusterIPs": ["bad", "None"], "ports": [
        {"port": 1, "nodePort": 80}]}}  # fmt: skip
    assert [p.field for p in problems(service, RANGES)] == [
        "spec.clusterIPs", "spec.ports[0].nodePort",
    ]  # fmt: skip


def test_a_health_check_port_for_local_load_balancers() -> None:
    spec = {"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}]}
    made = {"metadata": {}, "spec": {**spec}}
    assert lacking(made)
    assert assign(made, Ranges(), frozenset(), lambda n: 0)
    number = made["spec"]["healthCheckNodePort"]
    assert number != made["spec"]["ports"][0]["nodePort"]
    assert any(key.endswith(f"/{number}") for key in held(made))
    assert not lacking(made)
    made["spec"]["externalTrafficPolicy"] = "Cluster"
    settle(made)
    assert "healthCheckNodePort" not in made["spec"]
