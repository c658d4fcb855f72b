// What objects were before, and the way back.
import { html, useEffect, useState } from "/vendor/preact.js";
import { get, pathOf } from "/js/api.js";
import { Editor } from "/js/editor.js";
import { day, span } from "/js/format.js";
import { useNow, useObjects, usePage } from "/js/live.js";
import { returning, send } from "/js/objects.js";
import { Action, Badge, Card, Empty, Page, Refusal, Search, Table, fits, say } from "/js/parts.js";
import { toYaml } from "/js/yaml.js";
import { linkOf, useKinds } from "/js/views/configuration.js";

const NOTED = ["kubectl.kubernetes.io/last-applied-configuration", "deployment.kubernetes.io/"];
const KINDS = { created: "good", changed: "info", deleted: "bad", found: "idle" };
const WORDS = { created: "created", changed: "changed", deleted: "deleted", found: "as it was before" };

export function History() {
  const [filter, setFilter] = useState("");
  const kinds = useKinds();
  const now = useNow(5);
  const changes = usePage("/weft/v1/history");
  const rows = (changes.page?.changes ?? []).filter((each) => fits(filter, each.name, each.namespace, each.resource, each.event, each.by));
  const link = (each) => {
    const kind = kinds.find((one) => one.group === each.group && one.resource === each.resource);
    return kind && `${linkOf(kind, each.namespace, each.name)}?tab=history`;
  };
  return html`<${Page} title="History" aside=${html`<${Search} value=${filter} set=${setFilter} />`}><${Refusal} error=${changes.error} what="the history" />
    <${Card}><p class="quiet small">What was written, the newest first: everything but status, pods, Secrets and what controllers own.</p>
    <${Table} label="Changes" rows=${rows} keyOf=${(each) => each.revision + each.resource + each.name} linkOf=${link} empty=${changes.ready ? "Nothing was changed since weft keeps a history." : "Looking…"} columns=${[
      { name: "Object", cell: (each) => html`<span class="name">${each.name}</span> <span class="quiet small">${each.resource}${each.namespace && `, ${each.namespace}`}</span>` },
      { name: "What", cell: (each) => html`<${Badge} kind=${KINDS[each.event]}>${WORDS[each.event]}<//>` },
      { name: "When", cell: (each) => html`<span title=${day(each.at)}>${span(now - each.at)} ago</span>` },
      { name: "With", cell: (each) => each.by || "–" },
    ]} /><//><//>`;
}

/** The versions of one object, each compared with what is there now. */
export function Versions({ place }) {
  const query = new URLSearchParams({ group: place.group, resource: place.resource, namespace: place.namespace, name: place.name });
  const history = usePage(`/weft/v1/history?${query}`);
  const objects = useObjects(`${pathOf({ ...place, name: "" })}?fieldSelector=${encodeURIComponent(`metadata.name=${place.name}`)}`);
  const [chosen, setChosen] = useState(0);
  const [problem, setProblem] = useState("");
  const now = useNow(5);
  const current = objects.items[0];
  const versions = history.page?.versions ?? [];
  const version = versions.find((each) => each.revision === chosen) ?? versions[1] ?? versions[0];
  useEffect(() => setProblem(""), [chosen]);
  if (!history.ready) return html`<${Empty} wait>Looking…<//>`;
  if (history.error) return html`<${Refusal} error=${history.error} what="its history" />`;
  if (!version) return html`<${Card}><${Empty}>No history of it is kept: nothing was written since weft keeps one, or it is of a kind without one (pods, Secrets, what controllers own).<//><//>`;
  const bring = async () => {
    try {
      const there = await get(pathOf(place)).catch((error) => { if (error.code === 404) return null; throw error; });
      const text = returning(version.object, there);
      await send(place, text, { create: !there, dry: true });
      await send(place, text, { create: !there });
      say(`${place.name} is again as it was ${span(now - version.at)} ago`);
      setChosen(0);
    } catch (error) {
      setProblem(error.message);
    }
  };
  const plain = (obj) => {
    const copy = structuredClone(obj);
    if (copy.metadata.annotations) {
      for (const key of Object.keys(copy.metadata.annotations)) if (NOTED.some((each) => key.startsWith(each))) delete copy.metadata.annotations[key];
      if (!Object.keys(copy.metadata.annotations).length) delete copy.metadata.annotations;
    }
    for (const name of ["resourceVersion", "generation", "uid", "creationTimestamp", "managedFields"]) delete copy.metadata[name];
    return toYaml(copy, { status: false });
  };
  const before = plain(version.object), after = current ? plain(current) : "";
  const same = before === after;
  return html`<div class="beside-list"><${Card} title="Versions" aside=${html`<span class="quiet small">the last ${history.page.versionsMax} are kept</span>`}><ul class="versions">${versions.map((each, i) => html`<li key=${each.revision}>
      <button class="stop" aria-pressed=${each === version} onClick=${() => setChosen(each.revision)}><${Badge} kind=${KINDS[each.event]}>${WORDS[each.event]}<//><span>${span(now - each.at)} ago${each.by && html` <span class="quiet small">with ${each.by}</span>`}</span>${i === 0 && current && html`<span class="quiet small">newest</span>`}</button></li>`)}</ul><//>
    <${Card} title=${same ? "This is what it is now" : current ? "From now back to this version" : "It is deleted; this brings it back"} aside=${!same && html`<${Action} kind="primary" rights=${{ verb: current ? "update" : "create", group: place.group, resource: place.resource, namespace: place.namespace, name: current ? place.name : "" }} act=${bring}
        confirm="${place.name} becomes again what it was ${span(now - version.at)} ago (${day(version.at)}). The server checks it first; the present version stays in the history.">Return to this version<//>`}>
      ${problem && html`<p class="note bad" role="alert">${problem}</p>`}<${Editor} key=${before + after} text=${before} before=${after} label="Difference" /><//></div>`;
}
