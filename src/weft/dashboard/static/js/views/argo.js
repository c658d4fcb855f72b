// A Rollout of Argo's: its steps, its share of the traffic, and what can be done, as
// `kubectl argo rollouts` does it.
import { html } from "/vendor/preact.js";
import { call, get, pathOf } from "/js/api.js";
import { Action, Badge, Card, attempt } from "/js/parts.js";

const MERGE = "application/merge-patch+json";
const JSON_PATCH = "application/json-patch+json";
const REVISION = "rollout.argoproj.io/revision";
const HASH = "rollouts-pod-template-hash";
const KINDS = { Healthy: "good", Degraded: "bad", Paused: "warn", Progressing: "info" };

const words = (step) => {
  if (step.setWeight !== undefined) return `${step.setWeight} %`;
  if (step.pause) return step.pause.duration ? `pause ${step.pause.duration}` : "pause until promoted";
  return Object.keys(step)[0];
};

/** What of the status changes when it goes on; null for nothing. */
function promotion({ status = {} }, steps) {
  if (status.pauseConditions?.length) return { pauseConditions: null };
  return steps.length ? { currentStepIndex: Math.min((status.currentStepIndex ?? 0) + 1, steps.length) } : null;
}

const revisionOf = (obj) => Number(obj.metadata.annotations?.[REVISION] ?? 0);

export function Rollout({ rollout, sets }) {
  const { metadata, spec, status = {} } = rollout;
  const steps = spec.strategy?.canary?.steps ?? [];
  const at = status.currentStepIndex ?? 0;
  const place = { group: "argoproj.io", resource: "rollouts", namespace: metadata.namespace, name: metadata.name };
  const path = pathOf({ ...place, version: "v1alpha1" });
  const inSpec = { verb: "patch", ...place }, inStatus = { ...inSpec, subresource: "status" };
  const patch = (body, type = MERGE) => call("PATCH", path, { type, body });
  const patchStatus = (body) => call("PATCH", `${path}/status`, { type: MERGE, body: { status: body } });
  const still = status.phase === "Healthy";
  const promote = () => attempt(async () => {
    const now = await get(path);
    if (now.spec.paused) await patch({ spec: { paused: false } });
    const body = promotion(now, steps);
    if (body) await patchStatus(body);
  }, `${metadata.name} goes on`);
  const mine = sets.filter((each) => each.metadata.ownerReferences?.some((owner) => owner.uid === metadata.uid)).sort((a, b) => revisionOf(b) - revisionOf(a));
  const undo = () => attempt(async () => {
    const template = structuredClone(mine[1].spec.template);
    delete template.metadata?.labels?.[HASH];
    await patch([{ op: "add", path: "/spec/template", value: template }], JSON_PATCH);
  }, `${metadata.name} goes back to revision ${mine[1] && revisionOf(mine[1])}`);
  const weight = status.canary?.weights?.canary?.weight;
  return html`<${Card} title=${metadata.name} link="#/configuration/argoproj.io/v1alpha1/rollouts/${metadata.namespace}/${metadata.name}" aside=${html`<${Badge} kind=${KINDS[status.phase] ?? "idle"}>${status.phase ?? "unknown"}<//>
      <${Action} rights=${inStatus} kind="primary" act=${promote} disabled=${still || status.abort}>Promote<//>
      <${Action} rights=${inStatus} act=${() => attempt(() => patchStatus({ promoteFull: true }), `${metadata.name} is promoted fully`)} disabled=${still || status.abort} confirm="All further steps and analyses are skipped.">Promote fully<//>
      ${status.abort ? html`<${Action} rights=${inStatus} act=${() => attempt(() => patchStatus({ abort: false }), `${metadata.name} is tried again`)}>Retry<//>`
        : html`<${Action} rights=${inStatus} kind="danger" act=${() => attempt(() => patchStatus({ abort: true }), `${metadata.name} is aborted`)} disabled=${still} confirm="All traffic goes back to the stable version.">Abort<//>`}
      <${Action} rights=${inSpec} act=${undo} disabled=${mine.length < 2} confirm="The template of the revision before comes back, step by step as any change.">Undo<//>
      <${Action} rights=${inSpec} act=${() => attempt(() => patch({ spec: { restartAt: new Date().toISOString() } }), `${metadata.name} is being restarted`)} confirm="Every pod is replaced, a few at a time.">Restart<//>`}>
    <div class="row apart"><span class="quiet">${metadata.namespace} · Rollout · revision ${revisionOf(rollout) || "–"}${status.message ? ` · ${status.message}` : ""}</span>
      <span>${status.updatedReplicas ?? 0} of ${spec.replicas ?? 1} new, ${status.readyReplicas ?? 0} ready</span></div>
    ${steps.length > 0 && html`<ol class="row steps" aria-label="Steps">${steps.map((step, i) => html`<li key=${i}><${Badge} kind=${i < at || still ? "good" : i === at ? "info" : "idle"}>${i + 1}. ${words(step)}<//></li>`)}</ol>`}
    ${weight !== undefined && html`<div class="bar" role="img" aria-label="${weight} percent go to the new version"><i style=${{ width: `${100 - weight}%` }}>stable ${100 - weight} %</i><i style=${{ width: `${weight}%` }}>new ${weight} %</i></div>`}<//>`;
}
