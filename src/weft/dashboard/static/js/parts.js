// What several pages are made of.
import { html, useEffect, useRef, useState } from "/vendor/preact.js";
import { may } from "/js/api.js";
import { plural, span } from "/js/format.js";
import { useNow } from "/js/live.js";

const ICONS = {
  overview: "M3 12h4l3-8 4 16 3-8h4", topology: "M5 5h5v5H5zM14 14h5v5h-5zM14 5h5v5h-5zM10 7h4M10 9l5 5",
  services: "M4 6h16v5H4zM4 14h16v5H4zM7 8.5h.1M7 16.500h.1", traces: "M4 5h9M7 10h11M10 15h10M6 20h6",
  rollouts: "M12 20V5M6 11l6-6 6 6M5 20h14", nodes: "M4 4h16v6H4zM4 14h16v6H4zM8 7h.1M8 17h.1M12 10v4",
  pods: "M12 3l8 4.500v9L12 21l-8-4.500v-9zM12 12l8-4.500M12 12v9M12 12L4 7.500",
  configuration: "M5 4h10l4 4v12H5zM8 11h8M8 15h8", why: "M9.500 9a2.500 2.500 0 1 1 3.800 2.200c-.9.6-1.300 1-1.300 2.300M12 17.500h.1M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18",
  alerts: "M6 16V11a6 6 0 0 1 12 0v5l2 2H4zM10 21h4", history: "M12 7v5l3 2M4 12a8 8 0 1 0 2.500-5.800M4 4v4h4",
  lock: "M7 11V8a5 5 0 0 1 10 0v3M5 11h14v9H5z", more: "M5 12h.1M12 12h.1M19 12h.1", moon: "M20 14A8 8 0 0 1 10 4a8 8 0 1 0 10 10z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600 19 19M5 19l1.400-1.400M17.600 6.400 19 5",
  keyboard: "M3 6h18v12H3zM7 10h.1M11 10h.1M15 10h.1M8 14h8", out: "M10 4H4v16h6M14 8l4 4-4 4M18 12H9",
};

export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;

/** The last steps as a line, failed ones filled below it. */
export function Sparkline({ series, failed = [], label = "" }) {
  const width = 96, height = 24;
  if (!series?.length) return html`<span class="spark-none" aria-hidden="true"></span>`;
  const most = Math.max(...series, 0.001);
  const x = (i) => (series.length < 2 ? 0 : (i * width) / (series.length - 1));
  const y = (value) => height - 2 - (value / most) * (height - 4);
  const line = series.map((value, i) => `${i ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const bad = failed.some(Boolean)
    ? `M0 ${height}${failed.map((value, i) => `L${x(i).toFixed(1)} ${value ? y(value).toFixed(1) : height}`).join("")}L${width} ${height}Z` : "";
  return html`<svg class="spark" viewBox="0 0 ${width} ${height}" role="img" aria-label=${label || "requests per second over time"}>
    ${bad && html`<path class="spark-bad" d=${bad} />`}<path class="spark-line" d=${line} /></svg>`;
}

export const Badge = ({ kind = "idle", children, title }) => html`<span class="badge ${kind}" title=${title}>${children}</span>`;
export const Dot = ({ kind, label }) => html`<span class="dot ${kind}" role="img" aria-label=${label ?? kind}></span>`;

/** A sentence whose names stand in backticks. */
export const Words = ({ text }) => String(text ?? "").split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));

export function Empty({ children, wait = false }) {
  return html`<p class="empty" aria-busy=${wait}>${children}</p>`;
}

/** A refusal in plain words. */
export function Refusal({ error, what = "this" }) {
  if (!error) return null;
  const code = error.code ?? error.status?.code;
  const told = code === 403 ? `You may not see ${what}.` : code === 404 ? `${what} is not served here.` : "This cannot be shown now.";
  return html`<div class="note bad" role="alert"><strong>${told}</strong> ${error.message ?? ""}</div>`;
}

/** A table; rows with \`link\` are opened by click and Enter. Columns: { name, cell(row), sort(row), num, wide }. */
export function Table({ columns, rows, keyOf, linkOf, empty = "There is none.", label, first = null, most = 500 }) {
  const [order, setOrder] = useState(first);
  let shown = rows;
  const by = order && columns.find((each) => each.name === order.name);
  if (by?.sort) {
    const value = (row) => by.sort(row) ?? "";
    shown = [...rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      const sign = typeof x === "string" ? String(x).localeCompare(String(y)) : x - y;
      return order.down ? -sign : sign;
    });
  }
  if (!rows.length) return html`<${Empty}>${empty}<//>`;
  const turn = (column) => setOrder({ name: column.name, down: order?.name === column.name ? !order.down : Boolean(column.num) });
  return html`<div class="table-box"><table aria-label=${label}>
    <thead><tr>${columns.map((column) => html`<th key=${column.name} data-name=${column.name} class=${`${column.num ? "num" : ""} ${column.wide ? "wide" : ""}`}
      aria-sort=${order?.name === column.name ? (order.down ? "descending" : "ascending") : undefined}>
      ${column.sort ? html`<button class="plain" onClick=${() => turn(column)}>${column.name}<span class="arrow" aria-hidden="true">${
        order?.name === column.name ? (order.down ? "↓" : "↑") : ""}</span></button>` : column.name}</th>`)}</tr></thead>
    <tbody>${shown.slice(0, most).map((row) => {
      const link = linkOf?.(row);
      const open = (event) => { if (link && !event.target.closest("a,button,input")) location.hash = link.slice(1); };
      return html`<tr key=${keyOf(row)} class=${link ? "opens" : ""} onClick=${open}>
        ${columns.map((column, i) => {
          const content = column.cell(row);
          return html`<td key=${column.name} data-name=${column.name} class=${`${column.num ? "num" : ""} ${column.wide ? "wide" : ""}`}>${
            i === 0 && link ? html`<a class="row-link" href=${link}>${content}</a>` : content}</td>`;
        })}</tr>`;
    })}</tbody></table>
    ${shown.length > most && html`<p class="quiet">The first ${most} of ${shown.length}. Filter to see others.</p>`}</div>`;
}

export function Tabs({ tabs, chosen, choose }) {
  const turn = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = tabs.findIndex((each) => each.id === chosen);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    choose(next.id);
    event.currentTarget.querySelector(`[data-tab="${next.id}"]`)?.focus();
  };
  return html`<div class="tabs" role="tablist" onKeyDown=${turn}>${tabs.map((tab) => html`<button key=${tab.id} role="tab" data-tab=${tab.id}
    aria-selected=${tab.id === chosen} tabindex=${tab.id === chosen ? 0 : -1} onClick=${() => choose(tab.id)}>${tab.name}${
    tab.count !== undefined && html` <span class="count">${tab.count}</span>`}</button>`)}</div>`;
}

/** A field to filter by; `/` goes there. */
export function Search({ value, set, label = "Filter" }) {
  return html`<label class="search"><span class="hidden">${label}</span>
    <input type="search" data-search placeholder="${label}  ( / )" value=${value} onInput=${(event) => set(event.target.value)} /></label>`;
}

export const fits = (text, ...fields) => {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const all = fields.join(" ").toLowerCase();
  return words.every((word) => all.includes(word));
};

/** A button that asks before it acts, and is off for whom may not: `rights` as api.may takes it. */
export function Action({ children, act, rights, confirm, kind = "", disabled = false }) {
  const [allowed, setAllowed] = useState(!rights);
  const [asking, setAsking] = useState(false);
  const [busy, setBusy] = useState(false);
  useEffect(() => {
    let here = true;
    if (rights) may(rights).then((yes) => here && setAllowed(yes));
    return () => { here = false; };
  }, [JSON.stringify(rights)]);
  const go = async () => {
    setAsking(false);
    setBusy(true);
    try { await act(); } finally { setBusy(false); }
  };
  const title = allowed ? undefined : "Your rights do not allow this";
  return html`<button class=${`button ${kind}`} disabled=${disabled || busy || !allowed} title=${title}
      onClick=${() => (confirm ? setAsking(true) : go())}>${busy ? "…" : children}</button>
    ${asking && html`<${Dialog} title="Are you sure?" close=${() => setAsking(false)}>
      <p>${confirm}</p><div class="row end"><button class="button" onClick=${() => setAsking(false)}>Cancel</button>
      <button class="button primary" data-confirm onClick=${go}>${children}</button></div><//>`}`;
}

export function Dialog({ title, close, children, wide = false }) {
  const box = useRef();
  useEffect(() => {
    const before = document.activeElement;
    box.current.showModal();
    return () => before?.focus?.();
  }, []);
  return html`<dialog ref=${box} class=${wide ? "wide" : ""} aria-label=${title} onCancel=${(event) => { event.preventDefault(); close(); }}
    onClick=${(event) => { if (event.target === box.current) close(); }}>
    <header class="row"><h2>${title}</h2><button class="plain close" aria-label="Close" onClick=${close}>×</button></header>${children}</dialog>`;
}

let toast = () => {};
/** Say what came of something; kinds: good, bad. */
export const say = (text, kind = "good") => toast({ text, kind, at: Date.now() });

export function Toasts() {
  const [shown, setShown] = useState(null);
  useEffect(() => { toast = setShown; }, []);
  useEffect(() => {
    if (!shown) return undefined;
    const timer = setTimeout(() => setShown(null), shown.kind === "bad" ? 9000 : 4000);
    return () => clearTimeout(timer);
  }, [shown]);
  return html`<div class="toasts" role="status" aria-live="polite">${shown && html`<div class="toast ${shown.kind}">${shown.text}</div>`}</div>`;
}

/** Do something, and say what came of it. Gives whether it worked. */
export async function attempt(work, done) {
  try {
    await work();
    if (done) say(done);
    return true;
  } catch (error) {
    say(error.message, "bad");
    return false;
  }
}

export function Ago({ at, atLeast = false }) {
  const now = useNow(5);
  if (!at) return null;
  return html`<time title=${new Date(at * 1000).toISOString()}>${atLeast ? "for at least " : "for "}${span(now - at)}</time>`;
}

export const Card = ({ title, children, link, aside, id }) => html`<section class="card" id=${id}>
  ${title && html`<header><h2>${link ? html`<a href=${link}>${title}</a>` : title}</h2>${aside && html`<div class="aside">${aside}</div>`}</header>`}${children}</section>`;

export const Page = ({ title, aside, children, kicker }) => html`<main id="page" tabindex="-1">
  <header class="page-head"><div>${kicker && html`<p class="kicker">${kicker}</p>`}<h1>${title}</h1></div>${aside && html`<div class="aside">${aside}</div>`}</header>${children}</main>`;

export const counted = plural;

/** The events of an object, newest first. */
export function Events({ events, empty = "Nothing happened to it of late." }) {
  const now = useNow(10);
  const at = (each) => each.lastTimestamp ?? each.series?.lastObservedTime ?? each.eventTime ?? each.metadata.creationTimestamp;
  const shown = [...events].sort((a, b) => Date.parse(at(b)) - Date.parse(at(a)));
  return html`<${Table} label="Events" rows=${shown} keyOf=${(each) => each.metadata.uid} empty=${empty} columns=${[
    { name: "When", cell: (each) => `${span(now - Date.parse(at(each)) / 1000)} ago` },
    { name: "Reason", cell: (each) => html`<${Badge} kind=${each.type === "Warning" ? "warn" : "idle"}>${each.reason}<//>` },
    { name: "What", wide: true, cell: (each) => each.message },
    { name: "Times", num: true, cell: (each) => each.count ?? each.series?.count ?? 1 },
  ]} />`;
}
