// Jaeger's JSON of traces as rows and trees. Pure.

const tagOf = (span, name) => span.tags.find((tag) => tag.key === name)?.value;
const HOST = /outbound\|\d+\|[^|]*\|([^;]+)/;

/** A span in one form: { id, parent, service, name, start, ms, failed, status, host, tags }. */
function spanOf(span, processes) {
  const host = HOST.exec(tagOf(span, "upstream_cluster.name") ?? "")?.[1] ?? "";
  const about = processes[span.processID]?.tags ?? [];
  const status = tagOf(span, "http.status_code");
  return {
    id: span.spanID, parent: span.references[0]?.spanID ?? "", service: processes[span.processID]?.serviceName ?? "", about, version: about.find((tag) => tag.key === "service.version")?.value ?? "",
    name: span.operationName, start: span.startTime / 1e6, ms: span.duration / 1000,
    failed: span.tags.some((tag) => tag.key === "error" && String(tag.value) === "true") || Number(status) >= 500,
    status, host, url: tagOf(span, "http.url") ?? "", method: tagOf(span, "http.method") ?? "", tags: span.tags, logs: span.logs ?? [],
    answeredBy: (tagOf(span, "weft.destination") ?? "").split("|"),
  };
}

/** A row of a list for each trace, the newest first. */
export function traceRows(traces) {
  return traces.map((trace) => {
    const spans = trace.spans.map((span) => spanOf(span, trace.processes)).sort((a, b) => a.start - b.start);
    const root = spans.find((span) => !spans.some((other) => other.id === span.parent)) ?? spans[0];
    const start = Math.min(...spans.map((span) => span.start));
    const end = Math.max(...spans.map((span) => span.start + span.ms / 1000));
    return {
      id: trace.traceID, root, spans, start, ms: (end - start) * 1000, failed: spans.some((span) => span.failed),
      services: [...new Set(spans.flatMap((span) => [span.service.split(".")[0], span.host.split(".")[0]]).filter(Boolean))],
      hosts: new Set(spans.map((span) => span.host).filter(Boolean)), warnings: trace.warnings ?? [],
    };
  }).sort((a, b) => b.start - a.start);
}

/** The spans in the order of a waterfall, with their depth. */
export function waterfall(trace) {
  const below = new Map();
  const ids = new Set(trace.spans.map((span) => span.id));
  for (const span of trace.spans) {
    const parent = ids.has(span.parent) ? span.parent : "";
    below.set(parent, [...(below.get(parent) ?? []), span]);
  }
  const rows = [];
  const walk = (parent, depth) => {
    for (const span of below.get(parent) ?? []) {
      if (rows.length > 2000) return;
      rows.push({ ...span, depth });
      walk(span.id, depth + 1);
    }
  };
  walk("", 0);
  return rows;
}
