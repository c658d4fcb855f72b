// What fires and what is over, with the evidence; and how objectives stand.
import { html } from "/vendor/preact.js";
import { percent, span } from "/js/format.js";
import { useNow, usePage } from "/js/live.js";
import { Badge, Card, Page, Refusal, Sparkline, Table, Words } from "/js/parts.js";
import { alertLink } from "/js/views/alert_words.js";

const KINDS = { critical: "bad", warning: "warn", info: "info" };
const STATES = { firing: "fires", pending: "may be", resolved: "is over" };

export function Alerts() {
  const served = usePage("/weft/v1/alerts");
  const { alerts = [], objectives = [] } = served.page ?? {};
  return html`<${Page} title="Alerts" aside=${html`<a class="button" href="#/configuration/monitoring.weft.dev/v1alpha1/alertrules">Rules</a><a class="button" href="#/configuration/monitoring.weft.dev/v1alpha1/servicelevelobjectives">Objectives</a>`}>
    <${Refusal} error=${served.error} what="alerts" />
    <${Card} title="Now, and what was over within the hour"><${Events} alerts=${alerts} ready=${served.ready} /><//>
    ${objectives.length > 0 && html`<${Card} title="Objectives"><${Objectives} objectives=${objectives} /><//>`}<//>`;
}

function Events({ alerts, ready }) {
  const now = useNow(5);
  const since = (each) => (each.state === "resolved" ? `${span(now - each.endedAt)} ago` : span(now - each.activeAt));
  return html`<${Table} label="Alerts" rows=${alerts} keyOf=${(each) => each.name + each.kind + each.namespace + each.object + each.rule} linkOf=${alertLink}
    empty=${ready ? "No alert fires. weft looks every five seconds at errors, durations, calls that stop, pods, nodes and endpoints." : "Looking…"} columns=${[
      { name: "Alert", cell: (each) => html`<span class="name">${each.name}</span> <span class="quiet small">${each.kind} ${each.object}${each.namespace && `, ${each.namespace}`}</span>` },
      { name: "State", cell: (each) => html`<${Badge} kind=${each.state === "firing" ? KINDS[each.severity] : "idle"}>${STATES[each.state] ?? each.state}<//>` },
      { name: "What", wide: true, cell: (each) => html`<${Words} text=${each.summary} /><div class="quiet small"><${Words} text=${each.evidence} /></div><div class="small"><${Words} text=${each.hint} /></div>` },
      { name: "For", num: true, cell: since },
    ]} />`;
}

function Objectives({ objectives }) {
  return html`<${Table} label="Objectives" rows=${objectives} keyOf=${(each) => `${each.namespace}/${each.name}`} columns=${[
    { name: "Objective", cell: (each) => html`<a href="#/configuration/monitoring.weft.dev/v1alpha1/servicelevelobjectives/${each.namespace}/${each.name}">${each.name}</a> <span class="quiet small">${each.service}, ${each.namespace}</span>` },
    { name: "Wanted", num: true, cell: (each) => `${each.objective} % over ${span(each.windowSeconds)}` },
    { name: "Budget left", num: true, cell: (each) => {
      const left = each.status.budgetRemainingPercent;
      return left === undefined || left === null ? "–" : html`<span class=${left <= 0 ? "bad-text" : ""}>${left <= 0 ? "none" : percent(left)}</span>`;
    } },
    { name: "Good, last hour", cell: (each) => html`<${Sparkline} series=${(each.goodSeries ?? []).map((value) => value ?? 0)} label="Share of good requests of the last hour" />` },
  ]} />`;
}
