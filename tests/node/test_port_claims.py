"""Two wefts on a machine do not choose the same port."""

import sys

import pytest

from weft.node.port_claims import PortClaims


@pytest.mark.skipif(sys.platform != "linux", reason="claims are Linux' abstract sockets")
def test_a_port_is_claimed_by_one_until_it_gives_it_up() -> None:
    one, other = PortClaims(), PortClaims()
    place = ("127.9.9.9", 80, "tcp")  # an address that no gateway of this machine has
    assert one.take(*place)
    assert one.take(*place)
    assert not other.take(*place)
    assert other.take("127.9.9.9", 80, "udp")
    one.keep([])
    assert other.take(*place)
    one.keep([place])
    assert not one.take(*place)
    other.keep([])
    one.keep([place])
    assert not other.take(*place)
    one.keep([])
