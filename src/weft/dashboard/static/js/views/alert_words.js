// Alerts, once something serves them under /weft/v1/alerts, as problems for the overview.
import { seconds } from "/js/format.js";

const when = (text) => (typeof text === "number" ? text : seconds(text));

/** Those that fire, as { level, title, why, since, link }. */
export function alertProblems(page) {
  return alertsOf(page).filter((each) => each.state === "firing").map((each) => ({
    level: each.severity === "critical" || each.severity === "page" ? "critical" : "warning",
    rank: 1, what: "alert", title: each.summary, why: each.description, since: each.since, link: "#/alerts",
  }));
}

/** As they are served (also in Prometheus' and Alertmanager's form), in one form. */
export function alertsOf(page) {
  const listed = page?.alerts ?? page?.data?.alerts ?? [];
  return listed.map((each) => {
    const { labels = {}, annotations = {} } = each;
    return {
      name: each.name ?? labels.alertname ?? "alert",
      state: each.state ?? each.status?.state ?? "firing",
      severity: each.severity ?? labels.severity ?? "warning",
      summary: each.summary ?? annotations.summary ?? each.message ?? each.name ?? labels.alertname ?? "alert",
      description: each.description ?? annotations.description ?? each.evidence ?? "",
      since: when(each.since ?? each.activeAt ?? each.startsAt ?? 0),
      labels,
    };
  });
}
