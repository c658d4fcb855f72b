// `weft why` as a form, and its answer as the chain of what decides.
import { html, useEffect, useState } from "/vendor/preact.js";
import { get } from "/js/api.js";
import { useObjects } from "/js/live.js";
import { Badge, Card, Page, Words } from "/js/parts.js";
import { linkOf, useKinds } from "/js/views/configuration.js";

const GOOD = ["routed", "redirected", "answered", "passed through"];
const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

export function Why({ query }) {
  const deployments = useObjects("/apis/apps/v1/deployments"), known = useObjects("/api/v1/services");
  const [asked, setAsked] = useState({ from: query.from ?? "", method: query.method ?? "GET", url: query.url ?? "", headers: query.headers ?? "" });
  const [state, setState] = useState({});
  const set = (name) => (event) => setAsked({ ...asked, [name]: event.target.value });
  const callers = [...deployments.items.map((each) => `${each.metadata.namespace}/${each.metadata.name}`).sort(), "gateway:80", "gateway:443"];
  const from = asked.from || callers[0];
  const ask = async (event) => {
    event?.preventDefault();
    const [namespace, name] = from.split("/");
    const headers = asked.headers.split("\n").filter((line) => line.includes(":")).map((line) => [line.slice(0, line.indexOf(":")).trim(), line.slice(line.indexOf(":") + 1).trim()]);
    const question = { caller: name ? `deploy/${name}` : from, namespace: name ? namespace : "default", method: asked.method, url: asked.url, headers };
    history.replaceState(null, "", `#/why?${new URLSearchParams({ ...asked, from })}`);
    try {
      setState({ reply: await get(`/weft/v1/why?question=${encodeURIComponent(JSON.stringify(question))}`) });
    } catch (error) {
      setState({ error });
    }
  };
  useEffect(() => { if (query.url && callers.length > 2 && !state.reply) ask(); }, [callers.length]);
  return html`<${Page} title="Why does a request go where it goes?">
    <${Card}><form class="form" onSubmit=${ask}>
      <label class="field">From<select value=${from} onChange=${set("from")}>${callers.map((each) => html`<option key=${each} value=${each}>${each.startsWith("gateway:") ? `outside, at port ${each.slice(8)}` : each}</option>`)}</select></label>
      <label class="field">Method<select value=${asked.method} onChange=${set("method")}>${METHODS.map((each) => html`<option>${each}</option>`)}</select></label>
      <label class="field grow">To<input data-search required list="hosts" placeholder="http://weather-backend/forecast/berlin" value=${asked.url} onInput=${set("url")} /></label>
      <datalist id="hosts">${known.items.map((each) => html`<option value=${`http://${each.metadata.name}.${each.metadata.namespace}:${each.spec.ports?.[0]?.port ?? 80}/`} />`)}</datalist>
      <label class="field grow">Headers, one a line<textarea rows="1" placeholder="x-user: tester" value=${asked.headers} onInput=${set("headers")}></textarea></label>
      <button class="button primary">Ask</button></form><//>
    ${state.error && html`<p class="note bad" role="alert">${state.error.message}</p>`}
    ${state.reply?.problem && html`<p class="note warn" role="alert">${state.reply.problem} <span class="quiet">${state.reply.hint}</span></p>`}
    ${state.reply?.answer && html`<${Answer} answer=${state.reply.answer} />`}<//>`;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function Answer({ answer }) {
  const good = GOOD.includes(answer.outcome);
  return html`<${Card}><p class="note ${good ? "good" : "bad"}"><strong>${answer.request}</strong> <${Words} text=${answer.summary} />${answer.hint && html`<br /><${Words} text=${answer.hint} />`}</p><//>
    <${Card} title="The chain"><ol class="chain">
      ${(answer.steps ?? []).map((step) => html`<li><h3>${capital(step.what)}</h3><${Words} text=${step.text} /></li>`)}
      ${answer.considered?.length > 0 && html`<li><h3>Routes, in the order in which they are tried</h3><ul class="candidates">${answer.considered.map((each) => html`<li class=${each.taken ? "taken" : ""}><${Badge} kind=${each.taken ? "good" : "idle"}>${each.taken ? "taken" : "no"}<//> <code>${each.route}</code> <${Place} place=${each.place} />${each.reason && html`<div class="quiet small"><${Words} text=${each.reason} /></div>`}</li>`)}</ul></li>`}
      ${(answer.effects ?? []).map((each) => html`<li><h3>${capital(each.what)}</h3><${Words} text=${each.text} /> <${Place} place=${each.place} /></li>`)}
      ${answer.shares?.length > 0 && html`<li class=${good ? "" : "bad"}><h3>Back ends</h3>
        ${answer.shares.length > 1 && html`<div class="bar" role="img" aria-label="Shares">${answer.shares.map((each) => html`<i style=${{ width: `${each.percent}%` }}>${each.subset || each.host.split(".")[0]} ${Math.round(each.percent)}%</i>`)}</div>`}
        ${answer.shares.map((share) => html`<${Share} share=${share} several=${answer.shares.length > 1} />`)}</li>`}
      ${answer.nodes?.length > 0 && html`<li class=${answer.nodes.every((each) => each.state === "acknowledged") ? "" : "bad"}><h3>In force</h3>${answer.nodes.map((node) => html`<div>${node.node}: <${Badge} kind=${node.state === "acknowledged" ? "good" : "bad"}>${node.state}<//> <span class="quiet">${(node.details ?? []).join("; ")}</span></div>`)}</li>`}
    </ol><//>`;
}

function Place({ place }) {
  const kinds = useKinds();
  if (!place?.name) return null;
  const kind = kinds.find((each) => each.kind === place.kind);
  const text = `${place.kind} ${place.namespace}/${place.name}${place.path ? ` ${place.path}` : ""}`;
  return kind ? html`<a class="small" href=${linkOf(kind, place.namespace, place.name)}>${text}</a>` : html`<span class="quiet small">${text}</span>`;
}

const Share = ({ share, several }) => html`<div class="share"><strong>${several ? `${Math.round(share.percent * 10) / 10} % ` : ""}${share.host}</strong> port ${share.port}${share.subset && ` subset ${share.subset}`} <span class="quiet">(${share.protocol})</span>
  <div>${(share.places ?? []).map((place) => html`<${Place} place=${place} /> `)}</div>${share.arrivesAs && html`<div class="quiet small">arrives as ${share.arrivesAs}</div>`}
  ${(share.effects ?? []).map((each) => html`<div class="small"><span class="quiet">${each.what}</span> <${Words} text=${each.text} /></div>`)}
  <ul class="plain">${(share.endpoints ?? []).map((end) => html`<li class="row"><${Badge} kind=${(end.envoy || end.health) === "healthy" ? "good" : "bad"}>${end.envoy || end.health}<//><code>${end.address}</code><span class="small">${end.pod} ${end.node && `on ${end.node}`}</span><span class="quiet small">weight ${end.weight}${end.travels ? `, ${end.travels}` : ""}${end.access ? `, ${end.access}` : ""}</span></li>`)}</ul></div>`;
