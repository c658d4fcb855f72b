// Deployments (and Argo's Rollouts, where they are served) as they go on, and what can be done.
import { html, useState } from "/vendor/preact.js";
import { call, get, pathOf } from "/js/api.js";
import { seconds, span } from "/js/format.js";
import { useNow, useObjects } from "/js/live.js";
import { Action, Badge, Card, Empty, Page, Refusal, Search, attempt, fits } from "/js/parts.js";
import { Rollout } from "/js/views/argo.js";

const REVISION = "deployment.kubernetes.io/revision";
const STRATEGIC = "application/strategic-merge-patch+json";
const ROLLOUTS = "/apis/argoproj.io/v1alpha1/rollouts";
const revisionOf = (obj) => Number(obj.metadata.annotations?.[REVISION] ?? 0);

/** How far it is: { word, kind, done }. */
export function progressOf({ metadata, spec, status = {} }) {
  const wanted = spec.replicas ?? 1, updated = status.updatedReplicas ?? 0, ready = status.readyReplicas ?? 0;
  const stuck = status.conditions?.find((each) => each.type === "Progressing" && each.status === "False");
  const seen = (status.observedGeneration ?? 0) >= (metadata.generation ?? 0);
  if (spec.paused) return { word: "paused", kind: "warn", done: false };
  if (stuck) return { word: "does not go on", kind: "bad", done: false, why: stuck.message };
  if (!seen || updated < wanted || (status.replicas ?? 0) > updated) return { word: "under way", kind: "info", done: false };
  if (ready < wanted) return { word: "not all ready", kind: "warn", done: false };
  return { word: "done", kind: "good", done: true };
}

export function Rollouts({ query }) {
  const [filter, setFilter] = useState(query.name ?? "");
  const deployments = useObjects("/apis/apps/v1/deployments"), sets = useObjects("/apis/apps/v1/replicasets"), rollouts = useObjects(ROLLOUTS);
  const shown = deployments.items.filter((each) => fits(filter, each.metadata.name, each.metadata.namespace))
    .sort((a, b) => Number(progressOf(a).done) - Number(progressOf(b).done) || a.metadata.name.localeCompare(b.metadata.name));
  const argo = rollouts.items.filter((each) => fits(filter, each.metadata.name, each.metadata.namespace));
  return html`<${Page} title="Rollouts" aside=${html`<${Search} value=${filter} set=${setFilter} />`}>
    <${Refusal} error=${deployments.error} what="Deployments" />
    ${argo.map((each) => html`<${Rollout} key=${each.metadata.uid} rollout=${each} sets=${sets.items} />`)}
    ${shown.map((each) => html`<${Deployment} key=${each.metadata.uid} deployment=${each} sets=${sets.items} open=${shown.length === 1} />`)}
    ${deployments.ready && !shown.length && !argo.length && html`<${Card}><${Empty}>There is no Deployment like this.<//><//>`}<//>`;
}

function Deployment({ deployment, sets, open }) {
  const { metadata, spec, status = {} } = deployment;
  const now = useNow(10);
  const mine = sets.filter((each) => each.metadata.ownerReferences?.some((owner) => owner.uid === metadata.uid)).sort((a, b) => revisionOf(b) - revisionOf(a));
  const progress = progressOf(deployment);
  const wanted = spec.replicas ?? 1, updated = status.updatedReplicas ?? 0, ready = status.readyReplicas ?? 0;
  const path = pathOf({ group: "apps", resource: "deployments", namespace: metadata.namespace, name: metadata.name });
  const rights = { verb: "patch", group: "apps", resource: "deployments", namespace: metadata.namespace, name: metadata.name };
  const patch = (body, done) => attempt(() => call("PATCH", path, { body, type: STRATEGIC }), done);
  const restart = () => patch({ spec: { template: { metadata: { annotations: { "kubectl.kubernetes.io/restartedAt": new Date().toISOString() } } } } }, `${metadata.name} is being restarted`);
  const undo = (set) => attempt(() => returnTo(path, set), `${metadata.name} goes back to revision ${revisionOf(set)}`);
  const images = spec.template.spec.containers.map((each) => each.image).join(", ");
  const before = mine.filter((each) => revisionOf(each) && revisionOf(each) !== revisionOf(deployment));
  return html`<${Card} title=${metadata.name} link="#/configuration/apps/v1/deployments/${metadata.namespace}/${metadata.name}"
      aside=${html`<${Badge} kind=${progress.kind}>${progress.word}<//><${Action} rights=${rights} act=${restart} confirm="Every pod of ${metadata.name} is replaced, a few at a time.">Restart<//>
      ${spec.paused ? html`<${Action} kind="primary" rights=${rights} act=${() => patch({ spec: { paused: false } }, `${metadata.name} goes on`)}>Promote: go on<//>`
        : html`<${Action} rights=${rights} disabled=${progress.done} act=${() => patch({ spec: { paused: true } }, `${metadata.name} is paused`)}>Pause<//>`}
      <${Action} rights=${rights} kind=${progress.done ? "" : "danger"} disabled=${!before.length} confirm="${metadata.name} goes back to revision ${before[0] && revisionOf(before[0])}, a few pods at a time." act=${() => undo(before[0])}>${progress.done ? "Undo" : "Abort"}<//>`}>
    <div class="row apart"><span class="quiet">${metadata.namespace} · ${images} · revision ${revisionOf(deployment)}</span><span>${updated} of ${wanted} new, ${ready} ready${status.replicas > updated ? `, ${status.replicas - updated} old` : ""}</span></div>
    <div class="progress" role="progressbar" aria-label="Ready pods of the new revision" aria-valuemin="0" aria-valuemax=${wanted} aria-valuenow=${Math.min(updated, ready)}>
      <i style=${{ width: `${wanted ? (100 * Math.min(updated, ready, wanted)) / wanted : 100}%` }}></i><i class="new" style=${{ width: `${wanted ? (100 * Math.max(0, Math.min(updated, wanted) - ready)) / wanted : 0}%` }}></i></div>
    ${progress.why && html`<p class="note bad">${progress.why}</p>`}
    ${mine.length > 0 && html`<details open=${open || !progress.done}><summary>Revisions</summary><ul class="plain">${mine.slice(0, 10).map((set) => html`<li key=${set.metadata.uid} class="row">
      <strong>${revisionOf(set)}</strong><span class="quiet small">${set.spec.template.spec.containers.map((each) => each.image).join(", ")} · made ${span(now - seconds(set.metadata.creationTimestamp))} ago · ${set.status?.readyReplicas ?? 0} ready</span>
      ${revisionOf(set) === revisionOf(deployment) ? html`<${Badge} kind="info">now<//>` : html`<${Action} rights=${rights} act=${() => undo(set)} confirm="${metadata.name} goes back to revision ${revisionOf(set)}.">Return to it<//>`}</li>`)}</ul></details>`}<//>`;
}

/** Put an earlier ReplicaSet's template into force, as \`kubectl rollout undo\` does. */
async function returnTo(path, set) {
  const template = structuredClone(set.spec.template);
  delete template.metadata?.labels?.["pod-template-hash"];
  const now = await get(path);
  await call("PUT", path, { body: { ...now, spec: { ...now.spec, paused: false, template } } });
}
