// One pod: what it is, what happened, its logs, a terminal in it.
import { html, useEffect, useRef, useState } from "/vendor/preact.js";
import { call, pathOf } from "/js/api.js";
import { age } from "/js/format.js";
import { useObjects, useText } from "/js/live.js";
import { podState } from "/js/mesh.js";
import { Action, Badge, Card, Empty, Events, Page, Refusal, Search, Table, Tabs, attempt } from "/js/parts.js";
import { kindOf } from "/js/views/pods.js";
import { Terminal } from "/js/views/terminal.js";

const TABS = [{ id: "about", name: "About" }, { id: "events", name: "Events" }, { id: "logs", name: "Logs" }, { id: "terminal", name: "Terminal" }];
const TAIL_LINES = 1000;
const NEAR_END_PX = 40;

export function Pod({ namespace, name, query }) {
  const [tab, setTab] = useState(query.tab ?? "about");
  const pods = useObjects(`/api/v1/namespaces/${namespace}/pods?fieldSelector=${encodeURIComponent(`metadata.name=${name}`)}`);
  const pod = pods.items[0];
  const [container, setContainer] = useState("");
  const containers = (pod?.spec.containers ?? []).map((each) => each.name);
  const chosen = container || containers[0] || "";
  const path = pathOf({ resource: "pods", namespace, name });
  const remove = () => attempt(() => call("DELETE", path), `${name} is asked to end`);
  if (pods.ready && !pod) return html`<${Page} kicker="Pod in ${namespace}" title=${name}><${Refusal} error=${pods.error} what="this pod" />${!pods.error && html`<${Card}><${Empty}>There is no such pod (any more).<//><a href="#/pods">All pods</a><//>`}<//>`;
  const state = pod && podState(pod);
  return html`<${Page} kicker="Pod in ${namespace}" title=${name} aside=${pod && html`<${Badge} kind=${kindOf(state)}>${state.word}<//>
      <a class="button" href="#/configuration/core/v1/pods/${namespace}/${name}">YAML</a>
      <${Action} kind="danger" rights=${{ verb: "delete", resource: "pods", namespace, name }} act=${remove} confirm="The pod ends gracefully; its controller makes another one.">Delete<//>`}>
    ${state?.why && html`<p class="note ${state.bad ? "bad" : "warn"}">${state.why}</p>`}
    <div class="row apart"><${Tabs} tabs=${TABS} chosen=${tab} choose=${setTab} />
      ${containers.length > 1 && ["logs", "terminal"].includes(tab) && html`<select aria-label="Container" value=${chosen} onChange=${(event) => setContainer(event.target.value)}>${containers.map((each) => html`<option>${each}</option>`)}</select>`}</div>
    ${pod && tab === "about" && html`<${About} pod=${pod} />`}
    ${tab === "events" && html`<${What} namespace=${namespace} name=${name} />`}
    ${chosen && tab === "logs" && html`<${Logs} key=${chosen} path=${path} container=${chosen} />`}
    ${chosen && tab === "terminal" && html`<${Card}><${Terminal} key=${chosen} path=${path} container=${chosen} /><//>`}<//>`;
}

function What({ namespace, name }) {
  const events = useObjects(`/api/v1/namespaces/${namespace}/events?fieldSelector=${encodeURIComponent(`involvedObject.name=${name}`)}`);
  return html`<${Card}><${Refusal} error=${events.error} what="events" /><${Events} events=${events.items} /><//>`;
}

const inWords = (state = {}) => {
  if (state.running) return `runs for ${age(state.running.startedAt)}`;
  if (state.terminated) return `ended with exit code ${state.terminated.exitCode} ${age(state.terminated.finishedAt)} ago`;
  return state.waiting ? `waits: ${state.waiting.reason ?? ""} ${state.waiting.message ?? ""}` : "–";
};

function About({ pod }) {
  const { metadata, spec, status = {} } = pod;
  const owner = metadata.ownerReferences?.find((each) => each.controller);
  return html`<div class="columns"><${Card} title="About"><dl class="facts"><dt>Address</dt><dd><code>${status.podIP ?? "–"}</code></dd><dt>Node</dt><dd>${spec.nodeName ? html`<a href="#/nodes/${spec.nodeName}">${spec.nodeName}</a>` : "–"}</dd>
      <dt>Belongs to</dt><dd>${owner ? `${owner.kind} ${owner.name}` : "nobody"}</dd><dt>Acts as</dt><dd>${spec.serviceAccountName ?? "default"}</dd>
      <dt>Labels</dt><dd>${Object.entries(metadata.labels ?? {}).map(([key, value]) => html`<code>${key}=${value}</code> `)}</dd><dt>Age</dt><dd>${age(metadata.creationTimestamp)}</dd></dl><//>
    <${Card} title="Conditions"><ul class="plain">${(status.conditions ?? []).map((each) => html`<li><${Badge} kind=${each.status === "True" ? "good" : "warn"}>${each.type}<//> <span class="quiet">${each.message ?? each.reason ?? ""}</span></li>`)}</ul><//></div>
    <${Card} title="Containers"><${Table} label="Containers" rows=${spec.containers} keyOf=${(each) => each.name} columns=${[
      { name: "Name", cell: (each) => html`<strong>${each.name}</strong>` }, { name: "Image", wide: true, cell: (each) => html`<code>${each.image}</code>` },
      { name: "State", wide: true, cell: (each) => inWords(status.containerStatuses?.find((one) => one.name === each.name)?.state) },
      { name: "Restarts", num: true, cell: (each) => status.containerStatuses?.find((one) => one.name === each.name)?.restartCount ?? 0 },
      { name: "Last end", wide: true, cell: (each) => { const last = status.containerStatuses?.find((one) => one.name === each.name)?.lastState; return last?.terminated ? inWords(last) : "–"; } },
    ]} /><//>`;
}

function Logs({ path, container }) {
  const [filter, setFilter] = useState("");
  const [previous, setPrevious] = useState(false);
  const [follow, setFollow] = useState(true);
  const box = useRef();
  const { text, error, ended } = useText(`${path}/log?container=${encodeURIComponent(container)}&tailLines=${TAIL_LINES}&timestamps=false${previous ? "&previous=true" : "&follow=true"}`);
  const wanted = filter.toLowerCase();
  const lines = filter ? text.split("\n").filter((line) => line.toLowerCase().includes(wanted)).join("\n") : text;
  useEffect(() => { if (follow && box.current) box.current.scrollTop = box.current.scrollHeight; }, [lines, follow]);
  const scroll = () => setFollow(box.current.scrollHeight - box.current.scrollTop - box.current.clientHeight < NEAR_END_PX);
  return html`<${Card} aside=${null}><div class="row apart"><${Search} value=${filter} set=${setFilter} label="Lines with" />
      <span class="row"><label class="check"><input type="checkbox" checked=${previous} onChange=${(event) => setPrevious(event.target.checked)} />before the last restart</label>
      <label class="check"><input type="checkbox" checked=${follow} onChange=${(event) => setFollow(event.target.checked)} />follow</label></span></div>
    <${Refusal} error=${error} what="the logs" />
    <pre class="log" ref=${box} tabindex="0" aria-label="Log of ${container}" onScroll=${scroll}>${lines || (error ? "" : "Nothing was printed yet.")}</pre>
    ${ended && html`<p class="quiet small">The log ends here: the container ended.</p>`}<//>`;
}
