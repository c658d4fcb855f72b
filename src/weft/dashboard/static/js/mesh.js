// What the documents mean: services and their signals, edges of the graph, what is wrong. Pure.
import { milliseconds, percent, plural, seconds, span } from "/js/format.js";

export const BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000];
export const BAD_PERCENT = 1;
export const VERY_BAD_PERCENT = 5;
const SLOW_FACTOR = 3;
const SLOW_MS_MIN = 100;
const REQUESTS_MIN = 10;
const RECENT_STEPS = 12;
const EXPIRY_SECONDS = 14 * 86400;
const STARTING_SECONDS = 20;
const REFUSED_SECONDS = 300;
const PLAIN_VERSIONS = ["", "latest", "unknown"];

/** The duration below which a share of the requests stayed, interpolated as Prometheus does. */
export function quantile(buckets, share) {
  const count = buckets.reduce((sum, each) => sum + each, 0);
  if (!count) return null;
  let below = 0, low = 0;
  for (let i = 0; i < buckets.length; i++) {
    const bound = BOUNDS_MS[i] ?? Infinity;
    if (buckets[i] && below + buckets[i] >= share * count) {
      return bound === Infinity ? low : low + ((bound - low) * (share * count - below)) / buckets[i];
    }
    below += buckets[i];
    low = bound;
  }
  return low;
}

const isOutside = (edge) => !edge.serviceHost.includes(".svc.") && edge.serviceNamespace === "unknown";
export const serviceId = (edge) =>
  (isOutside(edge) ? `outside/${edge.serviceHost}` : `${edge.serviceNamespace}/${edge.service}`);
export const versionOf = (edge) => (PLAIN_VERSIONS.includes(edge.destinationVersion) ? "" : edge.destinationVersion);

function sum(groups, seconds) {
  const total = { requests: 0, errors: 0, clientErrors: 0, opened: 0, sent: 0, received: 0, busyMs: 0, buckets: [], series: [], failed: [] };
  const protocols = new Set();
  let encrypted = 0;
  for (const { edge, counts, series, errors } of groups) {
    total.requests += counts.requests;
    total.errors += counts.errors;
    total.clientErrors += counts.clientErrors;
    total.opened += counts.opened;
    total.sent += counts.sentBytes;
    total.received += counts.receivedBytes;
    total.busyMs += counts.durationSumMs;
    counts.buckets.forEach((each, i) => { total.buckets[i] = (total.buckets[i] ?? 0) + each; });
    series.forEach((each, i) => { total.series[i] = (total.series[i] ?? 0) + each; });
    errors.forEach((each, i) => { total.failed[i] = (total.failed[i] ?? 0) + each; });
    protocols.add(edge.protocol);
    encrypted += edge.security === "mutual_tls" ? 1 : 0;
  }
  return {
    ...total,
    rate: (total.requests + total.opened) / seconds,
    inFlight: total.busyMs / 1000 / seconds,
    nowPercent: recently(total),
    errorPercent: total.requests ? (100 * total.errors) / total.requests : 0,
    deniedPercent: total.requests ? (100 * total.clientErrors) / total.requests : 0,
    p50: quantile(total.buckets, 0.5),
    p99: quantile(total.buckets, 0.99),
    protocol: [...protocols].sort().join(", "),
    mtls: groups.length > 0 && encrypted === groups.length,
    tcp: total.requests === 0 && total.opened > 0,
  };
}

/** The share of errors of the last minute: what was over before is not wrong now. */
function recently({ series, failed }) {
  const sumOf = (values) => values.slice(-RECENT_STEPS).reduce((sum, each) => sum + each, 0);
  const all = sumOf(series);
  return all ? (100 * sumOf(failed)) / all : 0;
}

function grouped(items, keyOf) {
  const found = new Map();
  for (const each of items) {
    const key = keyOf(each);
    if (!found.has(key)) found.set(key, []);
    found.get(key).push(each);
  }
  return found;
}

/** Every service that was called or exists: { id, namespace, name, versions, callers, … signals }. */
export function services(topology, known = []) {
  const { edges = [], seconds: window = 60 } = topology?.traffic ?? {};
  const found = new Map();
  for (const [id, group] of grouped(edges, (each) => serviceId(each.edge))) {
    const { edge } = group[0];
    const versions = [...grouped(group.filter((each) => each.edge.destination !== "unknown"),
      (each) => versionOf(each.edge) || each.edge.destination)]
      .map(([version, part]) => ({ version, workload: part[0].edge.destination, ...sum(part, window) }))
      .sort((a, b) => a.version.localeCompare(b.version));
    found.set(id, {
      id, outside: isOutside(edge), namespace: isOutside(edge) ? "" : edge.serviceNamespace,
      name: isOutside(edge) ? edge.serviceHost : edge.service, host: edge.serviceHost,
      versions, callers: [...new Set(group.map((each) => each.edge.source))], ...sum(group, window),
    });
  }
  for (const { metadata } of known) {
    const id = `${metadata.namespace}/${metadata.name}`;
    if (found.has(id) || id === "default/kubernetes") continue;
    found.set(id, {
      id, namespace: metadata.namespace, name: metadata.name, versions: [], callers: [], silent: true,
      host: `${metadata.name}.${metadata.namespace}.svc.cluster.local`, ...sum([], window),
    });
  }
  return [...found.values()];
}

/** Since when something that is told step by step has been going on, in seconds. */
function lasting(failed, step) {
  let last = failed.length - 1;
  while (last >= 0 && !failed[last]) last--;
  let first = last, quiet = 0;
  for (let i = last; i >= 0 && quiet < 4; i--) {
    if (failed[i]) { first = i; quiet = 0; } else quiet++;
  }
  return last < 0 ? 0 : { seconds: (failed.length - first) * step, whole: first <= 2 };
}

const since = (problem, failed, topology) => {
  const found = lasting(failed, topology.traffic.stepSeconds);
  if (!found) return problem;
  return { ...problem, since: topology.now - found.seconds, atLeast: found.whole };
};

/** What is wrong, the worst and nearest to the cause first:
 *  { level: critical|warning|info, title, why, since, link, what }. */
export function problems({ topology, status, ca, objects = {}, alerts = [], now }) {
  const found = [
    ...nodeProblems(objects.nodes ?? [], status), ...serviceProblems(topology),
    ...podProblems(objects.pods ?? [], now), ...deploymentProblems(objects.deployments ?? []),
    ...rolloutProblems(objects.rollouts ?? []),
    ...findings(status), ...expiry(ca, now), ...refusals(topology, now),
  ];
  // An alert about what is told already says nothing new here.
  const told = new Set(found.map((each) => each.subject).filter(Boolean));
  found.push(...alerts.filter((each) => !told.has(each.subject)));
  const order = { critical: 0, warning: 1, info: 2 };
  return found.sort((a, b) => order[a.level] - order[b.level] || (a.rank ?? 5) - (b.rank ?? 5));
}

function nodeProblems(nodes, status) {
  const found = [];
  for (const node of nodes) {
    const ready = node.status?.conditions?.find((each) => each.type === "Ready");
    if (ready && ready.status !== "True") {
      found.push({
        subject: `Node /${node.metadata.name}`, level: "critical", rank: 0, what: "node", title: `Node ${node.metadata.name} is not ready`,
        why: ready.message || ready.reason, since: seconds(ready.lastTransitionTime), link: `#/nodes/${node.metadata.name}`,
      });
    }
  }
  for (const proxy of status?.proxies ?? []) {
    const link = `#/nodes/${proxy.node}`;
    if (!proxy.connected) {
      found.push({ level: "critical", rank: 0, what: "proxy", link, title: `The proxy of node ${proxy.node} is not connected`,
        why: "It serves on with the last configuration that it has, and gets no changes." });
    }
    for (const report of proxy.rejected) {
      found.push({ level: "critical", rank: 1, what: "proxy", link, title: `Envoy on ${proxy.node} refused ${report.name || "configuration"}`,
        why: `${report.error} What was in force before stays in force.` });
    }
  }
  return found;
}

function serviceProblems(topology) {
  if (!topology) return [];
  const all = services(topology);
  const failing = new Map(all.filter((each) =>
    each.requests >= REQUESTS_MIN && each.nowPercent >= BAD_PERCENT).map((each) => [each.id, each]));
  const found = [];
  for (const service of all) {
    if (service.requests < REQUESTS_MIN) continue;
    const link = `#/services/${service.namespace || "outside"}/${service.name}`;
    const worst = [...service.versions].sort((a, b) => b.nowPercent - a.nowPercent)[0];
    if (failing.has(service.id)) {
      const cause = causeBelow(service, failing, topology);
      const critical = service.nowPercent >= VERY_BAD_PERCENT && !cause;
      found.push(since({
        level: critical ? "critical" : "warning", rank: cause ? 4 : 2, what: "errors", link, service: service.id, subject: `Service ${service.id}`,
        title: `${service.name} fails ${percent(service.nowPercent)} of its requests`,
        why: cause ? `Most likely because it calls ${cause.name}, which fails too.` : blame(service, worst),
      }, service.failed, topology));
    }
    const slow = slowVersion(service);
    if (slow) {
      found.push({
        level: "warning", rank: 3, what: "latency", link, service: service.id, subject: `Service ${service.id}`,
        title: `${service.name} ${slow.version} is slow: half of its requests take longer than ${milliseconds(slow.p50)}`,
        why: `Other versions of ${service.name} take ${milliseconds(slow.others)}.`,
      });
    }
  }
  return found;
}

function blame(service, worst) {
  const unanswered = service.errors - service.versions.reduce((sum, each) => sum + each.errors, 0);
  if (!worst || worst.nowPercent < BAD_PERCENT) {
    return "No endpoint answered them: they found none or could not reach it, or the proxy itself answers. The service's page says why.";
  }
  const more = unanswered > service.errors / 5 ? " More found no healthy endpoint: one that fails too often is left out for a while." : "";
  const others = service.versions.filter((each) => each !== worst);
  const good = others.filter((each) => each.nowPercent < worst.nowPercent / 3);
  if (!good.length) return `All of it fails alike (${worst.workload}).${more}`;
  const rest = good.map((each) => `${each.version}: ${percent(each.nowPercent)}`).join(", ");
  return `It is version ${worst.version} (${worst.workload}): it fails ${percent(worst.nowPercent)} of what it gets; ${rest}.${more}`;
}

/** The failing service that this one's own workloads call, if any. */
function causeBelow(service, failing, topology) {
  const workloads = new Set(service.versions.map((each) => each.workload));
  for (const { edge, counts } of topology.traffic.edges) {
    const below = failing.get(serviceId(edge));
    if (below && below !== service && workloads.has(edge.source) && counts.errors > 0) return below;
  }
  return null;
}

function slowVersion(service) {
  const told = service.versions.filter((each) => each.requests >= REQUESTS_MIN && each.p50 !== null);
  if (told.length < 2) return null;
  const [slowest, ...rest] = [...told].sort((a, b) => b.p50 - a.p50);
  const others = Math.max(...rest.map((each) => each.p50));
  return slowest.p50 >= SLOW_MS_MIN && slowest.p50 >= SLOW_FACTOR * others ? { ...slowest, others } : null;
}

function podProblems(pods, now) {
  const found = [];
  for (const pod of pods) {
    if (pod.metadata.deletionTimestamp || pod.status?.phase === "Succeeded") continue;
    const link = `#/pods/${pod.metadata.namespace}/${pod.metadata.name}`;
    const subject = `Pod ${pod.metadata.namespace}/${pod.metadata.name}`;
    const state = podState(pod);
    const began = seconds(pod.metadata.creationTimestamp);
    if (state.bad) {
      found.push({ subject, level: "critical", rank: 2, what: "pod", link, title: `Pod ${pod.metadata.name}: ${state.word}`, why: state.why, since: began });
    } else if (!state.ready && now - began > STARTING_SECONDS) {
      const ready = pod.status?.conditions?.find((each) => each.type === "Ready");
      found.push({ subject, level: "warning", rank: 3, what: "pod", link, title: `Pod ${pod.metadata.name} is not ready`,
        why: state.why || ready?.message || "Its readiness probe does not succeed.", since: seconds(ready?.lastTransitionTime) || began });
    }
  }
  return found;
}

/** A pod in a word: { word, bad, ready, why }. */
export function podState(pod) {
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const ready = pod.status?.conditions?.some((each) => each.type === "Ready" && each.status === "True") ?? false;
  if (pod.metadata.deletionTimestamp) return { word: "Ending", bad: false, ready: false, why: "" };
  for (const each of statuses) {
    const waiting = each.state?.waiting;
    if (waiting && !["ContainerCreating", "PodInitializing"].includes(waiting.reason)) {
      const last = each.lastState?.terminated;
      const code = last ? ` It ended with exit code ${last.exitCode}${last.message ? `: ${last.message}` : ""}.` : "";
      return { word: waiting.reason ?? "Waiting", bad: true, ready, why: `${waiting.message ?? ""}${code}`.trim() };
    }
  }
  if (pod.status?.phase === "Failed") return { word: "Failed", bad: true, ready, why: pod.status.message ?? pod.status.reason ?? "" };
  if (pod.status?.phase === "Pending") {
    const placed = pod.status.conditions?.find((each) => each.type === "PodScheduled");
    const lost = placed?.status === "False";
    return { word: lost ? "Not placed" : "Starting", bad: lost, ready, why: lost ? placed.message : "" };
  }
  return { word: ready ? "Ready" : pod.status?.phase === "Succeeded" ? "Done" : "Not ready", bad: false, ready, why: "" };
}

function deploymentProblems(deployments) {
  const found = [];
  for (const { metadata, status = {} } of deployments) {
    const stuck = status.conditions?.find((each) => each.type === "Progressing" && each.status === "False");
    const failed = status.conditions?.find((each) => each.type === "ReplicaFailure" && each.status === "True");
    const reason = failed ?? stuck;
    if (reason) {
      found.push({ level: "critical", rank: 2, what: "rollout", link: `#/rollouts?name=${metadata.name}`, title: `The rollout of ${metadata.name} does not go on`,
        why: reason.message || reason.reason, since: seconds(reason.lastTransitionTime) });
    }
  }
  return found;
}

function rolloutProblems(rollouts) {
  return rollouts.filter((each) => each.status?.phase === "Degraded").map(({ metadata, status }) => ({
    level: "critical", rank: 2, what: "rollout", link: `#/rollouts?name=${metadata.name}`, since: seconds(status.abortedAt),
    title: `The rollout of ${metadata.name} was ${status.abort ? "aborted" : "not successful"}`, why: status.message ?? "",
  }));
}

function findings(status) {
  return (status?.diagnostics ?? []).filter((each) => each.severity !== "info").map((each) => ({
    level: each.severity === "error" ? "critical" : "warning", rank: 5, what: "configuration",
    title: each.message.replaceAll("`", ""), code: each.code,
    why: `${each.kind} ${each.namespace}/${each.name}${each.path ? `, ${each.path}` : ""}. ${each.hint}`.trim(),
    link: `#/configuration?find=${encodeURIComponent(each.name)}&kind=${each.kind}`,
  }));
}

/** Certificates that end soon, and what the authority warns of. */
function expiry(ca, now) {
  const found = (ca?.alarms ?? []).map((text) => ({ level: "warning", rank: 4, what: "certificates", title: String(text.message ?? text), why: "", link: "#/nodes" }));
  for (const each of ca?.authorities ?? []) {
    const left = seconds(each.notAfter) - now;
    if (left < EXPIRY_SECONDS && each.state !== "retired") {
      found.push({ level: left < 86400 ? "critical" : "warning", rank: 4, what: "certificates", link: "#/nodes",
        title: `The mesh's authority ${each.name} (${each.state}) ends in ${span(left)}`, why: "`weft ca rotate` makes a new one." });
    }
  }
  return found;
}

function refusals(topology, now) {
  return (topology?.refused ?? []).filter((each) => now - each.lastAt < REFUSED_SECONDS).slice(0, 5).map((each) => ({
    level: "info", rank: 5, what: "refused", since: null,
    title: `${each.edge.source === "unknown" ? "Somebody outside the mesh" : each.edge.source} was refused at ${each.edge.service} (${each.code})`,
    why: `${plural(Math.round(each.calls), "call")}, the last ${span(now - each.lastAt)} ago. A policy or the application refuses them.`,
    link: `#/services/${each.edge.serviceNamespace}/${each.edge.service}`,
  }));
}

export const health = (signals) => {
  if (signals.silent || (!signals.rate && !signals.requests)) return "idle";
  if (signals.nowPercent >= VERY_BAD_PERCENT) return "bad";
  return signals.nowPercent >= BAD_PERCENT ? "warn" : "good";
};

export { sum as signalsOf, grouped };
