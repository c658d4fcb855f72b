// One object: its YAML, checked before it is applied; what is wrong with it; what it was before.
import { html, useEffect, useState } from "/vendor/preact.js";
import { call, get, may, pathOf } from "/js/api.js";
import { Editor } from "/js/editor.js";
import { useObjects } from "/js/live.js";
import { about, placeOf, send } from "/js/objects.js";
import { Action, Badge, Card, Empty, Events, Page, Refusal, Tabs, Words, attempt, say } from "/js/parts.js";
import { toYaml } from "/js/yaml.js";
import { Versions } from "/js/views/history.js";

const NEW = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: \n  namespace: default\nspec:\n";

export function ObjectPage({ place, kind, findings, tab: first }) {
  const [tab, setTab] = useState(first ?? "yaml");
  const [turn, setTurn] = useState(0);
  const mine = findings.filter((each) => kind && each.kind === kind.kind && each.name === place.name && (each.namespace || "") === place.namespace);
  const path = pathOf(place);
  const rights = (verb) => ({ verb, group: place.group, resource: place.resource, namespace: place.namespace, name: place.name });
  const remove = () => attempt(() => call("DELETE", path), `${place.name} is deleted`).then((done) => { if (done) setTurn(turn + 1); });
  const tabs = [{ id: "yaml", name: "YAML" }, { id: "diagnostics", name: "Diagnostics", count: mine.length }, { id: "history", name: "History" }, { id: "events", name: "Events" }];
  return html`<${Page} kicker=${`${kind?.kind ?? place.resource}${place.namespace ? ` in ${place.namespace}` : ""}`} title=${place.name}
      aside=${html`<${Action} kind="danger" rights=${rights("delete")} act=${remove} confirm="${place.name} is deleted. Its history stays, and can bring it back.">Delete<//>`}>
    <${Tabs} tabs=${tabs} chosen=${tab} choose=${setTab} />
    ${tab === "yaml" && html`<${Yaml} key=${turn} place=${place} path=${path} rights=${rights("update")} mine=${mine} />`}
    ${tab === "diagnostics" && html`<${Card}><${Diagnostics} findings=${mine} /><//>`}
    ${tab === "history" && html`<${Versions} place=${place} />`}
    ${tab === "events" && html`<${What} place=${place} />`}<//>`;
}

function Diagnostics({ findings }) {
  if (!findings.length) return html`<${Empty}>Nothing is wrong or doubtful about it.<//>`;
  return findings.map((each) => html`<p class="note ${each.severity === "error" ? "bad" : "warn"}"><strong>${each.code}</strong> <${Words} text=${each.message} />${each.path && html` <code>${each.path}</code>`}<br /><span class="quiet"><${Words} text=${each.hint} /></span></p>`);
}

function What({ place }) {
  const where = place.namespace ? `/namespaces/${place.namespace}` : "";
  const events = useObjects(`/api/v1${where}/events?fieldSelector=${encodeURIComponent(`involvedObject.name=${place.name}`)}`);
  return html`<${Card}><${Refusal} error=${events.error} what="events" /><${Events} events=${events.items} /><//>`;
}

function Yaml({ place, path, rights, mine }) {
  const [state, setState] = useState({ text: null, error: null });
  const [allowed, setAllowed] = useState(null);
  const load = () => get(path).then((obj) => setState({ obj, text: toYaml(obj, { status: false }) }), (error) => setState({ text: null, error }));
  useEffect(() => { load(); may(rights).then(setAllowed); }, [path]);
  const objects = useObjects(`${pathOf({ ...place, name: "" })}?fieldSelector=${encodeURIComponent(`metadata.name=${place.name}`)}`);
  const newest = objects.items[0];
  const changed = newest && state.obj && newest.metadata.generation !== state.obj.metadata.generation;
  if (state.error) return html`<${Refusal} error=${state.error} what="this object" />${state.error.code === 404 && html`<p class="quiet">It does not exist (any more). Its history can bring it back.</p>`}`;
  if (state.text === null || allowed === null) return html`<${Empty} wait>Looking…<//>`;
  return html`${mine.length > 0 && html`<${Diagnostics} findings=${mine} />`}
    ${changed && html`<p class="note warn row apart">Somebody changed it while you look. <button class="button" onClick=${load}>Show what it is now</button></p>`}
    <${Check} text=${state.text} writable=${allowed} place=${place} done=${load} />
    ${state.obj.status && html`<details><summary>Status</summary><pre class="log">${toYaml({ status: state.obj.status }).replace(/^metadata: \{\}\n/m, "").replace(/^(apiVersion|kind): undefined\n/gm, "")}</pre></details>`}`;
}

/** An editor whose text is checked by the server (dry run and analysis) and compared before it is applied. */
export function Check({ text, writable, place = null, kinds = null, done }) {
  const [edited, setEdited] = useState(text);
  const [checked, setChecked] = useState(null);
  useEffect(() => { setEdited(text); setChecked(null); }, [text]);
  const create = place === null;
  const target = () => {
    const found = create ? placeOf(edited, kinds) : place;
    if (!create && about(edited).name !== place.name) throw new Error("The name cannot be changed: make a new object instead.");
    return found;
  };
  const check = async () => {
    try {
      const where = target();
      const answer = await send(where, edited, { create, dry: true });
      setChecked({ where, warnings: answer.warnings, after: toYaml(answer.body, { status: false }), text: edited });
    } catch (error) {
      setChecked({ error });
    }
  };
  const apply = async () => {
    try {
      const { body } = await send(checked.where, checked.text, { create });
      say(`${body.kind} ${body.metadata.name} is applied`);
      setChecked(null);
      done(checked.where, body);
    } catch (error) {
      setChecked({ error });
    }
  };
  const same = edited === text;
  return html`<${Editor} text=${text} change=${writable ? setEdited : undefined} submit=${check} />
    <div class="row apart"><span class="quiet small">${writable ? "Ctrl-Enter checks: a dry run on the server, with the mesh's analysis. Nothing is applied yet." : "You may read this, not change it."}</span>
      ${writable && html`<button class="button primary" id="check" disabled=${same && !create} onClick=${check}>Check</button>`}</div>
    ${checked?.error && html`<div class="note bad" role="alert"><strong>It cannot be applied.</strong> ${checked.error.message}
      ${checked.error.causes?.length > 1 && html`<ul>${checked.error.causes.map((each) => html`<li>${each}</li>`)}</ul>`}</div>`}
    ${checked?.after && html`<${Card} title=${checked.warnings.length ? "It can be applied, with warnings" : "It can be applied"} aside=${html`<${Badge} kind=${checked.warnings.length ? "warn" : "good"}>${checked.warnings.length || "no"} warnings<//>`}>
      ${checked.warnings.map((each) => html`<p class="note warn"><${Words} text=${each} /></p>`)}
      ${checked.text !== edited && html`<p class="note warn">The text was changed after the check.</p>`}
      <p class="quiet small">${create ? "What would be stored:" : "What would become different:"}</p>
      <${Editor} key=${checked.after} text=${checked.after} before=${create ? "" : text} label="Difference" />
      <div class="row end"><button class="button" onClick=${() => setChecked(null)}>Cancel</button><button class="button primary" id="apply" disabled=${checked.text !== edited} onClick=${apply}>Apply</button></div><//>`}`;
}

export function NewObject({ kinds }) {
  const done = (where, body) => {
    location.hash = `#/configuration/${where.group || "core"}/${where.version}/${where.resource}/${body.metadata.namespace ?? "-"}/${encodeURIComponent(body.metadata.name)}`;
  };
  return html`<${Page} kicker="Configuration" title="New object">${kinds.length ? html`<${Check} text=${NEW} writable=${true} kinds=${kinds} done=${done} />` : html`<${Empty} wait>Looking…<//>`}<//>`;
}
