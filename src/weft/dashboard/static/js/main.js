// The frame of every page: login, navigation, keys, theme. A page is loaded when it is first shown.
import { html, render, useEffect, useState } from "/vendor/preact.js";
import { forgetRights, hasKey, login, logout, whenLoggedOut, whoAmI } from "/js/api.js";
import { live, useConnected, usePage } from "/js/live.js";
import { Dialog, Icon, Toasts, attempt } from "/js/parts.js";
import { Overview } from "/js/views/overview.js";
import { Login } from "/js/views/login.js";

const PAGES = [
  { id: "", name: "Overview", icon: "overview", keys: "h", load: async () => Overview },
  { id: "topology", name: "Topology", icon: "topology", keys: "t", load: () => import("/js/views/topology.js").then((m) => m.Topology) },
  { id: "services", name: "Services", icon: "services", keys: "s", load: () => import("/js/views/services.js").then((m) => m.Services) },
  { id: "traces", name: "Traces", icon: "traces", keys: "r", load: () => import("/js/views/traces.js").then((m) => m.Traces) },
  { id: "rollouts", name: "Rollouts", icon: "rollouts", keys: "o", load: () => import("/js/views/rollouts.js").then((m) => m.Rollouts) },
  { id: "pods", name: "Pods", icon: "pods", keys: "p", load: () => import("/js/views/pods.js").then((m) => m.Pods) },
  { id: "nodes", name: "Nodes", icon: "nodes", keys: "n", load: () => import("/js/views/nodes.js").then((m) => m.Nodes) },
  { id: "configuration", name: "Configuration", icon: "configuration", keys: "c", load: () => import("/js/views/configuration.js").then((m) => m.Configuration) },
  { id: "history", name: "History", icon: "history", keys: "y", load: () => import("/js/views/history.js").then((m) => m.History) },
  { id: "why", name: "Why", icon: "why", keys: "w", load: () => import("/js/views/why.js").then((m) => m.Why) },
  { id: "alerts", name: "Alerts", icon: "alerts", keys: "a", load: () => import("/js/views/alerts.js").then((m) => m.Alerts) },
];
const IN_REACH = ["", "topology", "services", "configuration"];
const SEQUENCE_MS = 1500;
const RELOAD_MS = 500;
const THEMES = ["auto", "light", "dark"];

/** `#/a/b?x=y` as { page, parts, query }. */
function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page = "", ...parts] = path.split("/").map(decodeURIComponent);
  return { page, parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

export function theme(next) {
  const name = next ?? localStorage.getItem("weft.theme") ?? "auto";
  if (next) localStorage.setItem("weft.theme", next);
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  dispatchEvent(new Event("weft-theme"));
  return name;
}

const typing = (element) => element?.closest?.("input, textarea, select, [contenteditable], .xterm, .cm-editor");

/** Arrows go from row to row, and from node to node of the page's lists. */
function walk(step) {
  const stops = [...document.querySelectorAll("#page .row-link, #page .stop")].filter((each) => each.offsetParent !== null);
  const at = stops.indexOf(document.activeElement);
  const next = stops[at < 0 ? (step > 0 ? 0 : stops.length - 1) : at + step];
  next?.focus();
  return Boolean(next);
}

function useKeys(setHelp) {
  useEffect(() => {
    let went = 0;
    const press = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.key === "Escape" && typing(event.target) && !event.target.closest(".xterm, .cm-editor")) event.target.blur();
      if (typing(event.target) || document.querySelector("dialog[open]")) return;
      const following = performance.now() - went < SEQUENCE_MS && PAGES.find((page) => page.keys === event.key);
      went = 0;
      if (following) location.hash = `#/${following.id}`;
      else if (event.key === "g") went = performance.now();
      else if (event.key === "/") document.querySelector("[data-search]")?.focus();
      else if (event.key === "?") setHelp(true);
      else if (event.key === "ArrowDown" || event.key === "j") { if (!walk(1)) return; }
      else if (event.key === "ArrowUp" || event.key === "k") { if (!walk(-1)) return; }
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
}

function Keys({ close }) {
  const rows = [["/", "go to the filter"], ["g, then a letter", PAGES.map((p) => `${p.keys} ${p.name}`).join(", ")],
    ["↑ ↓ or k j", "from row to row; Enter opens"], ["← → ↑ ↓", "in the topology: from service to service"],
    ["Esc", "leaves a field, closes a dialog, ends a focus"], ["?", "this"]];
  return html`<${Dialog} title="Keys" close=${close}><dl class="facts">${rows.map(([keys, what]) => html`<dt><kbd>${keys}</kbd></dt><dd>${what}</dd>`)}</dl><//>`;
}

function Nav({ page, alerts, more, setMore }) {
  return html`<nav aria-label="Pages" class=${more ? "open" : ""}>
    <a class="brand" href="#/"><img src="/icon.svg" alt="" width="26" height="26" /><span>weft</span></a>
    ${PAGES.map((each) => html`<a key=${each.id} href="#/${each.id}" class=${IN_REACH.includes(each.id) ? "reach" : ""}
      aria-current=${page === each.id ? "page" : undefined} title="g ${each.keys}" onClick=${() => setMore(false)}>
      <${Icon} name=${each.icon} /><span>${each.name}</span>${each.id === "alerts" && alerts > 0 && html`<b class="count bad">${alerts}</b>`}</a>`)}
    <button class="more reach" aria-expanded=${more} onClick=${() => setMore(!more)}><${Icon} name="more" /><span>More</span></button></nav>`;
}

function Head({ user, leave, setHelp }) {
  const [chosen, setChosen] = useState(theme());
  const connected = useConnected();
  const turn = () => setChosen(theme(THEMES[(THEMES.indexOf(chosen) + 1) % THEMES.length]));
  return html`<header class="head"><a class="skip" href="#page" onClick=${(event) => { event.preventDefault(); document.getElementById("page")?.focus(); }}>To the page</a>
    <span class="live ${connected ? "on" : "off"}" role="status">${connected ? "live" : "not connected; trying again"}</span>
    <button class="plain" onClick=${() => setHelp(true)} aria-label="Keys" title="Keys ( ? )"><${Icon} name="keyboard" /></button>
    <button class="plain" onClick=${turn} aria-label="Colours: ${chosen}" title="Colours: ${chosen}"><${Icon} name=${chosen === "dark" ? "moon" : "sun"} /></button>
    <span class="who" title="Who you are for the API">${user}</span>
    <button class="plain" onClick=${leave} aria-label="Log out" title="Log out"><${Icon} name="out" /></button></header>`;
}

function App() {
  const [user, setUser] = useState(hasKey() ? null : "");
  const [where, setWhere] = useState(place());
  const [view, setView] = useState({ id: "", Shown: Overview });
  const [help, setHelp] = useState(false);
  const [more, setMore] = useState(false);
  useKeys(setHelp);
  const alerts = usePage(user ? "/weft/v1/alerts" : "");
  useEffect(() => {
    whenLoggedOut(() => { live.stop(); localStorage.removeItem("weft.key"); setUser(""); });
    const move = () => setWhere(place());
    addEventListener("hashchange", move);
    return () => removeEventListener("hashchange", move);
  }, []);
  useEffect(() => {
    const code = where.page === "login" ? where.query.code : "";
    if (code) {
      history.replaceState(null, "", "#/");
      setWhere(place());
      login({ code }).then(enter, () => (hasKey() ? whoAmI().then(enter, () => setUser("")) : setUser("")));
    } else if (user === null) whoAmI().then(enter, () => setUser(""));
  }, [where.page === "login"]);
  useEffect(() => {
    const page = PAGES.find((each) => each.id === where.page) ?? PAGES[0];
    let here = true;
    document.title = `${page.name} · weft`;
    page.load().then((Shown) => {
      if (!here) return;
      setView((before) => (before.Shown === Shown ? before : { id: page.id, Shown }));
    }, () => setTimeout(() => here && location.reload(), RELOAD_MS));
    scrollTo(0, 0);
    return () => { here = false; };
  }, [where.page]);
  const enter = (name) => { forgetRights(); setUser(name); live.start(); };
  const leave = async () => { await attempt(logout); live.stop(); setUser(""); };
  if (user === null) return html`<p class="starting">Starting…</p>`;
  if (!user) return html`<${Login} enter=${enter} />`;
  const firing = (alerts.page?.alerts ?? []).filter((each) => each.state === "firing").length;
  const { Shown } = view;
  return html`<${Nav} page=${where.page} alerts=${firing} more=${more} setMore=${setMore} />
    <div class="beside"><${Head} user=${user} leave=${leave} setHelp=${setHelp} />
    <${Shown} parts=${view.id === where.page ? where.parts : []} query=${view.id === where.page ? where.query : {}} /></div>
    <${Toasts} />${help && html`<${Keys} close=${() => setHelp(false)} />`}`;
}

theme();
const root = document.getElementById("app");
root.textContent = "";
render(html`<${App} />`, root);
