// Writing objects: checked by the server first, in the words of its answer.
import { ApiError, call, pathOf } from "/js/api.js";
import { toYaml } from "/js/yaml.js";

const COUNTED = "deployment.kubernetes.io/";
const YAML = "application/yaml";
const STRICT = "fieldValidation=Strict&fieldManager=weft-dashboard";

/** What a text is about, as far as a look at its lines tells: { apiVersion, kind, name, namespace }. */
export function about(text) {
  const top = (name) => new RegExp(`^${name}:\\s*["']?([^\\s"'#]+)`, "m").exec(text)?.[1] ?? "";
  const metadata = /^metadata:[^\n]*\n((?:[ \t]+[^\n]*\n?|\s*\n)*)/m.exec(text)?.[1] ?? "";
  const first = /^([ \t]+)/.exec(metadata)?.[1] ?? "  ";
  const inside = (name) => new RegExp(`^${first}${name}:\\s*["']?([^\\s"'#]+)`, "m").exec(metadata)?.[1] ?? "";
  return { apiVersion: top("apiVersion"), kind: top("kind"), name: inside("name"), namespace: inside("namespace") };
}

/** The place of a text among the served kinds. Throws ApiError. */
export function placeOf(text, kinds) {
  const { apiVersion, kind, name, namespace } = about(text);
  if (!apiVersion || !kind) throw new ApiError(0, "It needs `apiVersion` and `kind` at the top.");
  const [group, version] = apiVersion.includes("/") ? apiVersion.split("/") : ["", apiVersion];
  const found = kinds.find((each) => each.group === group && each.kind === kind);
  if (!found) throw new ApiError(0, `There is no kind ${kind} in ${apiVersion}.`);
  return { group, version, resource: found.resource, namespaced: found.namespaced, name, namespace: found.namespaced ? namespace || "default" : "" };
}

/** Send a text: { body, warnings }. `dry` only asks what would become of it. Throws ApiError. */
export function send(place, text, { create = false, dry = false } = {}) {
  const path = pathOf({ ...place, name: create ? "" : place.name });
  return call(create ? "POST" : "PUT", `${path}?${STRICT}${dry ? "&dryRun=All" : ""}`, { body: text, type: YAML });
}

/** An earlier version's text, to be put over what there is now. */
export function returning(version, now) {
  const metadata = { ...version.metadata };
  delete metadata.resourceVersion;
  // Which revision is the newest is the controller's to say, not a person's.
  const notes = Object.entries(metadata.annotations ?? {}).filter(([key]) => !key.startsWith(COUNTED));
  const counted = Object.entries(now?.metadata.annotations ?? {}).filter(([key]) => key.startsWith(COUNTED));
  metadata.annotations = Object.fromEntries([...notes, ...counted]);
  if (now) metadata.resourceVersion = now.metadata.resourceVersion;
  return toYaml({ ...version, metadata }, { status: false });
}
