// The machines, their proxies, and the certificates of the mesh.
import { html } from "/vendor/preact.js";
import { age, bytes, day, milliseconds, seconds, span } from "/js/format.js";
import { useNow, useObjects, usePage } from "/js/live.js";
import { Badge, Card, Empty, Events, Page, Refusal, Table } from "/js/parts.js";
import { PodTable } from "/js/views/pods.js";

const isReady = (node) => node.status?.conditions?.some((each) => each.type === "Ready" && each.status === "True");
const memory = (text) => {
  const found = /^(\d+)(Ki|Mi|Gi)?$/.exec(text ?? "");
  return found ? bytes(Number(found[1]) * { Ki: 1024, Mi: 1024 ** 2, Gi: 1024 ** 3 }[found[2]] || Number(found[1])) : text;
};

export function Nodes({ parts }) {
  const nodes = useObjects("/api/v1/nodes"), pods = useObjects("/api/v1/pods");
  const status = usePage("/weft/v1/status"), ca = usePage("/weft/v1/ca");
  if (parts[0]) return html`<${Node} name=${parts[0]} nodes=${nodes.items} pods=${pods.items} status=${status.page} />`;
  const proxy = (name) => status.page?.proxies.find((each) => each.node === name);
  return html`<${Page} title="Nodes"><${Refusal} error=${nodes.error} what="nodes" />
    <${Card}><${Table} label="Nodes" rows=${nodes.items} keyOf=${(each) => each.metadata.uid} linkOf=${(each) => `#/nodes/${each.metadata.name}`} empty=${nodes.ready ? "There is no node." : "Looking…"} columns=${[
      { name: "Node", cell: (each) => html`<span class="name">${each.metadata.name}</span>`, sort: (each) => each.metadata.name },
      { name: "State", cell: (each) => html`<${Badge} kind=${isReady(each) ? "good" : "bad"}>${isReady(each) ? "ready" : "not ready"}<//>${each.spec?.unschedulable && html` <${Badge} kind="warn">takes no new pods<//>`}` },
      { name: "Envoy", cell: (each) => html`<${Proxy} proxy=${proxy(each.metadata.name)} />` },
      { name: "Pods", num: true, cell: (each) => pods.items.filter((pod) => pod.spec.nodeName === each.metadata.name).length },
      { name: "CPU", num: true, cell: (each) => each.status?.capacity?.cpu }, { name: "Memory", num: true, cell: (each) => memory(each.status?.capacity?.memory) },
      { name: "Address", cell: (each) => each.status?.addresses?.find((one) => one.type === "InternalIP")?.address ?? "–" },
      { name: "Age", num: true, cell: (each) => age(each.metadata.creationTimestamp) },
    ]} /><//><${Certificates} ca=${ca} /><//>`;
}

function Proxy({ proxy }) {
  if (!proxy) return "–";
  if (!proxy.connected) return html`<${Badge} kind="bad">not connected<//>`;
  if (proxy.rejected.length) return html`<${Badge} kind="bad">refused ${proxy.rejected.length}<//>`;
  return html`<${Badge} kind=${proxy.inSync ? "good" : "warn"}>${proxy.inSync ? "acknowledged all" : "waiting for Envoy"}<//>`;
}

function Certificates({ ca }) {
  const now = useNow(10);
  if (ca.error) return html`<${Card} title="Certificates"><${Refusal} error=${ca.error} what="the authority" /><//>`;
  if (!ca.page) return null;
  return html`<${Card} title="Certificates" aside=${html`<span class="quiet small">${ca.page.workloads.certificates} of workloads, ${span(ca.page.workloads.seconds)} each, renewed by themselves</span>`}>
    <${Table} label="Authorities" rows=${ca.page.authorities} keyOf=${(each) => each.name} columns=${[
      { name: "Authority", cell: (each) => html`<code>${each.name}</code>` }, { name: "State", cell: (each) => each.state },
      { name: "Until", cell: (each) => day(seconds(each.notAfter)) },
      { name: "Left", num: true, cell: (each) => html`<span class=${seconds(each.notAfter) - now < 14 * 86400 ? "bad-text" : ""}>${span(seconds(each.notAfter) - now)}</span>` },
    ]} /><//>`;
}

function Node({ name, nodes, pods, status }) {
  const node = nodes.find((each) => each.metadata.name === name);
  const events = useObjects(`/api/v1/events?fieldSelector=${encodeURIComponent(`involvedObject.name=${name}`)}`);
  const proxy = status?.proxies.find((each) => each.node === name);
  if (!node) return html`<${Page} kicker="Node" title=${name}><${Empty}>There is no such node (any more).<//><//>`;
  const info = node.status?.nodeInfo ?? {};
  return html`<${Page} kicker="Node" title=${name} aside=${html`<a class="button" href="#/configuration/core/v1/nodes/-/${name}">YAML</a>`}>
    <div class="columns"><${Card} title="About"><dl class="facts"><dt>State</dt><dd><${Badge} kind=${isReady(node) ? "good" : "bad"}>${isReady(node) ? "ready" : "not ready"}<//></dd>
      <dt>System</dt><dd>${info.osImage} ${info.kernelVersion}</dd><dt>Isolation</dt><dd>${status?.nodes.find((each) => each.name === name)?.isolation ?? "–"}</dd>
      <dt>Addresses</dt><dd>${(node.status?.addresses ?? []).map((each) => each.address).join(", ")}</dd>
      <dt>Can hold</dt><dd>${node.status?.allocatable?.cpu} CPU, ${memory(node.status?.allocatable?.memory)}, ${node.status?.allocatable?.pods} pods</dd></dl>
      ${(node.status?.conditions ?? []).filter((each) => (each.type === "Ready") !== (each.status === "True")).map((each) => html`<p class="note bad">${each.type}: ${each.message}</p>`)}<//>
    <${Card} title="Envoy">${proxy ? html`<p class="row"><${Proxy} proxy=${proxy} /><span class="quiet">${proxy.convergenceSeconds ? `took the last change in ${milliseconds(proxy.convergenceSeconds * 1000)}` : ""}</span></p>
      <${Table} label="What Envoy has" rows=${Object.entries(proxy.resources)} keyOf=${([word]) => word} columns=${[
        { name: "Configuration", cell: ([word]) => word }, { name: "Wanted", num: true, cell: ([, each]) => each.wanted }, { name: "Acknowledged", num: true, cell: ([, each]) => each.acked }]} />
      ${proxy.rejected.map((each) => html`<p class="note bad"><strong>${each.name}</strong> ${each.error}</p>`)}` : html`<${Empty}>Nothing is known of its proxy.<//>`}<//></div>
    <${Card} title="Pods"><${PodTable} pods=${pods.filter((each) => each.spec.nodeName === name)} /><//>
    <${Card} title="Events"><${Events} events=${events.items} /><//><//>`;
}
