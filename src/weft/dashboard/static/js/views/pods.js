import { html, useState } from "/vendor/preact.js";
import { age, seconds } from "/js/format.js";
import { useNow, useObjects } from "/js/live.js";
import { podState } from "/js/mesh.js";
import { Badge, Card, Page, Refusal, Search, Table, fits } from "/js/parts.js";
import { Pod } from "/js/views/pod.js";

export const kindOf = (state) => (state.bad ? "bad" : state.ready ? "good" : state.word === "Done" ? "idle" : "warn");

export function PodTable({ pods, empty }) {
  const now = useNow(10);
  const restarts = (pod) => (pod.status?.containerStatuses ?? []).reduce((sum, each) => sum + each.restartCount, 0);
  return html`<${Table} label="Pods" rows=${pods} keyOf=${(each) => each.metadata.uid} empty=${empty} first=${{ name: "Pod", down: false }}
    linkOf=${(each) => `#/pods/${each.metadata.namespace}/${each.metadata.name}`} columns=${[
      { name: "Pod", sort: (each) => each.metadata.name, cell: (each) => html`<span class="name">${each.metadata.name}</span> <span class="quiet small">${each.metadata.namespace}</span>` },
      { name: "State", sort: (each) => podState(each).word, cell: (each) => html`<${Badge} kind=${kindOf(podState(each))} title=${podState(each).why}>${podState(each).word}<//>` },
      { name: "Restarts", num: true, sort: restarts, cell: (each) => restarts(each) },
      { name: "Node", sort: (each) => each.spec.nodeName ?? "", cell: (each) => each.spec.nodeName ?? "–" },
      { name: "Address", cell: (each) => html`<code>${each.status?.podIP ?? "–"}</code>` },
      { name: "Age", num: true, sort: (each) => -seconds(each.metadata.creationTimestamp), cell: (each) => age(each.metadata.creationTimestamp, now) },
    ]} />`;
}

export function Pods({ parts, query }) {
  const [filter, setFilter] = useState(query.find ?? "");
  const pods = useObjects("/api/v1/pods");
  if (parts.length === 2) return html`<${Pod} key=${parts.join()} namespace=${parts[0]} name=${parts[1]} query=${query} />`;
  const shown = pods.items.filter((each) => fits(filter, each.metadata.name, each.metadata.namespace, each.spec.nodeName ?? "", podState(each).word));
  return html`<${Page} title="Pods" aside=${html`<${Search} value=${filter} set=${setFilter} label="Name, node or state" />`}>
    <${Refusal} error=${pods.error} what="pods" /><${Card}><${PodTable} pods=${shown} empty=${pods.ready ? "There is no pod like this." : "Looking…"} /><//><//>`;
}
