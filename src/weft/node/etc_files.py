"""The files a pod finds in /etc: names, resolvers, order of look-ups. Pure.

nsswitch.conf is part of it because `resolve` (systemd-resolved) would bypass resolv.conf.
"""

from weft.api.k8s.pod_v1 import Pod
from weft.api.wellknown import CLUSTER_DOMAIN
from weft.node.environment import fqdn, hostname_of, kernel_hostname
from weft.node.volumes import File

NDOTS = 5
SEARCHES_MAX = 32
NAMESERVERS_MAX = 3
NSSWITCH = """\
passwd: files
group: files
shadow: files
hosts: files dns
networks: files
protocols: files
services: files
ethers: files
rpc: files
"""


def etc_files(
    pod: Pod, address: str, dns_address: str, host_resolv_conf: str, host_hosts: str
) -> tuple[File, ...]:
    """resolv.conf, hosts, hostname and nsswitch.conf of a pod.

    A pod in the node's network sees the machine's files, but for its dnsConfig and hostAliases.
    Our DNS server answers port 53 inside pods' networks only, so ClusterFirstWithHostNet gets the
    machine's resolvers too.
    """
    if pod.spec.host_network:
        own = {"resolv.conf": resolv_conf(pod, "", host_resolv_conf)}
        if pod.spec.host_aliases:
            own["hosts"] = host_hosts + "".join(f"{line}\n" for line in _aliases(pod))
        return tuple(File(name, text.encode()) for name, text in own.items())
    files = {
        "resolv.conf": resolv_conf(pod, dns_address, host_resolv_conf),
        "hosts": hosts(pod, address),
        "hostname": kernel_hostname(pod) + "\n",
        "nsswitch.conf": NSSWITCH,
    }
    return tuple(File(name, text.encode()) for name, text in files.items())


def hosts(pod: Pod, address: str) -> str:
    """/etc/hosts, with the pod's own name and its hostAliases."""
    lines = [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "\t".join((address, *filter(None, (fqdn(pod), hostname_of(pod))))),
    ]
    return "\n".join((*lines, *_aliases(pod))) + "\n"


def _aliases(pod: Pod) -> list[str]:
    return ["\t".join((alias.ip, *alias.hostnames)) for alias in pod.spec.host_aliases]


def resolv_conf(pod: Pod, dns_address: str, host_resolv_conf: str) -> str:
    """As dnsPolicy and dnsConfig say; without a DNS server of ours, the machine's own file."""
    policy = pod.spec.dns_policy or "ClusterFirst"
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    if policy == "None":
        pass
    elif policy == "Default" or not dns_address:
        servers, searches, options = _parsed(host_resolv_conf)
    else:
        zone = f"svc.{CLUSTER_DOMAIN}"
        servers, options = [dns_address], {"ndots": str(NDOTS)}
        searches = [f"{pod.metadata.namespace}.{zone}", zone, CLUSTER_DOMAIN]
    if (config := pod.spec.dns_config) is not None:
        servers = list(dict.fromkeys((*servers, *config.nameservers)))
        searches = list(dict.fromkeys((*searches, *config.searches)))
        options |= {o.name: o.value for o in config.options}
    lines = [f"nameserver {s}" for s in servers[:NAMESERVERS_MAX]]
    if searches:
        lines.append("search " + " ".join(searches[:SEARCHES_MAX]))
    if options:
        lines.append("options " + " ".join(f"{k}:{v}" if v else k for k, v in options.items()))
    return "\n".join(lines) + "\n"


def _parsed(text: str) -> tuple[list[str], list[str], dict[str, str]]:
    servers: list[str] = []
    searches: list[str] = []
    options: dict[str, str] = {}
    for line in text.splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "nameserver":
            servers.append(rest.strip())
        elif word in ("search", "domain"):
            searches = rest.split()
        elif word == "options":
            options |= dict(o.partition(":")[::2] for o in rest.split())
    return servers, searches, options


def nameservers(host_resolv_conf: str) -> tuple[str, ...]:
    """The machine's own resolvers."""
    return tuple(_parsed(host_resolv_conf)[0])
