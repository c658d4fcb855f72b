// Objects as YAML text. Only writing: what people type is read by the server.

const PLAIN = /^[A-Za-z_./][A-Za-z0-9_./ @*+=,()-]*$/;
const WORD = /^(?:true|false|yes|no|on|off|null|y|n|~)$/i;
const NUMBER = /^[.\d-][\d._eExXoO+-]*$/;
const HIDDEN = ["managedFields"];
const LAST = ["annotations", "uid", "resourceVersion", "generation", "creationTimestamp"];

function scalar(value) {
  if (typeof value !== "string") return String(value);
  const plain = PLAIN.test(value) && !WORD.test(value) && !NUMBER.test(value);
  return plain && !value.endsWith(" ") && !value.includes(" #") && !value.includes(": ") ? value : JSON.stringify(value);
}

function block(value, indent) {
  const lines = value.replace(/\n$/, "").split("\n");
  return `|${value.endsWith("\n") ? "" : "-"}\n${lines.map((line) => (line ? indent + line : "")).join("\n")}`;
}

function write(value, indent) {
  if (Array.isArray(value)) {
    if (!value.length) return " []\n";
    return `\n${value.map((each) => `${indent}-${item(each, `${indent}  `)}`).join("")}`;
  }
  if (value && typeof value === "object") {
    const keys = Object.keys(value);
    if (!keys.length) return " {}\n";
    return `\n${keys.map((key) => `${indent}${scalar(key)}:${below(value[key], indent)}`).join("")}`;
  }
  const long = typeof value === "string" && /\n/.test(value) && !/[\r\t]|^\s|\n\n$/.test(value);
  return long ? ` ${block(value, indent)}\n` : ` ${scalar(value)}\n`;
}

const below = (value, indent) => write(value, Array.isArray(value) ? indent : `${indent}  `);
const item = (value, indent) => {
  const text = write(value, indent);
  return text.startsWith("\n") ? ` ${text.slice(1 + indent.length)}` : text;
};

/** The YAML of an object, without what the server keeps for itself. */
export function toYaml(obj, { status = true } = {}) {
  const metadata = { ...obj.metadata };
  for (const name of HIDDEN) delete metadata[name];
  for (const name of LAST) {
    if (!(name in metadata)) continue;
    const value = metadata[name];
    delete metadata[name];
    metadata[name] = value;
  }
  const ordered = { apiVersion: obj.apiVersion, kind: obj.kind, metadata, ...obj, metadata };
  if (!status) delete ordered.status;
  for (const name of Object.keys(ordered)) if (ordered[name] === undefined) delete ordered[name];
  return write(ordered, "").slice(1);
}
