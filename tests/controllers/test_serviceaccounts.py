"""Every namespace has its default ServiceAccount, for as long as it lives."""

from tests.controllers.simulate import World, make
from weft.api.k8s.core_v1 import Namespace, ServiceAccount
from weft.controllers import serviceaccounts


def test_the_default_account_is_made_and_made_again() -> None:
    w = World([serviceaccounts.CONTROLLER])
    w.put(make(Namespace, {}, name="shop"))
    w.settle()
    assert w.get(ServiceAccount, "default", "shop") is not None
    w.delete(ServiceAccount, "default", "shop")
    w.settle()
    assert w.get(ServiceAccount, "default", "shop") is not None


def test_a_namespace_that_ends_gets_none() -> None:
    w = World([serviceaccounts.CONTROLLER])
    w.put(make(Namespace, {}, name="shop"))
    w.delete(Namespace, "shop", "")
    w.settle()
    assert w.all(ServiceAccount) == []
