// Health at a glance: what is wrong, then every service, then what it all runs on.
import { html } from "/vendor/preact.js";
import { milliseconds, percent, plural, rate, seconds, span } from "/js/format.js";
import { useNow, useObjects, usePage } from "/js/live.js";
import { health, problems, services } from "/js/mesh.js";
import { Ago, Badge, Card, Dot, Empty, Page, Refusal, Sparkline, Table } from "/js/parts.js";
import { alertProblems } from "/js/views/alert_words.js";

export const WINDOW = "/weft/v1/topology?seconds=300";
const ORDER = { bad: 0, warn: 1, good: 2, idle: 3 };

/** Everything that problems are read from. */
export function useMesh() {
  const topology = usePage(WINDOW), status = usePage("/weft/v1/status"), ca = usePage("/weft/v1/ca");
  const alerts = usePage("/weft/v1/alerts");
  const pods = useObjects("/api/v1/pods"), nodes = useObjects("/api/v1/nodes");
  const deployments = useObjects("/apis/apps/v1/deployments"), known = useObjects("/api/v1/services");
  const rollouts = useObjects("/apis/argoproj.io/v1alpha1/rollouts");
  const now = useNow(5);
  const objects = { pods: pods.items, nodes: nodes.items, deployments: deployments.items, rollouts: rollouts.items };
  return {
    topology, status, ca, pods, nodes, deployments, known, now,
    problems: problems({ topology: topology.page, status: status.page, ca: ca.page, objects, now, alerts: alertProblems(alerts.page) }),
  };
}

const WORDS = { critical: "wrong", warning: "doubtful", info: "to know" };
const KINDS = { critical: "bad", warning: "warn", info: "info" };

export const Problem = ({ problem }) => html`<li class="problem ${KINDS[problem.level]}">
  <a class="stop" href=${problem.link}><${Badge} kind=${KINDS[problem.level]}>${WORDS[problem.level]}<//>
  <strong>${problem.title}</strong>${problem.code && html` <code>${problem.code}</code>`}
  <span class="since"><${Ago} at=${problem.since} atLeast=${problem.atLeast} /></span><span class="reason">${problem.why}</span></a></li>`;

export function ServiceTable({ found, label = "Services" }) {
  const rows = [...found].sort((a, b) => ORDER[health(a)] - ORDER[health(b)] || b.rate - a.rate || a.id.localeCompare(b.id));
  return html`<${Table} label=${label} rows=${rows} keyOf=${(each) => each.id} empty="There is no service yet. weft apply -f FILE makes some."
    linkOf=${(each) => `#/services/${encodeURIComponent(each.namespace || "outside")}/${encodeURIComponent(each.name)}`} columns=${[
    { name: "Service", sort: (s) => s.name, cell: (s) => html`<${Dot} kind=${health(s)} label=${health(s)} /> <span class="name">${s.name}</span> <span class="quiet small">${s.outside ? "outside the mesh" : s.namespace}</span>` },
    { name: "Rate", num: true, sort: (s) => s.rate, cell: (s) => rate(s.rate) },
    { name: "Errors", num: true, sort: (s) => s.errorPercent, cell: (s) => (s.requests ? html`<span class=${s.errorPercent >= 1 ? "bad-text" : ""}>${percent(s.errorPercent)}</span>` : "–") },
    { name: "Median", num: true, sort: (s) => s.p50 ?? -1, cell: (s) => milliseconds(s.p50) },
    { name: "p99", num: true, sort: (s) => s.p99 ?? -1, cell: (s) => milliseconds(s.p99) },
    { name: "Last 5 min", cell: (s) => html`<${Sparkline} series=${s.series} failed=${s.failed} label="${s.name}: requests per second in the last five minutes" />` },
  ]} />`;
}

function Problems({ mesh }) {
  const { topology, status } = mesh;
  if (!topology.ready && !status.ready) return html`<${Card} title="Looking…"><${Empty} wait>…<//><//>`;
  const found = mesh.problems;
  if (!found.length) {
    return html`<${Card}><p class="all-well"><${Dot} kind="good" label="good" /> Nothing is wrong that weft knows of.</p><//>`;
  }
  const wrong = found.filter((each) => each.level === "critical").length;
  return html`<${Card} id="problems" title=${wrong ? `${plural(wrong, "thing is", "things are")} wrong` : "Nothing is wrong; some things to look at"}>
    <ul class="problems">${found.slice(0, 12).map((each) => html`<${Problem} key=${each.title} problem=${each} />`)}</ul>
    ${found.length > 12 && html`<p class="quiet">and ${found.length - 12} more</p>`}<//>`;
}

const Tile = ({ name, value, kind, detail, link }) => html`<a class="tile ${kind}" href=${link}><span class="tile-name">${name}</span>
  <span class="tile-value">${value}</span><span class="tile-detail">${detail}</span></a>`;

function Tiles({ mesh }) {
  const { nodes, pods, status, ca, now } = mesh;
  const ready = (obj) => obj.status?.conditions?.some((each) => each.type === "Ready" && each.status === "True");
  const living = pods.items.filter((each) => !["Succeeded", "Failed"].includes(each.status?.phase));
  const proxies = status.page?.proxies ?? [];
  const synced = proxies.filter((each) => each.connected && each.inSync);
  const slowest = Math.max(0, ...proxies.map((each) => each.convergenceSeconds ?? 0));
  const findings = (status.page?.diagnostics ?? []).filter((each) => each.severity !== "info");
  const ends = (ca.page?.authorities ?? []).filter((each) => ["signing", "intermediate"].includes(each.state))
    .sort((a, b) => seconds(a.notAfter) - seconds(b.notAfter))[0];
  const of = (some, all) => (all.length ? `${some.length} of ${all.length}` : "–");
  const kind = (some, all) => (some.length === all.length ? "good" : "bad");
  const readyNodes = nodes.items.filter(ready), readyPods = living.filter(ready);
  const left = ends ? seconds(ends.notAfter) - now : null;
  return html`<div class="tiles">
    <${Tile} name="Nodes" value=${of(readyNodes, nodes.items)} kind=${kind(readyNodes, nodes.items)} detail="ready" link="#/nodes" />
    <${Tile} name="Pods" value=${of(readyPods, living)} kind=${kind(readyPods, living)} detail="ready" link="#/pods" />
    <${Tile} name="Envoy" value=${of(synced, proxies)} kind=${kind(synced, proxies)} detail=${slowest ? `acknowledged all, in ${span(slowest) === "0\u202fs" ? milliseconds(slowest * 1000) : span(slowest)}` : "acknowledged all"} link="#/nodes" />
    <${Tile} name="Diagnostics" value=${status.ready ? findings.length : "–"} kind=${findings.length ? "warn" : "good"} detail=${findings.length ? "about what is configured" : "none about what is configured"} link="#/configuration?find=&only=findings" />
    <${Tile} name="Certificates" value=${left === null ? "–" : span(left)} kind=${left !== null && left < 14 * 86400 ? "bad" : "good"} detail=${ends ? `until the ${ends.state === "signing" ? "root" : "intermediate"} ends` : "no authority is shown"} link="#/nodes" />
  </div>`;
}

export function Overview() {
  const mesh = useMesh();
  const found = services(mesh.topology.page, mesh.known.items);
  const shown = found.filter((each) => !each.silent);
  const silent = found.length - shown.length;
  return html`<${Page} title="Overview">
    <${Problems} mesh=${mesh} /><${Tiles} mesh=${mesh} />
    <${Card} title="Services" link="#/services" aside=${html`<span class="quiet small">of the last five minutes${silent > 0 ? `; ${silent} without traffic not shown` : ""}</span>`}>
      <${Refusal} error=${mesh.topology.error} what="traffic" />
      ${mesh.topology.ready && !mesh.topology.error && (shown.length ? html`<${ServiceTable} found=${shown} />` : html`<${Empty}>Nothing passed through the mesh in the last five minutes.<//>`)}<//>
  <//>`;
}
