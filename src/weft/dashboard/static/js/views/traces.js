// The way of single requests: a search, and one trace as a waterfall.
import { html, useEffect, useState } from "/vendor/preact.js";
import { get } from "/js/api.js";
import { clock, day, milliseconds, plural } from "/js/format.js";
import { usePage } from "/js/live.js";
import { Badge, Card, Empty, Page, Refusal, Table } from "/js/parts.js";
import { traceRows, waterfall } from "/js/trace_values.js";

const TRACES = "/weft/v1/jaeger/api/traces";
const NONE = "No trace is kept that is like this. weft up --trace-percent 10 traces every tenth request.";

export function Traces({ parts, query }) {
  return parts[0] ? html`<${Trace} key=${parts[0]} id=${parts[0]} />` : html`<${Find} query=${query} />`;
}

export const TraceTable = ({ rows, empty = NONE }) => html`<${Table} label="Traces" rows=${rows} keyOf=${(each) => each.id} linkOf=${(each) => `#/traces/${each.id}`} empty=${empty} columns=${[
  { name: "Began", sort: (each) => each.start, cell: (each) => html`<span class="name time">${clock(each.start, true).slice(0, 8)}<span class="fraction">${clock(each.start, true).slice(8)}</span></span>` },
  { name: "Request", wide: true, cell: (each) => html`<code>${each.root.url.replace(/^https?:\/\//, "") || each.root.name}</code>` },
  { name: "Through", wide: true, cell: (each) => each.services.join(" → ") },
  { name: "Spans", num: true, sort: (each) => each.spans.length, cell: (each) => each.spans.length },
  { name: "Took", num: true, sort: (each) => each.ms, cell: (each) => milliseconds(each.ms) },
  { name: "Outcome", cell: (each) => html`<${Badge} kind=${each.failed ? "bad" : "good"}>${each.root.status ?? (each.failed ? "failed" : "well")}<//>` },
]} />`;

function searchPath({ service, slower, faster, failed, tag, limit }) {
  const query = new URLSearchParams({ limit });
  if (service) query.set("service", service);
  if (slower) query.set("minDuration", `${slower}ms`);
  if (faster) query.set("maxDuration", `${faster}ms`);
  const tags = {};
  if (failed) tags.error = "true";
  if (tag.includes("=")) tags[tag.slice(0, tag.indexOf("=")).trim()] = tag.slice(tag.indexOf("=") + 1).trim();
  if (Object.keys(tags).length) query.set("tags", JSON.stringify(tags));
  return `${TRACES}?${query}`;
}

function Find({ query }) {
  const [wanted, setWanted] = useState({ service: query.service ?? "", slower: query.slower ?? "", faster: "", failed: query.failed === "1", tag: "", limit: "50" });
  const [host, setHost] = useState(query.host ?? "");
  const [running, setRunning] = useState(true);
  const [held, setHeld] = useState([]);
  const services = usePage("/weft/v1/jaeger/api/services");
  const found = usePage(running ? searchPath({ ...wanted, limit: host ? "400" : wanted.limit }) : "");
  useEffect(() => { if (found.page) setHeld(found.page.data); }, [found.page]);
  const set = (name) => (event) => setWanted({ ...wanted, [name]: event.target.type === "checkbox" ? event.target.checked : event.target.value });
  const rows = traceRows(held).filter((each) => !host || [...each.hosts].some((one) => one.includes(host)));
  return html`<${Page} title="Traces" aside=${html`<button class="button" onClick=${() => setRunning(!running)}>${running ? "Hold" : "Go on"}</button>`}>
    <${Card}><form class="form" onSubmit=${(event) => event.preventDefault()}>
      <label class="field">Service<select value=${wanted.service} onChange=${set("service")}><option value="">any</option>${(services.page?.data ?? []).map((each) => html`<option key=${each} value=${each}>${each}</option>`)}</select></label>
      <label class="field">Calls the host<input data-search placeholder="any" value=${host} onInput=${(event) => setHost(event.target.value)} size="16" /></label>
      <label class="field">Slower than (ms)<input type="number" min="0" value=${wanted.slower} onChange=${set("slower")} size="6" /></label>
      <label class="field">Faster than (ms)<input type="number" min="0" value=${wanted.faster} onChange=${set("faster")} size="6" /></label>
      <label class="field">Tag<input placeholder="http.status_code=503" value=${wanted.tag} onChange=${set("tag")} /></label>
      <label class="check"><input type="checkbox" checked=${wanted.failed} onChange=${set("failed")} />only failed</label></form><//>
    <${Refusal} error=${found.error} what="traces" />
    <${Card}>${found.ready || held.length ? html`<${TraceTable} rows=${rows} />` : html`<${Empty} wait>Looking…<//>`}<//><//>`;
}

function Trace({ id }) {
  const [state, setState] = useState({});
  const [open, setOpen] = useState("");
  useEffect(() => { get(`${TRACES}/${encodeURIComponent(id)}`).then((body) => setState({ trace: traceRows(body.data)[0] }), (error) => setState({ error })); }, [id]);
  const { trace, error } = state;
  if (error) return html`<${Page} kicker="Trace" title=${id}><${Card}><p>${error.code === 404 ? "This trace is not kept (any more, or not yet)." : error.message}</p><a href="#/traces">All traces</a><//><//>`;
  if (!trace) return html`<${Page} kicker="Trace" title=${id}><${Empty} wait>Looking…<//><//>`;
  const rows = waterfall(trace);
  return html`<${Page} kicker="Trace ${id}" title=${trace.root.url.replace(/^https?:\/\//, "") || trace.root.name} aside=${html`<${Badge} kind=${trace.failed ? "bad" : "good"}>${trace.failed ? "failed" : "well"}<//>`}>
    <p class="quiet">${day(trace.start)}, ${milliseconds(trace.ms)}, ${plural(rows.length, "span")}${trace.warnings.map((each) => `. ${each}`)}</p>
    <${Card}><div class="ticks" aria-hidden="true"><span></span>${[0, 1, 2, 3].map((i) => html`<span>${milliseconds((trace.ms * i) / 4)}</span>`)}</div>
    <div class="waterfall">${rows.map((span) => html`<${Span} key=${span.id} span=${span} trace=${trace} open=${open === span.id} toggle=${() => setOpen(open === span.id ? "" : span.id)} />`)}</div><//><//>`;
}

function Span({ span, trace, open, toggle }) {
  const left = (100 * (span.start - trace.start) * 1000) / (trace.ms || 1), width = (100 * span.ms) / (trace.ms || 1);
  const own = `${span.service.split(".")[0]} ${span.version}`.trim();
  const who = span.host ? `${own} → ${span.host.split(".")[0]}` : own;
  const version = span.answeredBy[4] && !["latest", "-"].includes(span.answeredBy[4]) ? ` ${span.answeredBy[4]}` : "";
  const end = left + width > 75, inside = width > 60;
  return html`<button class="span stop" aria-expanded=${open} onClick=${toggle}>
      <span class="span-name" style=${{ paddingLeft: `${span.depth * 14}px` }}>${span.failed && html`<span class="bad-text">✗ </span>`}${who}${version} <span class="quiet small">${span.name}</span></span>
      <span class="span-lane"><span class="span-bar ${span.failed ? "bad" : ""}" style=${{ left: `${left}%`, width: `${width}%` }}></span>
        <span class="span-time ${inside ? "inside" : ""}" style=${inside ? {} : end ? { right: `${100 - left}%` } : { left: `${left + width}%` }}>${milliseconds(span.ms)}${span.status && ` · ${span.status}`}</span></span></button>
    ${open && html`<div class="span-more"><dl class="facts">${[...span.about, ...span.tags].filter((tag) => !["-", ""].includes(String(tag.value))).map((tag) => html`<dt>${tag.key}</dt><dd><code>${String(tag.value)}</code></dd>`)}</dl>
      ${span.logs.map((log) => html`<p class="small">${clock(log.timestamp / 1e6, true)} ${log.fields.map((each) => `${each.key}: ${each.value}`).join(", ")}</p>`)}</div>`}`;
}
