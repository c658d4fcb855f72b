from hypothesis import given
from hypothesis import strategies as st

from weft.lib.ports import bindable_ports

PORTS = st.integers(min_value=1, max_value=20000)


def test_ports_that_may_not_be_bound_move_by_8000() -> None:
    assert bindable_ports((80, 443, 9080), 1024) == {80: 8080, 443: 8443, 9080: 9080}
    assert bindable_ports((80, 443), 0) == {80: 80, 443: 443}


def test_a_port_never_moves_to_one_that_is_taken() -> None:
    assert bindable_ports((80, 81, 8080), 1024) == {80: 8081, 81: 8082, 8080: 8080}


@given(st.sets(PORTS, max_size=8), st.integers(min_value=0, max_value=9000))
def test_every_port_is_bound_once_and_may_be(ports: set[int], first: int) -> None:
    bound = bindable_ports(ports, first)
    assert set(bound) == ports
    assert len(set(bound.values())) == len(ports)
    assert all(port >= first for port in bound.values())
