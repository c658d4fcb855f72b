// Alerts, where something serves them.
import { html } from "/vendor/preact.js";
import { span } from "/js/format.js";
import { useNow, usePage } from "/js/live.js";
import { Badge, Card, Page, Refusal, Table } from "/js/parts.js";
import { Problem, useMesh } from "/js/views/overview.js";
import { alertsOf } from "/js/views/alert_words.js";

export function Alerts() {
  const served = usePage("/weft/v1/alerts");
  const mesh = useMesh();
  const now = useNow(5);
  const absent = served.error?.code === 404;
  const rows = alertsOf(served.page);
  return html`<${Page} title="Alerts">${!absent && html`<${Refusal} error=${served.error} what="alerts" />`}
    ${absent ? html`<${Card}><p>This instance has no alert rules. What is wrong now:</p>
      ${mesh.problems.length ? html`<ul class="problems">${mesh.problems.map((each) => html`<${Problem} key=${each.title} problem=${each} />`)}</ul>` : html`<p class="quiet">Nothing that weft knows of.</p>`}<//>`
    : html`<${Card}><${Table} label="Alerts" rows=${rows} keyOf=${(each) => each.name + JSON.stringify(each.labels)} empty=${served.ready ? "No alert fires." : "Looking…"} columns=${[
      { name: "Alert", cell: (each) => html`<strong>${each.name}</strong>` },
      { name: "State", cell: (each) => html`<${Badge} kind=${each.state !== "firing" ? "idle" : each.severity === "critical" ? "bad" : "warn"}>${each.state}<//>` },
      { name: "What", wide: true, cell: (each) => html`${each.summary}<br /><span class="quiet">${each.description}</span>` },
      { name: "For", num: true, cell: (each) => (each.since ? span(now - each.since) : "–") },
    ]} /><//>`}<//>`;
}
