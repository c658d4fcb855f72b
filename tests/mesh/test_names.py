"""Host names as people write them."""

from weft.mesh.names import covers, full_host, intersection, nearest_host, service_host

KNOWN = {service_host("web", "shop"), "api.example.com"}


def test_short_and_partial_names_are_completed() -> None:
    assert full_host("web", "team") == "web.team.svc.cluster.local"
    assert full_host("web.shop", "team", KNOWN) == "web.shop.svc.cluster.local"
    assert full_host("web.shop.svc", "team", KNOWN) == "web.shop.svc.cluster.local"
    assert full_host("API.example.com.", "team", KNOWN) == "api.example.com"
    assert full_host("web.else", "team", KNOWN) == "web.else"
    assert full_host("*.example.com", "team") == "*.example.com"


def test_patterns() -> None:
    assert covers("*", "a.b")
    assert covers("*.b", "a.b")
    assert covers("*.b", "*.a.b")
    assert not covers("*.b", "b")
    assert not covers("*.b", "ab")
    assert intersection("*.b", "a.b") == "a.b"
    assert intersection("a.b", "*") == "a.b"
    assert intersection("a.b", "c.b") is None


def test_the_nearest_host_is_told_in_the_form_that_works_there() -> None:
    assert nearest_host("wep", "shop", KNOWN) == "web"
    assert nearest_host("wep.shop", "team", KNOWN) == "web.shop"
    assert nearest_host("completely-different", "shop", KNOWN) == ""
