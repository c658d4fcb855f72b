"""Names that several packages agree on: ports, labels, annotations, conditions, limits."""

# --- identity
TRUST_DOMAIN_DEFAULT = "cluster.local"
CLUSTER_DOMAIN = "cluster.local"

# --- scheduling
SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
"""PriorityClasses that always exist."""

# --- ports inside a pod's network namespace (Istio's numbers, so that users recognise them)
OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
EGRESS_PORT = 15010
"""In the network of a node without root: where its proxy takes what leaves that network."""
DATAGRAM_PORT_BITS = 0xF000
"""Exclusive or of a port of UDP at a service address and the port where the node's proxy listens in
pods for it. The kernel in the pod's network turns one into the other: a listener at the port itself
would keep the pod from binding it, as a DNS server behind a service does."""

# --- labels and annotations of Kubernetes and Istio
LABEL_SERVICE_NAME = "kubernetes.io/service-name"
LABEL_HOSTNAME = "kubernetes.io/hostname"
ANNOTATION_EXPORT_TO = "networking.istio.io/exportTo"
"""Of Services: namespaces that see it, separated by commas; `.` is its own, `*` all, `~` none."""
LABELS_LOCALITY = (
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.istio.io/subzone",
)
"""Labels of nodes that say where they are, the widest first."""
REASON_NODE_NOT_READY = "NodeNotReady"
"""Of a pod's condition Ready: its node is silent."""
REASON_NODE_LOST = "NodeLost"
"""Of the condition Ready: the control plane lost all its connections to the node."""
REMOVED_NODES = "weft-removed-nodes"
"""ConfigMap in `kube-system`: nodes that were removed -> when. Their certificates of before count
no more."""
REASON_NODE_REMOVED = "NodeRemoved"
"""Of the API server's refusal of such a certificate."""
LABEL_MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
LABEL_POD_TEMPLATE_HASH = "pod-template-hash"
LABEL_JOB_NAME = "batch.kubernetes.io/job-name"
ANNOTATION_LEARNED_PROTOCOLS = "weft.dev/learned-protocols"
"""On a Service, written by weft: protocols of undeclared ports, as JSON `{"2525": "tcp"}`."""
ANNOTATION_GATEWAY_HTTP3 = "weft.dev/http3"
"""`true` on a Gateway: its HTTPS servers speak HTTP/3, too, on the UDP port of the same number."""
ANNOTATION_POD_WEIGHT = "weft.dev/weight"
"""Share of the calls that the pod gets, in comparison to others of its service; 1 when absent."""
ANNOTATION_DEPLOYMENT_REVISION = "deployment.kubernetes.io/revision"
LABEL_CANONICAL_REVISION = "service.istio.io/canonical-revision"

# --- weft's own annotations
# Pod: where its network namespace is pinned; a path is never used twice.
ANNOTATION_POD_NETNS = "weft.dev/netns"
# Pod, host mode: JSON object of container port -> port on the pod address, e.g. {"8080": 20001}.
ANNOTATION_POD_HOST_PORTS = "weft.dev/host-ports"
# Pod, host mode: address:port of the pod's own HTTP proxy listener (the source identity).
ANNOTATION_POD_PROXY = "weft.dev/http-proxy"
# Node: "netns" or "host".
ANNOTATION_AUTO_ROLLBACK = "weft.dev/auto-rollback"
"""On Deployments: `true` when a revision without progress is to give way to the one before."""
ANNOTATION_JUDGE = "weft.dev/judge"
"""Of a Rollout: "true", or a condition over the mesh's signals that its new version must hold."""
ANNOTATION_FAILED_REVISIONS = "weft.dev/failed-revisions"
"""On Deployments, by weft: template hashes of revisions that made no progress, newest last."""
ANNOTATION_ROLL_ON_CONFIG = "weft.dev/roll-on-config-change"
"""On Deployments: `true` when changes of what the pods read are to replace them."""
ANNOTATION_CONFIG_SEEN = "weft.dev/config-seen"
"""On Deployments, by weft: what the pods read, and in which version."""
ANNOTATION_POD_CONFIG_REVISION = "weft.dev/config-revision"
"""On pod templates, by weft; a new value replaces the pods."""
ANNOTATION_PREDICT_SECONDS = "weft.dev/predict-seconds"
"""On HorizontalPodAutoscalers: how far ahead of a rising trend they scale."""
ANNOTATION_SCALE_TO_ZERO_AFTER = "weft.dev/scale-to-zero-after"
"""On Deployments, StatefulSets and HorizontalPodAutoscalers: how long (`5m`) nobody may have called
before no replica is left. The first call wakes it, and is held until it is answered."""
ANNOTATION_HOLD_TIMEOUT = "weft.dev/hold-timeout"
"""On the same: how long (`2m`) requests are held before they are answered 503."""
ANNOTATION_REPLICAS_AWAKE = "weft.dev/replicas-when-awake"
"""On workloads that were scaled to zero, by weft: how many replicas to wake."""
ANNOTATION_SERVICE_WAKES = "weft.dev/wakes"
"""On Services, by weft: the workload that calls wake, as `deployment/web`."""
ANNOTATION_SERVICE_SLEEP = "weft.dev/sleep"
"""On Services, by weft: `falling` while its workload is about to be scaled to zero; `asleep`."""
ANNOTATION_WAITS_FOR = "weft.dev/waits-for"
"""On pods and Jobs, by weft: what they wait for, of what they start after or of their queue."""
ANNOTATION_START_AFTER = "weft.dev/start-after"
"""On pods: what has to be ready before they are placed."""
LABELS_QUEUE = ("weft.dev/queue", "kueue.x-k8s.io/queue-name")
"""On Jobs and pods: the queue in which they wait to be admitted."""
LABEL_POD_GROUP = "kueue.x-k8s.io/pod-group-name"
ANNOTATION_POD_GROUP_COUNT = "kueue.x-k8s.io/pod-group-total-count"
GATE_QUEUE = "weft.dev/queue"
"""The scheduling gate of pods that wait in a queue."""
ANNOTATION_ADMITTED_AT = "weft.dev/admitted-at"
"""On Jobs and pods of queues, by weft."""
ANNOTATION_QUEUED_AT = "weft.dev/queued-at"
"""On Jobs and pods of queues, by weft: when they were first seen waiting, to the microsecond."""
ANNOTATION_DURATION = "weft.dev/duration"
"""On Jobs and pods of queues: how long (`10m`) they run."""
GATE_START_AFTER = "weft.dev/start-after"
"""The scheduling gate of such pods."""
ANNOTATION_NODE_VOLUMES = "weft.dev/volumes"
"""Where the node keeps the directories of persistent volumes."""
ANNOTATION_NODE_ISOLATION = "weft.dev/isolation"
# Node: address from which the node proxy and probes reach pods (exempt from inbound redirection).
ANNOTATION_NODE_ADDRESS = "weft.dev/node-address"
# Node: second address, not exempt, from which passthrough traffic leaves.
ANNOTATION_NODE_PASSTHROUGH_ADDRESS = "weft.dev/passthrough-address"
# Node: address that ingress gateways bind, e.g. 127.0.0.1.
ANNOTATION_NODE_GATEWAY_ADDRESS = "weft.dev/gateway-address"
# Node: JSON object of Gateway port -> host port it is bound to, e.g. {"80": 8080}.
ANNOTATION_NODE_GATEWAY_PORTS = "weft.dev/gateway-ports"
# Node: JSON object of Gateway (Gateway API, namespace/name) -> its addresses and ports here.
ANNOTATION_NODE_GATEWAY_BINDINGS = "weft.dev/gateway-bindings"
# Node: JSON object of Service or pod -> where the node listens for it (NodePort, hostPort, ...).
ANNOTATION_NODE_SERVICE_PLACES = "weft.dev/service-places"
# Node, host mode: the lowest port that its proxy may bind; services' ports below it move.
ANNOTATION_NODE_RELAYED = "weft.dev/relayed"
"""`true` on a node without root, whose proxy is in a network of its own: what comes to the
machine's addresses is passed on to it, but no datagrams."""
ANNOTATION_NODE_FIRST_PORT = "weft.dev/first-port"

# --- conditions
# True once the pod has its network; the mesh serves the pod's listeners from then on until False.
CONDITION_POD_SANDBOX_READY = "PodReadyToStartContainers"

# --- controllers' names, as field manager and event source
MANAGER = "weft"

ISOLATION_NETNS = "netns"
ISOLATION_HOST = "host"

INGRESS_CONTROLLER = "weft.dev/ingress-controller"
"""`spec.controller` of the IngressClasses that weft serves."""
