// Numbers and times as people read them.

const THIN = "\u202f";

export function rate(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0/s";
  if (value < 0.1) return "<0.1/s";
  return `${value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1)}/s`;
}

/** How many of something, on average over a time. */
export function average(value) {
  if (value === 0) return "0";
  return value < 0.1 ? "<0.1" : value.toFixed(1);
}

export function percent(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return `0${THIN}%`;
  if (value < 0.1) return `<0.1${THIN}%`;
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)}${THIN}%`;
}

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(value >= 10_000 ? 0 : 1)}${THIN}s`;
  return `${value >= 10 ? Math.round(value) : value.toFixed(1)}${THIN}ms`;
}

export function bytes(value) {
  if (!value) return `0${THIN}B`;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** step;
  return `${scaled >= 10 || step === 0 ? Math.round(scaled) : scaled.toFixed(1)}${THIN}${units[step]}`;
}

/** A span of time: 42 s, 5 min, 3 h, 2 d. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 100) return `${s}${THIN}s`;
  if (s < 100 * 60) return `${Math.round(s / 60)}${THIN}min`;
  if (s < 48 * 3600) return `${Math.round(s / 3600)}${THIN}h`;
  return `${Math.round(s / 86400)}${THIN}d`;
}

export const seconds = (text) => (text ? Date.parse(text) / 1000 : 0);
export const age = (text, now = Date.now() / 1000) => (text ? span(now - seconds(text)) : "–");

export function clock(at, withMilliseconds = false) {
  const date = new Date(at * 1000);
  const text = date.toLocaleTimeString("en-GB");
  return withMilliseconds ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text;
}

export function day(at) {
  return new Date(at * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

export const plural = (count, word, more = `${word}s`) => `${count} ${count === 1 ? word : more}`;
