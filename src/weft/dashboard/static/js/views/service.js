// One service: its signals, versions, what routes and limits it, its endpoints, what failed.
import { html, useEffect, useState } from "/vendor/preact.js";
import { call, get } from "/js/api.js";
import { Chart } from "/js/chart.js";
import { average, clock, milliseconds, percent, rate } from "/js/format.js";
import { useObjects, usePage, useRequests } from "/js/live.js";
import { health, services } from "/js/mesh.js";
import { Badge, Card, Dot, Empty, Page, Refusal, Table } from "/js/parts.js";
import { traceRows } from "/js/trace_values.js";
import { reason } from "/js/words.js";
import { Problem, useMesh } from "/js/views/overview.js";
import { TraceTable } from "/js/views/traces.js";

const SPANS = [["300", "5 minutes"], ["3600", "hour"], ["10800", "3 hours"]];
const FAILED_KEPT = 300, FAILED_SHOWN = 12;
const WHY_SECONDS = 10;
const COLOURS = ["line-1", "line-2", "line-3", "line-4"];

export function Service({ namespace, name }) {
  const mesh = useMesh();
  const [seconds, setSeconds] = useState("300");
  const series = usePage(`/weft/v1/service?namespace=${encodeURIComponent(namespace)}&name=${encodeURIComponent(name)}&seconds=${seconds}`);
  const id = namespace ? `${namespace}/${name}` : `outside/${name}`;
  const service = services(mesh.topology.page, mesh.known.items).find((each) => each.id === id);
  const mine = mesh.problems.filter((each) => each.service === id);
  const host = namespace ? `${name}.${namespace}.svc.cluster.local` : name;
  return html`<${Page} kicker=${namespace ? `Service in ${namespace}` : "Service outside the mesh"} title=${name} aside=${html`
      <a class="button" href="#/topology?focus=${encodeURIComponent(id)}">In the graph</a><a class="button" href="#/traces?host=${encodeURIComponent(host)}">Traces</a>
      ${namespace && html`<a class="button" href="#/configuration/core/v1/services/${namespace}/${name}">YAML</a>`}`}>
    ${mine.length > 0 && html`<ul class="problems">${mine.map((each) => html`<${Problem} key=${each.title} problem=${{ ...each, link: "#failed" === each.link ? "" : location.hash }} />`)}</ul>`}
    <${Refusal} error=${mesh.topology.error} what="traffic" />
    ${service && html`<${Now} service=${service} />`}
    <${Signals} series=${series.page} seconds=${seconds} setSeconds=${setSeconds} />
    ${service?.versions.length > 0 && html`<${Versions} service=${service} pods=${mesh.pods.items} />`}
    <${Failed} name=${name} namespace=${namespace} />
    <div class="columns">${namespace && html`<${Routes} name=${name} namespace=${namespace} service=${service} />`}
    ${namespace && html`<${Endpoints} name=${name} namespace=${namespace} service=${service} topology=${mesh.topology.page} known=${mesh.known.items} />`}</div>
    ${namespace && html`<${Policies} name=${name} namespace=${namespace} known=${mesh.known.items} />`}
    <${Recent} host=${host} /><//>`;
}

function Now({ service }) {
  const figure = (name, value, bad) => html`<div class="figure"><b class=${bad ? "bad-text" : ""}>${value}</b><span>${name}</span></div>`;
  return html`<${Card}><div class="figures">${figure("rate, last 5 minutes", rate(service.rate))}${figure("errors", percent(service.errorPercent), service.errorPercent >= 1)}
    ${figure("median", milliseconds(service.p50))}${figure("p99", milliseconds(service.p99))}${figure("in flight", service.tcp ? "–" : average(service.inFlight))}${figure("protocol", service.protocol || "–")}
    ${figure("encrypted by the mesh", service.rate ? (service.mtls ? "yes (mTLS)" : "no (within a node)") : "–")}${figure("called by", service.callers.length ? service.callers.join(", ") : "nobody")}</div><//>`;
}

function Signals({ series, seconds, setSeconds }) {
  const select = html`<select aria-label="Time" value=${seconds} onChange=${(event) => setSeconds(event.target.value)}>${SPANS.map(([value, text]) => html`<option value=${value}>${text}</option>`)}</select>`;
  if (!series?.workloads.length) return html`<${Card} title="Signals" aside=${select}><${Empty} wait=${!series}>${series ? "Nothing passed in this time." : "Looking…"}<//><//>`;
  const [all, ...workloads] = series.workloads;
  const end = Math.floor(series.now / series.stepSeconds) * series.stepSeconds;
  const times = all.rate.map((_, i) => end - (all.rate.length - i) * series.stepSeconds);
  const parts = workloads.slice(0, COLOURS.length);
  const named = (each) => (["", "latest", "unknown"].includes(each.version) ? each.workload : each.version);
  const lines = (pick) => parts.map((each, i) => ({ name: named(each), colour: COLOURS[i], values: pick(each), dash: i % 2 ? [6, 4] : undefined }));
  const failedShare = (each) => each.rate.map((value, i) => (value ? (100 * each.errors[i]) / value : null));
  return html`<${Card} title="Signals" aside=${select}><div class="charts">
    <${Chart} title="Requests per second" times=${times} format=${rate} lines=${parts.length > 1 ? lines((each) => each.rate) : [{ name: "all", colour: "line-1", values: all.rate, fill: true }]} />
    <${Chart} title="Share of errors" times=${times} format=${percent} lines=${parts.length > 1 ? lines(failedShare) : [{ name: "errors", colour: "bad", values: failedShare(all), fill: true }]} />
    <${Chart} title=${parts.length > 1 ? "Latency, p99 by version" : "Latency"} times=${times} format=${milliseconds} lines=${parts.length > 1 ? lines((each) => each.p99Ms)
      : [{ name: "p99", colour: "line-2", values: all.p99Ms }, { name: "median", colour: "line-1", values: all.p50Ms }]} /></div><//>`;
}

function Versions({ service, pods }) {
  const total = service.versions.reduce((sum, each) => sum + each.rate, 0) || 1;
  const labelled = (each) => pods.filter((pod) => pod.metadata.name.startsWith(`${each.workload}-`));
  return html`<${Card} title="Versions and workloads"><${Table} label="Versions" rows=${service.versions} keyOf=${(each) => each.version + each.workload} columns=${[
    { name: "Version", cell: (each) => html`<span class="row"><${Dot} kind=${health(each)} /><strong>${each.version}</strong></span>` },
    { name: "Workload", cell: (each) => each.workload },
    { name: "Share", num: true, cell: (each) => percent((100 * each.rate) / total) },
    { name: "Rate", num: true, cell: (each) => rate(each.rate) },
    { name: "Errors", num: true, cell: (each) => html`<span class=${each.errorPercent >= 1 ? "bad-text" : ""}>${percent(each.errorPercent)}</span>` },
    { name: "Median", num: true, cell: (each) => milliseconds(each.p50) }, { name: "p99", num: true, cell: (each) => milliseconds(each.p99) },
    { name: "Logs", cell: (each) => labelled(each).slice(0, 2).map((pod) => html`<a class="small" href="#/pods/${pod.metadata.namespace}/${pod.metadata.name}?tab=logs">${pod.metadata.name.slice(each.workload.length + 1)}</a> `) },
    { name: "", cell: (each) => html`<a class="small" href="#/rollouts?name=${each.workload}">rollout</a>` },
  ]} /><//>`;
}

function Failed({ name, namespace }) {
  const to = namespace ? `${namespace}/${name}` : name;
  const { requests, error } = useRequests(`/weft/v1/requests?to=${encodeURIComponent(to)}&status=error`, FAILED_KEPT);
  return html`<${Card} title="Failed requests" id="failed" aside=${html`<span class="quiet small">while you look, the newest first</span>`}>
    <${Refusal} error=${error} what="single requests" />
    ${requests.length > 0 && html`<ul class="plain" aria-label="Reasons">${reasons(requests).map(({ count, status, by, why }) => html`<li><strong>${count} ×</strong> <strong class="bad-text">${status || "no answer"}</strong> from ${by}: ${why}</li>`)}</ul>`}
    <${Table} label="Failed requests" rows=${requests.slice(0, FAILED_SHOWN)} keyOf=${(each) => each.number} empty="None failed since you look." columns=${[
      { name: "When", cell: (each) => clock(each.at, true) },
      { name: "From", cell: (each) => each.source.split("/")[1] || "outside" },
      { name: "Answered by", cell: (each) => html`${each.destination.split("/")[1] || "nobody"}${each.version && !["latest", "unknown"].includes(each.version) && html` <${Badge} kind="bad">${each.version}<//>`}` },
      { name: "Request", wide: true, cell: (each) => html`<code>${each.method} ${each.path}</code>` },
      { name: "Status", num: true, cell: (each) => html`<strong class="bad-text">${each.status || "none"}</strong>` },
      { name: "Took", num: true, cell: (each) => milliseconds(each.durationMs) },
      { name: "Why", wide: true, cell: (each) => html`${reason(each)}${each.flags && each.flags !== "-" && html` <code class="quiet">${each.flags}</code>`}` },
      { name: "Trace", cell: (each) => each.traceId && html`<a href="#/traces/${each.traceId}">show</a>` },
    ]} /><//>`;
}

/** How often what went wrong, of what was seen, the most frequent first. */
function reasons(requests) {
  const found = new Map();
  for (const each of requests) {
    const by = each.destination ? each.destination.split("/")[1] : "nobody";
    const why = reason(each), id = `${each.status} ${by} ${why}`;
    found.set(id, { status: each.status, by, why, count: (found.get(id)?.count ?? 0) + 1 });
  }
  return [...found.values()].sort((a, b) => b.count - a.count).slice(0, 6);
}

const shortHost = (host, namespace) => (host.includes(".") ? host.split(".").slice(0, 2).join("/").replace(/^([^/]+)\/(.+)$/, "$2/$1") : `${namespace}/${host}`);

function Routes({ name, namespace, service }) {
  const virtual = useObjects("/apis/networking.istio.io/v1/virtualservices"), http = useObjects("/apis/gateway.networking.k8s.io/v1/httproutes");
  const id = `${namespace}/${name}`;
  const found = [];
  for (const each of virtual.items) {
    for (const [i, route] of [...(each.spec.http ?? []), ...(each.spec.tcp ?? []), ...(each.spec.tls ?? [])].entries()) {
      const ends = (route.route ?? []).map((end) => ({ ...end, id: shortHost(end.destination.host, each.metadata.namespace) }));
      const named = (each.spec.hosts ?? []).some((host) => shortHost(host, each.metadata.namespace) === id);
      if (named || ends.some((end) => end.id === id)) found.push({ obj: each, resource: "networking.istio.io/v1/virtualservices", i, match: matchWords(route.match), ends: ends.map((end) => ({ name: end.id === id && end.destination.subset ? end.destination.subset : [end.id.split("/")[1], end.destination.subset].filter(Boolean).join(" "), version: end.destination.subset, weight: end.weight ?? 100 })) });
    }
  }
  for (const each of http.items) {
    for (const [i, rule] of (each.spec.rules ?? []).entries()) {
      const ends = (rule.backendRefs ?? []).map((end) => ({ name: end.name, id: `${end.namespace ?? each.metadata.namespace}/${end.name}`, weight: end.weight ?? 1 }));
      const parent = (each.spec.parentRefs ?? []).some((ref) => ref.kind === "Service" && ref.name === name && (ref.namespace ?? each.metadata.namespace) === namespace);
      if (parent || ends.some((end) => end.id === id)) found.push({ obj: each, resource: "gateway.networking.k8s.io/v1/httproutes", i, match: gatewayWords(rule.matches), ends });
    }
  }
  return html`<${Card} title="Routes and splits">${found.length ? html`<ul class="plain">${found.map(({ obj, resource, i, match, ends }) => html`<li key=${obj.metadata.uid + i}>
      <a href="#/configuration/${resource}/${obj.metadata.namespace}/${obj.metadata.name}">${obj.metadata.name}</a> <span class="quiet small">rule ${i + 1}: ${match}</span>
      <${Split} ends=${ends} service=${service} /></li>`)}</ul>` : html`<${Empty}>No route names it: every request goes to any of its endpoints.<//>`}<//>`;
}

function Split({ ends, service }) {
  const total = ends.reduce((sum, each) => sum + each.weight, 0);
  if (!total || ends.length < 2) return ends.length ? html`<div class="quiet small">→ ${ends[0].name}</div>` : null;
  const all = (service?.versions ?? []).reduce((sum, each) => sum + each.rate, 0);
  const really = (version) => service?.versions.find((each) => each.version === version)?.rate;
  return html`<div class="bar" role="img" aria-label=${ends.map((each) => `${each.name} ${Math.round((100 * each.weight) / total)} percent`).join(", ")}>${ends.map((each) => html`<i style=${{ width: `${(100 * each.weight) / total}%` }}>${each.name} ${Math.round((100 * each.weight) / total)}%</i>`)}</div>
    ${all > 0 && html`<div class="quiet small">really: ${ends.map((each) => `${each.name} ${really(each.version) === undefined ? "–" : percent((100 * really(each.version)) / all)}`).join(", ")}</div>`}`;
}

function matchWords(matches) {
  if (!matches?.length) return "every other request";
  return matches.map((match) => Object.entries(match).filter(([key]) => key !== "name").map(([key, value]) => {
    if (key === "uri") return `path ${Object.entries(value).map(([how, text]) => `${how} ${text}`)[0]}`;
    if (key === "headers") return Object.entries(value).map(([header, test]) => `header ${header} ${Object.entries(test).map(([how, text]) => `${how} ${text}`)[0] ?? "present"}`).join(", ");
    return `${key} ${typeof value === "object" ? JSON.stringify(value) : value}`;
  }).join(" and ")).join(" or ");
}

const gatewayWords = (matches) => (matches ?? []).map((match) => [match.path && `path ${match.path.type ?? "PathPrefix"} ${match.path.value}`, match.method,
  ...(match.headers ?? []).map((each) => `header ${each.name} is ${each.value}`)].filter(Boolean).join(" and ")).join(" or ") || "every request";

/** What Envoy thinks of the endpoints, asked as a caller of the service would see them. */
function useEnvoysView(name, namespace, caller, port) {
  const [found, setFound] = useState(new Map());
  const callerId = caller ? `${caller.sourceNamespace}/${caller.source}` : "";
  useEffect(() => {
    if (!callerId || !port) return undefined;
    let here = true;
    const ask = async () => {
      const question = JSON.stringify({ caller: `deploy/${caller.source}`, namespace: caller.sourceNamespace, url: `http://${name}.${namespace}:${port}/` });
      try {
        const reply = await get(`/weft/v1/why?question=${encodeURIComponent(question)}`);
        if (here) setFound(new Map((reply.answer?.shares ?? []).flatMap((share) => (share.endpoints ?? []).map((end) => [end.address.split(":")[0], { ...end, percent: share.percent, subset: share.subset }]))));
      } catch { /* who may not ask sees what the objects say */ }
    };
    ask();
    const timer = setInterval(ask, WHY_SECONDS * 1000);
    return () => { here = false; clearInterval(timer); };
  }, [callerId, port, name, namespace]);
  return found;
}

function Endpoints({ name, namespace, topology, known }) {
  const slices = useObjects(`/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3D${name}`);
  const port = known.find((each) => each.metadata.namespace === namespace && each.metadata.name === name)?.spec.ports?.[0]?.port;
  const caller = topology?.traffic.edges.map((each) => each.edge).find((edge) => edge.service === name && edge.serviceNamespace === namespace && edge.source !== "unknown" && !edge.source.includes("gateway"));
  const envoy = useEnvoysView(name, namespace, caller, port);
  const rows = slices.items.flatMap((slice) => (slice.endpoints ?? []).map((end) => ({ ...end, address: end.addresses[0], ports: (slice.ports ?? []).map((each) => each.port).join(", ") })));
  return html`<${Card} title="Endpoints" aside=${html`<span class="quiet small">${rows.length}</span>`}><${Refusal} error=${slices.error} what="endpoints" />
    <${Table} label="Endpoints" rows=${rows} keyOf=${(each) => each.address} empty="It has no endpoints: no ready pod fits its selector." columns=${[
      { name: "Address", cell: (each) => html`<code>${each.address}:${each.ports}</code>` },
      { name: "Pod", wide: true, cell: (each) => (each.targetRef ? html`<a href="#/pods/${each.targetRef.namespace}/${each.targetRef.name}">${each.targetRef.name}</a>` : "–") },
      { name: "Health", cell: (each) => {
        const seen = envoy.get(each.address);
        const ready = each.conditions?.ready !== false;
        const words = !ready ? (each.conditions?.terminating ? "ending" : "not ready") : seen?.envoy && seen.envoy !== "healthy" ? seen.envoy : "healthy";
        return html`<${Badge} kind=${words === "healthy" ? "good" : "bad"} title=${seen ? "as Envoy says" : "as the objects say"}>${words}<//>`;
      } },
      { name: "Weight", num: true, cell: (each) => envoy.get(each.address)?.weight ?? "–" },
      { name: "Node", cell: (each) => each.nodeName ?? "–" },
    ]} /><//>`;
}

const POLICIES = [
  ["networking.istio.io/v1/destinationrules", "DestinationRule"], ["security.istio.io/v1/authorizationpolicies", "AuthorizationPolicy"],
  ["security.istio.io/v1/peerauthentications", "PeerAuthentication"], ["security.istio.io/v1/requestauthentications", "RequestAuthentication"],
  ["policy.weft.dev/v1alpha1/ratelimitpolicies", "RateLimitPolicy"], ["policy.weft.dev/v1alpha1/backendpolicies", "BackendPolicy"],
  ["policy.weft.dev/v1alpha1/authenticationpolicies", "AuthenticationPolicy"],
];

function concerns(kind, obj, name, namespace, selector) {
  const { spec = {}, metadata } = obj;
  if (kind === "DestinationRule") return shortHost(spec.host ?? "", metadata.namespace) === `${namespace}/${name}`;
  if (metadata.namespace !== namespace && metadata.namespace !== "istio-system" && metadata.namespace !== "weft-system") return false;
  const targets = [...(spec.targetRefs ?? []), ...(spec.targetRef ? [spec.targetRef] : [])];
  if (targets.length) return targets.some((each) => each.kind === "Service" && each.name === name);
  const wanted = spec.selector?.matchLabels ?? {};
  return Object.entries(wanted).every(([key, value]) => selector[key] === value || selector[key] === undefined && key !== "app");
}

function Policies({ name, namespace, known }) {
  const selector = known.find((each) => each.metadata.namespace === namespace && each.metadata.name === name)?.spec.selector ?? {};
  const [found, setFound] = useState(null);
  useEffect(() => {
    let here = true;
    Promise.all(POLICIES.map(([path, kind]) => call("GET", `/apis/${path}`).then(({ body }) => body.items.map((obj) => ({ kind, path, obj })), () => []))).then((all) => here && setFound(all.flat()));
    return () => { here = false; };
  }, [name, namespace]);
  const mine = (found ?? []).filter(({ kind, obj }) => concerns(kind, obj, name, namespace, selector));
  return html`<${Card} title="Policies">${mine.length ? html`<ul class="plain">${mine.map(({ kind, path, obj }) => html`<li><a href="#/configuration/${path}/${obj.metadata.namespace}/${obj.metadata.name}">${obj.metadata.name}</a> <span class="quiet small">${kind}${obj.metadata.namespace === namespace ? "" : ` in ${obj.metadata.namespace}`}</span></li>`)}</ul>`
    : html`<${Empty} wait=${!found}>${found ? "No policy is about it." : "Looking…"}<//>`}<//>`;
}

function Recent({ host }) {
  const traces = usePage("/weft/v1/jaeger/api/traces?limit=60");
  const rows = traceRows(traces.page?.data ?? []).filter((each) => each.hosts.has(host)).slice(0, 8);
  return html`<${Card} title="Recent traces" link="#/traces?host=${encodeURIComponent(host)}"><${TraceTable} rows=${rows} empty="No trace of it is kept. weft up --trace-percent 10 traces every tenth request." /><//>`;
}
