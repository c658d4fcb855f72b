// The graph of calls: nodes and edges from the documents, and where they are drawn. Pure but for
// the layout library.
import { graphlib, layout } from "/vendor/dagre.js";
import { VERY_BAD_PERCENT, BAD_PERCENT, grouped, serviceId, signalsOf, versionOf } from "/js/mesh.js";

const CHAR_WIDTH = 7.6;
const NODE_HEIGHT = 48;
const NODE_WIDTH_MAX = 250;
const BIG_NODES_MIN = 36;
const BIG_NODE_HEIGHT = 36, BIG_NODE_WIDTH_MIN = 90, BIG_NODE_WIDTH_MAX = 190, NODE_GAP = 14, BOX_GAP = 22, BOX_MARGIN = 14, BOX_HEAD = 32;
/** How layers are laid out: `row` is how wide rows of services without calls may be, `least` the width of a node. */
const WINDOW = { rankdir: "LR", ranksep: 130, nodesep: 26, margin: 24, row: 700, least: 110, pad: 24 };
const TIGHT = { nodesep: 14, margin: 8, row: 380, least: 84, pad: 16 };
const PHONE = [{ ...TIGHT, rankdir: "TB", ranksep: 70 }, { ...TIGHT, rankdir: "LR", ranksep: 84 }];
export const OUTSIDE = "outside";
const GATEWAY = "ingress-gateway";

const levelOf = (signals) =>
  (signals.errorPercent >= VERY_BAD_PERCENT ? "bad" : signals.errorPercent >= BAD_PERCENT ? "warn" : "good");

/** { nodes: Map, edges: [] } of a topology document. `versions`: a node for each version. */
export function graphOf(topology, known = [], { versions = false, silent = true } = {}) {
  const traffic = topology.traffic;
  const all = [...traffic.edges, ...(silent ? topology.silent.map(quiet) : []), ...topology.refused.map(quiet)];
  const owner = new Map();
  for (const { edge } of all) {
    if (edge.destination !== "unknown") owner.set(`${edge.destinationNamespace}/${edge.destination}`, edge);
  }
  const nodes = new Map();
  const node = (id, made) => {
    if (!nodes.has(id)) nodes.set(id, { id, incoming: [], outgoing: [], ...made });
    return nodes.get(id);
  };
  const caller = (edge) => {
    const own = owner.get(`${edge.sourceNamespace}/${edge.source}`);
    if (own) return callee(own);
    if (edge.source === "unknown") return node("outside/callers", { name: "outside callers", namespace: "", kind: OUTSIDE });
    const gateway = edge.source.includes("gateway");
    return node(`${edge.sourceNamespace}/${edge.source}`, { name: edge.source, namespace: edge.sourceNamespace, kind: gateway ? "gateway" : "workload" });
  };
  const callee = (edge) => {
    const id = serviceId(edge);
    const outside = id.startsWith("outside/");
    const version = versions && edge.destination !== "unknown" ? versionOf(edge) : "";
    return node(version ? `${id}@${version}` : id, {
      service: id, version, name: outside ? edge.serviceHost : edge.service,
      namespace: outside ? "" : edge.serviceNamespace, kind: outside ? OUTSIDE : "service",
    });
  };
  const refused = new Map(topology.refused.map((each) => [JSON.stringify(each.edge), each]));
  const pairs = grouped(all, (each) => `${caller(each.edge).id} → ${callee(each.edge).id}`);
  const edges = [];
  for (const [id, group] of pairs) {
    const from = caller(group[0].edge), to = callee(group[0].edge);
    const busy = group.filter((each) => !each.quiet);
    const signals = signalsOf(busy, traffic.seconds);
    const denied = group.map((each) => refused.get(JSON.stringify(each.edge))).filter(Boolean);
    const recent = denied.filter((each) => topology.now - each.lastAt < 300);
    const level = !busy.length ? (recent.length ? "denied" : "idle")
      : recent.length && signals.deniedPercent > 50 ? "denied" : levelOf(signals);
    const edge = {
      id, from: from.id, to: to.id, signals, level, denied, security: busy.length ? busy.every((each) => each.edge.security === "mutual_tls") : null,
      lastAt: Math.max(0, ...group.map((each) => each.lastAt ?? 0)), protocol: signals.protocol || group[0].edge.protocol,
    };
    edges.push(edge);
    from.outgoing.push(edge);
    to.incoming.push({ ...edge, parts: busy });
  }
  for (const { metadata } of known) {
    const id = `${metadata.namespace}/${metadata.name}`;
    if (id === "default/kubernetes" || [...nodes.keys()].some((each) => each === id || each.startsWith(`${id}@`))) continue;
    node(id, { service: id, name: metadata.name, namespace: metadata.namespace, kind: "service", version: "" });
  }
  for (const each of nodes.values()) describe(each, traffic.seconds);
  return { nodes, edges };
}

const quiet = (each) => ({
  edge: each.edge, quiet: true, lastAt: each.lastAt, series: [], errors: [],
  counts: { requests: 0, errors: 0, clientErrors: 0, opened: 0, sentBytes: 0, receivedBytes: 0, buckets: [] },
});

function describe(node, seconds) {
  const parts = node.incoming.flatMap((each) => each.parts);
  node.signals = signalsOf(parts, seconds);
  node.versions = [...grouped(parts.filter((each) => versionOf(each.edge)), (each) => versionOf(each.edge))]
    .map(([version, part]) => ({ version, ...signalsOf(part, seconds) }))
    .sort((a, b) => a.version.localeCompare(b.version));
  node.level = parts.length ? levelOf(node.signals) : node.outgoing.some((each) => each.signals.rate) ? "good" : "idle";
}

/** The nodes within `steps` calls of one, itself included. */
export function neighbourhood(graph, id, steps = 1) {
  let found = new Set([id]);
  for (let i = 0; i < steps; i++) {
    const more = new Set(found);
    for (const edge of graph.edges) {
      if (found.has(edge.from)) more.add(edge.to);
      if (found.has(edge.to)) more.add(edge.from);
    }
    found = more;
  }
  return found;
}

export function only(graph, ids) {
  const nodes = new Map([...graph.nodes].filter(([id]) => ids.has(id)));
  return { nodes, edges: graph.edges.filter((edge) => nodes.has(edge.from) && nodes.has(edge.to)) };
}

/** What the place of things depends on: as long as it is the same, nothing moves. */
export const shapeOf = (graph, tall) =>
  `${tall} ${[...graph.nodes.keys()].sort().join()} ${graph.edges.map((edge) => edge.id).sort().join()}`;

/** The second line of a node. */
export function subOf(node) {
  if (node.kind === "gateway") return "gateway";
  if (node.kind === OUTSIDE) return "outside the mesh";
  if (node.version) return node.version;
  if (node.versions.length) {
    const total = node.versions.reduce((sum, each) => sum + each.requests + each.opened, 0) || 1;
    return node.versions.map((each) => `${each.version} ${Math.round((100 * (each.requests + each.opened)) / total)}%`).join(" · ");
  }
  return node.incoming.length ? "" : "nobody calls it";
}

/** Many services: a box for each namespace with its services in rows, so that names stay readable. */
function arrangeBoxes(graph, aspect) {
  const boxes = [...grouped([...graph.nodes.values()], (node) => node.namespace)]
    .map(([name, members]) => boxOf(name, members, aspect)).sort((a, b) => b.members.length - a.members.length);
  const area = boxes.reduce((sum, box) => sum + (box.width + BOX_GAP) * (box.height + BOX_GAP), 0);
  let best = null;
  // The width at which the whole fits the window best.
  for (const factor of [0.7, 0.85, 1, 1.15, 1.35, 1.6, 1.9, 2.3]) {
    const placed = shelves(boxes, Math.sqrt(area * aspect) * factor);
    const scale = Math.min(aspect / placed.width, 1 / placed.height);
    if (!best || scale > best.scale) best = { ...placed, scale };
  }
  const nodes = new Map(), groups = [];
  for (const { box, x, y } of best.at) {
    groups.push({ name: box.name || "outside the mesh", x, y, width: box.width, height: box.height });
    box.members.forEach((node, i) => {
      const column = i % box.columns, row = Math.floor(i / box.columns);
      nodes.set(node.id, {
        x: x + BOX_MARGIN + column * (box.cell + NODE_GAP) + box.cell / 2,
        y: y + BOX_HEAD + row * (BIG_NODE_HEIGHT + NODE_GAP) + BIG_NODE_HEIGHT / 2, width: box.cell, height: BIG_NODE_HEIGHT,
      });
    });
  }
  const edges = new Map(graph.edges.map((edge) => [edge.id, edge.from === edge.to ? loop(nodes.get(edge.from)) : straight(nodes.get(edge.from), nodes.get(edge.to))]));
  return { nodes, edges, groups, width: best.width, height: best.height, boxes: true };
}

function boxOf(name, members, aspect) {
  const sorted = [...members].sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  const cell = Math.min(BIG_NODE_WIDTH_MAX, Math.max(BIG_NODE_WIDTH_MIN, ...sorted.map((node) => node.name.length * CHAR_WIDTH + 16)));
  const columns = Math.max(1, Math.round(Math.sqrt((sorted.length * (BIG_NODE_HEIGHT + NODE_GAP) * aspect) / (cell + NODE_GAP))));
  const rows = Math.ceil(sorted.length / columns);
  return {
    name, members: sorted, cell, columns, width: columns * (cell + NODE_GAP) - NODE_GAP + 2 * BOX_MARGIN,
    height: BOX_HEAD + rows * (BIG_NODE_HEIGHT + NODE_GAP) - NODE_GAP + BOX_MARGIN,
  };
}

/** Boxes side by side in rows no wider than `most`. */
function shelves(boxes, most) {
  let x = BOX_GAP, y = BOX_GAP, tall = 0, width = 0;
  const at = [];
  for (const box of boxes) {
    if (x > BOX_GAP && x + box.width > most) { x = BOX_GAP; y += tall + BOX_GAP; tall = 0; }
    at.push({ box, x, y });
    x += box.width + BOX_GAP;
    tall = Math.max(tall, box.height);
    width = Math.max(width, x);
  }
  return { at, width, height: y + tall + BOX_GAP };
}

/** From the edge of one box to that of the other, slightly bent so that both ways are seen. */
function straight(from, to) {
  const dx = to.x - from.x, dy = to.y - from.y, far = Math.hypot(dx, dy) || 1;
  const out = (node) => Math.min(node.width / 2 / (Math.abs(dx / far) || 1e-6), node.height / 2 / (Math.abs(dy / far) || 1e-6));
  const a = out(from), b = out(to);
  const start = { x: from.x + (dx / far) * a, y: from.y + (dy / far) * a }, end = { x: to.x - (dx / far) * b, y: to.y - (dy / far) * b };
  const bend = Math.min(40, far / 8);
  return [start, { x: (start.x + end.x) / 2 - (dy / far) * bend, y: (start.y + end.y) / 2 + (dx / far) * bend }, end];
}

/** Where everything is: { nodes: Map id → {x, y, width, height}, edges: Map id → points, groups, width, height }. */
export function arrange(graph, tall, aspect = 1.7) {
  if (graph.nodes.size > BIG_NODES_MIN) return arrangeBoxes(graph, aspect);
  if (!tall) return layered(graph, WINDOW);
  // On a phone: downwards or to the right, whichever is drawn larger.
  const [down, right] = PHONE.map((way) => layered(graph, way));
  const scale = (places) => Math.min(aspect / places.width, 1 / places.height);
  return scale(right) > scale(down) ? right : down;
}

/** In layers from callers to what they call. */
function layered(graph, { rankdir, ranksep, nodesep, margin, row, least, pad }) {
  const widthOf = (node) => Math.min(NODE_WIDTH_MAX, Math.max(least, Math.max(node.name.length * CHAR_WIDTH, subOf(node).length * 6.2) + pad));
  const plan = new graphlib.Graph({ compound: true, multigraph: false });
  plan.setGraph({ rankdir, nodesep, ranksep, marginx: margin, marginy: margin });
  plan.setDefaultEdgeLabel(() => ({}));
  const linked = new Set(graph.edges.flatMap((edge) => [edge.from, edge.to]));
  const alone = [...graph.nodes.values()].filter((node) => !linked.has(node.id));
  for (const node of graph.nodes.values()) {
    if (!linked.has(node.id)) continue;
    plan.setNode(node.id, { width: widthOf(node), height: NODE_HEIGHT });
    if (node.namespace) {
      if (!plan.hasNode(`namespace:${node.namespace}`)) plan.setNode(`namespace:${node.namespace}`, {});
      plan.setParent(node.id, `namespace:${node.namespace}`);
    }
  }
  for (const edge of graph.edges) if (edge.from !== edge.to) plan.setEdge(edge.from, edge.to);
  if (linked.size) layout(plan);
  const nodes = new Map(), groups = [];
  for (const id of plan.nodes()) {
    const at = plan.node(id);
    if (id.startsWith("namespace:")) groups.push({ name: id.slice(10), x: at.x - at.width / 2, y: at.y - at.height / 2 - 14, width: at.width, height: at.height + 14 });
    else nodes.set(id, at);
  }
  const edges = new Map();
  for (const edge of graph.edges) {
    edges.set(edge.id, edge.from === edge.to ? loop(nodes.get(edge.from)) : plan.edge(edge.from, edge.to).points);
  }
  const size = plan.graph();
  const below = placeAlone(alone, nodes, widthOf, Math.max(row, linked.size ? size.width : row), linked.size ? size.height : 0);
  return { nodes, edges, groups, width: Math.max(size.width ?? 0, below.width, 300), height: below.height };
}

/** Services that neither call nor are called, in rows below the rest. */
function placeAlone(alone, nodes, widthOf, width, top) {
  let x = 24, y = top + 40, most = 0;
  for (const node of alone) {
    const wide = widthOf(node);
    if (x > 24 && x + wide > width) { x = 24; y += NODE_HEIGHT + 14; }
    nodes.set(node.id, { x: x + wide / 2, y: y + NODE_HEIGHT / 2, width: wide, height: NODE_HEIGHT });
    x += wide + 14;
    most = Math.max(most, x);
  }
  return { width: most, height: alone.length ? y + NODE_HEIGHT + 24 : top };
}

const loop = ({ x, y, width, height }) => [
  { x: x + width / 2 - 30, y: y - height / 2 }, { x: x + width / 2, y: y - height }, { x: x + width / 2 + 20, y: y - 10 }, { x: x + width / 2, y },
];

/** Points as a smooth line. */
export function curve(points) {
  const [first, ...rest] = points;
  if (rest.length === 1) return `M${first.x} ${first.y}L${rest[0].x} ${rest[0].y}`;
  let path = `M${first.x.toFixed(1)} ${first.y.toFixed(1)}`;
  for (let i = 0; i < rest.length - 1; i++) {
    const end = i === rest.length - 2 ? rest[i + 1] : { x: (rest[i].x + rest[i + 1].x) / 2, y: (rest[i].y + rest[i + 1].y) / 2 };
    path += `Q${rest[i].x.toFixed(1)} ${rest[i].y.toFixed(1)} ${end.x.toFixed(1)} ${end.y.toFixed(1)}`;
  }
  return path;
}

/** The node that lies next in a direction: dx, dy of -1, 0 or 1. */
export function nextTo(places, id, dx, dy) {
  const here = places.get(id);
  let best = null, least = Infinity;
  for (const [other, at] of places) {
    const along = (at.x - here.x) * dx + (at.y - here.y) * dy;
    const aside = Math.abs((at.x - here.x) * dy) + Math.abs((at.y - here.y) * dx);
    if (other === id || along <= 1) continue;
    const far = along + 2 * aside;
    if (far < least) { least = far; best = other; }
  }
  return best;
}
