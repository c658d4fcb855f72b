// The API server in the name of who is logged in. The browser keeps half of the session in a
// cookie that no script reads; the other half, the key, is kept here and sent with each request.

const KEY = "weft.key";
const AGAIN_MS = 300;
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
export const JSON_TYPE = "application/json";

export class ApiError extends Error {
  constructor(code, message, status = null) {
    super(message);
    this.code = code;
    this.status = status;
  }
  /** What is wrong with single fields, as lines. */
  get causes() {
    return (this.status?.details?.causes ?? []).map((each) => `${each.field}: ${each.message}`);
  }
}

let onLogout = () => {};
export const whenLoggedOut = (listener) => { onLogout = listener; };
export const key = () => localStorage.getItem(KEY) ?? "";
export const hasKey = () => key() !== "";

/** One request; gives { body, warnings }. Throws ApiError. */
export async function call(method, path, { body, type = JSON_TYPE, accept = JSON_TYPE } = {}) {
  const headers = { Accept: accept, "X-Weft-Key": key() };
  if (body !== undefined) headers["Content-Type"] = type;
  const text = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  let answer;
  const ask = () => fetch(path, { method, headers, body: text, credentials: "same-origin" });
  try {
    // A network that comes or goes breaks off what is under way; reading may be tried again.
    answer = await (method === "GET" ? ask().catch(() => pause(AGAIN_MS).then(ask)) : ask());
  } catch (error) {
    throw new ApiError(0, "weft does not answer. Does it still run?");
  }
  const raw = await answer.text();
  let value = raw;
  if ((answer.headers.get("Content-Type") ?? "").includes("json") && raw) value = JSON.parse(raw);
  if (!answer.ok) {
    if (answer.status === 401) onLogout();
    throw new ApiError(answer.status, value?.message ?? `status ${answer.status}`, value);
  }
  return { body: value, warnings: warningsOf(answer.headers.get("Warning")) };
}

function warningsOf(header) {
  const found = [];
  for (const match of (header ?? "").matchAll(/299 - "((?:[^"\\]|\\.)*)"/g)) {
    found.push(match[1].replace(/\\(.)/g, "$1"));
  }
  return found;
}

export const get = async (path) => (await call("GET", path)).body;

/** Log in with a token, or with the code of a link. Gives the user's name. */
export async function login(wanted) {
  const { body } = await call("POST", "/session", { body: wanted });
  localStorage.setItem(KEY, body.key);
  return body.user;
}

export async function logout() {
  try {
    await call("DELETE", "/session");
  } finally {
    localStorage.removeItem(KEY);
  }
}

export const whoAmI = async () => (await get("/session")).user;

const asked = new Map();
/** Whether the user may: { verb, group, resource, subresource, namespace, name }. */
export function may(attributes) {
  const id = JSON.stringify(attributes);
  if (!asked.has(id)) {
    const body = {
      apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview",
      spec: { resourceAttributes: attributes },
    };
    const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    asked.set(id, call("POST", path, { body }).then((r) => r.body.status.allowed, () => false));
    setTimeout(() => asked.delete(id), 60_000);
  }
  return asked.get(id);
}
export const forgetRights = () => asked.clear();

/** The path of a collection or, with a name, of an object. `group` "" is the core. */
export function pathOf({ group = "", version = "v1", resource, namespace = "", name = "" }) {
  const root = group ? `/apis/${group}/${version}` : `/api/${version}`;
  const inside = namespace ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${root}${inside}/${resource}${name ? `/${encodeURIComponent(name)}` : ""}`;
}

let kinds = null;
/** Everything that is served and can be listed: { group, version, resource, kind, namespaced, verbs }. */
export function servedKinds() {
  kinds ??= loadKinds().catch((error) => { kinds = null; throw error; });
  return kinds;
}
export const forgetKinds = () => { kinds = null; };

async function loadKinds() {
  const accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
  const answers = await Promise.all(["/api", "/apis"].map((path) => call("GET", path, { accept })));
  const found = [];
  for (const { body } of answers) {
    for (const group of body.items) {
      const version = group.versions[0];
      for (const each of version.resources) {
        if (!each.verbs.includes("list")) continue;
        found.push({
          group: group.metadata.name ?? "", version: version.version, resource: each.resource,
          kind: each.responseKind.kind, namespaced: each.scope === "Namespaced", verbs: each.verbs,
          short: each.shortNames ?? [],
        });
      }
    }
  }
  return found;
}
