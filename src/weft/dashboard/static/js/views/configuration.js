// Every object that is served, with what is wrong with it.
import { html, useEffect, useState } from "/vendor/preact.js";
import { may, pathOf, servedKinds } from "/js/api.js";
import { age } from "/js/format.js";
import { useNow, useObjects, usePage } from "/js/live.js";
import { Badge, Card, Page, Refusal, Search, Table, Words, fits } from "/js/parts.js";
import { NewObject, ObjectPage } from "/js/views/object.js";

const SECTIONS = [
  ["Mesh", (each) => ["networking.istio.io", "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io", "gateway.networking.x-k8s.io"].includes(each.group) || each.group.endsWith("weft.dev")],
  ["Workloads", (each) => ["apps", "batch", "argoproj.io", "kueue.x-k8s.io", "autoscaling", "policy"].includes(each.group) || (each.group === "" && ["pods", "replicationcontrollers"].includes(each.resource))],
  ["Network", (each) => ["discovery.k8s.io", "networking.k8s.io"].includes(each.group) || (each.group === "" && ["services", "endpoints"].includes(each.resource))],
  ["Settings", (each) => each.group === "" && ["configmaps", "secrets", "namespaces", "serviceaccounts", "resourcequotas", "limitranges"].includes(each.resource)],
  ["Access", (each) => ["rbac.authorization.k8s.io", "certificates.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io"].includes(each.group)],
  ["Other", () => true],
];
const START = "networking.istio.io/v1/virtualservices";
const idOf = (each) => `${each.group || "core"}/${each.version}/${each.resource}`;

export function useKinds() {
  const [kinds, setKinds] = useState([]);
  useEffect(() => { servedKinds().then(setKinds, () => {}); }, []);
  return kinds;
}

export function Configuration({ parts, query }) {
  const kinds = useKinds();
  const status = usePage("/weft/v1/status");
  const findings = status.page?.diagnostics ?? [];
  if (parts[0] === "new") return html`<${NewObject} kinds=${kinds} />`;
  if (parts.length === 5) {
    const [group, version, resource, namespace, name] = parts;
    const place = { group: group === "core" ? "" : group, version, resource, namespace: namespace === "-" ? "" : namespace, name };
    return html`<${ObjectPage} key=${parts.join("/")} place=${place} kind=${kinds.find((each) => each.group === place.group && each.resource === resource)} findings=${findings} tab=${query.tab} />`;
  }
  return html`<${Browse} kinds=${kinds} chosen=${parts.slice(0, 3).join("/")} query=${query} findings=${findings} status=${status} />`;
}

function Browse({ kinds, chosen, query, findings, status }) {
  const [filter, setFilter] = useState(query.find ?? "");
  useEffect(() => { if (query.find !== undefined) setFilter(query.find); }, [query.find]);
  const only = query.only === "findings" || (!chosen && query.find !== undefined);
  const kind = kinds.find((each) => idOf(each) === (chosen || START)) ?? (chosen ? undefined : kinds[0]);
  const left = [...kinds].filter((each) => !["events"].includes(each.resource) || each.group === "");
  const sections = SECTIONS.map(([name, fitting]) => {
    const mine = left.filter(fitting);
    for (const each of mine) left.splice(left.indexOf(each), 1);
    return [name, mine.sort((a, b) => a.kind.localeCompare(b.kind))];
  });
  const go = (event) => { location.hash = `#/configuration/${event.target.value}`; };
  return html`<${Page} title="Configuration" aside=${html`<${Search} value=${filter} set=${setFilter} label="Name or namespace" />
      <a class="button" href="#/configuration?only=findings&find=">Diagnostics (${findings.length})</a><a class="button primary" href="#/configuration/new">New object</a>`}>
    <div class="kind-choice"><label class="field">Kind<select value=${kind && idOf(kind)} onChange=${go}>${sections.map(([name, mine]) => html`<optgroup label=${name}>${mine.map((each) => html`<option value=${idOf(each)}>${each.kind}</option>`)}</optgroup>`)}</select></label></div>
    <div class="kinds"><aside aria-label="Kinds">${sections.filter(([, mine]) => mine.length).map(([name, mine]) => html`<h3>${name}</h3>${mine.map((each) => {
      const wrong = findings.filter((one) => one.kind === each.kind && one.severity !== "info").length;
      return html`<a key=${idOf(each)} href="#/configuration/${idOf(each)}" aria-current=${!only && kind === each ? "page" : undefined}><span>${each.kind}${mine.filter((one) => one.kind === each.kind).length > 1 && html` <span class="quiet small">${each.group.split(".")[0]}</span>`}</span>${wrong > 0 && html`<span class="count bad">${wrong}</span>`}</a>`;
    })}`)}</aside>
    <div>${only ? html`<${Findings} findings=${findings} filter=${filter} kinds=${kinds} status=${status} />` : kind && html`<${Objects} key=${idOf(kind)} kind=${kind} filter=${filter} findings=${findings} />`}</div></div><//>`;
}

export const linkOf = (kind, namespace, name) => `#/configuration/${idOf(kind)}/${namespace || "-"}/${encodeURIComponent(name)}`;

function Objects({ kind, filter, findings }) {
  const [allowed, setAllowed] = useState(true);
  useEffect(() => { may({ verb: "list", group: kind.group, resource: kind.resource }).then(setAllowed); }, [kind]);
  const objects = useObjects(pathOf(kind));
  const now = useNow(10);
  const rows = objects.items.filter((each) => fits(filter, each.metadata.name, each.metadata.namespace ?? ""));
  const about = (obj) => findings.filter((each) => each.kind === kind.kind && each.name === obj.metadata.name && (each.namespace || "") === (obj.metadata.namespace ?? ""));
  return html`<${Card} title=${kind.kind} aside=${html`<span class="quiet small">${kind.group || "core"}/${kind.version}</span>`}>
    <${Refusal} error=${objects.error} what=${`objects of kind ${kind.kind}`} />${!allowed && !objects.error && html`<p class="note warn">Your rights do not allow a list of these.</p>`}
    <${Table} label=${kind.kind} rows=${rows} keyOf=${(each) => each.metadata.uid} first=${{ name: "Name", down: false }} linkOf=${(each) => linkOf(kind, each.metadata.namespace, each.metadata.name)}
      empty=${objects.ready ? "There is none." : "Looking…"} columns=${[
      { name: "Name", sort: (each) => each.metadata.name, cell: (each) => html`<span class="name">${each.metadata.name}</span>` },
      ...(kind.namespaced ? [{ name: "Namespace", sort: (each) => each.metadata.namespace, cell: (each) => each.metadata.namespace }] : []),
      { name: "Diagnostics", cell: (each) => { const found = about(each); return found.length ? html`<${Badge} kind=${found.some((one) => one.severity === "error") ? "bad" : "warn"} title=${found[0].message}>${found.length}<//>` : html`<span class="quiet">none</span>`; } },
      { name: "Written by", cell: (each) => html`<span class="quiet">${each.metadata.managedFields?.filter((one) => one.subresource !== "status").at(-1)?.manager ?? "–"}</span>` },
      { name: "Age", num: true, sort: (each) => -Date.parse(each.metadata.creationTimestamp), cell: (each) => age(each.metadata.creationTimestamp, now) },
    ]} /><//>`;
}

function Findings({ findings, filter, kinds, status }) {
  const rows = findings.filter((each) => fits(filter, each.name, each.namespace, each.kind, each.code));
  const link = (each) => { const kind = kinds.find((one) => one.kind === each.kind); return kind && linkOf(kind, each.namespace, each.name); };
  return html`<${Card} title="Diagnostics"><${Refusal} error=${status.error} what="diagnostics" /><${Table} label="Diagnostics" rows=${rows} keyOf=${(each) => each.code + each.kind + each.namespace + each.name + each.path + each.message} linkOf=${link}
    empty="Nothing is wrong or doubtful about what is configured." columns=${[
      { name: "Object", cell: (each) => html`<span class="name">${each.name}</span> <span class="quiet small">${each.kind}, ${each.namespace}</span>` },
      { name: "Level", cell: (each) => html`<${Badge} kind=${{ error: "bad", warning: "warn" }[each.severity] ?? "info"}>${each.severity}<//>` },
      { name: "What", wide: true, cell: (each) => html`<${Words} text=${each.message} /> <code class="quiet">${each.code}</code>${each.path && html`<br /><code>${each.path}</code>`}${each.hint && html`<br /><span class="quiet"><${Words} text=${each.hint} /></span>`}` },
    ]} /><//>`;
}
