// Alerts as problems for the overview, and where each of them leads.

const PLACES = {
  Service: (each) => `#/services/${encodeURIComponent(each.namespace || "outside")}/${encodeURIComponent(each.object)}`,
  Pod: (each) => `#/pods/${each.namespace}/${encodeURIComponent(each.object)}`,
  Node: (each) => `#/nodes/${encodeURIComponent(each.object)}`,
};
const OUTSIDE = "unknown";

/** The page of what an alert is about. */
export function alertLink(each) {
  const placed = each.namespace === OUTSIDE ? { ...each, namespace: "" } : each;
  return PLACES[each.kind]?.(placed) ?? "#/alerts";
}

/** Those that fire, as { level, title, why, since, link, subject }. */
export function alertProblems(page) {
  return (page?.alerts ?? []).filter((each) => each.state === "firing").map((each) => ({
    level: each.severity, rank: 1, what: "alert", title: each.summary.replaceAll("`", ""),
    why: [each.evidence, each.hint].filter(Boolean).join(" "), since: each.activeAt, link: alertLink(each),
    service: each.kind === "Service" ? `${each.namespace}/${each.object}` : undefined,
    subject: `${each.kind} ${each.namespace}/${each.object}`,
  }));
}
