"""DestinationRules: subsets of hosts, and how their endpoints are chosen, limited and protected."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from weft.api.istio import networking_v1 as istio
from weft.mesh import findings as f
from weft.mesh.findings import Findings
from weft.mesh.hosts import Host
from weft.mesh.istio_localities import read_warm_up
from weft.mesh.model import (
    ConnectionPool,
    HashKey,
    LoadBalancer,
    OutlierDetection,
    Tunnel,
    UpstreamTls,
)
from weft.mesh.names import covers, full_host, specificity
from weft.mesh.tunnels import read_tunnel
from weft.mesh.values import is_prime, seconds

ROOT_NAMESPACE = "istio-system"
"""Rules of this namespace hold for hosts that no nearer rule names."""
CONSECUTIVE_5XX_DEFAULT = 5
CONSECUTIVE_LOCAL_DEFAULT = 5
EJECTION_PERCENT_DEFAULT = 10
INTERVAL_DEFAULT = 10.0
EJECTION_TIME_DEFAULT = 30.0
CONNECT_TIMEOUT_DEFAULT = 10.0
RETRY_BUDGET_DEFAULT = 20.0
RETRY_BUDGET_MIN_DEFAULT = 3

Labels = tuple[tuple[str, str], ...]

_SIMPLE = {
    "ROUND_ROBIN": LoadBalancer(algorithm="round_robin"),
    "LEAST_REQUEST": LoadBalancer(algorithm="least_request"),
    "LEAST_CONN": LoadBalancer(algorithm="least_request"),
    "RANDOM": LoadBalancer(algorithm="random"),
}


class Policy(Struct, frozen=True):
    """A traffic policy; None is what nothing was said about."""

    load_balancer: LoadBalancer | None = None
    passthrough: bool = False
    """Connect to where the caller was going."""
    pool: ConnectionPool | None = None
    http2: bool = False
    outlier: OutlierDetection | None = None
    tls: UpstreamTls | None = None
    tls_set: bool = False
    locality: istio.LocalityLbSetting | None = None
    zones: istio.ZoneAwareLbSetting | None = None
    proxy_protocol: str = ""
    """V1 or V2."""
    tunnel: Tunnel | None = None

    def over(self, lower: "Policy") -> "Policy":
        """This policy where it says something, else the lower one."""
        has_lb = self.load_balancer is not None or self.passthrough
        return Policy(
            load_balancer=self.load_balancer if has_lb else lower.load_balancer,
            passthrough=self.passthrough if has_lb else lower.passthrough,
            pool=self.pool or lower.pool,
            http2=self.http2 if self.pool else lower.http2,
            outlier=self.outlier or lower.outlier,
            tls=self.tls if self.tls_set else lower.tls,
            tls_set=self.tls_set or lower.tls_set,
            locality=self.locality or (lower.locality if self.zones is None else None),
            zones=self.zones or (lower.zones if self.locality is None else None),
            proxy_protocol=self.proxy_protocol or lower.proxy_protocol,
            tunnel=self.tunnel or lower.tunnel,
        )


class PortedPolicy(Struct, frozen=True):
    """A traffic policy with its exceptions by port. A port's policy replaces the general one
    as a whole, as in Istio."""

    general: Policy = Policy()
    ports: tuple[tuple[int, Policy], ...] = ()

    def at(self, port: int) -> Policy:
        """The policy of a port."""
        return next((p for number, p in self.ports if number == port), self.general)


class SubsetRule(Struct, frozen=True):
    name: str
    labels: tuple[tuple[str, str], ...]
    policy: PortedPolicy = PortedPolicy()


class HostRule(Struct, frozen=True):
    """What the DestinationRules of one namespace say about a host."""

    policy: PortedPolicy = PortedPolicy()
    subsets: tuple[SubsetRule, ...] = ()
    source: str = ""
    as_bytes: bool = False
    """Connections that hold TLS of their callers: they are carried as they are."""


class _Rule(Struct, frozen=True):
    namespace: str
    host: str
    rule: HostRule
    everywhere: bool
    selector: Labels | None = None
    name: str = ""
    exported: frozenset[str] = frozenset()
    """Other namespaces that it is for, unless it is for all."""

    def holds_for(self, client: str) -> bool:
        """Whether it is for callers of a namespace; always for its own."""
        return self.everywhere or client == self.namespace or client in self.exported


class Rules:
    """All DestinationRules, and which one holds for a host and a caller's namespace. Those with a
    workload selector hold in the Rules that are made for the workloads that they select."""

    def __init__(self, rules: Sequence[_Rule] = (), base: "Rules | None" = None) -> None:
        self._base = base
        self._selecting = tuple(r for r in rules if r.selector is not None and base is None)
        self._plain = tuple(r for r in rules if r.selector is None)
        self._exact: dict[str, dict[str, _Rule]] = {}
        self._wild: dict[str, list[_Rule]] = {}
        found = self._plain if base is None else rules
        for rule in sorted(found, key=lambda r: specificity(r.host), reverse=True):
            if rule.host.startswith("*"):
                self._wild.setdefault(rule.namespace, []).append(rule)
            else:
                self._exact.setdefault(rule.host, {})[rule.namespace] = rule

    def of_workloads(self, namespace: str, names: Iterable[str]) -> "Rules":
        """The rules for some workloads of a namespace: those of these names that select them, of
        several for a host the oldest, come before what holds for all of the namespace."""
        wanted = set(names)
        chosen: dict[str, _Rule] = {}
        for rule in self._selecting:
            if rule.namespace == namespace and rule.name in wanted:
                chosen.setdefault(rule.host, rule)
        others = (r for r in self._plain if r.namespace != namespace or r.host not in chosen)
        return Rules((*chosen.values(), *others), self)

    def selected(self, namespace: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Names of the rules of a namespace that select workloads with these labels."""
        own = set(labels.items())
        return tuple(
            r.name
            for r in self._selecting
            if r.namespace == namespace and own.issuperset(r.selector or ())
        )

    def mark(self, host: Host, client: str) -> str:
        """What tells the destinations of callers of a namespace from those of all others: empty
        when they share them."""
        found = self._found(host, client) if client and self._base else None
        if found is not None and found.selector is not None:
            return f"{client}/{found.name}"
        known = self._base or self
        return client if client in known.clients(host) else ""

    def find(self, host: Host, client: str = "") -> HostRule | None:
        """The rule for callers of namespace `client` ("" is any without rules of its own): their
        namespace's, else the host's namespace's, else the root namespace's."""
        found = self._found(host, client)
        return found.rule if found is not None else None

    def _found(self, host: Host, client: str) -> _Rule | None:
        for namespace in dict.fromkeys((client, host.namespace, ROOT_NAMESPACE)):
            found = self._in(namespace, host.host) if namespace else None
            if found is not None and found.holds_for(client):
                return found
        return None

    def selected_subset(self, host: Host, subset: str) -> bool:
        """Whether a rule for some workloads defines a subset of the host."""
        return any(
            (r.host == host.host or covers(r.host, host.host))
            and any(s.name == subset for s in r.rule.subsets)
            for r in self._selecting
        )

    def clients(self, host: Host) -> tuple[str, ...]:
        """Namespaces whose callers have another rule for this host than the rest have."""
        exact = self._exact.get(host.host, {})
        wild = (
            ns for ns, rules in self._wild.items() if any(covers(r.host, host.host) for r in rules)
        )
        candidates = {*exact, *wild} - (set() if self._base else {ROOT_NAMESPACE})
        for namespace in {host.namespace, ROOT_NAMESPACE}:
            rule = self._in(namespace, host.host)
            candidates |= rule.exported if rule is not None else frozenset()
        if not candidates:
            return ()
        usual = self.find(host)
        return tuple(ns for ns in sorted(candidates) if self.find(host, ns) is not usual)

    def _in(self, namespace: str, host: str) -> _Rule | None:
        exact = self._exact.get(host, {}).get(namespace)
        if exact is not None:
            return exact
        return next((r for r in self._wild.get(namespace, ()) if covers(r.host, host)), None)


def read_rules(
    objects: Iterable[istio.DestinationRule],
    hosts: Mapping[str, Host],
    report: Findings,
    finish: Callable[[istio.DestinationRule, HostRule], HostRule] | None = None,
) -> Rules:
    """All DestinationRules; `finish` completes each with what stands in other objects.

    Several for one host in one namespace are joined: subsets add up, of
    the policies the oldest is used."""
    joined: dict[tuple[str, str, Labels | None], _Rule] = {}
    oldest_first = sorted(
        objects,
        key=lambda o: (o.metadata.creation_timestamp, o.metadata.namespace, o.metadata.name),
    )
    for rule in oldest_first:
        namespace = rule.metadata.namespace
        host = full_host(rule.spec.host, namespace, hosts)
        if not host:
            report.add(f.HOSTS_MISSING, rule, "spec.host", hint="set `host` to a service's name")
            continue
        _check_host(rule, host, hosts, report)
        made = _read(rule, report)
        if finish is not None:
            made = finish(rule, made)
        exported = rule.spec.export_to
        selector = selected_labels(rule)
        everywhere = selector is None and (not exported or "*" in exported)
        others = frozenset(exported) - {"*", ".", "~"} if selector is None else frozenset()
        name = rule.metadata.name
        earlier = joined.get((namespace, host, selector))
        if earlier is not None:
            made = _join(earlier.rule, made, rule, host, report)
            everywhere, name = everywhere or earlier.everywhere, earlier.name
            others |= earlier.exported
        joined[namespace, host, selector] = _Rule(
            namespace, host, made, everywhere, selector, name, others
        )
    return Rules(tuple(joined.values()))


def selected_labels(rule: istio.DestinationRule) -> Labels | None:
    """The labels of the callers that a rule is for; None when it is for all."""
    wanted = rule.spec.workload_selector
    return None if wanted is None else tuple(sorted(wanted.match_labels.items()))


def _check_host(
    rule: istio.DestinationRule, host: str, hosts: Mapping[str, Host], report: Findings
) -> None:
    if host in hosts or (host.startswith("*") and any(covers(host, known) for known in hosts)):
        return
    if any(known.startswith("*") and covers(known, host) for known in hosts):
        return
    report.add(
        f.RULE_HOST_UNKNOWN,
        rule,
        "spec.host",
        hint=f.suggest_host(rule.spec.host, rule.metadata.namespace, hosts),
        host=rule.spec.host,
    )


def _join(
    earlier: HostRule, later: HostRule, rule: istio.DestinationRule, host: str, report: Findings
) -> HostRule:
    names = {s.name for s in earlier.subsets}
    for index, subset in enumerate(later.subsets):
        if subset.name in names:
            report.add(
                f.SUBSET_DEFINED_TWICE,
                rule,
                f"spec.subsets[{index}].name",
                subset=subset.name,
                host=host,
                other=earlier.source,
            )
    policy = earlier.policy
    if policy == PortedPolicy():
        policy = later.policy
    elif later.policy != PortedPolicy():
        report.add(
            f.POLICY_DEFINED_TWICE, rule, "spec.trafficPolicy", host=host, other=earlier.source
        )
    added = tuple(s for s in later.subsets if s.name not in names)
    return HostRule(policy, earlier.subsets + added, f"{earlier.source}, {later.source}")


def _read(rule: istio.DestinationRule, report: Findings) -> HostRule:
    spec = rule.spec
    subsets: dict[str, SubsetRule] = {}
    for index, subset in enumerate(spec.subsets):
        path = f"spec.subsets[{index}]"
        if subset.name in subsets:
            report.add(
                f.SUBSET_DEFINED_TWICE,
                rule,
                f"{path}.name",
                subset=subset.name,
                host=spec.host,
                other="this object",
            )
            continue
        policy = _ported(rule, subset.traffic_policy, f"{path}.trafficPolicy", report)
        labels = tuple(sorted(subset.labels.items()))
        subsets[subset.name] = SubsetRule(subset.name, labels, policy)
    return HostRule(
        policy=_ported(rule, spec.traffic_policy, "spec.trafficPolicy", report),
        subsets=tuple(subsets.values()),
        source=f"DestinationRule {rule.metadata.namespace}/{rule.metadata.name}",
    )


def _ported(
    rule: istio.DestinationRule, policy: istio.TrafficPolicy | None, path: str, report: Findings
) -> PortedPolicy:
    if policy is None:
        return PortedPolicy()
    ports = []
    for index, port_policy in enumerate(policy.port_level_settings):
        where = f"{path}.portLevelSettings[{index}]"
        number = port_policy.port.number if port_policy.port else None
        if number is None:
            report.add(f.PORT_MISSING, rule, f"{where}.port")
            continue
        ports.append((number, _policy(rule, port_policy, where, report)))
    general = _policy(rule, policy, path, report)
    if policy.proxy_protocol is not None:
        version = policy.proxy_protocol.version or "V1"
        general = replace(general, proxy_protocol=version)
        ports = [(number, replace(p, proxy_protocol=version)) for number, p in ports]
    if policy.tunnel is not None:
        tunnel = read_tunnel(rule, policy.tunnel, f"{path}.tunnel", report)
        general = replace(general, tunnel=tunnel)
        ports = [(number, replace(p, tunnel=tunnel)) for number, p in ports]
    if policy.retry_budget is not None:
        place = (rule, f"{path}.retryBudget", report)
        general = replace(general, pool=_with_budget(general.pool, policy.retry_budget, place))
    return PortedPolicy(general, tuple(ports))


def _with_budget(
    pool: ConnectionPool | None,
    budget: istio.RetryBudget,
    place: tuple[istio.DestinationRule, str, Findings],
) -> ConnectionPool:
    rule, path, report = place
    interval = seconds(
        budget.budget_interval,
        0.0,
        lambda p: report.add(
            f.VALUE_INVALID, rule, f"{path}.budgetInterval", problem=p, part="value"
        ),
    )
    return replace(
        pool or ConnectionPool(),
        retry_budget_percent=RETRY_BUDGET_DEFAULT if budget.percent is None else budget.percent,
        retry_budget_min=_or(budget.min_retry_concurrency, RETRY_BUDGET_MIN_DEFAULT),
        retry_budget_interval=interval or 0.0,
    )


def _policy(
    rule: istio.DestinationRule,
    policy: istio.TrafficPolicy | istio.PortTrafficPolicy,
    path: str,
    report: Findings,
) -> Policy:
    made = Policy()
    if policy.load_balancer is not None:
        made = _with_load_balancer(made, rule, policy.load_balancer, f"{path}.loadBalancer", report)
    if policy.connection_pool is not None:
        made = _with_pool(made, rule, policy.connection_pool, f"{path}.connectionPool", report)
    if policy.outlier_detection is not None:
        outlier = read_outlier(rule, policy.outlier_detection, f"{path}.outlierDetection", report)
        made = replace(made, outlier=outlier)
    if policy.tls is not None:
        tls = _tls(rule, policy.tls, f"{path}.tls", report)
        made = replace(made, tls=tls, tls_set=True)
    return made


def _with_load_balancer(
    made: Policy,
    rule: istio.DestinationRule,
    settings: istio.LoadBalancerSettings,
    path: str,
    report: Findings,
) -> Policy:
    if settings.simple == "LEAST_CONN":
        report.add(
            f.DEPRECATED, rule, f"{path}.simple", field="LEAST_CONN", instead="LEAST_REQUEST"
        )
    made = replace(
        made, locality=settings.locality_lb_setting, zones=settings.zone_aware_lb_setting
    )
    if settings.consistent_hash is not None:
        found = _hash(rule, settings.consistent_hash, f"{path}.consistentHash", report)
        return replace(made, load_balancer=found)
    if settings.simple == "PASSTHROUGH":
        return replace(made, passthrough=True)
    balancer = _SIMPLE.get(settings.simple)
    warm_up = read_warm_up(rule, settings, path, report)
    if warm_up is not None:
        balancer = replace(balancer or LoadBalancer(), warm_up=warm_up)
    return replace(made, load_balancer=balancer)


def _hash(
    rule: istio.DestinationRule, wanted: istio.ConsistentHashLB, path: str, report: Findings
) -> LoadBalancer | None:
    key: HashKey | None = None
    if wanted.http_header_name:
        key = HashKey("header", wanted.http_header_name.lower())
    elif wanted.http_cookie is not None:
        cookie = wanted.http_cookie
        ttl = seconds(
            cookie.ttl,
            None,
            lambda p: report.add(
                f.VALUE_INVALID, rule, f"{path}.httpCookie.ttl", problem=p, part="value"
            ),
        )
        attributes = tuple((a.name, a.value) for a in cookie.attributes if a.name)
        key = HashKey("cookie", cookie.name, ttl, cookie.path, attributes)
    elif wanted.use_source_ip:
        key = HashKey("source_ip")
    elif wanted.http_query_parameter_name:
        key = HashKey("query", wanted.http_query_parameter_name)
    if key is None:
        report.add(
            f.VALUE_INVALID,
            rule,
            path,
            hint="set one of httpHeaderName, httpCookie, useSourceIp, httpQueryParameterName",
            problem="nothing to hash is named",
            part="load balancer",
        )
        return None
    if wanted.maglev is not None:
        table = wanted.maglev.table_size or LoadBalancer().maglev_table_size
        if not is_prime(table):
            report.add(
                f.VALUE_INVALID,
                rule,
                f"{path}.maglev.tableSize",
                "a prime such as 65537",
                problem=f"{table} is no prime",
                part="size",
            )
            table = LoadBalancer().maglev_table_size
        return LoadBalancer(algorithm="maglev", hash_key=key, maglev_table_size=table)
    size = wanted.ring_hash.minimum_ring_size if wanted.ring_hash else wanted.minimum_ring_size
    return LoadBalancer(
        algorithm="ring_hash", hash_key=key, ring_size_min=size or LoadBalancer().ring_size_min
    )


def _with_pool(
    made: Policy,
    rule: istio.DestinationRule,
    settings: istio.ConnectionPoolSettings,
    path: str,
    report: Findings,
) -> Policy:
    upgrade = settings.http is not None and settings.http.h2_upgrade_policy == "UPGRADE"
    return replace(made, pool=read_pool(rule, settings, path, report), http2=upgrade)


def read_pool(
    rule: Struct, settings: istio.ConnectionPoolSettings, path: str, report: Findings
) -> ConnectionPool:
    """The limits that stand at a path of an object."""
    tcp = settings.tcp or istio.TCPSettings()
    http = settings.http or istio.HTTPSettings()
    keepalive = tcp.tcp_keepalive or istio.TcpKeepalive()
    pings = http.http2_keep_alive or istio.Http2KeepAlive()

    def duration(text: str, name: str, default: float | None = None) -> float | None:
        return seconds(
            text,
            default,
            lambda p: report.add(f.VALUE_INVALID, rule, f"{path}.{name}", problem=p, part="value"),
        )

    bytes_idle = duration(tcp.idle_timeout, "tcp.idleTimeout")
    return ConnectionPool(
        connections_max=tcp.max_connections or None,
        connect_timeout=duration(tcp.connect_timeout, "tcp.connectTimeout")
        or CONNECT_TIMEOUT_DEFAULT,
        pending_requests_max=http.http1_max_pending_requests or None,
        requests_max=http.http2_max_requests or None,
        streams_per_connection_max=http.max_concurrent_streams or None,
        client_protocol=bool(http.use_client_protocol),
        keepalive_probes=keepalive.probes or 0,
        keepalive_time=duration(keepalive.time, "tcp.tcpKeepalive.time") or 0.0,
        keepalive_interval=duration(keepalive.interval, "tcp.tcpKeepalive.interval") or 0.0,
        requests_per_connection_max=http.max_requests_per_connection or None,
        connection_duration_max=duration(tcp.max_connection_duration, "tcp.maxConnectionDuration"),
        retries_max=http.max_retries or None,
        idle_timeout=duration(http.idle_timeout, "http.idleTimeout") or bytes_idle,
        bytes_idle_timeout=bytes_idle,
        tcp_keepalive=tcp.tcp_keepalive is not None,
        ping_interval=duration(pings.interval, "http.http2KeepAlive.interval") or 0.0,
        ping_timeout=duration(pings.timeout, "http.http2KeepAlive.timeout") or 0.0,
    )


def read_outlier(
    rule: Struct, settings: istio.OutlierDetection, path: str, report: Findings
) -> OutlierDetection:
    """When endpoints are ejected, as it stands at a path of an object."""

    def duration(text: str, name: str, default: float) -> float:
        found = seconds(
            text,
            default,
            lambda p: report.add(f.VALUE_INVALID, rule, f"{path}.{name}", problem=p, part="value"),
        )
        return default if found is None else found

    gateway_errors = settings.consecutive_gateway_errors
    if settings.consecutive_errors is not None:
        report.add(
            f.DEPRECATED,
            rule,
            f"{path}.consecutiveErrors",
            field="consecutiveErrors",
            instead="consecutive5xxErrors",
        )
        gateway_errors = gateway_errors or settings.consecutive_errors
    split = bool(settings.split_external_local_origin_errors)
    return OutlierDetection(
        consecutive_5xx=_or(settings.consecutive_5xx_errors, CONSECUTIVE_5XX_DEFAULT) or None,
        consecutive_gateway_errors=gateway_errors or None,
        consecutive_local_origin_failures=(
            _or(settings.consecutive_local_origin_failures, CONSECUTIVE_LOCAL_DEFAULT) or None
        )
        if split
        else None,
        split_local_origin=split,
        interval=duration(settings.interval, "interval", INTERVAL_DEFAULT),
        base_ejection_time=duration(
            settings.base_ejection_time, "baseEjectionTime", EJECTION_TIME_DEFAULT
        ),
        ejection_percent_max=_or(settings.max_ejection_percent, EJECTION_PERCENT_DEFAULT),
        health_percent_min=settings.min_health_percent or 0,
        statuses=tuple(sorted(set(settings.outlier_detection_http_error_codes))),
    )


def _tls(
    rule: istio.DestinationRule, settings: istio.ClientTLSSettings, path: str, report: Findings
) -> UpstreamTls | None:
    if settings.mode == "ISTIO_MUTUAL":
        names = settings.subject_alt_names
        return UpstreamTls(mode="mesh", sni=settings.sni, subject_alt_names=names)
    if settings.mode not in ("SIMPLE", "MUTUAL"):
        return None
    return UpstreamTls(
        mode="simple" if settings.mode == "SIMPLE" else "mutual",
        sni=settings.sni,
        subject_alt_names=settings.subject_alt_names,
        ca_file=settings.ca_certificates,
        certificate_file=settings.client_certificate if settings.mode == "MUTUAL" else "",
        key_file=settings.private_key if settings.mode == "MUTUAL" else "",
        secret=settings.credential_name,
        insecure_skip_verify=bool(settings.insecure_skip_verify),
        crl_file=settings.ca_crl,
    )


def _or(value: int | None, default: int) -> int:
    return default if value is None else value
