// Who calls whom, as a live graph.
import { html, useEffect, useMemo, useRef, useState } from "/vendor/preact.js";
import { milliseconds, percent, rate, span } from "/js/format.js";
import { arrange, curve, graphOf, neighbourhood, nextTo, only, shapeOf, subOf } from "/js/graph.js";
import { useObjects, usePage } from "/js/live.js";
import { Badge, Card, Empty, Page, Refusal, Search, fits } from "/js/parts.js";

const LABELS_EDGES_MAX = 26;
const SPANS = [["60", "last minute"], ["300", "5 minutes"], ["3600", "hour"], ["10800", "3 hours"]];
const ZOOM_MIN = 0.15, ZOOM_MAX = 3;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const LEVELS = ["good", "warn", "bad", "idle", "denied"];
const narrow = () => innerWidth < 760;

export function Topology({ query }) {
  const [seconds, setSeconds] = useState("60");
  const [filter, setFilter] = useState(query.find ?? "");
  const [versions, setVersions] = useState(false);
  const [silent, setSilent] = useState(true);
  const [picked, setPicked] = useState(query.focus ?? "");
  const [focus, setFocus] = useState(query.focus ?? "");
  const topology = usePage(`/weft/v1/topology?seconds=${seconds}`);
  const known = useObjects("/api/v1/services");
  const graph = useMemo(() => {
    if (!topology.page) return null;
    let found = graphOf(topology.page, silent ? known.items : [], { versions, silent });
    if (focus && found.nodes.has(focus)) found = only(found, neighbourhood(found, focus, 1));
    if (filter) {
      const near = new Set();
      for (const node of found.nodes.values()) {
        if (fits(filter, node.name, node.namespace, node.version ?? "", node.kind)) for (const id of neighbourhood(found, node.id)) near.add(id);
      }
      found = only(found, near);
    }
    return found;
  }, [topology.page, known.items, versions, silent, focus, filter]);
  useEffect(() => {
    const end = (event) => {
      if (event.key !== "Escape" || event.target.closest?.("input, dialog")) return;
      if (focus) setFocus(""); else setPicked("");
    };
    addEventListener("keydown", end);
    return () => removeEventListener("keydown", end);
  }, [focus]);
  const node = graph?.nodes.get(picked);
  return html`<${Page} title="Topology" aside=${html`<${Search} value=${filter} set=${setFilter} label="Service or namespace" />
      <select aria-label="Time" value=${seconds} onChange=${(e) => setSeconds(e.target.value)}>${SPANS.map(([value, name]) => html`<option value=${value}>${name}</option>`)}</select>
      <label class="check"><input type="checkbox" checked=${versions} onChange=${(e) => setVersions(e.target.checked)} />versions</label>
      <label class="check"><input type="checkbox" checked=${silent} onChange=${(e) => setSilent(e.target.checked)} />unused</label>`}>
    <${Refusal} error=${topology.error} what="traffic" />
    ${focus && html`<p class="row"><${Badge} kind="info">only ${graph?.nodes.get(focus)?.name ?? focus} and its neighbours<//><button class="button" onClick=${() => setFocus("")}>Show all (Esc)</button></p>`}
    ${graph && (graph.nodes.size ? html`<div class="graph-box ${node ? "chosen" : ""}">
        <${Drawing} graph=${graph} picked=${picked} setPicked=${setPicked} setFocus=${setFocus} />
        ${node && html`<${About} node=${node} graph=${graph} setPicked=${setPicked} setFocus=${setFocus} close=${() => setPicked("")} />`}</div>
      <p class="legend"><span><i></i>well</span><span><i class="warn"></i>some errors</span><span><i class="bad"></i>errors</span><span><i class="denied"></i>refused by a policy (401, 403)</span><span><i class="idle"></i>unused in this time</span><span>mTLS: encrypted by the mesh</span><span>thicker: more requests</span></p>`
    : html`<${Card}><${Empty}>${filter ? "Nothing fits this filter." : "Nothing passed through the mesh in this time."}<//><//>`)}
    ${!topology.ready && html`<${Empty} wait>Looking…<//>`}<//>`;
}

const labelOf = (edge) => {
  const { signals } = edge;
  if (edge.level === "idle") return "";
  const parts = [edge.security ? "mTLS" : "", signals.requests || signals.opened ? rate(signals.rate) : ""];
  if (signals.errorPercent >= 0.1) parts.push(`${percent(signals.errorPercent)} errors`);
  else if (signals.p99 !== null) parts.push(milliseconds(signals.p99));
  if (edge.level === "denied") parts.push("refused");
  return parts.filter(Boolean).join(" · ");
};

function Drawing({ graph, picked, setPicked, setFocus }) {
  const box = useRef();
  const shape = shapeOf(graph, narrow());
  const places = useMemo(() => arrange(graph, narrow(), narrow() ? 0.7 : (innerWidth - 240) / (innerHeight - 240)), [shape]);
  const [view, setView] = useState(null);
  const moved = useRef(false);
  const fit = () => {
    const { clientWidth = 900, clientHeight = 600 } = box.current ?? {};
    const scale = Math.min(1.15, clientWidth / (places.width + 16), clientHeight / (places.height + 16));
    return { scale, x: (clientWidth - places.width * scale) / 2, y: Math.max(8, (clientHeight - places.height * scale) / 2) };
  };
  useEffect(() => {
    moved.current = false;
    setView(fit());
    const watch = new ResizeObserver(() => { if (!moved.current) setView(fit()); });
    watch.observe(box.current);
    return () => watch.disconnect();
  }, [places]);
  const near = picked && graph.nodes.has(picked) ? neighbourhood(graph, picked) : null;
  const busiest = Math.max(1, ...graph.edges.map((edge) => edge.signals.rate));
  const labelled = graph.edges.length <= LABELS_EDGES_MAX;
  const walk = (event, id) => {
    if (event.key === "Enter") { setPicked(id); event.preventDefault(); return; }
    const way = ARROWS[event.key];
    const next = way && nextTo(places.nodes, id, ...way);
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    [...box.current.querySelectorAll(".node")].find((each) => each.dataset.id === next)?.focus();
  };
  const hand = usePan(box, view, (next) => { moved.current = true; setView(next); });
  const at = view ?? { x: 0, y: 0, scale: 1 };
  return html`<svg ref=${box} class="graph" role="group" aria-label="Graph of ${graph.nodes.size} services and ${graph.edges.length} edges" ...${hand} onDblClick=${() => { moved.current = false; setView(fit()); }}>
    <defs>${LEVELS.map((level) => html`<marker key=${level} id="head-${level}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" markerHeight="9" markerUnits="userSpaceOnUse" orient="auto"><path class="head-${level}" d="M0 0L10 5L0 10z" /></marker>`)}</defs>
    <g transform="translate(${at.x.toFixed(1)} ${at.y.toFixed(1)}) scale(${at.scale.toFixed(3)})">
      ${places.groups.map((group) => html`<g key=${group.name}><rect class="group" x=${group.x} y=${group.y} width=${group.width} height=${group.height} rx="12" /><text class="group-name" x=${group.x + 10} y=${group.y + 17}>${group.name}</text></g>`)}
      ${graph.edges.map((edge) => {
        const points = places.edges.get(edge.id);
        const middle = points[Math.floor(points.length / 2)];
        const touched = near && (edge.from === picked || edge.to === picked);
        const text = labelled || touched || (edge.level === "bad" && !places.boxes) ? labelOf(edge) : "";
        const width = edge.level === "idle" ? 1.2 : 1.4 + 3.6 * Math.sqrt(edge.signals.rate / busiest);
        return html`<g key=${edge.id} class="edge ${edge.level} ${near && !touched ? "faded" : places.boxes && !touched && ["good", "idle"].includes(edge.level) ? "far" : ""}"><title>${told(edge, graph)}</title>
          <path class="reach" d=${curve(points)} /><path d=${curve(points)} stroke-width=${width.toFixed(1)} marker-end="url(#head-${edge.level})" />
          ${text && html`<text x=${middle.x} y=${middle.y - 5} text-anchor="middle">${text}</text>`}</g>`;
      })}
      ${[...graph.nodes.values()].map((node) => {
        const { x, y, width, height } = places.nodes.get(node.id);
        const bad = node.signals.errorPercent >= 1;
        return html`<g key=${node.id} class="node stop ${node.level} ${node.id === picked ? "picked" : ""} ${near && !near.has(node.id) ? "faded" : ""}" data-id=${node.id} tabindex="0" role="button"
            aria-label="${node.name} ${subOf(node)}, ${rate(node.signals.rate)}, ${percent(node.signals.errorPercent)} errors" transform="translate(${(x - width / 2).toFixed(1)} ${(y - height / 2).toFixed(1)})"
            onClick=${() => setPicked(node.id)} onDblClick=${(event) => { event.stopPropagation(); setFocus(node.id); }} onKeyDown=${(event) => walk(event, node.id)}>
          <rect width=${width} height=${height} rx=${node.kind === "gateway" ? 24 : 8} />
          <text x=${width / 2} y=${(subOf(node) && !places.boxes) || bad ? height / 2 - 3 : height / 2 + 5} text-anchor="middle">${cut(node.name, width)}</text>
          <text class=${bad ? "bad-sub" : "sub"} x=${width / 2} y=${height / 2 + 13} text-anchor="middle">${cut(bad ? `${percent(node.signals.errorPercent)} errors${worst(node)}` : places.boxes ? "" : subOf(node), width * 1.2)}</text></g>`;
      })}</g></svg>`;
}

const cut = (text, width) => {
  const most = Math.floor((width - 14) / 7.2);
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
};

const worst = (node) => {
  const [first] = [...node.versions].sort((a, b) => b.errorPercent - a.errorPercent);
  return node.versions.length > 1 && first.errorPercent >= 1 ? ` in ${first.version}` : "";
};

function told(edge, graph) {
  const { signals } = edge;
  const ends = `${graph.nodes.get(edge.from).name} → ${graph.nodes.get(edge.to).name}`;
  if (edge.level === "idle") return `${ends}: unused for ${span(Date.now() / 1000 - edge.lastAt)}`;
  const security = edge.security ? "mutual TLS" : "not encrypted by the mesh";
  return `${ends}: ${edge.protocol}, ${rate(signals.rate)}, ${percent(signals.errorPercent)} errors, median ${milliseconds(signals.p50)}, p99 ${milliseconds(signals.p99)}, ${security}${edge.denied.length ? ", some refused" : ""}`;
}

/** Dragging, wheel and two fingers, as properties of the drawing. */
function usePan(box, view, setView) {
  const fingers = useRef(new Map());
  const current = useRef(view);
  current.current = view;
  const zoom = (factor, x, y) => {
    const from = current.current;
    const scale = Math.min(ZOOM_MAX, Math.max(ZOOM_MIN, from.scale * factor));
    const real = scale / from.scale;
    setView({ scale, x: x - (x - from.x) * real, y: y - (y - from.y) * real });
  };
  useEffect(() => {
    const wheel = (event) => {
      event.preventDefault();
      const edge = box.current.getBoundingClientRect();
      zoom(event.deltaY < 0 ? 1.12 : 1 / 1.12, event.clientX - edge.left, event.clientY - edge.top);
    };
    box.current.addEventListener("wheel", wheel, { passive: false });
    return () => box.current?.removeEventListener("wheel", wheel);
  }, []);
  return {
    onPointerDown: (event) => { fingers.current.set(event.pointerId, { x: event.clientX, y: event.clientY }); },
    onPointerMove: (event) => {
      const before = fingers.current.get(event.pointerId);
      if (!before || !current.current) return;
      const now = { x: event.clientX, y: event.clientY };
      const others = [...fingers.current].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      fingers.current.set(event.pointerId, now);
      if (others.length) {
        const edge = box.current.getBoundingClientRect();
        const far = (a) => Math.hypot(a.x - others[0].x, a.y - others[0].y) || 1;
        zoom(far(now) / far(before), (now.x + others[0].x) / 2 - edge.left, (now.y + others[0].y) / 2 - edge.top);
      } else setView({ ...current.current, x: current.current.x + now.x - before.x, y: current.current.y + now.y - before.y });
    },
    onPointerUp: (event) => { fingers.current.delete(event.pointerId); },
    onPointerLeave: (event) => { fingers.current.delete(event.pointerId); },
    onPointerCancel: (event) => { fingers.current.delete(event.pointerId); },
  };
}

function About({ node, graph, setPicked, setFocus, close }) {
  const { signals } = node;
  const link = node.service && `#/services/${node.service.split("/").map(encodeURIComponent).join("/")}`;
  const row = (edge, other) => html`<li key=${edge.id}><button class="plain" onClick=${() => setPicked(other)}>${graph.nodes.get(other)?.name}</button>
    <span class="quiet small">${edge.level === "idle" ? "unused" : `${rate(edge.signals.rate)} · ${percent(edge.signals.errorPercent)} errors · p99 ${milliseconds(edge.signals.p99)}`}${edge.security ? " · mTLS" : ""}${edge.denied.length ? " · refused" : ""}</span></li>`;
  return html`<${Card} title=${node.name} link=${link} aside=${html`<button class="plain close" aria-label="Close" onClick=${close}>×</button>`}>
    <p class="quiet">${[node.namespace, subOf(node)].filter(Boolean).join(" · ")}</p>
    <div class="figures"><div class="figure"><b>${rate(signals.rate)}</b><span>rate</span></div><div class="figure"><b>${percent(signals.errorPercent)}</b><span>errors</span></div><div class="figure"><b>${milliseconds(signals.p99)}</b><span>p99</span></div></div>
    ${node.versions.length > 1 && html`<h3>Versions</h3><ul class="plain">${node.versions.map((each) => html`<li>${each.version} <span class="quiet small">${rate(each.rate)} · <span class=${each.errorPercent >= 1 ? "bad-text" : ""}>${percent(each.errorPercent)} errors</span> · p99 ${milliseconds(each.p99)}</span></li>`)}</ul>`}
    ${node.incoming.length > 0 && html`<h3>Called by</h3><ul class="plain">${node.incoming.map((edge) => row(edge, edge.from))}</ul>`}
    ${node.outgoing.length > 0 && html`<h3>Calls</h3><ul class="plain">${node.outgoing.map((edge) => row(edge, edge.to))}</ul>`}
    <div class="row"><button class="button" onClick=${() => setFocus(node.id)}>Only its neighbours</button>${link && html`<a class="button" href=${link}>Open</a>`}</div><//>`;
}
