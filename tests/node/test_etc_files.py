"""The files a pod finds in /etc."""

from tests.node.pods import pod
from weft.node.environment import hostname_refusal, kernel_hostname
from weft.node.etc_files import etc_files, hosts, nameservers, resolv_conf

HOST = "nameserver 192.0.2.53\nsearch corp.example\noptions timeout:2\n"


def test_resolv_conf_searches_the_pods_namespace_first() -> None:
    assert resolv_conf(pod(), "10.244.0.1", HOST) == (
        "nameserver 10.244.0.1\n"
        "search default.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5\n"
    )


def test_dns_policies_and_config() -> None:
    assert resolv_conf(pod(dnsPolicy="Default"), "10.244.0.1", HOST) == HOST
    config = {"nameservers": ["192.0.2.1"], "searches": ["my.zone"],
              "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}  # fmt: skip
    assert resolv_conf(pod(dnsPolicy="None", dnsConfig=config), "10.244.0.1", HOST) == (
        "nameserver 192.0.2.1\nsearch my.zone\noptions ndots:2 edns0\n"
    )
    merged = resolv_conf(pod(dnsConfig=config), "10.244.0.1", HOST)
    assert "nameserver 10.244.0.1\nnameserver 192.0.2.1\n" in merged
    assert "options ndots:2 edns0" in merged
    assert resolv_conf(pod(), "", HOST) == HOST
    assert nameservers(HOST) == ("192.0.2.53",)


def test_hosts_name_the_pod_and_its_aliases() -> None:
    alias = {"ip": "192.0.2.7", "hostnames": ["db.corp", "db"]}
    found = pod(hostname="node0", subdomain="peers", hostAliases=[alias])
    lines = hosts(found, "10.244.0.5").splitlines()
    assert "10.244.0.5\tnode0.peers.default.svc.cluster.local\tnode0" in lines
    assert "192.0.2.7\tdb.corp\tdb" in lines
    names = {f.path for f in etc_files(found, "10.244.0.5", "", "", "")}
    assert names == {"resolv.conf", "hosts", "hostname", "nsswitch.conf"}


def test_a_pod_in_the_nodes_network_sees_the_machines_files() -> None:
    plain = etc_files(pod(hostNetwork=True), "192.0.2.1", "10.244.0.1", HOST, "127.0.0.1 me\n")
    assert {f.path: f.data.decode() for f in plain} == {"resolv.conf": HOST}
    alias = {"ip": "192.0.2.7", "hostnames": ["db"]}
    more = pod(hostNetwork=True, hostAliases=[alias], dnsConfig={"options": [{"name": "edns0"}]})
    files = etc_files(more, "192.0.2.1", "10.244.0.1", HOST, "127.0.0.1 me\n")
    made = {f.path: f.data.decode() for f in files}
    assert made["hosts"] == "127.0.0.1 me\n192.0.2.7\tdb\n"
    assert made["resolv.conf"].endswith("options timeout:2 edns0\n")


def test_a_pod_may_be_called_by_its_whole_name() -> None:
    known = {"hostname": "node0", "subdomain": "peers", "setHostnameAsFQDN": True}
    assert kernel_hostname(pod(**known)) == "node0.peers.default.svc.cluster.local"
    assert kernel_hostname(pod(**known | {"hostNetwork": True})) != kernel_hostname(pod(**known))
    assert kernel_hostname(pod(hostname="node0", setHostnameAsFQDN=True)) == "node0"
    assert hostname_refusal(pod(**known)) is None
    refused = hostname_refusal(pod(**known | {"subdomain": "s" * 40}))
    assert refused is not None
    assert "more than 64 characters" in refused.message
